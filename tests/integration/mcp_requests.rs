//! What a server may ask of us in the middle of a call: a sign of life is given; there is nobody to ask for more.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode},
};
use futures_util::{StreamExt, stream};
use runwright::grpc::proto::ToolCallStatus;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{
    mcp_server::{Era, McpServer, Seen, empty, raw},
    scene::{answering, call_against},
};

/// A server that asks something on the stream of a call, and answers the call once it has been answered.
async fn asking(era: Era, method: &'static str, params: Value) -> McpServer {
    let answered = CancellationToken::new();
    McpServer::with_hook(era, move |seen| {
        let response = ask(&seen, &answered, method, &params);
        future::ready(response)
    })
    .await
}

fn ask(seen: &Seen, answered: &CancellationToken, method: &str, params: &Value) -> Option<Response<Body>> {
    if seen.body["id"] == "of-the-server" {
        answered.cancel();
        return Some(empty(StatusCode::ACCEPTED));
    }
    let question = json!({ "jsonrpc": "2.0", "id": "of-the-server", "method": method, "params": params });
    let result = json!({ "content": [{ "type": "text", "text": "done" }] });
    let answer = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": result });
    let event = |event: Value| Ok::<_, std::io::Error>(Bytes::from(format!("data: {event}\n\n")));
    let answered = answered.clone();
    let then = stream::once(async move {
        answered.cancelled().await;
        event(answer)
    });
    let body = Body::from_stream(stream::iter([event(question)]).chain(then));
    (seen.method() == "tools/call").then(|| raw(StatusCode::OK, "text/event-stream", body))
}

#[tokio::test]
async fn a_servers_question_is_answered_with_the_runs_headers() {
    let elicitation =
        json!({ "message": "which?", "requestedSchema": { "type": "object", "properties": {} } });
    let sampling = json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": "hi" } }], "maxTokens": 5 });
    let cases = [
        ("ping", json!({}), "/result", json!({})),
        ("elicitation/create", elicitation, "/result/action", json!("decline")),
        ("sampling/createMessage", sampling, "/error/code", json!(-32601)),
        ("roots/list", json!({}), "/result/roots", json!([])),
    ];
    for era in [Era::Stateless, Era::Stateful] {
        for (method, params, place, expected) in &cases {
            let server = asking(era, method, params.clone()).await;
            let (call, text) = call_against(&server, "").await;
            assert_eq!((call.status(), text.as_str()), (ToolCallStatus::Ok, "done"), "{era:?} {method}");
            let seen = server.seen();
            let answer = seen.iter().find(|seen| seen.body["id"] == "of-the-server").unwrap();
            assert_eq!(answer.body.pointer(place), Some(expected), "{era:?} {method}: {}", answer.body);
            let call = seen.iter().find(|seen| seen.method() == "tools/call").unwrap();
            for header in ["authorization", "mcp-session-id", "mcp-protocol-version", "x-request-id"] {
                assert_eq!(answer.header(header), call.header(header), "{era:?} {method}: {header}");
            }
        }
    }
}

#[tokio::test]
async fn a_question_of_an_unknown_kind_is_refused_and_the_call_goes_on() {
    let server = asking(Era::Stateful, "x/unheard-of", json!({})).await;
    let (call, _) = call_against(&server, "").await;
    assert_eq!(call.status(), ToolCallStatus::Ok);
    let seen = server.seen();
    let answer = seen.iter().find(|seen| seen.body["id"] == "of-the-server").unwrap();
    assert_eq!(answer.body["error"]["code"], -32601);
}

/// A server whose tool asks for input in its result, `rounds` times, and then answers.
async fn needing_input(rounds: usize, requests: Value) -> McpServer {
    let count = Arc::new(AtomicUsize::new(0));
    answering(Era::Modern, move |seen| {
        if seen.method() != "tools/call" {
            return None;
        }
        let round = count.fetch_add(1, Ordering::SeqCst);
        if round >= rounds {
            return Some(seen.tool_text("done"));
        }
        let mut result = json!({ "resultType": "input_required", "requestState": format!("opaque/{round}") });
        if !requests.is_null() {
            result["inputRequests"] = requests.clone();
        }
        Some(seen.result(result))
    })
    .await
}

fn elicit() -> Value {
    let schema = json!({ "type": "object", "properties": {} });
    let params = json!({ "mode": "form", "message": "which?", "requestedSchema": schema });
    json!({ "method": "elicitation/create", "params": params })
}

fn calls(server: &McpServer) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| seen.method() == "tools/call").collect()
}

#[tokio::test]
async fn asked_for_input_the_call_is_repeated_with_what_there_is_and_the_servers_state() {
    let server = needing_input(2, json!({ "one": elicit(), "two": { "method": "roots/list" } })).await;
    let (call, text) = call_against(&server, "").await;
    assert_eq!((call.status(), text.as_str()), (ToolCallStatus::Ok, "done"));
    let calls = calls(&server);
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].body["params"]["requestState"], Value::Null);
    assert_ne!(calls[0].body["id"], calls[1].body["id"], "each is a request of its own");
    for (round, call) in calls[1..].iter().enumerate() {
        let params = &call.body["params"];
        assert_eq!(params["requestState"], format!("opaque/{round}"), "the last state, and no other");
        let expected = json!({ "one": { "action": "decline" }, "two": { "roots": [] } });
        assert_eq!(params["inputResponses"], expected);
        assert_eq!(params["name"], "whoami");
        assert_eq!(call.header("authorization"), "Bearer alice");
        assert_eq!(call.header("x-request-id"), calls[0].header("x-request-id"));
    }
}

#[tokio::test]
async fn a_state_alone_is_given_back() {
    let server = needing_input(1, Value::Null).await;
    assert_eq!(call_against(&server, "").await.0.status(), ToolCallStatus::Ok);
    let params = &calls(&server)[1].body["params"];
    assert_eq!((&params["requestState"], &params["inputResponses"]), (&json!("opaque/0"), &Value::Null));
}

#[tokio::test]
async fn a_tool_may_ask_eight_times() {
    let server = needing_input(8, json!({ "one": elicit() })).await;
    assert_eq!(call_against(&server, "").await.0.status(), ToolCallStatus::Ok);
    assert_eq!(calls(&server).len(), 9);

    let server = needing_input(usize::MAX, json!({ "one": elicit() })).await;
    let (call, text) = call_against(&server, "").await;
    assert_eq!(call.status(), ToolCallStatus::Error);
    assert!(text.contains("more input"), "{text}");
    assert_eq!(calls(&server).len(), 9, "and then it is over");
}

#[tokio::test]
async fn a_tool_that_asks_for_a_models_answer_is_refused() {
    let params = json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": "hi" } }], "maxTokens": 5 });
    let sampling = json!({ "method": "sampling/createMessage", "params": params });
    let server = needing_input(1, json!({ "one": sampling })).await;
    let (call, _) = call_against(&server, "").await;
    assert_eq!(call.status(), ToolCallStatus::Error);
    assert_eq!(calls(&server).len(), 1);
}
