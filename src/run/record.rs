//! What is logged of a run: one line at its end.

use std::time::Duration;

use tracing::{error, info, warn};

use super::{Error, Failure, RunRequest};
use crate::{
    event::{Progress, Report},
    id::RunId,
    mcp,
    trace::Span,
};

/// Logs a run's end, and notes it in the run's span. The span has the run's and the request's ids already.
pub(super) fn end(request: &RunRequest, run_id: RunId, result: &Result<Report, Error>, took: Duration) {
    let nothing = Progress::default();
    let (outcome, progress, failure) = match result {
        Ok(report) => (report.finish_reason.as_str(), &report.progress, None),
        Err(error) => (error.failure.reason(), error.progress().unwrap_or(&nothing), Some(&error.failure)),
    };
    note(&request.correlation.span, outcome, progress, failure.is_some());
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

fn note(span: &Span, outcome: &'static str, progress: &Progress, failed: bool) {
    span.record("gen_ai.usage.input_tokens", progress.usage.input_tokens);
    span.record("gen_ai.usage.output_tokens", progress.usage.output_tokens);
    span.record(if failed { "error.type" } else { "runwright.finish_reason" }, outcome);
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
        Failure::Model { .. } | Failure::OutputInvalid { .. } | Failure::ToolFailed(_) => Fault::Upstream,
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
