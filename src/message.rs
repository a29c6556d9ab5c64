//! A conversation: messages between the user, the model and the tools.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What the user says.
    User {
        /// What it consists of, in order; not empty.
        parts: Vec<UserPart>,
    },
    /// What the model says, and the tools that it asks for.
    Assistant {
        /// What it consists of, in the model's order; not empty.
        parts: Vec<AssistantPart>,
    },
    /// What the tools answered: one result for each call of the message before, but for those that wait for their caller.
    Tool {
        /// The results, in the order of the calls.
        results: Vec<ToolResult>,
    },
}

/// A piece of a user's message.
#[derive(Clone, Debug, PartialEq)]
pub enum UserPart {
    /// Text.
    Text(String),
    /// An image.
    Image(Image),
}

/// A piece of a model's message.
#[derive(Clone, Debug, PartialEq)]
pub enum AssistantPart {
    /// Text.
    Text(String),
    /// A tool that it asks for.
    Call(ToolCall),
    /// What its provider wants back as it was.
    State(ProviderState),
}

/// An image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its media type, e.g. `image/png`; empty where it is behind a URL.
    pub media_type: String,
    /// Where it is.
    pub source: ImageSource,
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageSource {
    /// Here, in Base64 (RFC 4648 section 4), as providers and MCP servers write it.
    Base64(Arc<str>),
    /// Behind a URL, from which the model's provider fetches it; nobody does here.
    Url(String),
}

/// What a provider gave with an answer and wants back as it was, such as encrypted reasoning; see `model::state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderState(pub Bytes);

/// A tool, as everything but a model's provider names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolRef {
    /// The server's registered name; empty: it is a tool of the caller's own.
    pub mcp_server: String,
    /// The tool's name there.
    pub tool: String,
}

impl ToolRef {
    /// Whether the caller answers for the tool, and no MCP server.
    pub fn is_callers(&self) -> bool {
        self.mcp_server.is_empty()
    }
}

/// One call of a tool that the model asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The provider's id for the call, unique in the conversation.
    pub call_id: String,
    /// The tool's name as the model knows it; see `run::tools`.
    pub name: String,
    /// Which tool that is; `None` where the model named one that the run does not have.
    pub tool: Option<ToolRef>,
    /// The arguments as the model wrote them; should be a JSON object.
    pub arguments_json: String,
}

/// What a tool gave back to the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call that it answers.
    pub call_id: String,
    /// The result as the model is shown it.
    pub text: String,
    /// The images of the result.
    pub images: Vec<Image>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolCallStatus {
    /// The tool gave a result.
    Ok,
    /// The tool failed, or was not called.
    Error,
    /// The call was sent and no answer came: the tool may have acted.
    Unknown,
}

impl ToolCallStatus {
    /// The name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// A tool call and how it went: what a run reports of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCallRecord {
    /// The call.
    pub call: ToolCall,
    /// How it ended, and after how long; `None` while it has not.
    pub ended: Option<(ToolCallStatus, Duration)>,
}

/// What the models of a run consumed. What a provider does not report is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the requests, cached ones included.
    pub input_tokens: i64,
    /// Tokens of the answers, reasoning included.
    pub output_tokens: i64,
    /// The sum of both, or what the provider says it is.
    pub total_tokens: i64,
    /// Input tokens that the provider had cached.
    pub cached_input_tokens: i64,
    /// Output tokens that were spent on reasoning.
    pub reasoning_tokens: i64,
    /// The number of requests.
    pub model_requests: i32,
}

impl Image {
    /// The media types that all providers take.
    pub const MEDIA_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

    /// Its size where it is held, in bytes; 0 where it is behind a URL.
    pub fn bytes(&self) -> usize {
        match &self.source {
            ImageSource::Base64(base64) => base64.len(),
            ImageSource::Url(_) => 0,
        }
    }
}

impl Message {
    /// A user's message of text alone.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { parts: vec![UserPart::Text(text.into())] }
    }

    /// The tool calls of a model's message, in its order.
    pub fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        let parts = if let Self::Assistant { parts } = self { parts.as_slice() } else { &[] };
        parts.iter().filter_map(|part| match part {
            AssistantPart::Call(call) => Some(call),
            AssistantPart::Text(_) | AssistantPart::State(_) => None,
        })
    }
}

/// Brings the results at a conversation's end into the order of the calls before them. A caller may send very many.
pub fn sort_results(conversation: &mut [Message]) {
    let [.., asked, Message::Tool { results }] = conversation else { return };
    let places: HashMap<&str, usize> =
        asked.calls().enumerate().map(|(at, call)| (call.call_id.as_str(), at)).collect();
    results.sort_by_key(|result| places.get(result.call_id.as_str()).copied());
}

impl Usage {
    /// Adds what another request consumed. A provider's nonsense saturates; it does not overflow.
    pub fn add(&mut self, other: Usage) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.total_tokens = self.total_tokens.saturating_add(other.total_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(other.cached_input_tokens);
        self.reasoning_tokens = self.reasoning_tokens.saturating_add(other.reasoning_tokens);
        self.model_requests = self.model_requests.saturating_add(other.model_requests);
    }
}
