//! Answers that come as event streams: what stands before the answer, and what becomes of a stream that ends too early.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    http::{Method, Response, StatusCode},
};
use futures_util::{StreamExt, stream};
use runwright::grpc::proto::ToolCallStatus;
use serde_json::{Value, json};
use tonic::Request;

use crate::support::{
    mcp_server::{Era, McpServer, Seen, empty, raw, sse, tool, unauthorized},
    run_as,
    scene::{answering, call_against, call_of, list_as, script_config},
    service::{Service, whoami_config},
    soon,
};

const STREAM: &str = "text/event-stream";
const ERAS: [Era; 3] = [Era::Modern, Era::Stateless, Era::Stateful];

fn is_call(seen: &Seen) -> bool {
    seen.method() == "tools/call"
}

fn is_resumption(seen: &Seen) -> bool {
    seen.http == Method::GET
}

/// A whole answer to a request with this id.
fn text_answer(id: &Value, text: &str) -> Value {
    let content = json!([{ "type": "text", "text": text }]);
    json!({ "jsonrpc": "2.0", "id": id, "result": { "resultType": "complete", "content": content } })
}

/// A stream that begins with an id and a time to wait, and ends.
fn cut_short(id: &str) -> Response<Body> {
    raw(StatusCode::OK, STREAM, format!("id: {id}\nretry: 1\ndata:\n\n"))
}

/// A server whose calls break off with an event id that tells the request, and whose GETs are answered as told.
async fn breaking_off<F>(era: Era, resume: F) -> McpServer
where
    F: Fn(&Seen, usize) -> Response<Body> + Send + Sync + 'static,
{
    let resumptions = AtomicUsize::new(0);
    answering(era, move |seen| {
        if is_resumption(seen) {
            return Some(resume(seen, resumptions.fetch_add(1, Ordering::SeqCst)));
        }
        is_call(seen).then(|| cut_short(&seen.body["id"].to_string()))
    })
    .await
}

/// The answer to what a GET resumes, whose event id is the request's.
fn resumed(seen: &Seen) -> Response<Body> {
    let id: Value = serde_json::from_str(seen.header("last-event-id")).unwrap();
    sse(&[text_answer(&id, &format!("resumed for {}", seen.header("authorization")))])
}

fn resumptions(server: &McpServer) -> Vec<Seen> {
    server.seen().into_iter().filter(is_resumption).collect()
}

#[tokio::test]
async fn what_stands_before_the_answer_does_not_matter() {
    for era in ERAS {
        let server = answering(era, |seen| {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            let progress = json!({ "progressToken": token, "progress": 1, "total": 2 });
            let before = [
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": progress }),
                json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x" } }),
                json!({ "jsonrpc": "2.0", "method": "notifications/of-our-own", "params": { "a": 1 } }),
                json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }),
                json!({ "neither": "this" }),
                json!("nor this"),
            ];
            let before: String = before.iter().map(|event| format!("data: {event}\n\n")).collect();
            let odd = ": a comment\n\nevent: ping\ndata: x\n\ndata: no JSON\n\ndata:\n\nid: \ndata:\n\n";
            let answer = text_answer(&seen.body["id"], "the answer");
            let body = format!("{before}{odd}data: {answer}\n\n");
            is_call(seen).then(|| raw(StatusCode::OK, "Text/Event-Stream; charset=utf-8", body))
        })
        .await;
        let (call, text) = call_against(&server, "").await;
        assert_eq!((call.status(), text.as_str()), (ToolCallStatus::Ok, "the answer"), "{era:?}");
        assert!(resumptions(&server).is_empty(), "{era:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_resumed_with_the_runs_headers_and_ids() {
    for era in ERAS {
        let server = breaking_off(era, |seen, _| resumed(seen)).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let mut request = Request::new(run_as("a", "alice"));
        request.metadata_mut().insert("x-request-id", "the-run's-own".parse().unwrap());
        let response = soon("the run", async { service.agents.clone().run(request).await }).await.unwrap();
        assert_eq!(response.into_inner().final_output, "resumed for Bearer alice", "{era:?}");
        let [get] = &resumptions(&server)[..] else { panic!("one resumption") };
        let call = server.seen().into_iter().find(is_call).unwrap();
        for header in
            ["x-request-id", "traceparent", "mcp-session-id", "authorization", "mcp-protocol-version"]
        {
            assert_eq!(get.header(header), call.header(header), "{era:?}: {header}");
        }
        assert_eq!(get.header("x-request-id"), "the-run's-own");
        assert!(get.header("accept").contains(STREAM));
    }
}

