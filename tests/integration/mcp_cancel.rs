//! A run that ends before its calls: the server is told, with the run's headers, and the session goes last.

use std::future;

use axum::http::{Method, StatusCode};
use runwright::grpc::proto::{CancelRunRequest, RunOptions, RunRequest, run_event::Event};
use serde_json::json;

use crate::support::{
    mcp_server::{Era, McpServer, Seen, empty},
    run_as,
    scene::{Gauge, answering, call_of, run_against, script_config},
    service::Service,
    soon,
};

/// How a run is ended in the middle.
#[derive(Clone, Copy, Debug)]
enum End {
    UnaryCallerGone,
    StreamDropped,
    CancelRun,
    Deadline,
}

/// A server whose `whoami` never answers, and what is alive of such calls.
async fn hanging(era: Era) -> (McpServer, Gauge) {
    let calls = Gauge::default();
    let held = calls.clone();
    let server = McpServer::with_hook(era, move |seen| {
        let alive = (seen.method() == "tools/call").then(|| held.enter());
        async move {
            let _alive = alive?;
            future::pending().await
        }
    })
    .await;
    (server, calls)
}

/// Starts a run, waits until its calls are under way, and ends it.
async fn end_in_the_middle(service: &Service, calls: &Gauge, count: usize, end: End) {
    let mut request = run_as("a", "alice");
    let mut agents = service.agents.clone();
    match end {
        End::UnaryCallerGone => {
            let run = tokio::spawn(async move { agents.run(request).await });
            calls.reaches("the calls", count).await;
            run.abort();
        }
        End::Deadline => {
            // Long enough for the calls to begin; what matters is that it ends by itself.
            let timeout = prost_types::Duration { seconds: 0, nanos: 500_000_000 };
            request.options = Some(RunOptions { timeout: Some(timeout), ..RunOptions::default() });
            let status = soon("the deadline", agents.run(request)).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        }
        End::StreamDropped | End::CancelRun => streamed(service, request, calls, count, end).await,
    }
}

async fn streamed(service: &Service, request: RunRequest, calls: &Gauge, count: usize, end: End) {
    let mut agents = service.agents.clone();
    let mut stream = agents.run_streamed(request).await.unwrap().into_inner();
    let first = soon("run_started", stream.message()).await.unwrap().unwrap();
    let Some(Event::RunStarted(started)) = first.event else { panic!("run_started comes first") };
    calls.reaches("the calls", count).await;
    if matches!(end, End::StreamDropped) {
        return;
    }
    let cancel = CancelRunRequest {
        run_id: first.run_id,
        control_token: started.control_token,
        reason: "enough".into(),
    };
    agents.cancel_run(cancel).await.unwrap();
    let end = soon("the stream's end", async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    })
    .await;
    assert_eq!(end.code(), tonic::Code::Aborted);
}

fn of(seen: &[Seen], method: &str) -> Vec<Seen> {
    seen.iter().filter(|seen| seen.method() == method).cloned().collect()
}

