//! A request for a run, checked.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{OnUnauthorized, Sets};
use crate::{
    agent::Agent,
    message::{Message, ToolRef},
    trace::Correlation,
};

/// A request for a run. It holds the run's headers: there is no `Debug`.
pub struct RunRequest {
    /// The agent to run.
    pub agent: Arc<Agent>,
    /// The conversation before the input.
    pub history: Vec<Message>,
    /// The user's newest message; `None`: the history is to be answered as it is.
    pub input: Option<String>,
    /// What each of the agent's servers is sent.
    pub headers: Arc<Sets>,
    /// What is done when a server refuses the caller's credential.
    pub on_unauthorized: OnUnauthorized,
    /// The most model requests; at least 1.
    pub max_turns: u32,
    /// When the run must be over.
    pub deadline: Instant,
    /// When its report must be on its way, if the caller has a timer of its own.
    pub report_by: Option<Instant>,
    /// The only tools that the model is offered; `None`: all of the agent's.
    pub allowed_tools: Option<HashSet<ToolRef>>,
    /// For logs and spans.
    pub labels: BTreeMap<String, String>,
    /// The caller's ids.
    pub correlation: Correlation,
}
