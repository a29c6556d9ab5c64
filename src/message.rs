//! A conversation: messages between the user, the model and the tools.

use std::time::Duration;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What the user says.
    User {
        /// The text; not empty.
        text: String,
    },
    /// What the model says, and the tools that it asks for.
    Assistant {
        /// The text; may be empty where there are calls.
        text: String,
        /// The calls, in the model's order.
        calls: Vec<ToolCall>,
    },
    /// What the tools answered, one result for each call of the message before.
    Tool {
        /// The results, in the order of the calls.
        results: Vec<ToolResult>,
    },
}

/// A tool, as everything but a model's provider names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolRef {
    /// The server's registered name.
    pub mcp_server: String,
    /// The tool's name on that server.
    pub tool: String,
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