#[tokio::test]
async fn a_server_with_a_handshake_is_told_of_each_call_that_is_given_up() {
    for era in [Era::Stateless, Era::Stateful] {
        for end in [End::UnaryCallerGone, End::StreamDropped, End::CancelRun, End::Deadline] {
            let (server, calls) = hanging(era).await;
            let both = "[{ mcp_server: crm, tool: whoami, arguments: {} }, { mcp_server: crm, tool: whoami, arguments: {} }]";
            let service = Service::start(&script_config(&server.url(), "", &[both])).await;
            end_in_the_middle(&service, &calls, 2, end).await;
            calls.reaches("the calls' end", 0).await;
            soon("the run's end", async {
                while service.runner.live_runs() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let seen = server.seen();
            let told = of(&seen, "notifications/cancelled");
            let mut ids: Vec<_> =
                told.iter().map(|seen| seen.body["params"]["requestId"].to_string()).collect();
            let mut made: Vec<_> =
                of(&seen, "tools/call").iter().map(|seen| seen.body["id"].to_string()).collect();
            ids.sort();
            made.sort();
            assert_eq!(ids, made, "{era:?} {end:?}: the run has not ended before the server was told");
            let call = &of(&seen, "tools/call")[0];
            for told in told {
                for header in ["authorization", "mcp-session-id", "x-request-id", "mcp-protocol-version"] {
                    assert_eq!(told.header(header), call.header(header), "{era:?} {end:?}: {header}");
                }
            }
            if era == Era::Stateful {
                let last = seen.last().unwrap();
                assert_eq!(
                    (&last.http, last.header("authorization")),
                    (&Method::DELETE, "Bearer alice"),
                    "{end:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_a_handshake_sees_its_connections_closed() {
    for end in [End::UnaryCallerGone, End::StreamDropped, End::CancelRun, End::Deadline] {
        let (server, calls) = hanging(Era::Modern).await;
        let service = Service::start(&script_config(&server.url(), "", &[&call_of("whoami")])).await;
        end_in_the_middle(&service, &calls, 1, end).await;
        calls.reaches("the call's end", 0).await;
        assert!(of(&server.seen(), "notifications/cancelled").is_empty(), "{end:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_takes_no_other_run_of_its_identity_with_it() {
    for era in [Era::Modern, Era::Stateless, Era::Stateful] {
        let (open, calls) = (tokio_util::sync::CancellationToken::new(), Gauge::default());
        let (gate, held) = (open.clone(), calls.clone());
        let server = McpServer::with_hook(era, move |seen| {
            let (gate, alive) = (gate.clone(), (seen.method() == "tools/call").then(|| held.enter()));
            async move {
                let _alive = alive?;
                gate.cancelled().await;
                None
            }
        })
        .await;
        let service = Service::start(&script_config(&server.url(), "", &[&call_of("whoami")])).await;
        let start = || {
            let mut agents = service.agents.clone();
            tokio::spawn(async move { agents.run(run_as("a", "alice")).await })
        };
        let (cancelled, other) = (start(), start());
        calls.reaches("both calls", 2).await;
        cancelled.abort();
        calls.reaches("the cancelled call's end", 1).await;
        open.cancel();
        let response = soon("the other run", other).await.unwrap().unwrap().into_inner();
        assert_eq!(response.final_output, "Bearer alice|", "{era:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_given_up_while_it_is_opened_is_deleted_too() {
    let opening = Gauge::default();
    let enter = opening.clone();
    let server = McpServer::with_hook(Era::Stateful, move |seen| {
        let alive = (seen.method() == "notifications/initialized").then(|| enter.enter());
        async move {
            let _alive = alive?;
            future::pending().await
        }
    })
    .await;
    let service = Service::start(&script_config(&server.url(), "", &[&call_of("whoami")])).await;
    let mut agents = service.agents.clone();
    let run = tokio::spawn(async move { agents.run(run_as("a", "alice")).await });
    opening.reaches("notifications/initialized", 1).await;
    run.abort();
    is_deleted(&server).await;
    opening.reaches("the end of notifications/initialized", 0).await;
}

#[tokio::test]
async fn a_session_whose_opening_fails_is_deleted_too() {
    let refused = answering(Era::Stateful, |seen| {
        (seen.method() == "notifications/initialized").then(|| empty(StatusCode::UNAUTHORIZED))
    })
    .await;
    run_against(&refused, "").await.unwrap_err();
    is_deleted(&refused).await;

    let old = answering(Era::Stateful, |seen| {
        let mut answer = seen.result(json!({
            "protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": { "name": "x", "version": "1" },
        }));
        answer.headers_mut().insert("mcp-session-id", "session-0".parse().unwrap());
        (seen.method() == "initialize").then_some(answer)
    })
    .await;
    run_against(&old, "").await.unwrap_err();
    is_deleted(&old).await;
    assert_eq!(old.methods().iter().filter(|method| *method == "DELETE").count(), 1);
}

async fn is_deleted(server: &McpServer) {
    let deleted = server.wait_for("the session's deletion", |seen| seen.http == Method::DELETE).await;
    assert_eq!(deleted.header("mcp-session-id"), "session-0");
    assert_eq!(deleted.header("authorization"), "Bearer alice");
}
