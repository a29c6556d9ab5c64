//! Finding out which era of MCP a server is of: whatever it answers to `server/discover`, once for all.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    mcp_server::{Era, McpServer, Seen, empty, raw, sse},
    run_as,
    scene::{answering, crm_config, reason, run_against},
    service::{Service, whoami_config},
    soon,
};

type Answer = fn(&Seen) -> Response<Body>;

/// What servers with a handshake are known to answer to `server/discover`.
const OLD_ANSWERS: [(&str, Answer); 16] = [
    ("an empty result", |seen| seen.result(json!({}))),
    ("some result", |seen| seen.result(json!({ "resultType": "complete", "ok": true }))),
    ("a tool list", |seen| seen.result(json!({ "tools": [] }))),
    ("a handshake's result", |seen| {
        let server = json!({ "name": "x", "version": "1" });
        seen.result(json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": server }))
    }),
    ("other revisions", |seen| {
        let capabilities = json!({ "tools": {} });
        seen.result(
            json!({ "resultType": "complete", "supportedVersions": ["2025-11-25"], "capabilities": capabilities }),
        )
    }),
    ("no such method", |seen| seen.error(-32601, "no such method")),
    ("an invalid request", |seen| seen.error(-32600, "no session")),
    ("an unsupported revision", |seen| {
        let error = json!({ "code": -32022, "message": "no", "data": { "supported": ["2025-11-25"] } });
        rpc_error(seen, StatusCode::BAD_REQUEST, error)
    }),
    ("400 with an error of another id", |seen| {
        let seen = Seen { body: json!({ "id": "server-error" }), ..seen.clone() };
        rpc_error(&seen, StatusCode::BAD_REQUEST, json!({ "code": -32600, "message": "no session" }))
    }),
    ("400 with an error without an id", |_| {
        let body = json!({ "jsonrpc": "2.0", "error": { "code": -32600, "message": "no" } }).to_string();
        raw(StatusCode::BAD_REQUEST, "application/json", body)
    }),
    ("400 in words", |_| raw(StatusCode::BAD_REQUEST, "text/plain", "Bad Request: no session")),
    ("404 as a page", |_| raw(StatusCode::NOT_FOUND, "text/html", "<html>not found</html>")),
    ("405 without a body", |_| empty(StatusCode::METHOD_NOT_ALLOWED)),
    ("200 as a page", |_| raw(StatusCode::OK, "text/html", "<html>hello</html>")),
    ("202 without a body", |_| empty(StatusCode::ACCEPTED)),
    ("an error in an event stream", |seen| {
        let error = json!({ "code": -32601, "message": "no" });
        sse(&[json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error })])
    }),
];

fn rpc_error(seen: &Seen, status: StatusCode, error: Value) -> Response<Body> {
    let body = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error }).to_string();
    raw(status, "application/json", body)
}

#[tokio::test]
async fn whatever_an_old_server_answers_to_discover_the_handshake_follows() {
    for (what, answer) in OLD_ANSWERS {
        let server =
            answering(Era::Stateful, move |seen| (seen.method() == "server/discover").then(|| answer(seen)))
                .await;
        let response = run_against(&server, "").await;
        assert_eq!(response.map(|response| response.final_output).unwrap(), "Bearer alice", "{what}");
        let expected = [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "tools/list",
            "tools/call",
            "DELETE",
        ];
        assert_eq!(server.methods(), expected, "{what}");
    }
}

#[tokio::test]
async fn an_old_server_that_ignores_discover_is_waited_for_in_bounded_time() {
    let server = McpServer::with_hook(Era::Stateless, |seen| async move {
        if seen.method() == "server/discover" {
            std::future::pending::<()>().await;
        }
        None
    })
    .await;
    let response = run_against(&server, "timeouts: { startup: 500ms }, ").await.unwrap();
    assert_eq!(response.final_output, "Bearer alice");
}

