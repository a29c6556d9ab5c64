//! The section `agents`.

use std::{collections::BTreeMap, fs, time::Duration};

use super::{
    decode::At,
    names::{self, Names},
    source::{self, Tokens},
    units,
    yaml::Kind,
};
use crate::{
    agent::{Agent, AgentServer},
    credential::Headers,
    mcp::ServerConfig,
};

const KEYS: [&str; 6] = ["description", "instructions", "model", "max_turns", "timeout", "mcp_servers"];
const FILE_KEYS: [&str; 1] = ["file"];
const SERVER_KEYS: [&str; 4] = ["name", "required", "tools", "headers"];
const MAX_TURNS: u32 = 10;

/// What agents may refer to.
pub struct Known<'a> {
    /// The models.
    pub models: &'a Names<'a>,
    /// The MCP servers.
    pub servers: &'a Names<'a>,
    /// Those of them that are right.
    pub registered: &'a BTreeMap<String, ServerConfig>,
    /// The longest time of any run, the default of an agent's.
    pub run_timeout: Duration,
}

/// Takes the section's entries.
pub fn decode(entries: &[(&str, At<'_>)], known: &Known<'_>) -> BTreeMap<String, Agent> {
    let agents = entries.iter().filter_map(|(name, at)| agent(name, at, known));
    agents.map(|agent| (agent.name.clone(), agent)).collect()
}

fn agent(name: &str, at: &At<'_>, known: &Known<'_>) -> Option<Agent> {
    let fields = at.fields(&KEYS);
    let name = names::name(name, at);
    let model = fields.required("model", |at| known.models.resolve(at));
    Some(Agent {
        description: fields.optional("description", At::text).unwrap_or_default().to_owned(),
        instructions: fields.optional("instructions", instructions).unwrap_or_default(),
        max_turns: fields.or("max_turns", |at| at.number(1..=1_000_000), MAX_TURNS),
        timeout: fields.or("timeout", units::duration, known.run_timeout),
        mcp_servers: fields.optional("mcp_servers", |at| servers(at, known)).unwrap_or_default(),
        // Last, so that what is above is looked at in any case.
        name: name?,
        model: model?,
    })
}

/// The system prompt: text, or a file's content as of now.
fn instructions(at: &At<'_>) -> Option<String> {
    match &at.node().kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Mapping(_) => at.fields(&FILE_KEYS).required("file", |at| {
            let path = source::path(at)?;
            let content = fs::read_to_string(&path);
            content.map_err(|error| at.problem(format!("{path:?}: the file can't be read: {error}"))).ok()
        }),
        _ => {
            at.expected_text("text or `{ file: PATH }`");
            None
        }
    }
}

fn servers(at: &At<'_>, known: &Known<'_>) -> Option<Vec<AgentServer>> {
    let mut servers = Vec::<AgentServer>::new();
    for item in at.items()? {
        let Some(server) = server(&item, known) else { continue };
        if servers.iter().any(|present| present.name == server.name) {
            item.problem("the agent has that MCP server already");
        } else {
            servers.push(server);
        }
    }
    Some(servers)
}

/// An agent's use of a server: a mapping, or the server's bare name.
fn server(at: &At<'_>, known: &Known<'_>) -> Option<AgentServer> {
    if let Kind::Text(_) = at.node().kind {
        let name = known.servers.resolve(at)?;
        return Some(AgentServer { name, required: true, tools: None, headers: Headers::default() });
    }
    let fields = at.fields(&SERVER_KEYS);
    let name = fields.required("name", |at| known.servers.resolve(at));
    let url = name.as_ref().and_then(|name| known.registered.get(name)).map(|server| &server.url);
    Some(AgentServer {
        required: fields.or("required", At::flag, true),
        tools: fields.optional("tools", tools),
        headers: fields.or("headers", |at| source::headers(at, Tokens::For(url)), Headers::default()),
        // Last, so that what is above is looked at in any case.
        name: name?,
    })
}

fn tools(at: &At<'_>) -> Option<Vec<String>> {
    let mut tools = Vec::<String>::new();
    for item in at.items()? {
        let Some(tool) = names::tool(&item) else { continue };
        if tools.contains(&tool) {
            item.problem("the tool stands twice");
        } else {
            tools.push(tool);
        }
    }
    Some(tools)
}
