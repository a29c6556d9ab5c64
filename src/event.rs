//! What a run says while it goes on, and what it comes to.

use std::{collections::BTreeMap, time::SystemTime};

use crate::{
    headers::{Applied, Layer},
    id::{ControlToken, RequestId, RunId},
    message::{Message, ToolCallRecord, Usage},
};

/// An event of a run, with when and where in the run it happened.
pub struct Event {
    /// When it happened.
    pub time: SystemTime,
    /// The turn that it belongs to, from 1; 0: before the first.
    pub turn: u32,
    /// What happened.
    pub what: What,
}

/// What happened in a run. What is large and seldom is boxed: each stream has room for 32 events from its start.
pub enum What {
    /// The run has begun.
    Started {
        /// The request's id.
        request_id: RequestId,
        /// The capability to control the run.
        control_token: ControlToken,
        /// The process that holds the run.
        instance: String,
    },
    /// The model is asked.
    TurnStarted,
    /// Some of the model's text.
    TextDelta(String),
    /// A tool call begins.
    ToolCallStarted(Box<ToolCallRecord>),
    /// A tool call has ended.
    ToolCallCompleted {
        /// The call.
        call: Box<ToolCallRecord>,
        /// Its result, at most [`MAX_RESULT_BYTES`].
        result_text: String,
        /// Whether the result was cut.
        truncated: bool,
    },
    /// The run goes on without an optional server.
    McpServerUnavailable {
        /// The server's registered name.
        mcp_server: String,
        /// Why.
        reason: String,
    },
    /// The run waits for its caller.
    CredentialsRequired(Box<PendingInput>),
    /// The model's answer is whole.
    TurnCompleted(Usage),
}

/// Something that a run waits for.
pub struct PendingInput {
    /// Its name.
    pub input_id: String,
    /// When the run waits no longer.
    pub expire_time: SystemTime,
    /// The refusal that fresh headers may mend.
    pub challenge: AuthChallenge,
}

/// An MCP server's refusal of a credential.
#[derive(Clone, Debug)]
pub struct AuthChallenge {
    /// The server's registered name.
    pub mcp_server: String,
    /// What was being done.
    pub phase: Phase,
    /// The server's words.
    pub challenge: Challenge,
    /// The layer that the refused credential came from; `None`: none was sent.
    pub credential_layer: Option<Layer>,
}

/// What was being done with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening a client.
    Opening,
    /// Listing its tools.
    Listing,
    /// Calling a tool.
    Calling,
}

/// The parameters of a WWW-Authenticate header (RFC 9110 section 11.6.1) that callers need. What held a secret of the run,
/// or is no short printable text, is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, e.g. `Bearer`.
    pub scheme: String,
    /// `error` (RFC 6750 section 3).
    pub error: String,
    /// `scope` (RFC 6750 section 3).
    pub scope: String,
    /// `resource_metadata` (RFC 9728 section 5.1).
    pub resource_metadata: String,
}

/// The most bytes of a tool result in an event.
pub const MAX_RESULT_BYTES: usize = 64 * 1024;
/// The most bytes of the model's text in an event; more of it takes several events.
pub const MAX_DELTA_BYTES: usize = 64 * 1024;

/// A run that ended well.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run.
    pub run_id: RunId,
    /// The request's id.
    pub request_id: RequestId,
    /// The agent's name.
    pub agent: String,
    /// The model's last text.
    pub final_output: String,
    /// Why the run ended.
    pub finish_reason: FinishReason,
    /// What it did.
    pub progress: Progress,
    /// The messages that it added, the user's input first.
    pub new_messages: Vec<Message>,
    /// The optional servers that could not be reached.
    pub unavailable_mcp_servers: Vec<String>,
}

/// What a run has done so far.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What its models consumed.
    pub usage: Usage,
    /// The number of answered model requests.
    pub turns: u32,
    /// The tool calls that have begun, in the model's order.
    pub tool_calls: Vec<ToolCallRecord>,
    /// What each MCP server was sent, by name.
    pub applied_headers: BTreeMap<String, Applied>,
}

/// Why a run ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model gave its answer.
    Stop,
    /// The model still asked for tools in its last turn.
    TurnLimit,
    /// The model's answer was cut at its token limit.
    OutputTokenLimit,
    /// The provider withheld the answer.
    ContentFilter,
}

impl FinishReason {
    /// The name for logs and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::TurnLimit => "turn_limit",
            Self::OutputTokenLimit => "output_token_limit",
            Self::ContentFilter => "content_filter",
        }
    }
}
