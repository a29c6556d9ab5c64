//! The configuration: YAML in a file or a folder of files, checked whole.
//!
//! Serde stops at the first error, so [`files`] reads the files into one tree that knows its lines ([`yaml`]), and a
//! decoder that collects ([`mod@decode`]) takes it apart, one section a file. What can be decoded is, whatever else is wrong:
//! an operator sees every problem at once. No problem's text holds a value, for any value may be a secret.
//!
//! Each component owns its own `Config`; this fills them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{agent::Agent, egress::Egress, mcp, model, run};
use decode::At;
use key::Keys;
use loader::Common;
use names::Names;

mod agents;
mod caller_headers;
mod decode;
mod endpoint;
mod files;
mod kept_clients;
mod key;
mod limits;
mod loader;
mod mcp_servers;
mod models;
mod names;
mod problem;
mod reference;
mod revision;
mod route;
mod server;
mod source;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod units;
mod versions;
mod yaml;

pub use loader::{Loaded, Loader};
pub use problem::Problem;
pub use reference::reference;
pub use revision::Revisions;
pub use units::parse_duration;

/// The whole configuration. Names in it are resolved: each agent's model and MCP servers are there.
pub struct Config {
    /// Addresses and the key of digests.
    pub server: crate::server::Config,
    /// Bounds on runs.
    pub limits: run::Limits,
    /// Bounds on kept MCP clients.
    pub kept_clients: mcp::KeptClients,
    /// The models, by name.
    pub models: BTreeMap<String, model::Config>,
    /// The registered MCP servers, by name.
    pub mcp_servers: BTreeMap<String, mcp::ServerConfig>,
    /// The agents, by name.
    pub agents: BTreeMap<String, Agent>,
    /// Logs and spans.
    pub telemetry: crate::telemetry::Config,
    /// What tells which models and MCP servers are as they were before a reload.
    pub revisions: Revisions,
    /// The HTTP clients. The sources of tokens have them already.
    pub egress: Arc<Egress>,
}

/// The sections.
const KEYS: Keys = &[
    &server::KEY,
    &limits::KEY,
    &kept_clients::KEY,
    &models::KEY,
    &mcp_servers::KEY,
    &agents::KEY,
    &telemetry::KEY,
];

/// Reads a configuration: a file, or the `.yaml`, `.yml` and `.json` files of a folder, hidden ones and folders in it
/// left out. The files of a folder may have parts of the same section.
///
/// `environment` gives the variables that `env` sources name. Files that sources name are read, relative to the folder
/// of the file that names them.
///
/// # Errors
/// All that is wrong, in the order of its places.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
    loader::read(path, environment, &Common::default()).loaded()
}

/// Takes the whole tree; `whole`: whether it is all there, so that a name that is not in it is one too many.
fn decode(root: &At<'_>, whole: bool) -> Config {
    let egress = Arc::clone(&root.context.common.egress);
    let root = root.fields(KEYS);
    let (models, mcp_servers) = (root.entries(&models::KEY), root.entries(&mcp_servers::KEY));
    let model_names = Names::new("model", &models, whole);
    let server_names = Names::new("MCP server", &mcp_servers, whole);
    let mut limits = limits::decode(&root);
    let server = server::decode(&root, &mut limits);
    let run_timeout = limits.run_timeout;
    let registered = mcp_servers::decode(&mcp_servers);
    let known =
        agents::Known { models: &model_names, servers: &server_names, registered: &registered, run_timeout };
    Config {
        server,
        limits,
        kept_clients: kept_clients::decode(&root),
        models: models::decode(&models, &server_names),
        agents: agents::decode(&root.entries(&agents::KEY), &known),
        mcp_servers: registered,
        telemetry: telemetry::decode(&root),
        revisions: Revisions::of(&models, &mcp_servers),
        egress,
    }
}
