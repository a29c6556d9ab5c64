//! Who waits for whom while clients are opened. On one thread, a run that has told its start has also asked for its
//! client: the driver does not pause between the two.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::http::StatusCode;
use futures_util::future;
use runwright::grpc::proto::{RunEvent, RunRequest, run_event::Event};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::support::{
    mcp_server::{Era, McpServer, empty},
    run_as,
    scene::reason,
    service::{Service, whoami_config},
    soon,
};

/// A server that answers no `server/discover` and no `initialize` until it is let.
async fn slow_to_open(era: Era, open: &CancellationToken) -> McpServer {
    let open = open.clone();
    McpServer::with_hook(era, move |seen| {
        let open = open.clone();
        async move {
            if matches!(seen.method(), "server/discover" | "initialize") {
                open.cancelled().await;
            }
            None
        }
    })
    .await
}

/// Starts a run; when this returns, it waits for its client.
async fn begin(service: &Service, request: RunRequest) -> Streaming<RunEvent> {
    let mut stream = service.agents.clone().run_streamed(request).await.unwrap().into_inner();
    let first = soon("run_started", stream.message()).await.unwrap().unwrap();
    assert!(matches!(first.event, Some(Event::RunStarted(_))));
    stream
}

async fn finish(mut stream: Streaming<RunEvent>) -> Result<String, Status> {
    let mut output = String::new();
    while let Some(event) = soon("an event", stream.message()).await? {
        if let Some(Event::RunCompleted(response)) = event.event {
            output = response.final_output;
        }
    }
    Ok(output)
}

fn count(server: &McpServer, method: &str) -> usize {
    server.methods().iter().filter(|seen| *seen == method).count()
}

#[tokio::test]
async fn cold_runs_of_one_identity_open_once() {
    for era in [Era::Modern, Era::Stateless] {
        let open = CancellationToken::new();
        let server = slow_to_open(era, &open).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let runs = future::join_all((0..50).map(async |_| begin(&service, run_as("a", "alice")).await)).await;
        open.cancel();
        for output in future::join_all(runs.into_iter().map(finish)).await {
            assert_eq!(output.unwrap(), "Bearer alice");
        }
        assert_eq!(count(&server, "server/discover"), 1, "{era:?}");
        assert!(count(&server, "initialize") <= 1, "{era:?}");
        assert_eq!(count(&server, "tools/list"), 1, "{era:?}");
        assert_eq!(count(&server, "tools/call"), 50, "{era:?}");
    }
}

#[tokio::test]
async fn cold_runs_of_one_identity_have_a_session_each_where_there_are_sessions() {
    let open = CancellationToken::new();
    let server = slow_to_open(Era::Stateful, &open).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let runs = future::join_all((0..20).map(async |_| begin(&service, run_as("a", "alice")).await)).await;
    open.cancel();
    for output in future::join_all(runs.into_iter().map(finish)).await {
        assert_eq!(output.unwrap(), "Bearer alice");
    }
    let mut calls = HashMap::<String, usize>::new();
    for seen in server.seen().iter().filter(|seen| seen.method() == "tools/call") {
        *calls.entry(seen.header("mcp-session-id").to_owned()).or_default() += 1;
    }
    assert_eq!(calls.len(), 20, "a session each");
    assert!(calls.values().all(|count| *count == 1));
    assert_eq!(count(&server, "DELETE"), 20);
    assert_eq!(count(&server, "initialize"), 20, "none is opened in vain");
}

#[tokio::test]
async fn a_session_that_was_given_in_place_of_a_failing_discover_is_not_expected_again() {
    let (open, asked) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (gate, count_asked) = (open.clone(), asked.clone());
    let server = McpServer::with_hook(Era::Stateful, move |seen| {
        let (gate, count) = (gate.clone(), count_asked.clone());
        async move {
            if seen.method() != "server/discover" {
                return None;
            }
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                return Some(empty(StatusCode::BAD_GATEWAY));
            }
            gate.cancelled().await;
            None
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let runs = future::join_all((0..10).map(async |_| begin(&service, run_as("a", "bob")).await)).await;
    open.cancel();
    for output in future::join_all(runs.into_iter().map(finish)).await {
        assert_eq!(output.unwrap(), "Bearer bob");
    }
    // The handshake that follows was asked for, and so its session is expected by those that open their own.
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the runs waited for one discover");
}

#[tokio::test]
async fn an_opening_goes_on_for_the_others_when_the_run_that_began_it_is_cancelled() {
    let open = CancellationToken::new();
    let server = slow_to_open(Era::Modern, &open).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let first = begin(&service, run_as("a", "alice")).await;
    server.wait_for("the opening", |seen| seen.method() == "server/discover").await;
    let others = [begin(&service, run_as("a", "alice")).await, begin(&service, run_as("a", "alice")).await];
    drop(first);
    soon("the first run's end", async {
        while service.runner.live_runs() > others.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    open.cancel();
    for output in future::join_all(others.map(finish)).await {
        assert_eq!(output.unwrap(), "Bearer alice");
    }
    assert_eq!(count(&server, "server/discover"), 1, "the others took over the same opening");
}

#[tokio::test]
async fn a_failed_opening_fails_all_that_wait_for_it_and_the_next_run_tries_anew() {
    let open = CancellationToken::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let (gate, count) = (open.clone(), tries.clone());
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let (gate, count) = (gate.clone(), count.clone());
        async move {
            if seen.method() != "server/discover" || count.fetch_add(1, Ordering::SeqCst) > 0 {
                return None;
            }
            gate.cancelled().await;
            Some(empty(StatusCode::TOO_MANY_REQUESTS))
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let runs = future::join_all((0..10).map(async |_| begin(&service, run_as("a", "alice")).await)).await;
    open.cancel();
    for result in future::join_all(runs.into_iter().map(finish)).await {
        assert_eq!(reason(&result.unwrap_err()), (Code::Unavailable, "MCP_UNAVAILABLE".into()));
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1, "one attempt for all");
    assert_eq!(service.run(run_as("a", "alice")).await.unwrap().final_output, "Bearer alice");
}

#[tokio::test]
async fn a_slow_opening_of_one_identity_holds_up_no_other() {
    let open = CancellationToken::new();
    let gate = open.clone();
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let gate = gate.clone();
        async move {
            if seen.header("authorization") == "Bearer alice" && seen.method() == "server/discover" {
                gate.cancelled().await;
            }
            None
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let alice = begin(&service, run_as("a", "alice")).await;
    server.wait_for("alice's opening", |seen| seen.method() == "server/discover").await;
    let bob = soon("bob's run", service.run(run_as("a", "bob"))).await.unwrap();
    assert_eq!(bob.final_output, "Bearer bob");
    open.cancel();
    assert_eq!(finish(alice).await.unwrap(), "Bearer alice");
}
