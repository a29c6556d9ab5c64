//! A run that panics is a run all the same: it has one end, which its caller and the log are told, and its text goes nowhere.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use runwright::{
    egress::Egress,
    mcp::KeptClients,
    model::{Answer, Error, Model, Piece, Request},
    run::Parts,
};
use serde_json::Value;
use tonic::Code;

use crate::support::{
    error::decode,
    logs,
    mcp_server::{Era, McpServer},
    no_run_left, run_as,
    service::{Service, whoami_config},
};

const PANIC: &str = "panic-canary";

/// A model with a fault.
struct Panicking;

impl Model for Panicking {
    fn provider(&self) -> &'static str {
        "panicking"
    }

    fn model(&self) -> &str {
        "panicking"
    }

    fn complete<'a>(&'a self, _: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        async { panic!("{PANIC}") }.boxed()
    }

    fn stream<'a>(&'a self, _: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        stream::once(async { panic!("{PANIC}") }).boxed()
    }
}

/// A service whose only model panics, and the MCP server of its agent.
async fn panicking() -> (Service, McpServer) {
    let server = McpServer::start(Era::Stateful).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let parts = service.runner.parts();
    let (configs, egress) = (parts.servers.iter().cloned(), Egress::default());
    let kept = KeptClients { max: 0, idle: Duration::ZERO, age: Duration::ZERO };
    let servers = parts.servers.after(configs, |_| true, kept, parts.limits.max_concurrent_runs, &egress);
    let model: Arc<dyn Model> = Arc::new(Panicking);
    service.runner.replace(Arc::new(Parts {
        agents: parts.agents.clone(),
        models: BTreeMap::from([("scripted".to_owned(), model)]),
        servers: servers.unwrap(),
        schemas: parts.schemas.clone(),
        limits: parts.limits,
        digest_key: parts.digest_key.clone(),
        instance: parts.instance.clone(),
        metrics: parts.metrics.clone(),
    }));
    (service, server)
}

#[tokio::test]
async fn a_run_that_panics_is_told_of_as_one_that_failed_and_its_session_is_deleted() {
    let (service, server) = panicking().await;
    for streamed in [false, true] {
        server.forget();
        let (logs, _guard) = logs::catch();
        let status = if streamed {
            service.run_streamed(run_as("a", "alice")).await.unwrap_err()
        } else {
            service.run(run_as("a", "alice")).await.unwrap_err()
        };
        let error = decode(&status);
        assert_eq!((status.code(), error.reason.as_str()), (Code::Internal, "INTERNAL"));
        assert_eq!(error.metadata["admitted"], "true");
        assert!(error.progress.is_some(), "what was done is told");
        assert_eq!(server.seen().last().unwrap().http, "DELETE", "streamed: {streamed}");
        no_run_left(&service).await;

        let text = logs.text();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let ends = lines.iter().filter(|line| line["outcome"] == "INTERNAL");
        let runs: Vec<_> = ends.map(|line| line["run_id"].as_str().unwrap()).collect();
        assert_eq!(runs, [error.metadata["run_id"].as_str()], "one record of the end");
        assert!(lines.iter().any(|line| line["target"] == "runwright::audit"));
        assert!(!text.contains(PANIC) && !format!("{status:?}").contains(PANIC));
    }
}
