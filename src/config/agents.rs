//! The section `agents`.

use std::{collections::BTreeMap, fs, time::Duration};

use super::{
    decode::{At, Fields},
    key::{Bytes, Depends, Key, Keys, Optional, Required},
    names::{self, Names},
    reference::Section,
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

/// The section's own key.
pub const KEY: Key<Optional> = Key::optional("agents", "The agents, by name.");

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
const DESCRIPTION: Key<Optional> = Key::optional("description", "What it is for; `ListAgents` tells it.");
const INSTRUCTIONS: Key<Optional> =
    Key::optional("instructions", "The system prompt. A file is read when the configuration is.");
const MODEL: Key<Required> = Key::required("model", "The name of its model, among `models`.");
const ALLOWED_MODELS: Key<Optional> =
    Key::optional("allowed_models", "The names of other models that a run may choose with `options.model`.");
const TEMPERATURE: Key<Optional> = Key::optional(
    "temperature",
    "How its model answers, here and below, where a run's options do not say. Left out: as the \
                                  provider decides. See [models](models.md#what-each-provider-is-sent).",
);
const TOP_P: Key<Optional> = Key::optional("top_p", "Likewise.");
const MAX_OUTPUT_TOKENS: Key<Optional> = Key::optional("max_output_tokens", "Likewise, of one answer.");
const REASONING_EFFORT: Key<Optional> = Key::optional("reasoning_effort", "Likewise.");
const PARALLEL_TOOL_CALLS: Key<Optional> =
    Key::optional("parallel_tool_calls", "Likewise: whether it may ask for several tools at once.");
const MAX_TURNS: Key<u32> =
    Key::or("max_turns", Agent::MAX_TURNS, "The most model requests of a run, which a run can only lower.");
const MAX_TOTAL_TOKENS: Key<Optional> = Key::optional(
    "max_total_tokens",
    "A run that has consumed so many does not ask its model again; a run can only lower it. Left out: any number.",
);
const MAX_TOOL_CALLS: Key<Optional> = Key::optional(
    "max_tool_calls",
    "The most tool calls of a run, which a run can only lower. Left out: any number.",
);
const MAX_TOOL_RESULT_BYTES: Key<Bytes> = Key::or(
    "max_tool_result_bytes",
    Bytes(Agent::MAX_TOOL_RESULT_BYTES),
    "The most of a tool's result that its model is shown; the rest is cut.",
);
const ON_TOOL_ERROR_KEY: Key<(&str, OnToolError)> = Key::or(
    "on_tool_error",
    ON_TOOL_ERROR[0],
    "What a run does when a tool fails: `tell_model`: it goes on; `fail_run`: it ends with `TOOL_FAILED`.",
);
const MAX_CONCURRENT_RUNS: Key<Optional> = Key::optional(
    "max_concurrent_runs",
    "The most of its runs at once; one more is refused with `OVERLOADED`. Left out: as many as the process may have.",
);
const TIMEOUT: Key<Depends> = Key::or(
    "timeout",
    Depends("`limits.run_timeout`"),
    "The longest time of a run, which a run can only lower.",
);
const TRACE_CONTENT: Key<bool> = Key::or(
    "trace_content",
    false,
    "Whether what is said in a run stands on its spans. See [telemetry](telemetry.md#what-is-never-in-a-span).",
);
const MCP_SERVERS: Key<Optional> = Key::optional(
    "mcp_servers",
    "The [servers](#agentsnamemcp_servers) whose tools it has: mappings, or bare names.",
);
const KEYS: Keys = &[
    &DESCRIPTION,
    &INSTRUCTIONS,
    &MODEL,
    &ALLOWED_MODELS,
    &TEMPERATURE,
    &TOP_P,
    &MAX_OUTPUT_TOKENS,
    &REASONING_EFFORT,
    &PARALLEL_TOOL_CALLS,
    &MAX_TURNS,
    &MAX_TOTAL_TOKENS,
    &MAX_TOOL_CALLS,
    &MAX_TOOL_RESULT_BYTES,
    &ON_TOOL_ERROR_KEY,
    &MAX_CONCURRENT_RUNS,
    &TIMEOUT,
    &TRACE_CONTENT,
    &MCP_SERVERS,
];
const FILE: Key<Required> = Key::required("file", "The file's path.");
const NAME: Key<Required> = Key::required("name", "Its registered name.");
const REQUIRED: Key<bool> = Key::or(
    "required",
    true,
    "Whether a run fails if the server can't be reached at its start; if not, an event tells of it, and the run goes on.",
);
const TOOLS: Key<Optional> =
    Key::optional("tools", "The only tools that its model is offered. Left out: all that the server lists.");
const APPROVAL_KEY: Key<Optional> = Key::optional(
    "approval",
    "The tools that are called only if the caller approves. See [runs](runs.md). Left out: none.",
);
const HEADERS: Key<Optional> = Key::optional(
    "headers",
    "The agent's own headers for this server, above the registered ones: [values](#values), by name.",
);
const SERVER_KEYS: Keys = &[&NAME, &REQUIRED, &TOOLS, &APPROVAL_KEY, &HEADERS];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "agents.<name>",
        about: "A name has 1 to 64 printable characters; a request gives it in `agent`. See [runs](runs.md).",
        probe: "agents: { x: { HERE } }",
        keys: KEYS,
    },
    Section {
        path: "agents.<name>.mcp_servers[]",
        about: "",
        probe: "agents: { x: { mcp_servers: [{ HERE }] } }",
        keys: SERVER_KEYS,
    },
];

