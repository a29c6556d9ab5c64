//! A call from its ids to its answer: what all handlers do alike.

use tonic::{Request, Response};

use super::{
    metadata,
    status::{self, Item, Reply},
};
use crate::{
    metrics::{Call, Metrics},
    run::{Error, Failure},
    trace::{self, Correlation, OpenRpc, Span},
};

/// The methods of the contract, by their whole names.
const METHODS: [&str; 9] = [
    "runwright.v1.AgentService/Run",
    "runwright.v1.AgentService/RunStreamed",
    "runwright.v1.AgentService/CancelRun",
    "runwright.v1.AgentService/UpdateRunHeaders",
    "runwright.v1.AgentService/SubmitRunInput",
    "runwright.v1.CatalogService/ListAgents",
    "runwright.v1.CatalogService/ListMcpServers",
    "runwright.v1.CatalogService/ListTools",
    "runwright.v1.CatalogService/ExplainHeaders",
];

/// A call that is being handled: its ids, its span and its time.
pub(super) struct Rpc {
    pub(super) correlation: Correlation,
    metrics: Metrics,
    /// `None`: its stream has it, and measures it to the stream's end.
    call: Option<Call>,
    open: OpenRpc,
}

/// The method of an HTTP/2 path; one that is not the contract's is `_OTHER`.
pub fn method_of(path: &str) -> &'static str {
    let asked = path.strip_prefix('/').unwrap_or(path);
    METHODS.iter().find(|method| **method == asked).copied().unwrap_or("_OTHER")
}

/// Counts a call that ends with an error, and if nothing ran, its refusal.
pub fn count_failure(metrics: &Metrics, call: Call, error: &Error) {
    let reason = error.failure.reason();
    call.end(status::code_name(error), Some(reason));
    if !error.is_admitted() {
        metrics.refused(reason);
    }
}

impl Rpc {
    /// Takes a call's ids and opens its span.
    pub(super) fn begin<T>(rpc: &'static str, request: &Request<T>, metrics: &Metrics) -> Item<Self> {
        let call = metrics.call(rpc);
        let mut correlation = match metadata::correlation(request) {
            Ok(correlation) => correlation,
            Err(error) => {
                count_failure(metrics, call, &error);
                return Err(status::status(&error));
            }
        };
        correlation.span = trace::rpc(rpc, &correlation);
        let open = OpenRpc::new(correlation.span.clone());
        Ok(Self { correlation, metrics: metrics.clone(), call: Some(call), open })
    }

    /// What notes the end of a stream, which is no end of this.
    pub(super) fn hand_on(&mut self) -> OpenRpc {
        self.open.hand_on()
    }

    /// Its span.
    pub(super) fn span(&self) -> &Span {
        &self.correlation.span
    }

    /// Its time, for a stream that goes on after the answer has begun.
    pub(super) fn take_call(&mut self) -> Option<Call> {
        self.call.take()
    }

    /// The answer of a call that is over.
    pub(super) fn end<T>(mut self, result: Result<T, Error>) -> Reply<T> {
        if result.is_ok() {
            self.open.end();
            if let Some(call) = self.call.take() {
                call.end("OK", None);
            }
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
                if let Some(call) = self.call.take() {
                    count_failure(&self.metrics, call, &error);
                }
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

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::grpc::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn the_methods_are_those_of_the_contract() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let ours = files.into_iter().filter(|file| file.package() == "runwright.v1");
        let services = ours.flat_map(|file| file.service);
        let mut declared: Vec<String> = services
            .flat_map(|service| {
                let name = service.name().to_owned();
                service.method.into_iter().map(move |method| format!("runwright.v1.{name}/{}", method.name()))
            })
            .collect();
        let mut known = METHODS.to_vec();
        declared.sort();
        known.sort_unstable();
        assert_eq!(known, declared);
        assert_eq!(method_of("/runwright.v1.AgentService/Run"), METHODS[0]);
        assert_eq!(method_of("/runwright.v1.AgentService/Secret"), "_OTHER");
    }
}
