use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{Caching, model, named};
use crate::{
    credential::Source,
    headers::HeaderSet,
    message::{AssistantPart, Image, ImageSource, Message, ToolResult, Usage, UserPart},
    model::{
        Answer, AnswerPart, AskedCall, Model, Piece, ReasoningEffort, Settings, Stop,
        anthropic::{Anthropic, thought::Thought},
        asked::{Asked, call, tool},
        loopback::{Loopback, all_pieces, endpoint},
    },
    tool::ToolSpec,
};

const REQUEST: &str = include_str!("golden/request.json");
const WHOLE: &str = include_str!("golden/answer.json");
const STREAMED: &str = include_str!("golden/answer.sse");

/// The answer of the golden files; the stream has no blank in the arguments' place of the whole one's `\u00fc`.
fn expected(model: &str, arguments: &str) -> Answer {
    let call = |id: &str, arguments: &str| {
        let (call_id, arguments_json) = (id.to_owned(), arguments.to_owned());
        AnswerPart::Call(AskedCall { call_id, name: "find".to_owned(), arguments_json })
    };
    let (thinking, signature) = ("Let me think.".to_owned(), "EqQBCgIYAhIM".to_owned());
    let redacted = Thought::RedactedThinking { data: "EmwKAhgBEgy3va3pzix".to_owned() };
    Answer {
        parts: vec![
            AnswerPart::State(Thought::Thinking { thinking, signature }.seal(model).unwrap()),
            AnswerPart::State(redacted.seal(model).unwrap()),
            AnswerPart::Text("I'll look it up.".to_owned()),
            call("toolu_01D7FLrfh4GYq7yT1ULFeyMV", arguments),
            call("toolu_01QE1WLsSVp5hy5Q3GmGTmjP", "{}"),
        ],
        stop: Stop::End,
        usage: Usage {
            input_tokens: 54,
            output_tokens: 12,
            total_tokens: 66,
            cached_input_tokens: 20,
            reasoning_tokens: 5,
            model_requests: 1,
        },
    }
}

