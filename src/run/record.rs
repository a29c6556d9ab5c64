//! What is logged of a run, one line at its end, and what its spans say of how it went.

use std::time::Duration;

use tracing::{error, info, warn};

use super::{Error, Failure, RunRequest};
use crate::{
    event::{Phase, Progress, Report},
    id::RunId,
    mcp,
    model::{self, Answer, Stop},
    trace::{self, OpenSpan, Span, names},
};

/// Logs a run's end, and notes it in the run's span. The span has the run's and the request's ids already.
pub(super) fn end(request: &RunRequest, run_id: RunId, result: &Result<Report, Error>, took: Duration) {
    let nothing = Progress::default();
    let (outcome, progress, failure) = match result {
        Ok(report) => (report.finish_reason.as_str(), &report.progress, None),
        Err(error) => (error.failure.reason(), error.progress().unwrap_or(&nothing), Some(&error.failure)),
    };
    note(&request.correlation.span, outcome, progress, failure);
    macro_rules! line {
        ($level:ident, $text:literal) => {
            $level!(
                run_id = %run_id,
                request_id = %request.correlation.request_id,
                agent = request.agent.name,
                model = request.model,
                outcome,
                detail = failure.map(detail),
                turns = progress.turns,
                tool_calls = progress.tool_calls.len(),
                usage.input_tokens = progress.usage.input_tokens,
                usage.output_tokens = progress.usage.output_tokens,
                duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                labels = ?request.labels,
                $text
            )
        };
    }
    match failure.map(fault_of) {
        None | Some(Fault::Caller) => line!(info, "A run has ended"),
        Some(Fault::Upstream) => line!(warn, "A run has failed at an upstream"),
        Some(Fault::Internal) => line!(error, "A run has failed by a fault of the service"),
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

/// Whose fault a failure is.
enum Fault {
    Caller,
    Upstream,
    Internal,
}

fn fault_of(failure: &Failure) -> Fault {
    match failure {
        Failure::Internal(_) => Fault::Internal,
        Failure::Model { .. } | Failure::OutputInvalid | Failure::ToolFailed(_) => Fault::Upstream,
        Failure::Mcp(error) => match error.problem {
            mcp::Problem::Unauthorized(..) | mcp::Problem::Forbidden(..) => Fault::Caller,
            mcp::Problem::Unavailable(_) | mcp::Problem::CredentialSource(_) | mcp::Problem::Protocol(_) => {
                Fault::Upstream
            }
        },
        _ => Fault::Caller,
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
