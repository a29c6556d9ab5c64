//! The audit record of a run: which headers each server was sent, which layer each came from, and its value's digest; and
//! what of its caller's a model's provider was sent. Never a value.

use std::collections::BTreeMap;

use serde::Serialize;
use tracing::{Level, enabled, info};

use super::RunRequest;
use crate::{
    headers::{Applied, DigestKey, HeaderSet, Layer},
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
    let mut to_models: BTreeMap<String, Vec<Set>> = BTreeMap::new();
    for (model, headers) in request.model_headers.sent() {
        to_models.entry(model).or_default().push(of_caller(&headers, key));
    }
    let model_headers = Some(to_models).filter(|sets| !sets.is_empty());
    let model_headers = model_headers.and_then(|sets| serde_json::to_string(&sets).ok());
    info!(
        target: TARGET,
        run_id = %run_id,
        request_id = %request.correlation.request_id,
        agent = request.agent.name,
        mcp_headers,
        model_headers,
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

/// A set that a run's caller brought for a model's provider. What is configured with the model is no part of it.
fn of_caller(set: &HeaderSet, key: &DigestKey) -> Set {
    let headers = set.headers().iter().map(|header| Header {
        name: header.name.as_str().to_owned(),
        layer: "run_model",
        digest: key.value_digest(&header.name, &header.value),
    });
    let removed = set.removed().iter().map(|name| name.as_str().to_owned());
    let mut set = Set { headers: headers.collect(), removed: removed.collect() };
    set.headers.sort_by(|a, b| a.name.cmp(&b.name));
    set
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Server => "server",
        Layer::Agent => "agent",
        Layer::Run => "run",
        Layer::RunServer => "run_server",
    }
}
