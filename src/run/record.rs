//! What is logged of a run, one line at its end, with all that is needed to find the rest, and what its spans say of how it
//! went.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use super::{Error, Failure, driver::Context};
use crate::{
    event::{Phase, Progress, Report},
    headers::Layer,
    mcp,
    message::{ToolCallRecord, ToolCallStatus, Usage},
    metrics::{End, Tokens},
    model::{self, Answer, Stop},
    trace::{self, OpenSpan, Span, names},
};

/// Where a run's time went. What is left waited for its caller.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    /// All of it.
    pub(super) whole: Duration,
    /// Until its servers were open, and had listed their tools.
    pub(super) opening: Duration,
    /// Waiting for models' answers.
    pub(super) models: Duration,
    /// What is under way, since when.
    under_way: Option<(Stage, Instant)>,
}

/// What a run's time goes to.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// Its servers are opened.
    Opening,
    /// Its model is asked.
    Asking,
}

impl Times {
    pub(super) fn begin(&mut self, stage: Stage) {
        self.under_way = Some((stage, Instant::now()));
    }

    /// Counts what was under way.
    pub(super) fn end_stage(&mut self) {
        match self.under_way.take() {
            Some((Stage::Opening, since)) => self.opening += since.elapsed(),
            Some((Stage::Asking, since)) => self.models += since.elapsed(),
            None => {}
        }
    }

    /// Those of a run that has ended, which may have broken off what was under way.
    pub(super) fn ended(mut self, whole: Duration) -> Self {
        self.end_stage();
        Self { whole, ..self }
    }
}

/// How many of a run's calls ended in which way.
#[derive(Default)]
struct Calls {
    ok: usize,
    error: usize,
    unknown: usize,
    /// Those that had not ended when the run did.
    unended: usize,
    /// How long they took, one after the other.
    took: Duration,
}

/// Logs a run's end, notes it in the run's span, and counts it. The span has the run's and the request's ids already.
pub(super) fn end(context: &Context, result: &Result<Report, Error>, times: Times, unavailable: &[String]) {
    let nothing = Progress::default();
    let request = &context.request;
    let (outcome, progress, failure) = match result {
        Ok(report) => (report.finish_reason.as_str(), &report.progress, None),
        Err(error) => (error.failure.reason(), error.progress().unwrap_or(&nothing), Some(&error.failure)),
    };
    note(&request.correlation.span, outcome, progress, failure);
    let fault =
        failure.map(|failure| fault_of(failure, request.model_headers.changes_credential(&request.model)));
    let end = match fault {
        None => End::Finished(outcome),
        Some(fault) => End::Failed { reason: outcome, fault: fault.as_str() },
    };
    context.meter.end(end, times.whole, tokens(&progress.usage));
    let calls = Calls::of(&progress.tool_calls);
    macro_rules! line {
        ($level:ident, $text:literal) => {
            $level!(
                run_id = %context.run_id,
                request_id = %request.correlation.request_id,
                trace_id = request.correlation.span.trace_id(),
                agent = request.agent.name,
                model = request.model,
                mode = context.mode().as_str(),
                outcome,
                detail = failure.map(detail),
                turns = progress.turns,
                usage.model_requests = progress.usage.model_requests,
                usage.input_tokens = progress.usage.input_tokens,
                usage.output_tokens = progress.usage.output_tokens,
                usage.cached_input_tokens = progress.usage.cached_input_tokens,
                usage.reasoning_tokens = progress.usage.reasoning_tokens,
                tool_calls = progress.tool_calls.len(),
                tool_calls.ok = calls.ok,
                tool_calls.error = calls.error,
                tool_calls.unknown = calls.unknown,
                tool_calls.unended = calls.unended,
                duration_ms = millis(times.whole),
                opening_ms = millis(times.opening),
                models_ms = millis(times.models),
                tools_ms = millis(calls.took),
                mcp_servers.unavailable = (!unavailable.is_empty()).then(|| unavailable.join(",")),
                labels = json(&request.labels),
                $text
            )
        };
    }
    match fault {
        None | Some(Fault::Caller | Fault::Deadline | Fault::Shutdown) => line!(info, "A run has ended"),
        Some(Fault::Upstream) => line!(warn, "A run has failed at an upstream"),
        Some(Fault::Service) => line!(error, "A run has failed by a fault of the service"),
    }
}

/// Tokens as they are counted.
pub(super) fn tokens(usage: &Usage) -> Tokens {
    let count = |tokens: i64| u64::try_from(tokens).unwrap_or_default();
    Tokens {
        input: count(usage.input_tokens),
        output: count(usage.output_tokens),
        cached_input: count(usage.cached_input_tokens),
        reasoning: count(usage.reasoning_tokens),
    }
}

