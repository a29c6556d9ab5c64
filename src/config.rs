//! The configuration: YAML in a file or a folder of files, checked whole.
//!
//! Serde stops at the first error, so the files are read into trees that know their lines ([`yaml`]), and a decoder that
//! collects ([`decode`]) takes them apart, one section a file. Each component owns its own `Config`; this fills them.

use std::collections::BTreeMap;

use crate::{agent::Agent, mcp, model, run, server, telemetry};

/// The whole configuration. Names in it are resolved: each agent's model and MCP servers are there.
pub struct Config {
    /// Addresses and the process's life.
    pub server: server::Config,
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
    pub telemetry: telemetry::Config,
}
