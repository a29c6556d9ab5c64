use std::convert::Infallible;

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, future, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::{message, model, own, reasoning};
use crate::{
    message::{Image, ImageSource, Message, ToolResult, Usage},
    model::{
        Answer, AnswerPart, AskedCall, Model, Piece, Stop,
        asked::Asked,
        loopback::{Gone, Loopback, Seen, all_pieces},
    },
};

const FIRST: &str = include_str!("golden/first.json");
const FIRST_STREAMED: &str = include_str!("golden/first.sse");
const SECOND: &str = include_str!("golden/second.json");
const SECOND_STREAMED: &str = include_str!("golden/second.sse");

/// A request as it was written, and as it goes out where the answer is not streamed.
fn requests(golden: &str) -> [Value; 2] {
    let streamed: Value = serde_json::from_str(golden).unwrap();
    let mut whole = streamed.clone();
    whole["stream"] = false.into();
    whole["reasoning"].as_object_mut().unwrap().remove("summary");
    [whole, streamed]
}

fn first_answer() -> Answer {
    let call = |id: &str, name: &str, arguments: &str| {
        let (call_id, arguments_json) = (id.to_owned(), arguments.to_owned());
        AnswerPart::Call(AskedCall { call_id, name: name.to_owned(), arguments_json })
    };
    let summary = json!([
        {"type": "summary_text", "text": "**Looking**\n\nTwo lookups."},
        {"type": "summary_text", "text": "**Calling**"},
    ]);
    let thought = |id: &str, encrypted: &str, summary: Value| {
        let fields = [("type", "reasoning".into()), ("id", id.into()), ("summary", summary)];
        let mut state = Value::from_iter(fields);
        state["encrypted_content"] = encrypted.into();
        state
    };
    Answer {
        parts: vec![
            AnswerPart::State(own(thought("rs_1", "gAAAAA-one", summary))),
            AnswerPart::State(own(json!({"type": "message", "phase": "commentary"}))),
            AnswerPart::Text("Let me see.".to_owned()),
            AnswerPart::State(own(thought("rs_2", "gAAAAA-two", json!([])))),
            call("call_a", "whoami", "{}"),
            call("call_b", "find", r#"{"id":"ü"}"#),
        ],
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

fn second_answer() -> Answer {
    Answer {
        parts: vec![
            AnswerPart::State(own(json!({"type": "message", "phase": "final_answer"}))),
            AnswerPart::Text("You are Ada.".to_owned()),
        ],
        stop: Stop::End,
        usage: Usage {
            input_tokens: 60,
            output_tokens: 4,
            total_tokens: 64,
            model_requests: 1,
            ..Usage::default()
        },
    }
}

/// The answers as JSON, since a state's bytes may have their fields in any order.
fn comparable(answer: &Answer) -> Vec<Value> {
    let part = |part: &AnswerPart| match part {
        AnswerPart::Text(text) => json!({"text": text}),
        AnswerPart::Aside(text) => json!({"aside": text}),
        AnswerPart::Call(call) => json!([call.call_id, call.name, call.arguments_json]),
        AnswerPart::State(state) => serde_json::from_slice(&state.0).unwrap(),
    };
    answer.parts.iter().map(part).collect()
}

fn assert_answer(answer: &Answer, expected: &Answer) {
    assert_eq!(comparable(answer), comparable(expected));
    assert_eq!((answer.stop, answer.usage), (expected.stop, expected.usage));
}

fn question() -> Vec<Message> {
    vec![Message::user("Who am I?")]
}

/// The conversation after the tools have answered.
fn answered(answer: Answer) -> Vec<Message> {
    let image = Image { media_type: "image/png".into(), source: ImageSource::Base64("iVBORw==".into()) };
    let result = |id: &str, text: &str, images| ToolResult {
        call_id: id.to_owned(),
        text: text.to_owned(),
        images,
        is_error: false,
    };
    let results = vec![result("call_a", "Ada", Vec::new()), result("call_b", "her picture", vec![image])];
    let [question] = question().try_into().unwrap();
    vec![question, message(answer), Message::Tool { results }]
}

async fn exchanged(asked: &Asked, body: &str) -> (Answer, Seen) {
    let mut server = Loopback::answering(200, &[("content-type", "application/json")], body).await;
    let answer = model(&server.base_url).complete(asked.request()).await.unwrap();
    (answer, server.seen.recv().await.unwrap())
}

async fn exchanged_streamed(asked: &Asked, body: &str) -> (Vec<Piece>, Answer, Seen) {
    let mut server = Loopback::answering(200, &[("content-type", "text/event-stream")], body).await;
    let mut pieces: Vec<_> =
        model(&server.base_url).stream(asked.request()).map(Result::unwrap).collect().await;
    let Some(Piece::Done(answer)) = pieces.pop() else { panic!("{pieces:?}") };
    (pieces, answer, server.seen.recv().await.unwrap())
}

#[tokio::test]
async fn two_turns_whole() {
    let [first, _] = requests(include_str!("golden/first.request.json"));
    let (answer, seen) = exchanged(&reasoning(question()), FIRST).await;
    assert_answer(&answer, &first_answer());
    assert_eq!(seen.body, first);
    assert_eq!(seen.uri, "/v1/responses");
    assert_eq!(seen.headers["accept"], "application/json");
    assert_eq!(seen.headers["authorization"], "Bearer key-1");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["x-request-id"], "request-1");

    let [second, _] = requests(include_str!("golden/second.request.json"));
    let (answer, seen) = exchanged(&reasoning(answered(answer)), SECOND).await;
    assert_answer(&answer, &second_answer());
    assert_eq!(seen.body, second);
}

#[tokio::test]
async fn two_turns_streamed() {
    let [_, first] = requests(include_str!("golden/first.request.json"));
    let (pieces, answer, seen) = exchanged_streamed(&reasoning(question()), FIRST_STREAMED).await;
    let thought = |text: &str| Piece::Reasoning(text.to_owned());
    let text = |text: &str| Piece::Text(text.to_owned());
    assert_eq!(pieces, [thought("**Looking**\n\nTwo lookups.\n\n**Calling**"), text("Let me see.")]);
    assert_answer(&answer, &first_answer());
    assert_eq!(seen.body, first);
    assert_eq!(seen.headers["accept"], "text/event-stream, application/json");

    let [_, second] = requests(include_str!("golden/second.request.json"));
    let (pieces, answer, seen) = exchanged_streamed(&reasoning(answered(answer)), SECOND_STREAMED).await;
    assert_eq!(pieces, [text("You are Ada.")]);
    assert_answer(&answer, &second_answer());
    assert_eq!(seen.body, second);
}

#[tokio::test]
async fn a_server_that_does_not_stream_gives_the_answer_in_one_piece() {
    let server = Loopback::answering(200, &[("content-type", "application/json")], SECOND).await;
    let pieces = all_pieces(&model(&server.base_url)).await;
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[0], Ok(Piece::Text("You are Ada.".to_owned())));
    let Ok(Piece::Done(answer)) = &pieces[1] else { panic!("{pieces:?}") };
    assert_answer(answer, &second_answer());
}

#[test]
fn the_path_is_added_to_any_base() {
    let cases = [
        ("https://api.example.com/v1/", "https://api.example.com/v1/responses"),
        ("https://a.example/openai?api-version=1", "https://a.example/openai/responses?api-version=1"),
    ];
    for (base, expected) in cases {
        assert_eq!(model(base).endpoint.uri().to_string(), expected);
    }
}

#[tokio::test]
async fn to_drop_a_stream_is_to_drop_its_request() {
    let (sender, mut gone) = unbounded_channel();
    let server = Loopback::start(move || {
        let guard = Gone(sender.clone());
        let first = stream::iter(["data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n"]);
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
