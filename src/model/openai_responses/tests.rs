//! Whole exchanges with a provider on the loopback.

use serde_json::Value;

use super::OpenAiResponses;
use crate::{
    credential::Source,
    message::{AssistantPart, Message, ProviderState, ToolCall},
    model::{
        Answer, AnswerPart, Error, Model, Piece, ReasoningEffort, Settings,
        asked::{Asked, described, tool},
        loopback::{Loopback, all_pieces, clean, endpoint},
        state,
    },
};

mod conversation;
mod exchange;
mod fault;
mod leniency;
mod refused_extras;

/// A model `m1` at a base URL, with a key.
fn model(base_url: &str) -> OpenAiResponses {
    model_named(base_url, "m1")
}

/// A model at a base URL, with a key.
fn model_named(base_url: &str, name: &str) -> OpenAiResponses {
    let (mut config, client) =
        endpoint(base_url, &[("authorization", Source::fixed("Bearer key-1").unwrap())]);
    config.model = name.to_owned();
    OpenAiResponses::new(config, client).unwrap()
}

/// A whole answer to a body of status 200.
async fn whole(body: &str) -> Result<Answer, Error> {
    let server = Loopback::answering(200, &[("content-type", "application/json")], body).await;
    clean(model(&server.base_url).complete(Asked::saying("hi").request()).await)
}

/// The pieces that a body of events gives.
async fn pieces(body: &str) -> Vec<Result<Piece, Error>> {
    let server = Loopback::answering(200, &[("content-type", "text/event-stream")], body).await;
    all_pieces(&model(&server.base_url)).await
}

/// The pieces of events, each of which is given as JSON.
async fn pieces_of(events: &[Value]) -> Vec<Result<Piece, Error>> {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    pieces(&body).await
}

/// The answer of events, whose text is that of its pieces.
async fn streamed(events: &[Value]) -> Result<Answer, Error> {
    let mut text = String::new();
    for piece in pieces_of(events).await {
        match piece? {
            Piece::Text(piece) => text += &piece,
            Piece::Reasoning(_) => {}
            Piece::Done(answer) => {
                assert_eq!(answer.text(), text, "{answer:?}");
                return Ok(answer);
            }
        }
    }
    panic!("there is no answer");
}

/// A request with two tools to a model that is to reason.
fn reasoning(messages: Vec<Message>) -> Asked {
    let reasoning_effort = Some(ReasoningEffort::Medium);
    Asked {
        messages,
        tools: vec![
            tool("crm", "find", "find", r#"{"type":"object"}"#),
            described("crm", "whoami", "whoami", "Says who asks."),
        ],
        settings: Settings { reasoning_effort, ..Settings::default() },
        ..Asked::saying("")
    }
}

/// A state that a provider gave for a model.
fn given(provider: &str, model: &str, state: Value) -> ProviderState {
    state::seal(provider, model, &state).unwrap()
}

/// A state of these models' own.
fn own(state: Value) -> ProviderState {
    given("openai_responses", "m1", state)
}

/// The message that a run makes of an answer.
fn message(answer: Answer) -> Message {
    let part = |part| match part {
        AnswerPart::Text(text) | AnswerPart::Aside(text) => AssistantPart::Text(text),
        AnswerPart::Call(call) => AssistantPart::Call(ToolCall {
            call_id: call.call_id,
            name: call.name,
            tool: None,
            arguments_json: call.arguments_json,
        }),
        AnswerPart::State(state) => AssistantPart::State(state),
    };
    Message::Assistant { parts: answer.parts.into_iter().map(part).collect() }
}
