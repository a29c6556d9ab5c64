//! The span of an RPC, which is the first of this process.

use std::borrow::Cow;

use opentelemetry::{KeyValue, trace::SpanKind};
use tracing::{field::Empty, info_span};

use super::{Correlation, Span, names, of_request, span::CANCELLED};

/// The codes that are the server's errors
/// (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/#grpc-status>); the others are the caller's.
const SERVER_ERRORS: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// An RPC that is being answered, in its span. One that is dropped before was cancelled by its caller.
pub struct OpenRpc {
    span: Span,
    has_ended: bool,
}

/// The span of an RPC, `rpc` being e.g. `runwright.v1.AgentService/Run`. It continues the caller's trace.
pub fn rpc(rpc: &'static str, correlation: &Correlation) -> Span {
    let request_id = &correlation.request_id;
    let span = correlation.span.begin(|| {
        let attributes = vec![
            KeyValue::new(names::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(names::RPC_METHOD, rpc),
            of_request(request_id),
        ];
        (Cow::Borrowed(rpc), SpanKind::Server, attributes)
    });
    let context = span.context();
    let trace_id = context.is_valid().then(|| tracing::field::display(context.trace_id()));
    let lines = info_span!("rpc", rpc.method = rpc, %request_id, run_id = Empty, trace_id);
    span.with_lines(lines)
}

impl OpenRpc {
    /// The RPC whose span this is.
    pub fn new(span: Span) -> Self {
        Self { span, has_ended: false }
    }

    /// Its span.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// It was answered with OK.
    pub fn end(&mut self) {
        self.span.record(names::RPC_RESPONSE_STATUS_CODE, "OK");
        self.has_ended = true;
    }

    /// It was answered with an error: the code's name and the reason, which a span below describes already if it has
    /// happened there.
    pub fn end_failed(&mut self, code: &'static str, reason: &'static str, happened_below: bool) {
        self.span.record(names::RPC_RESPONSE_STATUS_CODE, code);
        if !SERVER_ERRORS.contains(&code) {
            self.span.record(names::ERROR_TYPE, reason);
        } else if happened_below {
            self.span.fail_by_child(reason);
        } else {
            self.span.fail(reason);
        }
        self.has_ended = true;
    }

    /// Another tells how it ended.
    pub fn hand_on(&mut self) -> Self {
        self.has_ended = true;
        Self::new(self.span.clone())
    }
}

impl Drop for OpenRpc {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end_failed("CANCELLED", CANCELLED, false);
        }
    }
}
