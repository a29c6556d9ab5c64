//! What a run says while it goes on, and what it comes to.

use std::{collections::BTreeMap, time::SystemTime};

use crate::{
    headers::{Applied, Layer},
    id::{ControlToken, RequestId, RunId},
    message::{Message, ToolCall, ToolCallRecord, Usage},
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

/// What happened in a run. What is large and seldom is boxed, for the sake of the others.
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
    /// Some of the model's reasoning.
    ReasoningDelta(String),
    /// A tool call begins.
    ToolCallStarted(Box<ToolCallRecord>),
    /// A tool says how far it has come.
    ToolCallProgress {
        /// The call's id.
        call_id: String,
        /// How far.
        progress: Box<ToolProgress>,
    },
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
    InputRequired(Box<PendingInput>),
    /// The model's answer is whole.
    TurnCompleted(Usage),
}

/// Something that a run waits for.
#[derive(Clone, Debug)]
pub struct PendingInput {
    /// Its name.
    pub input_id: String,
    /// When the run waits no longer; `None`: it does not wait.
    pub expire_time: Option<SystemTime>,
    /// What it is.
    pub wanted: Wanted,
}

/// What a run waits for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Fresh headers after this refusal.
    Credentials(AuthChallenge),
    /// The caller's word that a tool may be called.
    Approval(ToolCall),
    /// The output of a tool of the caller's own.
    ClientTool(ToolCall),
}

/// How far a tool call has come, as its MCP server says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolProgress {
    /// How much is done, in the server's own measure; finite.
    pub progress: f64,
    /// How much there is to do, in the same measure; finite. `None`: it is not known.
    pub total: Option<f64>,
    /// What is being done, without the run's secrets and at most 1 KiB; empty where the server does not say.
    pub message: String,
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
    /// The configured name of its model.
    pub model: String,
    /// The model's last text.
    pub final_output: String,
    /// Why the run ended.
    pub finish_reason: FinishReason,
    /// What it did.
    pub progress: Progress,
    /// The answer as JSON, where it was to fit a schema.
    pub structured_output: Option<String>,
    /// What the run would have waited for.
    pub pending: Vec<PendingInput>,
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
    /// The tool calls that the model asked for, in its order; of a run that failed, those that have begun or ended.
    pub tool_calls: Vec<ToolCallRecord>,
    /// How many tool calls have begun: were sent to an MCP server, or handed to the caller.
    pub begun: usize,
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
    /// The model or its provider withheld the answer.
    ContentFilter,
    /// The run has consumed its tokens.
    RunTokenLimit,
    /// The model asked for more tool calls than the run may make.
    ToolCallLimit,
    /// Tool calls wait for the caller.
    AwaitingInput,
}

impl FinishReason {
    /// The name for logs and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::TurnLimit => "turn_limit",
            Self::OutputTokenLimit => "output_token_limit",
            Self::ContentFilter => "content_filter",
            Self::RunTokenLimit => "run_token_limit",
            Self::ToolCallLimit => "tool_call_limit",
            Self::AwaitingInput => "awaiting_input",
        }
    }
}
