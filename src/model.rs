//! Models: what answers a conversation with text or with tool calls.

use std::{sync::Arc, time::Duration};

use futures_util::{future::BoxFuture, stream::BoxStream};
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    headers::HeaderSet,
    message::{Message, ProviderState, ToolResult, Usage},
    tool::ToolSpec,
    trace::Outgoing,
};

mod advice;
pub mod anthropic;
mod call_ids;
mod endpoint;
mod events;
mod failure;
pub mod openai_chat;
pub mod openai_responses;
mod outage;
mod reported;
mod retry;
pub mod scripted;
mod spent;
pub mod state;
#[cfg(test)]
mod tests;
mod tool_schema;

pub use crate::settings::{OutputSchema, ReasoningEffort, Settings};
#[cfg(test)]
use tests::{asked, loopback};

pub use endpoint::{Config as EndpointConfig, Endpoint};
pub use outage::{Outage, Prospect};
pub use retry::Retrying;
pub use spent::Spent;

/// The most tool calls of an answer. One with more is none; of so many calls that a conversation has open at its end, no more
/// are made.
pub const MAX_CALLS: usize = 128;

/// A model behind some provider's API.
pub trait Model: Send + Sync {
    /// The provider, as OpenTelemetry's `gen_ai.provider.name` has it.
    fn provider(&self) -> &'static str;

    /// The provider's name for the model.
    fn model(&self) -> &str;

    /// Where the provider is asked; `None`: nowhere but here.
    fn endpoint(&self) -> Option<&Endpoint> {
        None
    }

    /// Asks for a whole answer.
    fn complete<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>>;

    /// Asks for an answer in pieces; those of a kind that come together may be one. A stream that does not fail ends with one [`Piece::Done`].
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
    pub tools: &'a [Arc<ToolSpec>],
    /// Which of them it is to ask for.
    pub tool_choice: ToolChoice<'a>,
    /// How it is to answer.
    pub settings: &'a Settings,
    /// The caller's headers for the provider, above those that are registered with the model.
    pub headers: &'a HeaderSet,
    /// What the request to the provider carries of the run's correlation.
    pub outgoing: &'a Outgoing,
    /// When the run is over. What can't be had by then is not waited for.
    pub deadline: Instant,
    /// Where it is noted what was consumed without giving the answer.
    pub spent: &'a Spent,
}

/// Which of its tools a model is to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// Any, or none.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// The one of this [`ToolSpec::name`].
    Tool(&'a str),
}

impl Request<'_> {
    /// Whether a call of the conversation has this id, so that a new one may not.
    pub fn has_call(&self, call_id: &str) -> bool {
        self.messages.iter().flat_map(Message::calls).any(|call| call.call_id == call_id)
    }
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What it consists of, in the model's order.
    pub parts: Vec<AnswerPart>,
    /// Why it ends.
    pub stop: Stop,
    /// What the request that it answers consumed.
    pub usage: Usage,
}

/// A piece of a model's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerPart {
    /// Text; not empty.
    Text(String),
    /// Text that was said on the way to the answer and is no part of it; not empty. There is a [`Self::Text`] beside it.
    Aside(String),
    /// A tool that it asks for.
    Call(AskedCall),
    /// What the provider wants back as it was.
    State(ProviderState),
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

impl Answer {
    /// The tools that it asks for.
    pub fn calls(&self) -> impl Iterator<Item = &AskedCall> {
        self.parts.iter().filter_map(|part| if let AnswerPart::Call(call) = part { Some(call) } else { None })
    }

    /// All of its text, asides included.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            AnswerPart::Text(text) | AnswerPart::Aside(text) => text,
            AnswerPart::Call(_) | AnswerPart::State(_) => "",
        });
        texts.collect()
    }

    /// Its text without asides: what it comes to.
    pub fn conclusion(&self) -> String {
        let texts = self.parts.iter().map(|part| if let AnswerPart::Text(text) = part { text } else { "" });
        texts.collect()
    }
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
    /// Some of its reasoning, as far as the provider shows it; not empty. It is no part of the answer.
    Reasoning(String),
    /// The whole answer, the text of all pieces included. The last piece.
    Done(Answer),
}

impl Piece {
    /// The pieces of an answer that came whole.
    fn all_of(answer: Answer) -> impl Iterator<Item = Self> {
        let text = Some(answer.text()).filter(|text| !text.is_empty()).map(Self::Text);
        text.into_iter().chain([Self::Done(answer)])
    }
}

/// Why a model gives no answer. The texts are ours: nothing of a provider's body is in them but the code of a refusal, which is
/// of a narrow form.
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
        /// What may come of asking again.
        prospect: Prospect,
    },
    /// The provider limits the rate.
    #[error("the model's provider limits the rate")]
    RateLimited {
        /// When it may be asked again, as far as it said so.
        retry_after: Option<Duration>,
        /// Whether it said that asking again is of no use.
        lasting: bool,
    },
    /// The provider fails, or gives no answer that can be read.
    #[error("the model is unavailable: {0}")]
    Unavailable(Outage),
}

/// What a tool's result says to a model whose API has no other place for a failure: a failed one says something always.
fn said_by(result: &ToolResult) -> &str {
    if result.is_error && result.text.trim().is_empty() { "The tool failed." } else { &result.text }
}

/// A configured model.
pub enum Config {
    /// See [`openai_chat`].
    OpenAiChat(EndpointConfig),
    /// See [`openai_responses`].
    OpenAiResponses(EndpointConfig),
    /// See [`anthropic`].
    Anthropic(EndpointConfig),
    /// See [`scripted`].
    Scripted(scripted::Config),
}
