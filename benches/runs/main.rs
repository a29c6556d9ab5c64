//! What a run costs, held against a floor; what the service adds to its time; what the service keeps in memory; and what it
//! stands.
//!
//! A run is three requests: the model asks for one tool, the tool is called over MCP, the model answers with 32 words.
//! Other kinds ([`scene`]) differ in what stands upstream. The floor is a loop over one `reqwest` client that sends the
//! same requests and nothing else; it repeats, byte for byte, what the upstream saw the service send. Service and floor
//! are measured in turn, each in a process of its own, against the same upstream on the loopback. What a run costs is CPU
//! time (user and system) of the measured process: on a machine that does other things, too, wall time says little.
//!
//! `BENCH_SERVICE` names the build of the service that is measured in place of Cargo's own, `BENCH_BASELINE` another one, to be
//! measured in the same rounds. `BENCH_RUNS` and `BENCH_ROUNDS` set how much is measured, `BENCH_SCENES` of which runs costs
//! are (`plain,calls8`), `BENCH_ATTACKS` which attacks (`resets,pings`); arguments, what: `unary`, `streamed`, `latency`,
//! `clients`, `held`, `soak`, `attacks`, `drains`, `starts`. With none of these but the first, what came out is written to
//! `docs/benchmarks.md`. A run whose answer is wrong fails the benchmark.

mod attacks;
mod bench;
mod child;
mod costs;
mod drains;
mod floor;
mod footprint;
#[allow(dead_code, clippy::unwrap_used, reason = "the tests' own, of which frames alone are used here")]
#[path = "../../tests/integration/support/http2.rs"]
mod http2;
mod latency;
mod load;
mod log;
mod machine;
mod pace;
mod page;
mod place;
mod scene;
mod service;
mod soak;
mod statistics;
mod targets;
mod upstream;
mod usage;

use std::{env, error::Error, fs, path::Path};

use bench::Bench;
use page::Results;

/// The process that is measured should not differ from the service by its allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A benchmark that can't go on says why.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs in flight at a time.
const IN_FLIGHT: usize = 8;
/// Where the results are written.
const PAGE: &str = "docs/benchmarks.md";

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// `Run`, and whole answers of the model.
    Unary,
    /// `RunStreamed`, and streamed answers of the model.
    Streamed,
}

impl Mode {
    const ALL: [Self; 2] = [Self::Unary, Self::Streamed];

    fn named(name: &str) -> Outcome<Self> {
        let mode = Self::ALL.into_iter().find(|mode| mode.name() == name);
        mode.ok_or_else(|| format!("{name} is neither unary nor streamed").into())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Streamed => "streamed",
        }
    }
}

fn main() -> Outcome<()> {
    // 10,000 runs that are open have a connection to the upstream each. The children inherit it.
    rlimit::increase_nofile_limit(u64::MAX)?;
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments[..] {
        ["upstream"] => runtime.block_on(upstream::serve()),
        ["attacker", address] => runtime.block_on(attacks::obey(address)),
        ["floor", place] => runtime.block_on(floor::obey(&serde_json::from_str(place)?)),
        ref parts => measure(&Bench::new(runtime)?, parts),
    }
}

fn measure(bench: &Bench, parts: &[&str]) -> Outcome<()> {
    let known = ["unary", "streamed", "latency", "clients", "held", "soak", "attacks", "drains", "starts"];
    if let Some(part) = parts.iter().find(|part| !known.contains(part)) {
        return Err(format!("{part} is none of {}", known.join(", ")).into());
    }
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|mode| wanted(mode.name())).collect();
    let mut results = Results::default();
    if wanted("starts") {
        results.starts = footprint::starts(bench)?;
    }
    if !modes.is_empty() {
        results.costs = costs::measure(bench, &modes)?;
    }
    if wanted("latency") {
        results.delays = latency::measure(bench, &Mode::ALL)?;
    }
    if wanted("clients") {
        results.clients = footprint::clients(bench)?;
    }
    if wanted("held") {
        results.held = footprint::held(bench)?;
    }
    if wanted("soak") {
        results.soaks = soak::measure(bench)?;
    }
    if wanted("attacks") {
        results.sieges = attacks::measure(bench)?;
    }
    if wanted("drains") {
        results.drains = drains::measure(bench)?;
    }
    let page = results.page(&machine::describe()?);
    print!("{page}");
    if parts.is_empty() && bench.whole {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), page)?;
        eprintln!("{PAGE} is written.");
    } else {
        eprintln!("{PAGE} is as it was: not all was measured, or not the usual amount.");
    }
    Ok(())
}
