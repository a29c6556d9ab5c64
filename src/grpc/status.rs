//! The only place where a gRPC status is made.
//!
//! Every error carries `google.rpc.ErrorInfo`; which message and further details a failure gets stands in [`describe`],
//! which code in [`code::code`], an exhaustive match each. Details are held under 4 KiB: clients limit metadata to 8 or 16 KiB, and an error
//! that is over it arrives as something else.

#![allow(clippy::disallowed_types, reason = "this is the place")]

use std::time::Duration;

use prost::{Message, Name};
use prost_types::Any;
use tonic::{
    Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};
use tonic_types::pb::{self as rpc, bad_request::FieldViolation};

use super::{encode, metadata, proto};
use crate::{
    event::Progress,
    mcp,
    message::ToolRef,
    model,
    run::{Error, Failure, ViolationKind, Violations},
};

mod code;

/// What a unary handler answers with.
pub type Reply<T> = Result<tonic::Response<T>, Status>;
/// What a stream's items are.
pub type Item<T> = Result<T, Status>;

/// The domain of every reason.
const DOMAIN: &str = "runwright.dev";
/// The most bytes of an error's encoded details.
const MAX_DETAIL_BYTES: usize = 4 * 1024;
/// The most bytes of an error's message.
const MAX_MESSAGE_BYTES: usize = 512;

/// A failure as gRPC has it.
struct Described {
    message: String,
    metadata: Vec<(&'static str, String)>,
    details: Vec<Any>,
}

/// The status of an error.
pub fn status(error: &Error) -> Status {
    let mut described = describe(&error.failure);
    let started = error.progress().map(|progress| progress.begun);
    described.metadata.push(("request_id", error.request_id.to_string()));
    described.metadata.push(("admitted", error.is_admitted().to_string()));
    described.metadata.extend(error.run_id().map(|run_id| ("run_id", run_id.to_string())));
    described.metadata.extend(started.map(|started| ("tool_calls_started", started.to_string())));
    let code = code::code(error);
    let details = described.encode(code as i32, error);
    let mut metadata = MetadataMap::new();
    metadata::name_request(&mut metadata, &error.request_id);
    if error.is_admitted() {
        metadata.insert("grpc-retry-pushback-ms", AsciiMetadataValue::from_static("-1"));
    }
    let message = cut(described.message);
    Status::with_details_and_metadata(code, message, details.into(), metadata)
}

/// The gRPC status code's name, for spans.
pub(super) fn code_name(error: &Error) -> &'static str {
    code::name(code::code(error))
}

fn describe(failure: &Failure) -> Described {
    match failure {
        Failure::Invalid(violations) => invalid(violations),
        Failure::AgentNotFound(agent) if agent.is_empty() => {
            let message =
                "`agent` is required, and the request has none; CatalogService.ListAgents lists them";
            Described::new(message).with("agent", agent)
        }
        Failure::AgentNotFound(agent) => {
            let shown = agent.escape_debug();
            let message = format!("there is no agent `{shown}`; CatalogService.ListAgents lists them");
            Described::new(message).with("agent", agent)
        }
        Failure::RunNotFound { instance } => {
            let message = format!(
                "instance {instance} holds no such live run, or the control token is not the run's: both stand in the first \
                 event of its stream, and control calls must reach the instance that it names, as over the stream's own \
                 connection"
            );
            Described::new(message).with("instance", instance)
        }
        Failure::RequestTooLarge => {
            Described::new("the request is over the size limit (limits.max_request_bytes)")
        }
        Failure::Mcp(error) => mcp_failure(error, error.to_string()),
        Failure::CredentialsTimeout(error) => {
            mcp_failure(error, format!("nobody brought fresh headers in time; {error}"))
        }
        Failure::Model { model, error } => model_failure(model, error),
        Failure::OutputInvalid { misfits } => {
            let misfits = misfits.join("; ");
            Described::new(format!(
                "the model's answer does not fit `options.output_schema_json`, also after it was asked to mend it if the \
                 run's limits allowed that: {misfits}"
            ))
            .with("misfits", misfits)
        }
        Failure::ToolFailed(tool) => tool_failure(tool),
        Failure::Overloaded { agent: None, retry_after } => {
            Described::new("this instance has as many runs as it may; try again").retry_after(*retry_after)
        }
        Failure::Overloaded { agent: Some(agent), retry_after } => {
            let message = format!("agent `{agent}` has as many runs in this instance as it may; try again");
            Described::new(message).with("agent", agent).retry_after(*retry_after)
        }
        Failure::Timeout => Described::new("the run's time is over"),
        Failure::Cancelled(reason) if reason.is_empty() => Described::new("the run was cancelled"),
        Failure::Cancelled(reason) => Described::new(format!("the run was cancelled: {reason}")),
        Failure::CallerGone => Described::new("the caller ended its call"),
        Failure::StreamStalled => Described::new("the stream's reader took no event for too long"),
        Failure::ShuttingDown => Described::new(
            "this instance is shutting down; another one may take the run if the status is UNAVAILABLE",
        ),
        Failure::Internal(incident) => {
            Described::new("a fault of the service; its log has the incident").with("incident_id", incident)
        }
    }
}

