use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, future, stream};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use super::{model, model_with, pieces};
use crate::{
    message::Usage,
    model::{
        Answer, AnswerPart, AskedCall, Model, Piece, Stop,
        asked::{Asked, tool},
        failure,
        loopback::{CANARY, Gone, Loopback, all_pieces, clean},
    },
    trace::TraceHeaders,
};

const WHOLE: &str = r#"{
  "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m1-2026", "service_tier": "default",
  "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
    "role": "assistant", "content": "Let me see.", "refusal": null, "annotations": [],
    "tool_calls": [
      {"id": "call_a", "type": "function", "function": {"name": "find", "arguments": "{\"id\": \"\u00fc\"}"}},
      {"id": "call_b", "type": "function", "function": {"name": "find", "arguments": ""}}]}}],
  "usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "accepted_prediction_tokens": 0}}}"#;

const STREAMED: &str = r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"Let me"},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"content":" see."},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"find","arguments":""}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"id\": "}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"find","arguments":""}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"ü\"}"}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}

data: {"id":"c","choices":[],"usage":{"prompt_tokens":30,"completion_tokens":12,"total_tokens":42,"prompt_tokens_details":{"cached_tokens":20},"completion_tokens_details":{"reasoning_tokens":5}}}

data: [DONE]

"#;

fn expected() -> Answer {
    let call = |id: &str, arguments: &str| {
        let (call_id, arguments_json) = (id.to_owned(), arguments.to_owned());
        AnswerPart::Call(AskedCall { call_id, name: "find".to_owned(), arguments_json })
    };
    let text = AnswerPart::Text("Let me see.".to_owned());
    Answer {
        parts: vec![text, call("call_a", r#"{"id": "ü"}"#), call("call_b", "")],
        stop: Stop::End,
        usage: Usage {
            input_tokens: 30,
            output_tokens: 12,
            total_tokens: 42,
            cached_input_tokens: 20,
            reasoning_tokens: 5,
            model_requests: 1,
        },
    }
}

fn asked() -> Asked {
    let mut asked =
        Asked { tools: vec![tool("crm", "find", "find", r#"{"type":"object"}"#)], ..Asked::saying("hi") };
    asked.outgoing.trace = TraceHeaders {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        tracestate: Some("vendor=1".to_owned()),
        ..TraceHeaders::default()
    };
    asked
}

#[tokio::test]
async fn a_whole_exchange() {
    let mut server = Loopback::answering(200, &[("content-type", "application/json")], WHOLE).await;
    let answer = model(&server.base_url).complete(asked().request()).await;
    assert_eq!(answer, Ok(expected()));

    let seen = server.seen.recv().await.unwrap();
    assert_eq!(seen.uri, "/v1/chat/completions");
    let function = json!({"name": "find", "parameters": {"type": "object", "properties": {}}});
    let body = json!({
        "model": "m1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": function}],
        "stream": false,
    });
    assert_eq!(seen.body, body);
    let headers: BTreeMap<_, _> =
        seen.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    assert_eq!(headers.len(), seen.headers.len());
    let host = server.base_url.trim_start_matches("http://").trim_end_matches("/v1");
    let length = serde_json::to_vec(&body).unwrap().len().to_string();
    let expected = [
        ("accept", "application/json"),
        ("authorization", "Bearer key-1"),
        ("content-length", &length),
        ("content-type", "application/json"),
        ("host", host),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("user-agent", concat!("runwright/", env!("CARGO_PKG_VERSION"))),
        ("x-request-id", "request-1"),
    ];
    assert_eq!(headers, BTreeMap::from(expected));
}

#[tokio::test]
async fn what_there_is_not_is_not_sent() {
    let mut server = Loopback::answering(200, &[], WHOLE).await;
    let model = model_with(&server.base_url, None);
    assert_eq!(model.complete(Asked::saying("hi").request()).await, Ok(expected()));
    let seen = server.seen.recv().await.unwrap();
    for name in ["authorization", "traceparent", "tracestate"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_streamed_exchange() {
    let mut server = Loopback::answering(200, &[("content-type", "text/event-stream")], STREAMED).await;
    let pieces: Vec<_> =
        model(&server.base_url).stream(asked().request()).map(Result::unwrap).collect().await;
    assert_eq!(pieces, [Piece::Text("Let me see.".to_owned()), Piece::Done(expected())]);

    let seen = server.seen.recv().await.unwrap();
    assert_eq!(seen.body["stream"], true);
    assert_eq!(seen.body["stream_options"], json!({"include_usage": true}));
    assert_eq!(seen.headers["accept"], "text/event-stream, application/json");
    assert_eq!(seen.headers["authorization"], "Bearer key-1");
}

#[tokio::test]
async fn a_server_that_does_not_stream_gives_the_answer_in_one_piece() {
    let server =
        Loopback::answering(200, &[("content-type", "application/json; charset=utf-8")], WHOLE).await;
    let pieces = all_pieces(&model(&server.base_url)).await;
    assert_eq!(pieces, [Ok(Piece::Text("Let me see.".to_owned())), Ok(Piece::Done(expected()))]);
}

#[test]
fn the_path_is_added_to_any_base() {
    let cases = [
        ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"),
        ("https://api.example.com", "https://api.example.com/chat/completions"),
        (
            "https://a.example/openai/d/x?api-version=1",
            "https://a.example/openai/d/x/chat/completions?api-version=1",
        ),
    ];
    for (base, expected) in cases {
        assert_eq!(model(base).endpoint.uri().to_string(), expected);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let mut target = Loopback::answering(200, &[], WHOLE).await;
        let location = format!("{}/chat/completions?{CANARY}", target.base_url);
        let server = Loopback::answering(status, &[("location", &location)], "").await;
        let refused = Err(failure::unavailable("it answered with a redirect, which is never followed"));
        assert_eq!(
            clean(model(&server.base_url).complete(Asked::saying("hi").request()).await),
            refused,
            "{status}"
        );
        assert_eq!(all_pieces(&model(&server.base_url)).await, [refused.map(Piece::Done)], "{status}");
        assert!(target.seen.try_recv().is_err(), "{status} was followed");
    }
}

#[tokio::test]
async fn pieces_of_a_kind_that_have_come_together_are_one_and_keep_their_order() {
    let event =
        |kind: &str, text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {kind: text}}]}));
    let (text, reasoning) = (|text| event("content", text), |text| event("reasoning", text));
    let events = [text("a "), text("b "), reasoning("c "), reasoning("d"), text("e")].concat();
    let piece = |text: &str| Ok(Piece::Text(text.to_owned()));
    let expected = [piece("a b "), Ok(Piece::Reasoning("c d".to_owned())), piece("e"), Err(failure::cut())];
    assert_eq!(pieces(&events).await, expected);
}

