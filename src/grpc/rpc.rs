//! A call from its ids to its answer: what all handlers do alike.

use tonic::{Request, Response};

use super::{
    metadata,
    status::{self, Item, Reply},
};
use crate::{
    run::{Error, Failure},
    trace::{self, Correlation, Span},
};

/// A call that is being handled: its ids and its span.
pub(super) struct Rpc {
    pub(super) correlation: Correlation,
}

impl Rpc {
    /// Takes a call's ids and opens its span.
    pub(super) fn begin<T>(rpc: &'static str, request: &Request<T>) -> Item<Self> {
        let mut correlation = metadata::correlation(request).map_err(|error| status::status(&error))?;
        correlation.span = trace::rpc(rpc, &correlation);
        Ok(Self { correlation })
    }

    /// Its span.
    pub(super) fn span(&self) -> &Span {
        &self.correlation.span
    }

    /// The answer of a call that is over.
    pub(super) fn end<T>(self, result: Result<T, Error>) -> Reply<T> {
        if result.is_ok() {
            self.span().record("rpc.response.status_code", "OK");
        }
        self.begin_stream(result)
    }

    /// The answer of a call whose stream goes on, and notes its own end in the span.
    pub(super) fn begin_stream<T>(self, result: Result<T, Error>) -> Reply<T> {
        match result {
            Ok(answer) => {
                let mut response = Response::new(answer);
                metadata::name_request(response.metadata_mut(), &self.correlation.request_id);
                Ok(response)
            }
            Err(error) => {
                self.span().record("rpc.response.status_code", status::code_name(&error));
                self.span().record("error.type", error.failure.reason());
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
