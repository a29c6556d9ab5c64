//! A request for a run, checked.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Answer, ModelHeaders, OnUnauthorized, Sets};
use crate::{
    agent::Agent,
    message::{Message, ToolCall, ToolRef},
    schema::Schema,
    settings::Settings,
    tool::ToolSpec,
    trace::Correlation,
};

/// A request for a run. It holds the run's headers: there is no `Debug`.
pub struct RunRequest {
    /// The agent to run.
    pub agent: Arc<Agent>,
    /// The configured name of the model.
    pub model: String,
    /// The system prompt; may be empty.
    pub instructions: Arc<str>,
    /// The conversation before the input.
    pub history: Vec<Message>,
    /// The calls at the end of `history` that have no result. There is no input then.
    pub open: Vec<ToolCall>,
    /// What the caller answers to some of those calls, by their ids.
    pub answers: BTreeMap<String, Answer>,
    /// The user's newest message; `None`: the history is to be answered as it is.
    pub input: Option<String>,
    /// What each of the agent's servers is sent.
    pub headers: Arc<Sets>,
    /// What models' providers are sent.
    pub model_headers: Arc<ModelHeaders>,
    /// What is done when a server refuses the caller's credential.
    pub on_unauthorized: OnUnauthorized,
    /// What the run may come to.
    pub bounds: Bounds,
    /// How long each answer of the caller is waited for; `None`: as long as the run may take.
    pub input_timeout: Option<Duration>,
    /// When the run must be over.
    pub deadline: Instant,
    /// When its report must be on its way, if the caller has a timer of its own.
    pub report_by: Option<Instant>,
    /// The only tools of MCP servers that the model is offered; `None`: all of the agent's.
    pub allowed_tools: Option<HashSet<ToolRef>>,
    /// The caller's own tools.
    pub client_tools: Vec<Arc<ToolSpec>>,
    /// Which tools the model is to ask for.
    pub tool_choice: ToolChoice,
    /// How the model is to answer.
    pub settings: Settings,
    /// What the final answer is to fit.
    pub output: Option<Schema>,
    /// For logs and spans.
    pub labels: BTreeMap<String, String>,
    /// The caller's ids.
    pub correlation: Correlation,
}

/// What a run may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most model requests; at least 1.
    pub max_turns: u32,
    /// The most tokens that it may consume before it asks the model again.
    pub max_total_tokens: Option<i64>,
    /// The most tool calls.
    pub max_tool_calls: Option<u32>,
    /// The most bytes of a tool result that the model is shown.
    pub max_tool_result_bytes: usize,
}

/// Which tools a model is to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// Any, or none.
    #[default]
    Auto,
    /// None, in the whole run.
    None,
    /// At least one, in the run's first turn. If it held for all, the run could not end.
    Required,
    /// This one, in the run's first turn.
    Tool(ToolRef),
}
