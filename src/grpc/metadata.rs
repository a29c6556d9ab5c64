//! What comes and goes beside the messages: ids, the trace context, deadlines.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Extensions, Request, metadata::MetadataMap};

use crate::{
    id::RequestId,
    run::{Error, Failure, Violation},
    trace::{Correlation, TraceHeaders},
};

/// The metadata that names a request.
const REQUEST_ID: &str = "x-request-id";

/// When the caller's `grpc-timeout` runs out. A layer stamps it when the call comes in.
#[derive(Clone, Copy, Debug)]
pub struct CallDeadline(pub Instant);

impl CallDeadline {
    /// How much earlier a run ends, so that its own report reaches the caller before the caller's timer goes off.
    const MARGIN: Duration = Duration::from_millis(250);

    /// The deadline of a call that comes in now with this timeout. A short timeout keeps half of itself.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.saturating_sub(Self::MARGIN).max(timeout / 2))
    }
}

/// A call's ids.
///
/// # Errors
/// The caller's request id is not valid; the error has an id that was made for it.
pub(super) fn correlation<T>(request: &Request<T>) -> Result<Correlation, Error> {
    let headers: &HeaderMap = request.metadata().as_ref();
    let request_id = match headers.get(REQUEST_ID) {
        None => RequestId::generate(),
        Some(given) => given.to_str().ok().and_then(RequestId::parse).ok_or_else(refused)?,
    };
    Ok(Correlation { request_id, incoming: TraceHeaders::extract(headers) })
}

fn refused() -> Error {
    let violation = Violation::field(
        "metadata.x-request-id",
        "a request id has 1 to 128 visible ASCII characters; leave it out to have one made",
    );
    Error::refused(RequestId::generate(), Failure::Invalid(vec![violation]))
}

/// The caller's deadline, if it has one.
pub(super) fn deadline(extensions: &Extensions) -> Option<Instant> {
    extensions.get::<CallDeadline>().map(|deadline| deadline.0)
}

/// Names the request in an answer's metadata.
pub(super) fn name_request(metadata: &mut MetadataMap, request_id: &RequestId) {
    if let Ok(value) = request_id.as_str().parse() {
        metadata.insert(REQUEST_ID, value);
    }
}