#[tokio::test]
async fn an_answer_is_resumed_three_times_at_most_even_where_each_makes_progress() {
    for era in ERAS {
        let server = breaking_off(era, |_, count| cut_short(&format!("again-{count}"))).await;
        let (call, text) = call_against(&server, "").await;
        assert_eq!(call.status(), ToolCallStatus::Unknown, "{era:?}");
        assert!(text.contains("may or may not have run"), "{text}");
        let ids: Vec<String> =
            resumptions(&server).iter().map(|seen| seen.header("last-event-id").to_owned()).collect();
        assert_eq!(ids[1..], ["again-0", "again-1"], "{era:?}: the newest id each time");
        assert_eq!(ids.len(), 3, "{era:?}");
        assert_eq!(server.seen().iter().filter(|seen| is_call(seen)).count(), 1, "it is not called again");
    }
}

#[tokio::test]
async fn a_resumption_without_a_new_id_goes_on_from_the_old_one() {
    let server = breaking_off(Era::Stateful, |seen, count| match count {
        0 => raw(StatusCode::OK, STREAM, "retry: 1\ndata:\n\n"),
        _ => resumed(seen),
    })
    .await;
    let (call, text) = call_against(&server, "").await;
    assert_eq!((call.status(), text.as_str()), (ToolCallStatus::Ok, "resumed for Bearer alice"));
    assert_eq!(resumptions(&server).len(), 2);
}

