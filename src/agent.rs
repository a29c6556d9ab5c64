//! Agents, as they are configured.

use std::{sync::Arc, time::Duration};

use crate::{credential, settings::Settings};

/// An agent: instructions for a model, and the MCP servers whose tools it may use.
#[derive(Clone)]
pub struct Agent {
    /// What a request names.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// The system prompt; may be empty.
    pub instructions: Arc<str>,
    /// The configured name of its model.
    pub model: String,
    /// The configured names of other models that a run may choose.
    pub allowed_models: Vec<String>,
    /// How its model is to answer where a run does not say.
    pub settings: Settings,
    /// The most model requests of a run; at least 1.
    pub max_turns: u32,
    /// The most tokens that a run may consume before it asks the model again; `None`: any number.
    pub max_total_tokens: Option<i64>,
    /// The most tool calls of a run; `None`: any number.
    pub max_tool_calls: Option<u32>,
    /// The most bytes of a tool result that its model is shown.
    pub max_tool_result_bytes: usize,
    /// What a run does when a tool fails.
    pub on_tool_error: OnToolError,
    /// The most of its runs at once; `None`: as many as the process may have.
    pub max_concurrent_runs: Option<usize>,
    /// The longest time of a run.
    pub timeout: Duration,
    /// Whether what is said in a run stands on its spans.
    pub trace_content: bool,
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
    /// The tools that are called only if the caller approves.
    pub approval: Approval,
    /// The agent's own headers for that server.
    pub headers: credential::Headers,
}

/// Which tools of a server are called only if the caller approves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// None.
    #[default]
    Never,
    /// These.
    Tools(Vec<String>),
    /// All, also those that the server comes to have later.
    All,
}

/// What a run does when a tool fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnToolError {
    /// The model is told, and goes on.
    #[default]
    TellModel,
    /// The run fails.
    FailRun,
}

impl Approval {
    /// Whether a tool needs it.
    pub fn is_needed(&self, tool: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Tools(tools) => tools.iter().any(|named| named == tool),
            Self::All => true,
        }
    }
}

impl Agent {
    /// The most model requests of a run, where it is not configured.
    pub const MAX_TURNS: u32 = 10;
    /// The most bytes of a tool result that a model is shown, where it is not configured.
    pub const MAX_TOOL_RESULT_BYTES: usize = 1024 * 1024;

    /// An agent of which only this is configured.
    pub fn new(name: String, model: String, timeout: Duration) -> Self {
        Self {
            name,
            description: String::new(),
            instructions: "".into(),
            model,
            allowed_models: Vec::new(),
            settings: Settings::default(),
            max_turns: Self::MAX_TURNS,
            max_total_tokens: None,
            max_tool_calls: None,
            max_tool_result_bytes: Self::MAX_TOOL_RESULT_BYTES,
            on_tool_error: OnToolError::default(),
            max_concurrent_runs: None,
            timeout,
            trace_content: false,
            mcp_servers: Vec::new(),
        }
    }

    /// The agent's use of a server, by the server's name.
    pub fn server(&self, name: &str) -> Option<&AgentServer> {
        self.mcp_servers.iter().find(|server| server.name == name)
    }

    /// The names of the models that a run may choose, its own first.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        let others = self.allowed_models.iter().filter(|name| **name != self.model);
        std::iter::once(&self.model).chain(others).map(String::as_str)
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
