//! A call from its ids to its answer: what all handlers do alike.

use tonic::{Request, Response};

use super::{
    metadata,
    status::{self, Item, Reply},
};
use crate::{
    run::{Error, Failure},
    trace::{self, Correlation, OpenRpc, Span},
};

/// A call that is being handled: its ids and its span.
pub(super) struct Rpc {
    pub(super) correlation: Correlation,
    open: OpenRpc,
}

impl Rpc {
    /// Takes a call's ids and opens its span.
    pub(super) fn begin<T>(rpc: &'static str, request: &Request<T>) -> Item<Self> {
        let mut correlation = metadata::correlation(request).map_err(|error| status::status(&error))?;
        correlation.span = trace::rpc(rpc, &correlation);
        let open = OpenRpc::new(correlation.span.clone());
        Ok(Self { correlation, open })
    }

    /// What notes the end of a stream, which is no end of this.
    pub(super) fn hand_on(&mut self) -> OpenRpc {
        self.open.hand_on()
    }

    /// Its span.
    pub(super) fn span(&self) -> &Span {
        &self.correlation.span
    }

    /// The answer of a call that is over.
    pub(super) fn end<T>(mut self, result: Result<T, Error>) -> Reply<T> {
        if result.is_ok() {
            self.open.end();
        }
        self.begin_stream(result)
    }

    /// The answer of a call whose stream goes on, and notes its own end in the span.
    pub(super) fn begin_stream<T>(mut self, result: Result<T, Error>) -> Reply<T> {
        match result {
            Ok(answer) => {
                let mut response = Response::new(answer);
                metadata::name_request(response.metadata_mut(), &self.correlation.request_id);
                Ok(response)
            }
            Err(error) => {
                note_failure(&mut self.open, &error);
                Err(status::status(&error))
            }
        }
    }

    /// The answer of a handler that starts nothing.
    pub(super) fn refuse_or<T>(self, result: Result<T, Failure>) -> Reply<T> {
        let request_id = self.correlation.request_id.clone();
        self.end(result.map_err(|failure| Error::refused(request_id, failure)))
    }
}

/// Notes how an RPC failed. The spans of a run that was admitted say where.
pub(super) fn note_failure(rpc: &mut OpenRpc, error: &Error) {
    rpc.end_failed(status::code_name(error), error.failure.reason(), error.is_admitted());
}
