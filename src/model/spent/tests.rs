use std::{convert::Infallible, future};

use axum::{
    body::{Body, Bytes},
    http::Response,
};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Spent;
use crate::{
    message::Usage,
    model::{
        Model,
        anthropic::Anthropic,
        asked::Asked,
        loopback::{Loopback, endpoint},
        openai_chat::OpenAiChat,
        openai_responses::OpenAiResponses,
    },
};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];

/// A model of each API.
fn models(base_url: &str) -> [Box<dyn Model>; 3] {
    let endpoint = || endpoint(base_url, &[]);
    let ((chat, a), (responses, b), (messages, c)) = (endpoint(), endpoint(), endpoint());
    [
        Box::new(OpenAiChat::new(chat, a).unwrap()),
        Box::new(OpenAiResponses::new(responses, b).unwrap()),
        Box::new(Anthropic::new(messages, c).unwrap()),
    ]
}

/// One request, and these tokens of it.
fn one(input_tokens: i64, output_tokens: i64) -> Usage {
    let total_tokens = input_tokens + output_tokens;
    Usage { input_tokens, output_tokens, total_tokens, model_requests: 1, ..Usage::default() }
}

/// Asks for a whole answer and for a stream, which both fail; gives what each consumed.
async fn spent(model: &dyn Model) -> [Usage; 2] {
    let (whole, streamed) = (Asked::saying("hi"), Asked::saying("hi"));
    model.complete(whole.request()).await.unwrap_err();
    let pieces: Vec<_> = model.stream(streamed.request()).collect().await;
    assert!(pieces.last().unwrap().is_err(), "{pieces:?}");
    [whole, streamed].map(|asked| asked.spent.take())
}

#[test]
fn what_was_noted_adds_up_until_it_is_taken() {
    let spent = Spent::default();
    spent.add(one(3, 2));
    spent.add(one(1, 0));
    let all = Usage { model_requests: 2, ..one(4, 2) };
    assert_eq!([spent.so_far(), spent.take(), spent.take()], [all, all, Usage::default()]);
}

#[tokio::test]
async fn a_request_that_is_refused_or_has_no_answer_is_one_and_what_was_not_sent_is_none() {
    for status in [302, 400, 401, 429, 500] {
        let server = Loopback::answering(status, &[], "{}").await;
        for model in models(&server.base_url) {
            assert_eq!(spent(&*model).await, [one(0, 0); 2], "{status}");
        }
    }
    for body in ["", "{", "[]"] {
        let server = Loopback::answering(200, &JSON, body).await;
        for model in models(&server.base_url) {
            assert_eq!(spent(&*model).await, [one(0, 0); 2], "{body}");
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for model in models(&base_url) {
        assert_eq!(spent(&*model).await, [Usage::default(); 2]);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_good_tells_what_it_consumed() {
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 2});
    let chat = [
        json!({"usage": usage, "choices": []}),
        json!({"usage": usage, "error": {"code": 500}}),
        json!({"usage": usage, "choices": [{"message": {"tool_calls": [{"id": "nameless"}]}}]}),
    ];
    let usage = json!({"input_tokens": 7, "output_tokens": 2});
    let responses = [
        json!({"usage": usage}),
        json!({"usage": usage, "status": "failed", "error": {"code": "server_error"}}),
        json!({"usage": usage, "output": [{"type": "function_call", "call_id": "nameless"}]}),
    ];
    let messages = [
        json!({"usage": usage}),
        json!({"usage": usage, "error": {"type": "api_error"}}),
        json!({"usage": usage, "content": [{"type": "tool_use", "id": "nameless"}]}),
    ];
    for (place, bodies) in [chat, responses, messages].into_iter().enumerate() {
        for body in bodies {
            let server = Loopback::answering(200, &JSON, &body.to_string()).await;
            assert_eq!(spent(&*models(&server.base_url)[place]).await, [one(7, 2); 2], "{body}");
        }
    }
}

/// Streams that end by a failure, each behind a usage that was told.
fn failing_streams() -> [Vec<Value>; 3] {
    let chat = json!({"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2}});
    let failed = json!({"error": {"code": "server_error"}, "usage": {"input_tokens": 7, "output_tokens": 2}});
    let begun =
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 2}}});
    let text =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}});
    [vec![chat], vec![json!({"type": "response.failed", "response": failed})], vec![begun, text]]
}

fn written(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[tokio::test]
async fn a_stream_that_fails_tells_what_it_consumed_until_then() {
    for (place, events) in failing_streams().into_iter().enumerate() {
        for end in ["", "data: {\n\n", "event: error\ndata: {}\n\n"] {
            let server = Loopback::answering(200, &EVENTS, &(written(&events) + end)).await;
            let asked = Asked::saying("hi");
            let pieces: Vec<_> = models(&server.base_url)[place].stream(asked.request()).collect().await;
            assert!(pieces.last().unwrap().is_err(), "{pieces:?}");
            assert_eq!(asked.spent.take(), one(7, 2), "{events:?} {end}");
        }
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_tells_what_it_consumed_until_then() {
    let [chat, _, messages] = failing_streams();
    for (place, events) in [(0, chat), (2, messages)] {
        let body = written(&events);
        let server = Loopback::start(move || {
            let bytes = stream::iter([Ok::<_, Infallible>(Bytes::from(body.clone()))]);
            let body = Body::from_stream(bytes.chain(stream::pending()));
            future::ready(Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
        })
        .await;
        let asked = Asked::saying("hi");
        let models = models(&server.base_url);
        let mut pieces = models[place].stream(asked.request());
        pieces.next().await.unwrap().unwrap();
        assert!(pieces.next().now_or_never().is_none());
        assert_eq!(asked.spent.so_far(), Usage::default());
        drop(pieces);
        assert_eq!(asked.spent.take(), one(7, 2));
    }
}

#[tokio::test]
async fn an_answer_tells_itself_what_it_consumed() {
    let bodies =
        [json!({"choices": [{"message": {"content": "a"}}]}), json!({"output": []}), json!({"content": []})];
    for (place, body) in bodies.iter().enumerate() {
        let server = Loopback::answering(200, &JSON, &body.to_string()).await;
        let model = &models(&server.base_url)[place];
        let asked = Asked::saying("hi");
        assert_eq!(model.complete(asked.request()).await.unwrap().usage, one(0, 0));
        let pieces: Vec<_> = model.stream(asked.request()).collect().await;
        assert!(pieces.iter().all(Result::is_ok), "{pieces:?}");
        assert_eq!(asked.spent.take(), Usage::default());
    }
    let ends = [
        json!({"choices": [{"finish_reason": "stop"}]}),
        json!({"type": "response.completed"}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    ];
    for (place, end) in ends.into_iter().enumerate() {
        let server = Loopback::answering(200, &EVENTS, &written(&[end])).await;
        let asked = Asked::saying("hi");
        let pieces: Vec<_> = models(&server.base_url)[place].stream(asked.request()).collect().await;
        assert!(pieces.iter().all(Result::is_ok), "{pieces:?}");
        assert_eq!(asked.spent.take(), Usage::default());
    }
}