#[tokio::test]
async fn to_drop_a_stream_is_to_drop_its_request() {
    let (sender, mut gone) = unbounded_channel();
    let server = Loopback::start(move || {
        let guard = Gone(sender.clone());
        let first = stream::iter(["data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"]);
        let events = first.chain(stream::pending()).map(move |event| {
            let _ = &guard;
            Ok::<_, Infallible>(event)
        });
        future::ready(Response::new(Body::from_stream(events)))
    })
    .await;
    let (model, asked) = (model(&server.base_url), Asked::saying("hi"));
    let mut stream = model.stream(asked.request());
    assert_eq!(stream.next().await, Some(Ok(Piece::Text("a".to_owned()))));
    assert!(gone.try_recv().is_err());
    drop(stream);
    assert_eq!(gone.recv().await, Some(()));
}

#[tokio::test]
async fn to_drop_a_future_is_to_drop_its_request() {
    let (sender, mut gone) = unbounded_channel();
    let mut server = Loopback::start(move || {
        let guard = Gone(sender.clone());
        async move {
            let _guard = guard;
            future::pending().await
        }
    })
    .await;
    let (model, asked) = (model(&server.base_url), Asked::saying("hi"));
    let answer = model.complete(asked.request());
    let arrived = server.seen.recv();
    tokio::select! {
        answer = answer => panic!("{answer:?}"),
        seen = arrived => assert!(seen.is_some()),
    }
    assert_eq!(gone.recv().await, Some(()));
}

#[tokio::test]
async fn connections_are_used_again() {
    let mut server = Loopback::start(|| {
        // The end of the body comes some time after its last event.
        let turns = stream::iter(0..100).then(|_| tokio::task::yield_now());
        let end = turns.filter_map(|()| future::ready(None));
        let events = stream::iter([Ok::<_, Infallible>(STREAMED)]).chain(end);
        future::ready(Response::new(Body::from_stream(events)))
    })
    .await;
    let model = model(&server.base_url);
    let mut peers = BTreeSet::new();
    for _ in 0..20 {
        assert_eq!(all_pieces(&model).await.len(), 2);
        peers.insert(server.seen.recv().await.unwrap().peer);
    }
    assert!(peers.len() < 20, "each request had its own connection");
}
