//! What the tests share: the service, a programmable MCP server, a programmable model endpoint, and words for errors.

pub mod authority;
pub mod collector;
pub mod dice;
pub mod error;
pub mod fault_proxy;
pub mod gate;
pub mod http2;
pub mod inputs;
pub mod leak;
pub mod logs;
pub mod mcp_server;
pub mod metrics;
pub mod model_server;
pub mod process;
pub mod proxy;
pub mod raw_server;
pub mod reader;
pub mod reloading;
pub mod scene;
pub mod service;
pub mod spans;
pub mod tls_front;

use std::{collections::BTreeMap, time::Duration};

use runwright::grpc::proto::{HeaderSet, RunRequest};

/// The longest that a test waits for anything: far more than it takes, and only reached when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A header set.
pub fn headers<const N: usize>(headers: [(&str, &str); N]) -> HeaderSet {
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HeaderSet { headers: headers.into(), remove: Vec::new() }
}

/// Waits until no run of a service is live any more: its place is free, and nothing of it is left.
pub async fn no_run_left(service: &service::Service) {
    let idle = async {
        // Nothing tells that a run has left, so each look lets everything else go first.
        while service.runner.live_runs() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of all runs", idle).await;
}

/// A request to run an agent with headers for some servers.
pub fn run_with<const N: usize>(agent: &str, per_run: [(&str, HeaderSet); N]) -> RunRequest {
    let per_run_mcp_headers: BTreeMap<_, _> =
        per_run.into_iter().map(|(server, set)| (server.to_owned(), set)).collect();
    RunRequest {
        agent: agent.to_owned(),
        input: "go".to_owned(),
        per_run_mcp_headers,
        ..RunRequest::default()
    }
}

/// A request to run an agent with a bearer token for server `crm`.
pub fn run_as(agent: &str, token: &str) -> RunRequest {
    run_with(agent, [("crm", headers([("authorization", &format!("Bearer {token}"))]))])
}