const APPROVAL: &str = "`all` or a list of tools";
/// More than any run consumes.
const MAX_TOKENS: u64 = 1_000_000_000_000;

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
    let fields = at.fields(KEYS);
    let name = names::name(name, at);
    let model = fields.required(&MODEL, |at| known.models.resolve(at));
    Some(Agent {
        description: fields.optional(&DESCRIPTION, At::text).unwrap_or_default().to_owned(),
        instructions: fields.optional(&INSTRUCTIONS, instructions).unwrap_or_default().into(),
        allowed_models: fields.optional(&ALLOWED_MODELS, |at| models(at, known)).unwrap_or_default(),
        settings: settings(&fields),
        max_turns: fields.or(&MAX_TURNS, |at| at.number(1..=1_000_000)),
        max_total_tokens: fields.optional(&MAX_TOTAL_TOKENS, |at| at.number(1..=MAX_TOKENS)),
        max_tool_calls: fields.optional(&MAX_TOOL_CALLS, |at| at.number(1..=1_000_000)),
        max_tool_result_bytes: fields.or(&MAX_TOOL_RESULT_BYTES, result_bytes),
        on_tool_error: fields.or(&ON_TOOL_ERROR_KEY, |at| at.one_of(&ON_TOOL_ERROR)),
        max_concurrent_runs: fields.optional(&MAX_CONCURRENT_RUNS, |at| at.number(1..=1_000_000)),
        timeout: fields.or_else(&TIMEOUT, units::duration, known.run_timeout),
        trace_content: fields.or(&TRACE_CONTENT, At::flag),
        mcp_servers: fields.optional(&MCP_SERVERS, |at| servers(at, known)).unwrap_or_default(),
        // Last, so that what is above is looked at in any case.
        name: name?,
        model: model?,
    })
}

/// The system prompt: text, or a file's content as of now.
fn instructions(at: &At<'_>) -> Option<String> {
    match &at.node().kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Mapping(_) => at.fields(&[&FILE]).required(&FILE, |at| {
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
    let fields = at.fields(SERVER_KEYS);
    let name = fields.required(&NAME, |at| known.servers.resolve(at));
    let approval = fields.optional(&APPROVAL_KEY, approval);
    let url = name.as_ref().and_then(|name| known.registered.get(name)).map(|server| &server.url);
    let tools = fields.optional(&TOOLS, tools);
    if let (Some(tools), Some(Approval::Tools(named)), Some(at)) =
        (&tools, &approval, fields.get(&APPROVAL_KEY))
    {
        for other in named.iter().filter(|named| !tools.contains(named)) {
            at.problem(format!("`{other}` is not among the agent's `tools` of that server"));
        }
    }
    Some(AgentServer {
        required: fields.or(&REQUIRED, At::flag),
        tools,
        approval: approval.unwrap_or_default(),
        headers: fields.optional(&HEADERS, |at| source::headers(at, Tokens::For(url))).unwrap_or_default(),
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
        temperature: fields.optional(&TEMPERATURE, |at| at.decimal(0.0..=2.0)),
        top_p: fields.optional(&TOP_P, |at| at.decimal(0.001..=1.0)),
        max_output_tokens: fields.optional(&MAX_OUTPUT_TOKENS, |at| at.number(1..=u32::MAX.into())),
        reasoning_effort: fields.optional(&REASONING_EFFORT, |at| at.one_of(&EFFORTS)),
        parallel_tool_calls: fields.optional(&PARALLEL_TOOL_CALLS, At::flag),
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
