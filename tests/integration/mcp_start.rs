//! How a conversation with an MCP server starts, and how it fails to: in bounded time, and with the right reason.

use std::future;

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode},
};
use futures_util::stream;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::{
    error::decode,
    mcp_server::{Era, McpServer, Seen, empty, raw, sse, unauthorized},
    run_as,
    scene::{Alive, Gauge, answering, crm_config, reason, run_against},
    service::Service,
    soon,
};

const QUICK: &str = "timeouts: { startup: 200ms }, ";

/// An event stream that never has an event, alive as long as it is read.
fn silent_stream(alive: Alive) -> Response<Body> {
    let silence = stream::pending::<Result<Bytes, std::io::Error>>();
    let body = stream::unfold((silence, alive), |state| async move {
        future::pending::<()>().await;
        Some((Ok::<_, std::io::Error>(Bytes::new()), state))
    });
    raw(StatusCode::OK, "text/event-stream", Body::from_stream(body))
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_its_time_and_its_sockets_closed() {
    for streaming in [false, true] {
        let sockets = Gauge::default();
        let held = sockets.clone();
        let server = McpServer::with_hook(Era::Modern, move |_| {
            let alive = held.enter();
            async move {
                if streaming {
                    return Some(silent_stream(alive));
                }
                future::pending::<()>().await;
                drop(alive);
                None
            }
        })
        .await;
        let status = run_against(&server, QUICK).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unavailable, "MCP_UNAVAILABLE".into()), "{status:?}");
        assert!(status.message().contains("200ms"), "{}", status.message());
        sockets.reaches("the end of all requests", 0).await;
        assert_eq!(server.methods(), ["server/discover", "initialize"], "each way is tried once");
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_its_server_starts_closes_the_socket_at_once() {
    for streaming in [false, true] {
        let sockets = Gauge::default();
        let held = sockets.clone();
        let server = McpServer::with_hook(Era::Stateful, move |seen| {
            let alive = (seen.method() == "initialize").then(|| held.enter());
            async move {
                let alive = alive?;
                if streaming {
                    return Some(silent_stream(alive));
                }
                future::pending::<()>().await;
                drop(alive);
                None
            }
        })
        .await;
        // The time to start is longer than the test waits: only the cancellation can end it.
        let service = Service::start(&crm_config(&server.url(), "timeouts: { startup: 10m }, ")).await;
        let (mut agents, request) = (service.agents.clone(), run_as("a", "alice"));
        let run = tokio::spawn(async move { agents.run(request).await });
        sockets.reaches("initialize", 1).await;
        run.abort();
        sockets.reaches("the end of initialize", 0).await;
    }
}

#[tokio::test]
async fn a_refused_credential_at_the_start_is_the_answer_and_no_other_way_is_tried() {
    type Refusal = fn() -> Response<Body>;
    let refusals: [(&str, Refusal, Code); 3] = [
        ("MCP_UNAUTHORIZED", || unauthorized("Bearer error=\"invalid_token\""), Code::FailedPrecondition),
        ("MCP_FORBIDDEN", || empty(StatusCode::FORBIDDEN), Code::FailedPrecondition),
        ("MCP_UNAVAILABLE", || empty(StatusCode::TOO_MANY_REQUESTS), Code::Unavailable),
    ];
    for (expected, refusal, code) in refusals {
        let server = answering(Era::Stateful, move |_| Some(refusal())).await;
        let status = run_against(&server, "").await.unwrap_err();
        assert_eq!(reason(&status), (code, expected.into()));
        assert_eq!(server.methods(), ["server/discover"], "{expected}");
    }
}

#[tokio::test]
async fn a_credential_that_is_refused_anywhere_in_the_handshake_is_told_with_its_challenge() {
    for refused in ["initialize", "notifications/initialized"] {
        for era in [Era::Stateless, Era::Stateful] {
            let server = answering(era, move |seen| {
                (seen.method() == refused).then(|| unauthorized("Bearer scope=\"crm\""))
            })
            .await;
            let status = run_against(&server, "").await.unwrap_err();
            assert_eq!(reason(&status), (Code::FailedPrecondition, "MCP_UNAUTHORIZED".into()), "{refused}");
            let challenge = decode(&status).challenge.unwrap();
            assert_eq!((challenge.mcp_server.as_str(), challenge.scope.as_str()), ("crm", "crm"));
            assert_eq!(challenge.phase(), runwright::grpc::proto::AuthPhase::Opening);
            assert!(!server.methods().contains(&"tools/list".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_http_with_sse_only_is_told_so() {
    for refusal in [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST] {
        let server = answering(Era::Modern, move |_| Some(raw(refusal, "text/plain", "no"))).await;
        let status = run_against(&server, "").await.unwrap_err();
        assert_eq!(reason(&status), (Code::FailedPrecondition, "MCP_PROTOCOL_ERROR".into()), "{refusal}");
        for word in ["2024-11-05", "HTTP+SSE", refusal.as_str()] {
            assert!(status.message().contains(word), "{}", status.message());
        }
    }
}

#[tokio::test]
async fn the_handshakes_answer_may_come_as_an_event_stream() {
    let server = answering(Era::Stateful, |seen| {
        let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": 1 } });
        let mut answer = sse(&[log, initialized(seen, "2025-06-18")]);
        answer.headers_mut().insert("mcp-session-id", "by-sse".parse().unwrap());
        (seen.method() == "initialize").then_some(answer)
    })
    .await;
    let response = run_against(&server, "").await.unwrap();
    assert_eq!(response.final_output, "Bearer alice");
    let last = server.seen().pop().unwrap();
    assert_eq!((last.http.as_str(), last.header("mcp-session-id")), ("DELETE", "by-sse"));
}

/// A whole answer to `initialize`.
fn initialized(seen: &Seen, revision: &str) -> serde_json::Value {
    let result = json!({
        "protocolVersion": revision, "capabilities": { "tools": {} },
        "serverInfo": { "name": "test", "version": "1" },
    });
    json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": result })
}

#[tokio::test]
async fn the_servers_choice_of_a_revision_is_kept_to() {
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let server = answering(Era::Stateless, move |seen| {
            (seen.method() == "initialize")
                .then(|| seen.result(initialized(seen, revision)["result"].clone()))
        })
        .await;
        assert_eq!(run_against(&server, "").await.unwrap().final_output, "Bearer alice", "{revision}");
        let after = server.seen().into_iter().skip_while(|seen| seen.method() != "notifications/initialized");
        let sent: Vec<String> = after.map(|seen| seen.header("mcp-protocol-version").to_owned()).collect();
        assert_eq!(sent, [revision; 3], "initialized, tools/list, tools/call");
    }
}

#[tokio::test]
async fn a_revision_that_is_not_spoken_is_told_by_name() {
    for (revision, words) in
        [("2024-11-05", "2024-11-05"), ("2023-01-01", "not known"), ("2026-07-28", "not known")]
    {
        let server = answering(Era::Stateless, move |seen| {
            (seen.method() == "initialize")
                .then(|| seen.result(initialized(seen, revision)["result"].clone()))
        })
        .await;
        let status = run_against(&server, "").await.unwrap_err();
        assert_eq!(reason(&status), (Code::FailedPrecondition, "MCP_PROTOCOL_ERROR".into()), "{revision}");
        assert!(status.message().contains(words), "{}", status.message());
        assert!(!server.methods().contains(&"tools/list".to_owned()));
    }
}

#[tokio::test]
async fn a_slow_start_ends_with_the_runs_own_deadline() {
    let never = CancellationToken::new();
    let server = McpServer::with_hook(Era::Modern, move |_| {
        let never = never.clone();
        async move {
            never.cancelled().await;
            None
        }
    })
    .await;
    let service = Service::start(&crm_config(&server.url(), "timeouts: { startup: 10m }, ")).await;
    let mut request = run_as("a", "alice");
    let timeout = prost_types::Duration { seconds: 0, nanos: 200_000_000 };
    request.options =
        Some(runwright::grpc::proto::RunOptions { timeout: Some(timeout), ..Default::default() });
    let status = soon("the deadline", service.run(request)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "RUN_TIMEOUT".into()));
}