#[tokio::test]
async fn a_resumption_that_fails_is_tried_again_and_one_that_is_refused_is_not() {
    let flaky = |seen: &Seen, count| if count == 0 { empty(StatusCode::BAD_GATEWAY) } else { resumed(seen) };
    let server = breaking_off(Era::Stateful, flaky).await;
    let (call, _) = call_against(&server, "").await;
    assert_eq!((call.status(), resumptions(&server).len()), (ToolCallStatus::Ok, 2));

    type Answer = fn(&Seen, usize) -> Response<Body>;
    let refusals: [Answer; 4] = [
        |_, _| unauthorized("Bearer"),
        |_, _| empty(StatusCode::FORBIDDEN),
        |_, _| empty(StatusCode::NOT_FOUND),
        |_, _| raw(StatusCode::OK, "application/json", "{}"),
    ];
    for refusal in refusals {
        let server = breaking_off(Era::Stateful, refusal).await;
        let (call, text) = call_against(&server, "").await;
        assert_eq!(call.status(), ToolCallStatus::Unknown, "{text}");
        assert_eq!(resumptions(&server).len(), 1, "{text}");
        assert_eq!(server.seen().iter().filter(|seen| is_call(seen)).count(), 1, "it may have run: {text}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_ids_leaves_the_call_unknown() {
    for era in ERAS {
        for body in ["", ": hello\n\n", "data: {\"jsonrpc\":\"2.0\",\"id\":", "retry: 1\ndata:\n\n"] {
            let server =
                answering(era, move |seen| is_call(seen).then(|| raw(StatusCode::OK, STREAM, body))).await;
            let (call, text) = call_against(&server, "").await;
            assert_eq!(call.status(), ToolCallStatus::Unknown, "{era:?} {body:?}: {text}");
            assert!(resumptions(&server).is_empty());
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_to_wait_for_long_is_waited_for_as_long_as_a_call_may_take() {
    let server = answering(Era::Stateful, |seen| {
        is_call(seen).then(|| raw(StatusCode::OK, STREAM, "id: 1\nretry: 86400000\ndata:\n\n"))
    })
    .await;
    let (call, text) = call_against(&server, "timeouts: { call: 200ms }, ").await;
    assert_eq!(call.status(), ToolCallStatus::Unknown);
    assert!(text.contains("200ms"), "{text}");
    assert!(resumptions(&server).is_empty());
}

#[tokio::test]
async fn an_answer_that_has_come_is_not_resumed() {
    for era in ERAS {
        let server = answering(era, |seen| {
            let answer = text_answer(&seen.body["id"], "the answer");
            let body = format!("id: 1\nretry: 0\ndata:\n\nid: 2\ndata: {answer}\n\n");
            is_call(seen).then(|| raw(StatusCode::OK, STREAM, body))
        })
        .await;
        // What one call gives rise to too much is seen during the next ones.
        let (turn, limit) = (call_of("whoami"), "name: crm }], max_turns: 30 }");
        let yaml = script_config(&server.url(), "", &[&*turn; 20]).replace("name: crm }] }", limit);
        let service = Service::start(&yaml).await;
        let response = service.run(run_as("a", "alice")).await.unwrap();
        assert_eq!(response.final_output, "the answer|".repeat(20), "{era:?}");
        assert!(resumptions(&server).is_empty(), "{era:?}");
    }
}

#[tokio::test]
async fn equal_event_ids_of_two_runs_of_one_identity_stay_on_their_calls() {
    let calls = Arc::new(tokio::sync::Barrier::new(2));
    let server = McpServer::with_hook(Era::Stateless, move |seen| {
        let calls = calls.clone();
        async move {
            if is_resumption(&seen) {
                // The server tells the streams apart by the request that they belong to.
                let id: Value = serde_json::from_str(seen.header("x-request-id")).unwrap();
                return Some(sse(&[text_answer(&id["rpc"], seen.header("x-request-id"))]));
            }
            if is_call(&seen) {
                calls.wait().await;
                return Some(cut_short("1"));
            }
            None
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    service.catalog.clone().list_tools(list_request()).await.unwrap();
    // A client numbers its requests: discover or initialize is 0, the list follows, then the two calls.
    let first = server.seen().iter().filter_map(|seen| seen.body["id"].as_u64()).max().unwrap() + 1;
    let runs = (first..first + 2).map(|rpc| {
        let mut request = Request::new(run_as("a", "alice"));
        let id = json!({ "rpc": rpc }).to_string();
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        let mut agents = service.agents.clone();
        async move { (agents.run(request).await.unwrap().into_inner().final_output, id) }
    });
    for (output, _) in soon("both runs", futures_util::future::join_all(runs)).await {
        assert!(output.contains("rpc"), "{output}");
    }
    let mut ids: Vec<String> =
        resumptions(&server).iter().map(|seen| seen.header("x-request-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "each resumption carries its own run's id");
}

fn list_request() -> runwright::grpc::proto::ListToolsRequest {
    let set = crate::support::headers([("authorization", "Bearer alice")]);
    runwright::grpc::proto::ListToolsRequest {
        agent: "a".into(),
        per_run_mcp_headers: [("crm".to_owned(), set)].into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_is_resumed_and_its_bad_tools_told() {
    let server = answering(Era::Modern, |seen| {
        if is_resumption(seen) {
            let id: Value = serde_json::from_str(seen.header("last-event-id")).unwrap();
            let result =
                json!({ "resultType": "complete", "tools": [json!({ "name": "bad" }), tool("good")] });
            return Some(sse(&[json!({ "jsonrpc": "2.0", "id": id, "result": result })]));
        }
        (seen.method() == "tools/list").then(|| cut_short(&seen.body["id"].to_string()))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let list = list_as(&service, "alice").await;
    assert_eq!((list.tools.len(), list.dropped_tools.len()), (1, 1), "{list:?}");
    assert_eq!((list.tools[0].name.as_str(), list.dropped_tools[0].name.as_str()), ("good", "bad"));
}

#[tokio::test]
async fn no_standing_stream_is_ever_opened() {
    for era in ERAS {
        let server = answering(era, |seen| {
            // One that stands for ever, if it were asked for.
            let silence =
                stream::once(future::ready(Ok::<_, std::io::Error>(Bytes::from_static(b": hi\n\n"))));
            let body = Body::from_stream(silence.chain(stream::pending()));
            is_resumption(seen).then(|| raw(StatusCode::OK, STREAM, body))
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        for _ in 0..3 {
            service.run(run_as("a", "alice")).await.unwrap();
        }
        assert!(resumptions(&server).is_empty(), "{era:?}");
    }
}
