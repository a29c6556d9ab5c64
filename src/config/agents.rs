//! The section `agents`.

use std::{collections::BTreeMap, fs, time::Duration};

use super::{
    decode::{At, Fields},
    names::{self, Names},
    source::{self, Tokens},
    units::{self, KIB, MIB},
    yaml::Kind,
};
use crate::{
    agent::{Agent, AgentServer, Approval, OnToolError},
    credential::Headers,
    mcp::ServerConfig,
    settings::{ReasoningEffort, Settings},
};

const KEYS: [&str; 18] = [
    "description",
    "instructions",
    "model",
    "allowed_models",
    "temperature",
    "top_p",
    "max_output_tokens",
    "reasoning_effort",
    "parallel_tool_calls",
    "max_turns",
    "max_total_tokens",
    "max_tool_calls",
    "max_tool_result_bytes",
    "on_tool_error",
    "max_concurrent_runs",
    "timeout",
    "trace_content",
    "mcp_servers",
];
const FILE_KEYS: [&str; 1] = ["file"];
const SERVER_KEYS: [&str; 5] = ["name", "required", "tools", "approval", "headers"];
const APPROVAL: &str = "`all` or a list of tools";
/// More than any run consumes.
const MAX_TOKENS: u64 = 1_000_000_000_000;
const ON_TOOL_ERROR: [(&str, OnToolError); 2] =
    [("tell_model", OnToolError::TellModel), ("fail_run", OnToolError::FailRun)];
const EFFORTS: [(&str, ReasoningEffort); 6] = [
    ("none", ReasoningEffort::None),
    ("minimal", ReasoningEffort::Minimal),
    ("low", ReasoningEffort::Low),
    ("medium", ReasoningEffort::Medium),
    ("high", ReasoningEffort::High),
    ("max", ReasoningEffort::Max),
];

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
        instructions: fields.optional("instructions", instructions).unwrap_or_default().into(),
        allowed_models: fields.optional("allowed_models", |at| models(at, known)).unwrap_or_default(),
        settings: settings(&fields),
        max_turns: fields.or("max_turns", |at| at.number(1..=1_000_000), Agent::MAX_TURNS),
        max_total_tokens: fields.optional("max_total_tokens", |at| at.number(1..=MAX_TOKENS)),
        max_tool_calls: fields.optional("max_tool_calls", |at| at.number(1..=1_000_000)),
        max_tool_result_bytes: fields.or("max_tool_result_bytes", result_bytes, Agent::MAX_TOOL_RESULT_BYTES),
        on_tool_error: fields.or("on_tool_error", |at| at.one_of(&ON_TOOL_ERROR), OnToolError::TellModel),
        max_concurrent_runs: fields.optional("max_concurrent_runs", |at| at.number(1..=1_000_000)),
        timeout: fields.or("timeout", units::duration, known.run_timeout),
        trace_content: fields.or("trace_content", At::flag, false),
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
            at.context.note_read(&path);
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
        let (tools, approval, headers) = (None, Approval::Never, Headers::default());
        return Some(AgentServer { name, required: true, tools, approval, headers });
    }
    let fields = at.fields(&SERVER_KEYS);
    let name = fields.required("name", |at| known.servers.resolve(at));
    let approval = fields.optional("approval", approval);
    let url = name.as_ref().and_then(|name| known.registered.get(name)).map(|server| &server.url);
    let tools = fields.optional("tools", tools);
    if let (Some(tools), Some(Approval::Tools(named)), Some(at)) = (&tools, &approval, fields.get("approval"))
        && let Some(other) = named.iter().find(|named| !tools.contains(named))
    {
        at.problem(format!("`{other}` is not among the agent's `tools` of that server"));
    }
    Some(AgentServer {
        required: fields.or("required", At::flag, true),
        tools,
        approval: approval.unwrap_or_default(),
        headers: fields.or("headers", |at| source::headers(at, Tokens::For(url)), Headers::default()),
        // Last, so that what is above is looked at in any case.
        name: name?,
    })
}

/// Which tools need approval: `all`, or a list of them.
fn approval(at: &At<'_>) -> Option<Approval> {
    match &at.node().kind {
        Kind::Text(text) if text == "all" => Some(Approval::All),
        Kind::List(_) => tools(at).map(Approval::Tools),
        Kind::Text(_) => {
            at.problem(format!("expected {APPROVAL}"));
            None
        }
        _ => {
            at.expected(APPROVAL);
            None
        }
    }
}

fn models(at: &At<'_>, known: &Known<'_>) -> Option<Vec<String>> {
    let mut models = Vec::<String>::new();
    for item in at.items()? {
        let Some(model) = known.models.resolve(&item) else { continue };
        if models.contains(&model) {
            item.problem("the model stands twice");
        } else {
            models.push(model);
        }
    }
    Some(models)
}

fn settings(fields: &Fields<'_>) -> Settings {
    Settings {
        output_schema: None,
        temperature: fields.optional("temperature", |at| at.decimal(0.0..=2.0)),
        top_p: fields.optional("top_p", |at| at.decimal(0.001..=1.0)),
        max_output_tokens: fields.optional("max_output_tokens", |at| at.number(1..=u32::MAX.into())),
        reasoning_effort: fields.optional("reasoning_effort", |at| at.one_of(&EFFORTS)),
        parallel_tool_calls: fields.optional("parallel_tool_calls", At::flag),
    }
}

fn result_bytes(at: &At<'_>) -> Option<usize> {
    units::size(at, KIB..=8 * MIB)
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
