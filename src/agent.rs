//! Agents, as they are configured.

use std::time::Duration;

use crate::credential;

/// An agent: instructions for a model, and the MCP servers whose tools it may use.
#[derive(Clone)]
pub struct Agent {
    /// What a request names.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// The system prompt; may be empty.
    pub instructions: String,
    /// The configured name of its model.
    pub model: String,
    /// The most model requests of a run; at least 1.
    pub max_turns: u32,
    /// The longest time of a run.
    pub timeout: Duration,
    /// Its MCP servers, in the configured order; each once.
    pub mcp_servers: Vec<AgentServer>,
}

/// An agent's use of an MCP server.
#[derive(Clone)]
pub struct AgentServer {
    /// The server's registered name.
    pub name: String,
    /// Whether a run fails if the server can't be reached at its start.
    pub required: bool,
    /// The only tools that are offered to the model; `None`: all.
    pub tools: Option<Vec<String>>,
    /// The agent's own headers for that server.
    pub headers: credential::Headers,
}

impl Agent {
    /// The agent's use of a server, by the server's name.
    pub fn server(&self, name: &str) -> Option<&AgentServer> {
        self.mcp_servers.iter().find(|server| server.name == name)
    }

    /// The names of its servers, in order.
    pub fn server_names(&self) -> impl Iterator<Item = &str> {
        self.mcp_servers.iter().map(|server| server.name.as_str())
    }

    /// The names of its servers for a message: separated by commas, and cut where they are many.
    pub fn listed_servers(&self) -> String {
        const MAX_LISTED: usize = 16;
        let listed: Vec<&str> = self.server_names().take(MAX_LISTED).collect();
        let more = if self.mcp_servers.len() > MAX_LISTED { ", …" } else { "" };
        format!("{}{more}", listed.join(", "))
    }
}
