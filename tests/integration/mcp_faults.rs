//! What goes wrong in a tool call: the model is told, the call is made once, and the status says whether it may have run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode},
};
use futures_util::{StreamExt, stream};
use runwright::grpc::proto::ToolCallStatus;
use serde_json::{Value, json};

use crate::support::{
    mcp_server::{Era, McpServer, Seen, empty, json_response, raw, sse},
    raw_server::{RawServer, reset, send},
    run_as,
    scene::{Gauge, answering, call_against, call_of, crm_config, script_config},
    service::{Service, whoami_config},
    soon,
};

const ERAS: [Era; 3] = [Era::Modern, Era::Stateless, Era::Stateful];
const JSON: &str = "application/json";

fn is_call(seen: &Seen) -> bool {
    seen.method() == "tools/call"
}

fn calls(server: &McpServer) -> usize {
    server.seen().iter().filter(|seen| is_call(seen)).count()
}

fn text_result(id: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": "wrong" }] } })
}

type Answer = fn(&Seen) -> Response<Body>;

/// Answers that are none. The server may have run the tool.
const NO_ANSWERS: [(&str, Answer); 17] = [
    ("the wrong id", |_| json_response(&text_result(json!(4711)))),
    ("another kind of id", |_| json_response(&text_result(json!("call")))),
    ("a null id", |_| json_response(&text_result(Value::Null))),
    ("no id", |_| json_response(&json!({ "jsonrpc": "2.0", "result": { "content": [] } }))),
    ("the wrong id in a stream", |_| sse(&[text_result(json!(4711))])),
    ("a null id in a stream", |_| sse(&[text_result(Value::Null)])),
    ("malformed JSON", |_| raw(StatusCode::OK, JSON, "{\"jsonrpc\": nonsense}")),
    ("no JSON-RPC", |_| raw(StatusCode::OK, JSON, "{\"ok\": true}")),
    ("nothing", |_| raw(StatusCode::OK, JSON, "")),
    ("a batch", |seen| raw(StatusCode::OK, JSON, format!("[{}]", text_result(seen.body["id"].clone())))),
    ("a request", |_| json_response(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))),
    ("a notification", |_| json_response(&json!({ "jsonrpc": "2.0", "method": "notifications/message" }))),
    ("a page", |_| raw(StatusCode::OK, "text/html", "<html>please log in</html>")),
    ("202", |_| empty(StatusCode::ACCEPTED)),
    ("500", |_| empty(StatusCode::INTERNAL_SERVER_ERROR)),
    ("502 as a page", |_| raw(StatusCode::BAD_GATEWAY, "text/html", "<html>bad gateway</html>")),
    ("503 with JSON of a gateway", |seen| {
        let error = json!({ "code": -32000, "message": "gateway" });
        let body = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error }).to_string();
        raw(StatusCode::SERVICE_UNAVAILABLE, JSON, body)
    }),
];

#[tokio::test]
async fn an_answer_that_is_none_leaves_the_call_unknown_and_it_is_not_made_again() {
    for (what, answer) in NO_ANSWERS {
        for era in [Era::Modern, Era::Stateful] {
            let server = answering(era, move |seen| is_call(seen).then(|| answer(seen))).await;
            let (call, text) = call_against(&server, "timeouts: { call: 2s }, ").await;
            assert_eq!(call.status(), ToolCallStatus::Unknown, "{era:?} {what}: {text}");
            assert!(text.contains("may or may not have run"), "{era:?} {what}: {text}");
            assert!(!text.contains("wrong") && !text.contains("gateway"), "{era:?} {what}: {text}");
            assert_eq!(calls(&server), 1, "{era:?} {what}");
        }
    }
}

#[tokio::test]
async fn an_error_that_the_server_answers_with_goes_to_the_model() {
    let error = |seen: &Seen, status| {
        let error = json!({ "code": -32042, "message": "in its own words" });
        let body = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error }).to_string();
        raw(status, JSON, body)
    };
    for status in [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR] {
        for era in ERAS {
            let server = answering(era, move |seen| is_call(seen).then(|| error(seen, status))).await;
            let (call, text) = call_against(&server, "").await;
            assert_eq!(call.status(), ToolCallStatus::Error, "{era:?} {status}");
            assert!(text.contains("in its own words") && text.contains("-32042"), "{text}");
        }
    }
    let idless = json!({ "jsonrpc": "2.0", "error": { "code": -32700, "message": "can't parse" } });
    let server = answering(Era::Modern, move |seen| is_call(seen).then(|| json_response(&idless))).await;
    let (call, text) = call_against(&server, "").await;
    assert_eq!(call.status(), ToolCallStatus::Error);
    assert!(text.contains("can't parse"), "{text}");
}

#[tokio::test]
async fn a_forbidden_call_is_the_tools_error_and_the_run_goes_on() {
    for challenge in [None, Some("Bearer error=\"insufficient_scope\", scope=\"admin\"")] {
        let server = answering(Era::Modern, move |seen| {
            let mut answer = empty(StatusCode::FORBIDDEN);
            if let Some(challenge) = challenge {
                answer.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            }
            is_call(seen).then_some(answer)
        })
        .await;
        let (call, text) = call_against(&server, "").await;
        assert_eq!(call.status(), ToolCallStatus::Error);
        assert!(text.contains("403"), "{text}");
    }
}

#[tokio::test]
async fn too_many_requests_are_told_whatever_retry_after_says() {
    for retry_after in ["1", "Sun, 06 Nov 2094 08:49:37 GMT", "99999999999999999999", "soon", ""] {
        let server = answering(Era::Modern, move |seen| {
            let mut answer = empty(StatusCode::TOO_MANY_REQUESTS);
            answer.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            is_call(seen).then_some(answer)
        })
        .await;
        let (call, text) = call_against(&server, "").await;
        assert_ne!(call.status(), ToolCallStatus::Ok);
        assert!(text.contains("429"), "{text}");
        assert_eq!(calls(&server), 1);
    }
}

