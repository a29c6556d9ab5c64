//! A conversation of two turns, written after OpenAI's documentation: the model asks for two calls at once, gets their
//! results, and answers. References: <https://platform.openai.com/docs/guides/function-calling?api-mode=chat>,
//! <https://platform.openai.com/docs/api-reference/chat/object> and, streamed,
//! <https://platform.openai.com/docs/api-reference/chat-streaming/streaming>.

use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, http::Response};
use futures_util::StreamExt;
use serde_json::{Value, value::RawValue};

use super::super::OpenAiChat;
use crate::{
    message::{AssistantPart, Message, ToolCall, ToolRef, ToolResult, Usage},
    model::{
        Answer, AnswerPart, AskedCall, EndpointConfig, Model, Piece, ReasoningEffort, Settings, Stop,
        asked::Asked,
        loopback::{Loopback, endpoint},
    },
    tool::ToolSpec,
};

/// The requests and responses of a conversation.
struct Exchange {
    content_type: &'static str,
    requests: [&'static str; 2],
    responses: [&'static str; 2],
}

const WHOLE: Exchange = Exchange {
    content_type: "application/json",
    requests: [include_str!("golden/1-request.json"), include_str!("golden/2-request.json")],
    responses: [include_str!("golden/1-response.json"), include_str!("golden/2-response.json")],
};

const STREAMED: Exchange = Exchange {
    content_type: "text/event-stream; charset=utf-8",
    requests: [
        include_str!("golden/1-request-streamed.json"),
        include_str!("golden/2-request-streamed.json"),
    ],
    responses: [
        include_str!("golden/1-response-streamed.sse"),
        include_str!("golden/2-response-streamed.sse"),
    ],
};

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "location": {"type": "string", "description": "City and country, e.g. Bogotá, Colombia"},
    "units": {"type": "string", "enum": ["celsius", "fahrenheit"]}
  },
  "required": ["location"],
  "additionalProperties": false
}"#;

const TEXTS: [&str; 7] = ["It is", " 14 °C", " in Paris", " and", " 18 °C", " in Bogotá", "."];

impl Exchange {
    /// A provider that gives the responses one after the other, and a model of it.
    async fn start(&self) -> (Loopback, OpenAiChat) {
        let Self { content_type, responses, .. } = *self;
        let asked = AtomicUsize::new(0);
        let server = Loopback::start(move || {
            let body = Body::from(responses[asked.fetch_add(1, Ordering::SeqCst)]);
            future::ready(Response::builder().header("content-type", content_type).body(body).unwrap())
        })
        .await;
        let (config, client) = endpoint(&server.base_url, &[]);
        let config = EndpointConfig { model: "gpt-5".to_owned(), ..config };
        (server, OpenAiChat::new(config, client).unwrap())
    }

    /// Fails unless these requests came, keys in order.
    async fn came_to(&self, mut server: Loopback) {
        for request in self.requests {
            let expected: Value = serde_json::from_str(request).unwrap();
            assert_eq!(server.seen.recv().await.unwrap().body.to_string(), expected.to_string());
        }
        assert!(server.seen.try_recv().is_err());
    }
}

fn question() -> Asked {
    let name = || "get_weather".to_owned();
    let tool = ToolRef { mcp_server: "weather".to_owned(), tool: name() };
    let schema = RawValue::from_string(SCHEMA.to_owned()).unwrap();
    let description = "Get the current temperature of a place.";
    Asked {
        instructions: "You are a weather assistant.".to_owned(),
        tools: vec![ToolSpec::new(name(), tool, description.into(), schema.into()).into()],
        settings: Settings {
            parallel_tool_calls: Some(true),
            max_output_tokens: Some(2048),
            reasoning_effort: Some(ReasoningEffort::Low),
            ..Settings::default()
        },
        ..Asked::saying("How warm is it in Paris and in Bogotá?")
    }
}

/// The conversation with the first answer, and what the tools say.
fn with_results(answer: Answer) -> Asked {
    let mut asked = question();
    let calls = answer.calls().cloned().map(|AskedCall { call_id, name, arguments_json }| {
        AssistantPart::Call(ToolCall { call_id, name, tool: None, arguments_json })
    });
    asked.messages.push(Message::Assistant { parts: calls.collect() });
    let results = answer.calls().zip(["14 °C", "18 °C"]).map(|(call, text)| ToolResult {
        call_id: call.call_id.clone(),
        text: text.to_owned(),
        images: Vec::new(),
        is_error: false,
    });
    asked.messages.push(Message::Tool { results: results.collect() });
    Asked { turn: 2, ..asked }
}

fn answers() -> [Answer; 2] {
    let call = |call_id: &str, arguments_json: &str| {
        AnswerPart::Call(AskedCall {
            call_id: call_id.to_owned(),
            name: "get_weather".to_owned(),
            arguments_json: arguments_json.to_owned(),
        })
    };
    let calls = vec![
        call("call_DdmO9pD3xa9XTPNJ32zg2hcA", r#"{"location":"Paris, France"}"#),
        call("call_Lm2qV7tYk0RfZc4sWb8nXe1H", r#"{"location":"Bogotá, Colombia","units":"celsius"}"#),
    ];
    let usage = |input, cached, output, reasoning| Usage {
        input_tokens: input,
        output_tokens: output,
        total_tokens: input + output,
        cached_input_tokens: cached,
        reasoning_tokens: reasoning,
        model_requests: 1,
    };
    [
        Answer { parts: calls, stop: Stop::End, usage: usage(168, 0, 52, 0) },
        Answer {
            parts: vec![AnswerPart::Text(TEXTS.concat())],
            stop: Stop::End,
            usage: usage(1282, 1152, 31, 8),
        },
    ]
}

#[tokio::test]
async fn a_whole_conversation() {
    let (server, model) = WHOLE.start().await;
    let [first, second] = answers();
    assert_eq!(model.complete(question().request()).await.as_ref(), Ok(&first));
    assert_eq!(model.complete(with_results(first).request()).await, Ok(second));
    WHOLE.came_to(server).await;
}

#[tokio::test]
async fn a_streamed_conversation() {
    let (server, model) = STREAMED.start().await;
    let [first, second] = answers();
    let pieces: Vec<_> = model.stream(question().request()).map(Result::unwrap).collect().await;
    assert_eq!(pieces, [Piece::Done(first.clone())]);
    let pieces: Vec<_> = model.stream(with_results(first).request()).map(Result::unwrap).collect().await;
    assert_eq!(pieces, [Piece::Text(TEXTS.concat()), Piece::Done(second)]);
    STREAMED.came_to(server).await;
}
