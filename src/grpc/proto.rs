//! The contract, generated from `proto/`.

use std::fmt;

#[allow(
    clippy::all,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::too_many_lines,
    missing_docs,
    rustdoc::all,
    reason = "generated"
)]
mod generated {
    tonic::include_proto!("runwright.v1");
}

pub use generated::*;

/// The descriptors of the contract, comments included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runwright.v1.bin"));

// These hold secrets, so what they print is written by hand.

impl fmt::Debug for HeaderSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.headers.keys().collect();
        f.debug_struct("HeaderSet").field("headers", &names).field("remove", &self.remove).finish()
    }
}

impl fmt::Debug for RunStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request_id, instance, .. } = self;
        f.debug_struct("RunStarted").field("request_id", request_id).field("instance", instance).finish()
    }
}

impl fmt::Debug for CancelRunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, reason, .. } = self;
        f.debug_struct("CancelRunRequest").field("run_id", run_id).field("reason", reason).finish()
    }
}

impl fmt::Debug for UpdateRunHeadersRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, per_run_mcp_headers, mcp_headers, per_run_model_headers, .. } = self;
        f.debug_struct("UpdateRunHeadersRequest")
            .field("run_id", run_id)
            .field("per_run_mcp_headers", per_run_mcp_headers)
            .field("mcp_headers", mcp_headers)
            .field("per_run_model_headers", per_run_model_headers)
            .finish()
    }
}

impl fmt::Debug for SubmitRunInputRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, answers, .. } = self;
        f.debug_struct("SubmitRunInputRequest").field("run_id", run_id).field("answers", answers).finish()
    }
}