#[tokio::test]
async fn a_session_that_is_gone_costs_one_call_and_the_next_call_opens_a_new_one() {
    let server = answering(Era::Stateful, |seen| {
        (is_call(seen) && seen.header("mcp-session-id") == "session-0").then(|| empty(StatusCode::NOT_FOUND))
    })
    .await;
    let turns = [call_of("whoami"), call_of("whoami")];
    let yaml = script_config(&server.url(), "", &[&turns[0], &turns[1]]);
    let service = Service::start(&yaml).await;
    let response = service.run(run_as("a", "alice")).await.unwrap();
    let statuses: Vec<_> = response.tool_calls.iter().map(|call| call.status()).collect();
    assert_eq!(statuses, [ToolCallStatus::Error, ToolCallStatus::Ok]);
    assert!(response.final_output.starts_with("The tool was not run"), "{}", response.final_output);
    assert!(response.final_output.ends_with("|Bearer alice|"), "{}", response.final_output);
    let sessions: Vec<String> = server
        .seen()
        .iter()
        .filter(|seen| is_call(seen) || seen.http == "DELETE")
        .map(|seen| format!("{} {}", seen.http, seen.header("mcp-session-id")))
        .collect();
    assert_eq!(sessions, ["POST session-0", "POST session-1", "DELETE session-1"]);
}

#[tokio::test]
async fn a_server_that_is_down_is_told_as_unsent() {
    let server = McpServer::start(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let address = server.address;
    drop(server);
    // The port is free again once nothing listens on it.
    soon("the server's end", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let status = service.run(run_as("a", "bob")).await.unwrap_err();
    assert_eq!(crate::support::error::decode(&status).reason, "MCP_UNAVAILABLE");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_was_written_leaves_the_call_unknown() {
    for half_answered in [false, true] {
        let server = RawServer::start(move |_, mut connection| async move {
            if half_answered {
                send(&mut connection, "content-type: application/json\r\ncontent-length: 1000", "{").await;
            }
            reset(connection);
            None
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let response = soon("the run", service.run(run_as("a", "alice"))).await.unwrap();
        assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Unknown, "{}", response.final_output);
        let calls = server.methods().iter().filter(|method| *method == "tools/call").count();
        assert_eq!(calls, 1, "it is not sent again");
    }
}

#[tokio::test]
async fn a_call_that_never_left_is_told_as_not_run() {
    // Every connection breaks before a request can be read, once the start is over.
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let server = RawServer::start(move |message, connection| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            drop(message);
            reset(connection);
            None
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let url = server.address;
    drop(server);
    soon("the server's end", async {
        while tokio::net::TcpStream::connect(url).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The client is kept and its list good: the call is the first request of this run.
    let response = soon("the run", service.run(run_as("a", "alice"))).await.unwrap();
    assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error, "{}", response.final_output);
    assert!(response.final_output.contains("was not run"), "{}", response.final_output);
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_hangs_or_trickles_ends_in_its_time_and_its_socket_is_closed() {
    for era in ERAS {
        for kind in ["no answer", "a silent body", "a silent stream", "a trickle", "keepalives"] {
            let sockets = Gauge::default();
            let held = sockets.clone();
            let server = McpServer::with_hook(era, move |seen| {
                let alive = is_call(&seen).then(|| held.enter());
                async move {
                    let alive = alive?;
                    let bytes = |bytes: &'static [u8]| Ok::<_, std::io::Error>(Bytes::from_static(bytes));
                    let forever = match kind {
                        "no answer" => std::future::pending().await,
                        "a silent body" => stream::iter([bytes(b"{")]).chain(stream::pending()).boxed(),
                        "a silent stream" => stream::pending().boxed(),
                        "a trickle" => one_by_one(b" ").boxed(),
                        _ => one_by_one(b": still here\n\n").boxed(),
                    };
                    let body = Body::from_stream(forever.map(move |item| {
                        let _ = &alive;
                        item
                    }));
                    let is_json = matches!(kind, "a silent body" | "a trickle");
                    Some(raw(StatusCode::OK, if is_json { JSON } else { "text/event-stream" }, body))
                }
            })
            .await;
            let service = Service::start(&crm_config(&server.url(), "timeouts: { call: 200ms }, ")).await;
            let response = soon("the run's end", service.run(run_as("a", "alice"))).await.unwrap();
            assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Unknown, "{era:?} {kind}");
            assert!(response.final_output.contains("200ms"), "{}", response.final_output);
            sockets.reaches("the call's end", 0).await;
            let told = server.seen().into_iter().find(|seen| seen.method() == "notifications/cancelled");
            if era == Era::Modern {
                assert!(told.is_none(), "{kind}: the closed stream is the cancellation");
                continue;
            }
            let told = told.unwrap_or_else(|| panic!("{era:?} {kind}: the server is told"));
            let call = server.seen().into_iter().find(is_call).unwrap();
            assert_eq!(told.body["params"]["requestId"], call.body["id"]);
            for header in ["authorization", "mcp-session-id", "x-request-id"] {
                assert_eq!(told.header(header), call.header(header), "{header}");
            }
        }
    }
}

/// The same bytes again and again, each time after all else that is ready has been done.
fn one_by_one(bytes: &'static [u8]) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::repeat(()).then(move |()| async move {
        tokio::task::yield_now().await;
        Ok(Bytes::from_static(bytes))
    })
}
