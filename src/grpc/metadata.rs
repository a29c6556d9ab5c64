//! What comes and goes beside the messages: ids, the trace context, deadlines.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Extensions, Request, metadata::MetadataMap};

use crate::{
    id::RequestId,
    run::{Error, Failure, Violation},
    trace::Correlation,
};

/// The metadata that names a request.
const REQUEST_ID: &str = "x-request-id";
/// The metadata that says how long a caller waits.
const TIMEOUT: &str = "grpc-timeout";

/// What a caller's `grpc-timeout` leaves. A layer stamps it when the call comes in.
#[derive(Clone, Copy, Debug)]
pub struct CallDeadline {
    /// When the work must be over.
    pub work: Instant,
    /// When the answer must be on its way, or the caller's own timer goes off before it is there.
    pub answer: Instant,
}

impl CallDeadline {
    /// How long before the caller's timer the work ends.
    const WORK_MARGIN: Duration = Duration::from_millis(250);
    /// How long before it the answer goes out. What is between them is for telling MCP servers.
    const ANSWER_MARGIN: Duration = Duration::from_millis(100);

    /// The deadline of a call that comes in now with this timeout. A short timeout keeps half of itself for the work.
    pub fn after(timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            work: now + timeout - Self::WORK_MARGIN.min(timeout / 2),
            answer: now + timeout - Self::ANSWER_MARGIN.min(timeout / 5),
        }
    }
}

/// A call's ids.
///
/// # Errors
/// The caller's request id is not valid; the error has an id that was made for it. Or its timeout is none, so that it would
/// wait for longer than it means to.
pub(super) fn correlation<T>(request: &Request<T>) -> Result<Correlation, Error> {
    let headers: &HeaderMap = request.metadata().as_ref();
    let request_id = match headers.get(REQUEST_ID) {
        None => RequestId::generate(),
        Some(given) => given.to_str().ok().and_then(RequestId::parse).ok_or_else(|| {
            let rule = "a request id has 1 to 128 visible ASCII characters; leave it out to have one made";
            refused(RequestId::generate(), REQUEST_ID, rule)
        })?,
    };
    if headers.contains_key(TIMEOUT) && deadline(request.extensions()).is_none() {
        let rule = "a timeout has 1 to 8 digits and a unit (H, M, S, m, u or n), such as 20000m";
        return Err(refused(request_id, TIMEOUT, rule));
    }
    Ok(Correlation::incoming(request_id, headers))
}

fn refused(request_id: RequestId, key: &str, rule: &'static str) -> Error {
    let violation = Violation::field(format!("metadata.{key}"), rule);
    Error::refused(request_id, Failure::Invalid(violation.into()))
}

/// The caller's deadline, if it has one.
pub(super) fn deadline(extensions: &Extensions) -> Option<CallDeadline> {
    extensions.get().copied()
}

/// Names the request in an answer's metadata.
pub(super) fn name_request(metadata: &mut MetadataMap, request_id: &RequestId) {
    if let Ok(value) = request_id.as_str().parse() {
        metadata.insert(REQUEST_ID, value);
    }
}