#[tokio::test]
async fn an_old_server_that_ignores_discover_is_not_asked_for_ever() {
    let server = McpServer::with_hook(Era::Stateless, |seen| async move {
        if seen.method() == "server/discover" {
            std::future::pending::<()>().await;
        }
        None
    })
    .await;
    let service = Service::start(&crm_config(&server.url(), "timeouts: { startup: 300ms }, ")).await;
    for token in ["alice", "bob", "carol", "dave"] {
        service.run(run_as("a", token)).await.unwrap();
    }
    let asked = server.methods().iter().filter(|method| *method == "server/discover").count();
    assert_eq!(asked, 2, "twice silent, and then believed");
}

#[tokio::test]
async fn a_modern_server_that_is_slow_at_first_is_asked_once_more() {
    let asked = AtomicUsize::new(0);
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let first = seen.method() == "server/discover" && asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            None
        }
    })
    .await;
    let service = Service::start(&crm_config(&server.url(), "timeouts: { startup: 300ms }, ")).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let opening = ["server/discover", "initialize", "server/discover", "tools/list", "tools/call"];
    assert_eq!(server.methods(), opening);
}

#[tokio::test]
async fn an_old_server_is_asked_to_discover_once_and_remembered() {
    let server = McpServer::start(Era::Stateless).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    service.run(run_as("a", "alice")).await.unwrap();
    server.forget();
    service.run(run_as("a", "bob")).await.unwrap();
    let expected = ["initialize", "notifications/initialized", "tools/list", "tools/call"];
    assert_eq!(server.methods(), expected, "another identity knows the server's era");
}

#[tokio::test]
async fn a_server_may_change_its_era_while_the_service_runs() {
    let modern = Arc::new(AtomicBool::new(false));
    let now = modern.clone();
    let server = answering(Era::Stateless, move |seen| match (now.load(Ordering::SeqCst), seen.method()) {
        (true, "server/discover") => Some(discovered(seen)),
        (true, "initialize") => Some(seen.error(-32601, "no such method")),
        _ => None,
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    for (number, is_modern) in [false, true, false, true].into_iter().enumerate() {
        modern.store(is_modern, Ordering::SeqCst);
        server.forget();
        let token = format!("user-{number}");
        let response = soon("a run", service.run(run_as("a", &token))).await.unwrap();
        assert_eq!(response.final_output, format!("Bearer {token}"));
        let call = server.seen().pop().unwrap();
        let revision = if is_modern { "2026-07-28" } else { "2025-11-25" };
        assert_eq!(call.header("mcp-protocol-version"), revision, "run {number}");
    }
}

/// The answer of a modern server to `server/discover`.
fn discovered(seen: &Seen) -> Response<Body> {
    seen.result(json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
    }))
}

#[tokio::test]
async fn one_slow_or_failing_discover_is_helped_with_a_handshake_and_not_remembered() {
    for never_answers in [false, true] {
        let asked = AtomicUsize::new(0);
        // It understands both ways to start.
        let server = McpServer::with_hook(Era::Stateful, move |seen| {
            let first = seen.method() == "server/discover" && asked.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                match (first, seen.method()) {
                    (true, _) if never_answers => std::future::pending().await,
                    (true, _) => Some(empty(StatusCode::SERVICE_UNAVAILABLE)),
                    (false, "server/discover") => Some(discovered(&seen)),
                    _ => None,
                }
            }
        })
        .await;
        let service = Service::start(&crm_config(&server.url(), "timeouts: { startup: 1s }, ")).await;
        service.run(run_as("a", "alice")).await.unwrap();
        assert!(server.methods().contains(&"initialize".to_owned()), "it is used for this client");
        server.forget();
        service.run(run_as("a", "bob")).await.unwrap();
        assert_eq!(server.methods(), ["server/discover", "tools/list", "tools/call"], "and not for the next");
    }
}

