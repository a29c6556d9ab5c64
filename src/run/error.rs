//! How a run fails, or is refused.

use std::time::Duration;

use tracing::error;
use uuid::Uuid;

use super::Violations;
use crate::{
    event::Progress,
    id::{RequestId, RunId},
    mcp,
    message::ToolRef,
    model,
};

/// A failure, with the request that it belongs to.
#[derive(Clone, Debug)]
pub struct Error {
    /// The request's id.
    pub request_id: RequestId,
    /// What happened.
    pub failure: Failure,
    /// How far the request had come.
    pub standing: Standing,
}

/// How far a request had come when it failed.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Nothing ran, and no upstream was asked.
    Refused,
    /// A run had been admitted.
    Admitted {
        /// The run.
        run_id: RunId,
        /// What it had done.
        progress: Box<Progress>,
    },
    /// A panic took with it what the request had done.
    Lost {
        /// The run, if it is known that there was one.
        run_id: Option<RunId>,
    },
}

/// What can happen to a request. The texts that it gives rise to hold no upstream's words and no header value.
#[derive(Clone, Debug)]
pub enum Failure {
    /// Fields of the request are wrong: all of them.
    Invalid(Violations),
    /// There is no such agent.
    AgentNotFound(String),
    /// There is no such live run here, or the token is not its own.
    RunNotFound {
        /// The process that answers.
        instance: String,
    },
    /// The request is over the size limit.
    RequestTooLarge,
    /// An MCP server can't be used.
    Mcp(Box<mcp::Error>),
    /// The model gives no answer.
    Model {
        /// The model's configured name.
        model: String,
        /// Why.
        error: model::Error,
    },
    /// The answer does not fit the schema that it was to fit.
    OutputInvalid {
        /// Some of the places where it does not; see `Schema::misfits`.
        misfits: Vec<String>,
    },
    /// A tool failed, and the agent's runs end then.
    ToolFailed(ToolRef),
    /// There are too many runs.
    Overloaded {
        /// The agent that has too many; `None`: this process has.
        agent: Option<String>,
        /// When to try again.
        retry_after: Duration,
    },
    /// The run's time is over.
    Timeout,
    /// The run's time is over, and nobody brought fresh headers after this refusal.
    CredentialsTimeout(Box<mcp::Error>),
    /// `CancelRun`, with its reason.
    Cancelled(String),
    /// The caller ended its RPC; nobody reads this.
    CallerGone,
    /// The stream's reader took no event for too long.
    StreamStalled,
    /// This process is ending.
    ShuttingDown,
    /// A fault of ours. The log has the same incident.
    Internal(Uuid),
}

impl Error {
    /// A request that is refused: nothing ran.
    pub fn refused(request_id: RequestId, failure: Failure) -> Self {
        Self { request_id, failure, standing: Standing::Refused }
    }

    /// A panic, which is logged, with an incident id that the caller is told, too.
    pub fn panicked(request_id: RequestId, run_id: Option<RunId>) -> Self {
        Self {
            failure: Failure::incident("a panic", &request_id),
            request_id,
            standing: Standing::Lost { run_id },
        }
    }

    /// Whether something may have run.
    pub fn is_admitted(&self) -> bool {
        !matches!(self.standing, Standing::Refused)
    }

    /// The run, as far as it is known.
    pub fn run_id(&self) -> Option<RunId> {
        match &self.standing {
            Standing::Refused => None,
            Standing::Admitted { run_id, .. } => Some(*run_id),
            Standing::Lost { run_id } => *run_id,
        }
    }

    /// What the run had done, as far as it is known.
    pub fn progress(&self) -> Option<&Progress> {
        match &self.standing {
            Standing::Admitted { progress, .. } => Some(progress),
            Standing::Refused | Standing::Lost { .. } => None,
        }
    }
}

impl Failure {
    /// A fault of ours: logged, with an incident id that the caller is told, too. The line names the request itself: it may
    /// stand in no span, as after a handler's panic.
    pub(super) fn incident(what: &'static str, request_id: &RequestId) -> Self {
        let incident_id = Uuid::now_v7();
        error!(%incident_id, %request_id, what, "A fault of the service");
        Self::Internal(incident_id)
    }

    /// The name for logs and spans: the reason that the caller is told.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(violations) => violations.reason(),
            Self::AgentNotFound(_) => "AGENT_NOT_FOUND",
            Self::RunNotFound { .. } => "RUN_NOT_FOUND",
            Self::RequestTooLarge => "REQUEST_TOO_LARGE",
            Self::Mcp(error) => mcp_reason(&error.problem),
            Self::Model { error, .. } => model_reason(error),
            Self::OutputInvalid { .. } => "OUTPUT_INVALID",
            Self::ToolFailed(_) => "TOOL_FAILED",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::Timeout => "RUN_TIMEOUT",
            Self::CredentialsTimeout(_) => "CREDENTIALS_TIMEOUT",
            Self::Cancelled(_) | Self::CallerGone => "RUN_CANCELLED",
            Self::StreamStalled => "STREAM_STALLED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal(_) => "INTERNAL",
        }
    }
}

fn mcp_reason(problem: &mcp::Problem) -> &'static str {
    match problem {
        mcp::Problem::Unauthorized(..) => "MCP_UNAUTHORIZED",
        mcp::Problem::Forbidden(..) => "MCP_FORBIDDEN",
        mcp::Problem::Unavailable(_) => "MCP_UNAVAILABLE",
        mcp::Problem::CredentialSource(_) => "CREDENTIAL_SOURCE_FAILED",
        mcp::Problem::Protocol(_) => "MCP_PROTOCOL_ERROR",
    }
}

fn model_reason(error: &model::Error) -> &'static str {
    match error {
        model::Error::Unauthorized { .. } => "MODEL_UNAUTHORIZED",
        model::Error::Rejected { .. } => "MODEL_REJECTED",
        model::Error::RateLimited { .. } => "MODEL_RATE_LIMITED",
        model::Error::Unavailable(_) => "MODEL_UNAVAILABLE",
    }
}
