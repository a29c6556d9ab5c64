//! The real service over real gRPC, as the client in MCP's official conformance suite. `make conformance` installs the
//! suite and runs this; plain `cargo test` leaves it out.
//!
//! One program with two parts. Without a URL it has the suite play its scenarios, named ones or all, and writes
//! `docs/conformance.md`. The suite starts a mock server for each scenario and then this program again, with that
//! server's URL: the adapter, which does the same for every scenario.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "tests may panic and read statuses"
)]

mod adapter;
mod arguments;
mod page;
#[path = "../e2e/support/process.rs"]
mod process;
mod scenario;
mod service;

use std::{env, process::ExitCode, time::Duration};

use scenario::Scenario;
use tokio::time::timeout;

/// The longest that an adapter may take. The suite ends it after 30 s, and what it started would be left.
const DEADLINE: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &*arguments {
        [url] if url.starts_with("http://") => {
            within("the adapter", adapter::run(url)).await;
            ExitCode::SUCCESS
        }
        names => play(names).await,
    }
}

/// Plays the scenarios with these names; without a name all of them, and then the page must be as it was.
async fn play(names: &[String]) -> ExitCode {
    let mut played = Vec::new();
    let wanted = |one: &Scenario| names.is_empty() || names.iter().any(|name| name == one.name);
    for scenario in scenario::all().filter(wanted) {
        played.push((scenario, scenario.play().await));
    }
    assert!(!played.is_empty(), "no scenario has such a name");
    let good = played.iter().all(|(_, outcome)| outcome.failed == 0);
    let current = !names.is_empty() || page::write(&played);
    if good && current { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits for something that must happen.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