fn invalid(violations: &Violations) -> Described {
    let message = match violations.kept() {
        [only] if only.field.is_empty() => only.description.clone(),
        [only] => format!("{}: {}", only.field, only.description),
        [first, others @ ..] => {
            format!(
                "{}: {} (and {} more, see details)",
                first.field,
                first.description,
                others.len() + violations.left_out()
            )
        }
        [] => "the request is not valid".to_owned(),
    };
    let described = Described::new(message);
    match violations.kept().iter().find(|violation| violation.kind == ViolationKind::UnknownMcpServer) {
        Some(violation) => described.with("mcp_servers", &violation.used_servers),
        None => described,
    }
}

fn mcp_failure(error: &mcp::Error, message: String) -> Described {
    let described = Described::new(message).with("mcp_server", &error.mcp_server);
    match encode::auth_challenge(error) {
        Some(challenge) => described.detail(&challenge),
        None => described,
    }
}

fn model_failure(model: &str, error: &model::Error) -> Described {
    let described = Described::new(format!("model `{model}`: {error}")).with("model", model);
    match error {
        model::Error::RateLimited { retry_after, .. } => {
            described.retry_after(retry_after.unwrap_or(Duration::from_secs(1)))
        }
        model::Error::Unavailable(_) => match error.prospect() {
            model::Prospect::Passing { retry_after: Some(time) } => described.retry_after(time),
            model::Prospect::Passing { retry_after: None } | model::Prospect::Lasting => described,
        },
        model::Error::Unauthorized { .. } | model::Error::Rejected { .. } => described,
    }
}

fn tool_failure(tool: &ToolRef) -> Described {
    let ToolRef { mcp_server, tool } = tool;
    let tool: String = tool.chars().take(128).collect();
    let whose = if mcp_server.is_empty() {
        "of the caller's own".to_owned()
    } else {
        format!("of MCP server `{mcp_server}`")
    };
    Described::new(format!("the tool `{tool}` {whose} failed, and the agent's runs end then"))
        .with("mcp_server", mcp_server)
        .with("tool", tool)
}

impl Described {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), metadata: Vec::new(), details: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    fn detail<M: Message + Name>(mut self, detail: &M) -> Self {
        self.details.push(any(detail));
        self
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        let retry_delay = prost_types::Duration::try_from(delay).ok();
        self.details.push(rpc_any("RetryInfo", &rpc::RetryInfo { retry_delay }));
        self
    }

    /// The `google.rpc.Status` with all details that fit.
    fn encode(&self, code: i32, error: &Error) -> Vec<u8> {
        let metadata = self.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let info = rpc::ErrorInfo {
            reason: error.failure.reason().to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: metadata.collect(),
        };
        let mut status = rpc::Status {
            code,
            message: cut(self.message.clone()),
            details: vec![rpc_any("ErrorInfo", &info)],
        };
        status.details.extend(self.details.iter().cloned());
        if let Failure::Invalid(violations) = &error.failure {
            let room = MAX_DETAIL_BYTES.saturating_sub(status.encoded_len());
            status.details.push(bad_request(violations, room));
        }
        if let Some(done) = error.progress() {
            let room = MAX_DETAIL_BYTES.saturating_sub(status.encoded_len());
            status.details.push(any(&progress(done, room)));
        }
        status.encode_to_vec()
    }
}

/// As many violations as fit; then one that says how many are left out.
fn bad_request(violations: &Violations, room: usize) -> Any {
    /// Room for the message around the violations, and for the last one.
    const RESERVE: usize = 160;
    let mut request = rpc::BadRequest::default();
    let mut bytes = RESERVE;
    for violation in violations.kept() {
        let field = FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
            reason: violation.kind.reason().to_owned(),
            localized_message: None,
        };
        bytes += field.encoded_len() + 4;
        if bytes > room {
            break;
        }
        request.field_violations.push(field);
    }
    let left_out = violations.kept().len() - request.field_violations.len() + violations.left_out();
    if left_out > 0 {
        request.field_violations.push(FieldViolation {
            description: format!("{left_out} more violations are left out"),
            reason: ViolationKind::Field.reason().to_owned(),
            ..FieldViolation::default()
        });
    }
    rpc_any("BadRequest", &request)
}

/// What a failed run had done, as far as it fits; of its calls, the last ones.
fn progress(done: &Progress, room: usize) -> proto::RunProgress {
    /// Room for the message around.
    const RESERVE: usize = 96;
    let mut whole = encode::progress(done);
    let calls = std::mem::take(&mut whole.tool_calls);
    if whole.encoded_len() + RESERVE > room {
        whole.applied_headers.clear();
    }
    let mut bytes = whole.encoded_len() + RESERVE;
    let mut kept: Vec<proto::ToolCall> = calls
        .into_iter()
        .rev()
        .take_while(|call| {
            bytes += call.encoded_len() + 4;
            bytes <= room
        })
        .collect();
    kept.reverse();
    whole.tool_calls = kept;
    whole
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

fn rpc_any<M: Message>(name: &str, message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value: message.encode_to_vec() }
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    message
}