fn note(span: &Span, outcome: &'static str, progress: &Progress, failure: Option<&Failure>) {
    trace::agent_invoked(span, &progress.usage, progress.turns, progress.tool_calls.len());
    match failure {
        None => span.record(names::FINISH_REASON, outcome),
        Some(failure) if happened_below(failure) => span.fail_by_child(outcome),
        Some(_) => span.fail(outcome),
    }
}

/// Whether a span below the run's describes a failure: that of the request that failed.
fn happened_below(failure: &Failure) -> bool {
    match failure {
        Failure::Model { .. } | Failure::ToolFailed(_) => true,
        // Where a credential could not be had, nothing was asked.
        Failure::Mcp(error) => {
            !matches!(error.problem, mcp::Problem::CredentialSource(_)) || error.phase == Phase::Calling
        }
        _ => false,
    }
}

/// Ends the span of a model request that failed. The provider's status is told, as far as it is known.
pub(super) fn model_failed(span: OpenSpan, reason: &'static str, error: &model::Error) {
    let status = match error {
        model::Error::Unauthorized { status } | model::Error::Rejected { status, .. } => Some(*status),
        model::Error::RateLimited { .. } => Some(429),
        model::Error::Unavailable(_) => None,
    };
    if let Some(status) = status {
        span.record(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
    }
    span.end_failed(reason);
}

/// Why a model's answer ended, as the conventions for generative AI name it.
pub(super) fn finish_reason(answer: &Answer) -> &'static str {
    match answer.stop {
        Stop::End if answer.calls().next().is_some() => "tool_call",
        Stop::End => "stop",
        Stop::OutputLimit => "length",
        Stop::ContentFilter => "content_filter",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A caller's labels as a JSON object, so that they can be read again. `None`: there are none.
fn json(labels: &BTreeMap<String, String>) -> Option<String> {
    (!labels.is_empty()).then(|| serde_json::to_string(labels).ok()).flatten()
}

impl Calls {
    fn of(records: &[ToolCallRecord]) -> Self {
        let mut calls = Self::default();
        for record in records {
            let Some((status, took)) = record.ended else {
                calls.unended += 1;
                continue;
            };
            calls.took += took;
            match status {
                ToolCallStatus::Ok => calls.ok += 1,
                ToolCallStatus::Error => calls.error += 1,
                ToolCallStatus::Unknown => calls.unknown += 1,
            }
        }
        calls
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy)]
enum Fault {
    Caller,
    /// Nobody's, or nobody can tell whose: the time was over.
    Deadline,
    Upstream,
    /// The process ends.
    Shutdown,
    Service,
}

impl Fault {
    /// The name for metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Deadline => "deadline",
            Self::Upstream => "upstream",
            Self::Shutdown | Self::Service => "service",
        }
    }
}

/// Whose fault a failure is. A refused credential is the fault of whoever brought it, and one that is missing its caller's:
/// a configured one that has expired is not to go unnoticed. `callers_key`: the model's key was the caller's to bring.
fn fault_of(failure: &Failure, callers_key: bool) -> Fault {
    match failure {
        Failure::Internal(_) => Fault::Service,
        Failure::ShuttingDown => Fault::Shutdown,
        Failure::Timeout => Fault::Deadline,
        Failure::Model { error: model::Error::Unauthorized { .. }, .. } if callers_key => Fault::Caller,
        Failure::Model { .. } | Failure::OutputInvalid { .. } | Failure::ToolFailed(_) => Fault::Upstream,
        Failure::Mcp(error) => match error.problem {
            mcp::Problem::Unauthorized(_, layer) | mcp::Problem::Forbidden(_, layer) => match layer {
                None | Some(Layer::Run | Layer::RunServer) => Fault::Caller,
                Some(Layer::Server | Layer::Agent) => Fault::Upstream,
            },
            mcp::Problem::Unavailable(_) | mcp::Problem::CredentialSource(_) | mcp::Problem::Protocol(_) => {
                Fault::Upstream
            }
        },
        Failure::Invalid(_)
        | Failure::AgentNotFound(_)
        | Failure::RunNotFound { .. }
        | Failure::RequestTooLarge
        | Failure::Overloaded { .. }
        | Failure::CredentialsTimeout(_)
        | Failure::Cancelled(_)
        | Failure::CallerGone
        | Failure::StreamStalled => Fault::Caller,
    }
}

/// What the log says of a failure beside its reason. Our own words, but for a caller's reason to cancel.
fn detail(failure: &Failure) -> String {
    match failure {
        Failure::Mcp(error) | Failure::CredentialsTimeout(error) => error.to_string(),
        Failure::Model { model, error } => format!("model `{model}`: {error}"),
        Failure::Cancelled(reason) => reason.clone(),
        Failure::CallerGone => "the caller ended its call".to_owned(),
        Failure::ToolFailed(tool) => format!("tool `{}` of MCP server `{}`", tool.tool, tool.mcp_server),
        Failure::Internal(incident) => format!("incident {incident}"),
        _ => String::new(),
    }
}
