//! The audit record of a run: which headers each server was sent, which layer each came from, and its value's digest. Never
//! a value.

use std::collections::BTreeMap;

use serde::Serialize;
use tracing::{Level, enabled, info};

use super::RunRequest;
use crate::{
    headers::{Applied, DigestKey, Layer},
    id::RunId,
};

/// The target of the record, by which a log filter finds it.
const TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::audit");

/// A set that a server was sent.
#[derive(Serialize)]
struct Set {
    headers: Vec<Header>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
}

#[derive(Serialize)]
struct Header {
    name: String,
    layer: &'static str,
    digest: String,
}

/// Writes the record, one a run, at its end. A server that was sent several sets, because the run's headers were replaced,
/// has them in their order; one that was sent none is not named.
pub(super) fn record(request: &RunRequest, run_id: RunId, key: &DigestKey) {
    if !enabled!(target: TARGET, Level::INFO) {
        return;
    }
    let servers = request.headers.by_server().iter();
    let sent: BTreeMap<&str, Vec<Set>> = servers
        .map(|(name, headers)| (name.as_str(), headers.sent(key).into_iter().map(set).collect::<Vec<_>>()))
        .filter(|(_, sets)| !sets.is_empty())
        .collect();
    let Ok(mcp_headers) = serde_json::to_string(&sent) else { return };
    info!(
        target: TARGET,
        run_id = %run_id,
        request_id = %request.correlation.request_id,
        agent = request.agent.name,
        mcp_headers,
        "The headers that a run has sent"
    );
}

fn set(applied: Applied) -> Set {
    let headers = applied.headers.into_iter().map(|header| Header {
        name: header.name,
        layer: layer(header.layer),
        digest: header.digest,
    });
    Set { headers: headers.collect(), removed: applied.removed }
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Server => "server",
        Layer::Agent => "agent",
        Layer::Run => "run",
        Layer::RunServer => "run_server",
    }
}