/// How a server fails that has been used before: what it answers to `server/discover` and to `initialize`, what the run
/// is told, and what was asked.
async fn fails_later(
    era: Era,
    [discover, initialize]: [StatusCode; 2],
) -> ((tonic::Code, String), Vec<String>) {
    let failing = Arc::new(AtomicBool::new(false));
    let now = failing.clone();
    let server = answering(era, move |seen| match (now.load(Ordering::SeqCst), seen.method()) {
        (true, "server/discover") => Some(empty(discover)),
        (true, "initialize") => Some(empty(initialize)),
        _ => None,
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    service.run(run_as("a", "alice")).await.unwrap();
    server.forget();
    failing.store(true, Ordering::SeqCst);
    let status = service.run(run_as("a", "bob")).await.unwrap_err();
    (reason(&status), server.methods())
}

#[tokio::test]
async fn a_known_server_that_fails_in_passing_is_not_asked_the_other_way() {
    for passing in [408, 429, 500, 503].map(|code| StatusCode::from_u16(code).unwrap()) {
        for (era, asked) in [(Era::Stateless, "initialize"), (Era::Modern, "server/discover")] {
            let statuses = match era {
                Era::Modern => [passing, StatusCode::BAD_REQUEST],
                _ => [StatusCode::BAD_REQUEST, passing],
            };
            let (told, methods) = fails_later(era, statuses).await;
            assert_eq!(told, (Code::Unavailable, "MCP_UNAVAILABLE".into()), "{era:?} {passing}");
            assert_eq!(methods, [asked], "{era:?} {passing}");
        }
    }
}

#[tokio::test]
async fn where_a_known_server_fails_either_way_the_first_failure_is_told() {
    let (gone, failing) = (StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE);
    let (told, methods) = fails_later(Era::Stateless, [failing, gone]).await;
    assert_eq!(told, (Code::FailedPrecondition, "MCP_PROTOCOL_ERROR".into()));
    assert_eq!(methods, ["initialize", "server/discover"]);
    let (told, methods) = fails_later(Era::Modern, [gone, failing]).await;
    assert_eq!(told, (Code::FailedPrecondition, "MCP_PROTOCOL_ERROR".into()));
    assert_eq!(methods, ["server/discover", "initialize"]);
    // But a refused credential is the caller's to know.
    let (told, _) = fails_later(Era::Stateless, [StatusCode::UNAUTHORIZED, gone]).await;
    assert_eq!(told, (Code::FailedPrecondition, "MCP_UNAUTHORIZED".into()));
}

#[tokio::test]
async fn where_a_new_server_fails_in_passing_and_knows_no_handshake_the_former_is_told() {
    let server = answering(Era::Modern, |seen| match seen.method() {
        "server/discover" => Some(empty(StatusCode::SERVICE_UNAVAILABLE)),
        _ => Some(empty(StatusCode::BAD_REQUEST)),
    })
    .await;
    let status = run_against(&server, "").await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "MCP_UNAVAILABLE".into()));
}

#[tokio::test]
async fn the_revision_without_a_handshake_says_on_each_request_what_it_is() {
    let server = McpServer::start(Era::Modern).await;
    run_against(&server, "").await.unwrap();
    for seen in server.seen() {
        let method = seen.method().to_owned();
        let meta = &seen.body["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28", "{method}");
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object(), "{method}");
        assert_eq!(seen.header("mcp-protocol-version"), "2026-07-28", "{method}");
        assert_eq!(seen.header("mcp-method"), method);
        assert_eq!(seen.header("mcp-name"), if method == "tools/call" { "whoami" } else { "" });
        assert_eq!(seen.header("mcp-session-id"), "");
    }
}

#[tokio::test]
async fn a_session_id_of_a_server_without_sessions_is_not_echoed() {
    let server = answering(Era::Modern, |seen| {
        let mut answer = seen.result(json!({ "resultType": "complete", "tools": [{
            "name": "whoami", "inputSchema": { "type": "object" } }] }));
        answer.headers_mut().insert("mcp-session-id", "odd".parse().unwrap());
        (seen.method() == "tools/list").then_some(answer)
    })
    .await;
    let service = Service::start(&crm_config(&server.url(), "")).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.header("mcp-session-id").is_empty()));
    assert!(!server.methods().contains(&"DELETE".to_owned()));
}
