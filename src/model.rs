//! Models: what answers a conversation with text or with tool calls.

use std::{sync::Arc, time::Duration};

use futures_util::{future::BoxFuture, stream::BoxStream};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    message::{Message, ToolRef, Usage},
    trace::Outgoing,
};

#[cfg(test)]
mod asked;
pub mod openai_chat;
pub mod scripted;

/// A model behind some provider's API.
pub trait Model: Send + Sync {
    /// The provider, as OpenTelemetry's `gen_ai.provider.name` has it.
    fn provider(&self) -> &'static str;

    /// The provider's name for the model.
    fn model(&self) -> &str;

    /// Asks for a whole answer.
    fn complete<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>>;

    /// Asks for an answer in pieces. A stream that does not fail ends with one [`Piece::Done`].
    fn stream<'a>(&'a self, request: Request<'a>) -> BoxStream<'a, Result<Piece, Error>>;
}

/// What a model is asked. It borrows the run's conversation: nothing is copied for a turn.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The system prompt; may be empty.
    pub instructions: &'a str,
    /// The conversation.
    pub messages: &'a [Message],
    /// How many of `messages` came with the request; the run itself added the others.
    pub history: usize,
    /// The turn, from 1.
    pub turn: u32,
    /// The tools that the model may ask for.
    pub tools: &'a [ToolSpec],
    /// What the request to the provider carries of the run's correlation.
    pub outgoing: &'a Outgoing,
}

impl Request<'_> {
    /// Whether a call of the conversation has this id, so that a new one may not.
    pub fn has_call(&self, call_id: &str) -> bool {
        self.messages.iter().any(|message| match message {
            Message::Assistant { calls, .. } => calls.iter().any(|call| call.call_id == call_id),
            Message::User { .. } | Message::Tool { .. } => false,
        })
    }
}

/// A tool as a model is offered it.
#[derive(Clone, Debug)]
pub struct ToolSpec {
    /// The name for the model: `^[a-zA-Z0-9_-]{1,64}$`, unique in the run.
    pub name: String,
    /// Which tool that is.
    pub tool: ToolRef,
    /// What it does; may be empty.
    pub description: Arc<str>,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Arc<RawValue>,
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The text; may be empty.
    pub text: String,
    /// The tools that it asks for, in its order.
    pub calls: Vec<AskedCall>,
    /// Why it ends.
    pub stop: Stop,
    /// What it consumed.
    pub usage: Usage,
}

/// A tool call as the model asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedCall {
    /// The provider's id for the call, or one that was made for it; unique in the conversation.
    pub call_id: String,
    /// One of the request's [`ToolSpec::name`]s, unless the model makes names up.
    pub name: String,
    /// The arguments as the model wrote them. Empty: none.
    pub arguments_json: String,
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// It is whole.
    #[default]
    End,
    /// It was cut at the token limit.
    OutputLimit,
    /// The provider withheld it, or the rest of it.
    ContentFilter,
}

/// A piece of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Some text; not empty.
    Text(String),
    /// The whole answer, the text of all pieces included. The last piece.
    Done(Answer),
}

/// Why a model gives no answer. The texts are ours: nothing of a provider's body is in them.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Error {
    /// The provider refuses the key.
    #[error("the model's provider refuses the key (HTTP {status})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// The provider refuses the request.
    #[error("the model's provider refuses the request (HTTP {status}{})", code.as_deref().map(|c| format!(", {c}")).unwrap_or_default())]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The provider's error code, such as `context_length_exceeded`, if it is `[a-z0-9_.-]{1,64}`.
        code: Option<String>,
    },
    /// The provider limits the rate.
    #[error("the model's provider limits the rate")]
    RateLimited {
        /// When it may be asked again, as far as it said so.
        retry_after: Option<Duration>,
    },
    /// The provider fails, or gives no answer that can be read.
    #[error("the model is unavailable: {0}")]
    Unavailable(String),
}

/// A configured model.
pub enum Config {
    /// See [`openai_chat`].
    OpenAiChat(openai_chat::Config),
    /// See [`scripted`].
    Scripted(scripted::Config),
}