/// What the golden request is made of.
fn asked(model: &str) -> Asked {
    let image = |media_type: &str, source| Image { media_type: media_type.to_owned(), source };
    let (thinking, signature) = ("First, \"look\".".to_owned(), "c2lnMQ==".to_owned());
    let thought = Thought::Thinking { thinking, signature }.seal(model).unwrap();
    let redacted = Thought::RedactedThinking { data: "ZW5j".to_owned() }.seal(model).unwrap();
    let result = |id: &str, text: &str, images, is_error| ToolResult {
        call_id: id.to_owned(),
        text: text.to_owned(),
        images,
        is_error,
    };
    let tiny = image("image/webp", ImageSource::Base64("dGlueQ==".into()));
    let find = tool("crm", "find", "find", r#"{"type": "object"}"#);
    let described =
        ToolSpec::new("find".to_owned(), find.tool.clone(), "Finds.".into(), find.input_schema.clone());
    Asked {
        messages: vec![
            Message::User {
                parts: vec![
                    UserPart::Text("What is on it?".to_owned()),
                    UserPart::Image(image("image/png", ImageSource::Base64("aW1n".into()))),
                    UserPart::Image(image("", ImageSource::Url("https://example.com/i.jpg".to_owned()))),
                ],
            },
            Message::Assistant {
                parts: vec![
                    AssistantPart::State(thought),
                    AssistantPart::State(redacted),
                    AssistantPart::Text("Let me see. ".to_owned()),
                    AssistantPart::Call(call(
                        "toolu_1",
                        "find",
                        r#"{"id": "ü", "n": 12345678901234567890123}"#,
                    )),
                    AssistantPart::Call(call("toolu_2", "find", "")),
                ],
            },
            Message::Tool {
                results: vec![
                    result("toolu_1", "found", vec![tiny], false),
                    result("toolu_2", "no such id", Vec::new(), true),
                ],
            },
        ],
        tools: vec![described.into()],
        settings: Settings {
            max_output_tokens: Some(2000),
            temperature: Some(0.3),
            reasoning_effort: Some(ReasoningEffort::High),
            parallel_tool_calls: Some(false),
            ..Settings::default()
        },
        ..Asked::saying("")
    }
}

#[tokio::test]
async fn a_whole_exchange() {
    let mut server = Loopback::answering(200, &[("content-type", "application/json")], WHOLE).await;
    let model = named("claude-sonnet-4-6", &server.base_url);
    let answer = model.complete(asked("claude-sonnet-4-6").request()).await;
    assert_eq!(answer, Ok(expected("claude-sonnet-4-6", r#"{"id": "\u00fc", "exact": true}"#)));
    assert_eq!((model.provider(), model.model()), ("anthropic", "claude-sonnet-4-6"));

    let seen = server.seen.recv().await.unwrap();
    assert_eq!(seen.uri, "/v1/v1/messages");
    assert_eq!(seen.body, serde_json::from_str::<Value>(REQUEST).unwrap());
    let headers: BTreeMap<_, _> =
        seen.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    let host = server.base_url.trim_start_matches("http://").trim_end_matches("/v1");
    let expected = [
        ("accept", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("content-length", headers["content-length"]),
        ("content-type", "application/json"),
        ("host", host),
        ("user-agent", concat!("runwright/", env!("CARGO_PKG_VERSION"))),
        ("x-api-key", "key-1"),
        ("x-request-id", "request-1"),
    ];
    assert_eq!(headers, BTreeMap::from(expected));
}

#[test]
fn arguments_are_written_as_they_are() {
    let asked = asked("m1");
    let text = String::from_utf8(
        super::super::request::body("m1", &asked.request(), Caching::Unasked, false).unwrap(),
    )
    .unwrap();
    assert!(text.contains(r#""input":{"id": "ü", "n": 12345678901234567890123}"#), "{text}");
    assert!(text.contains(r#""input_schema":{"type": "object"}"#), "{text}");
}

#[tokio::test]
async fn a_streamed_exchange() {
    let mut server =
        Loopback::answering(200, &[("content-type", "text/event-stream; charset=utf-8")], STREAMED).await;
    let pieces: Vec<_> =
        model(&server.base_url).stream(Asked::saying("hi").request()).map(Result::unwrap).collect().await;
    let (thought, text) = ("Let me think.".to_owned(), "I'll look it up.".to_owned());
    let done = Piece::Done(expected("m1", r#"{"id": "ü", "exact": true}"#));
    assert_eq!(pieces, [Piece::Reasoning(thought), Piece::Text(text), done]);

    let seen = server.seen.recv().await.unwrap();
    assert_eq!(seen.headers["accept"], "text/event-stream, application/json");
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]);
    assert_eq!(
        seen.body,
        json!({"model": "m1", "max_tokens": 32_000, "system": "Be brief.", "messages": messages, "stream": true}),
    );
}

#[tokio::test]
async fn a_server_that_does_not_stream_gives_the_answer_in_one_piece() {
    let server = Loopback::answering(200, &[("content-type", "application/json")], WHOLE).await;
    let pieces = all_pieces(&model(&server.base_url)).await;
    let done = Piece::Done(expected("m1", r#"{"id": "\u00fc", "exact": true}"#));
    let reasoning = Piece::Reasoning("Let me think.".to_owned());
    assert_eq!(pieces, [Ok(reasoning), Ok(Piece::Text("I'll look it up.".to_owned())), Ok(done)]);
}

/// What comes of a tool's call goes back with its result, unchanged.
#[tokio::test]
async fn thinking_goes_back_within_its_turn() {
    let server = Loopback::answering(200, &[("content-type", "text/event-stream")], STREAMED).await;
    let model = named("claude-opus-4-5", &server.base_url);
    let settings = Settings { reasoning_effort: Some(ReasoningEffort::Low), ..Settings::default() };
    let mut asked = Asked { settings, ..Asked::saying("hi") };
    let Some(Ok(Piece::Done(answer))) = model.stream(asked.request()).collect::<Vec<_>>().await.pop() else {
        panic!("no answer");
    };
    let results = answer.calls().map(|call| ToolResult {
        call_id: call.call_id.clone(),
        text: "found".to_owned(),
        images: Vec::new(),
        is_error: false,
    });
    let results = Message::Tool { results: results.collect() };
    let part = |part| match part {
        AnswerPart::Text(text) | AnswerPart::Aside(text) => AssistantPart::Text(text),
        AnswerPart::Call(asked) => {
            AssistantPart::Call(call(&asked.call_id, &asked.name, &asked.arguments_json))
        }
        AnswerPart::State(state) => AssistantPart::State(state),
    };
    asked.messages.push(Message::Assistant { parts: answer.parts.into_iter().map(part).collect() });
    asked.messages.push(results);

    let body = super::body("claude-opus-4-5", &asked);
    let expected = json!([
        {"type": "thinking", "thinking": "Let me think.", "signature": "EqQBCgIYAhIM"},
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"},
        {"type": "text", "text": "I'll look it up."},
        {"type": "tool_use", "id": "toolu_01D7FLrfh4GYq7yT1ULFeyMV", "name": "find", "input": {"id": "ü", "exact": true}},
        {"type": "tool_use", "id": "toolu_01QE1WLsSVp5hy5Q3GmGTmjP", "name": "find", "input": {}},
    ]);
    assert_eq!(body["messages"][1]["content"], expected);
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 4096}));
}

#[tokio::test]
async fn a_caller_can_bring_an_authorization_in_place_of_the_key_and_another_version() {
    let mut server = Loopback::answering(200, &[], WHOLE).await;
    let headers = [("authorization", "Bearer own"), ("anthropic-version", "2024-01-01")];
    let (headers, problems) = HeaderSet::parse(headers, ["x-api-key"]);
    assert_eq!(problems, []);
    let asked = Asked { headers, ..Asked::saying("hi") };
    assert!(model(&server.base_url).complete(asked.request()).await.is_ok());
    let seen = server.seen.recv().await.unwrap();
    assert_eq!(seen.headers["authorization"], "Bearer own");
    assert_eq!(seen.headers["anthropic-version"], "2024-01-01");
    assert!(!seen.headers.contains_key("x-api-key"));

    let version = Source::fixed("2024-02-02").unwrap();
    let (config, client) = endpoint(&server.base_url, &[("anthropic-version", version)]);
    let keyless = Anthropic::new(config, client).unwrap();
    assert!(keyless.complete(Asked::saying("hi").request()).await.is_ok());
    let seen = server.seen.recv().await.unwrap();
    assert_eq!(seen.headers["anthropic-version"], "2024-02-02");
    assert!(!seen.headers.contains_key("x-api-key"));
}

#[test]
fn the_path_is_added_to_any_base() {
    let cases = [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://gateway.example/anthropic?x=1", "https://gateway.example/anthropic/v1/messages?x=1"),
    ];
    for (base, expected) in cases {
        assert_eq!(model(base).endpoint.uri().to_string(), expected);
    }
}
