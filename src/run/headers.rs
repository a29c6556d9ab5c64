//! What a request's headers come to: what each of the agent's servers will be sent, and what is wrong with them.
//!
//! Runs, `ListTools` and `ExplainHeaders` all go through [`plan`].

use std::collections::BTreeMap;

use http::HeaderName;

use super::{Violation, ViolationKind, Violations, model_headers};
use crate::{
    agent::{Agent, AgentServer},
    credential::{Planned, Source},
    headers::{HeaderSet, Layer, Problem, merge, rules, rules::Refusal},
    mcp::Servers,
};

mod caller_rules;

/// A request's headers, as they came. They hold secrets: there is no `Debug`.
#[derive(Clone, Default)]
pub struct Requested {
    /// `mcp_headers`.
    pub all: RawSet,
    /// `per_run_mcp_headers`.
    pub by_server: BTreeMap<String, RawSet>,
    /// `ignore_unused_headers`.
    pub ignore_unused: bool,
    /// The only servers that will be asked: what the others require need not be there. Empty: all of the agent's.
    pub asked: Vec<String>,
}

/// A header set as it came.
#[derive(Clone, Default)]
pub struct RawSet {
    /// The headers to set.
    pub headers: BTreeMap<String, String>,
    /// The names to take away.
    pub remove: Vec<String>,
}

/// The most servers that a request may bring headers for.
const MAX_SERVERS: usize = 256;

/// The longest name of a server that is not there, as it is shown, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// What each of an agent's servers is to be sent, by server name.
pub type Plan = BTreeMap<String, Planned>;

/// Checks a request's headers and merges them over what is registered. The plan has what is right; the violations are
/// all of what is not. `for_models`: the bytes of what the run sends to models' providers, which count towards the same limit.
pub fn plan(
    agent: &Agent,
    servers: &Servers,
    requested: &Requested,
    for_models: usize,
) -> (Plan, Violations) {
    let mut check =
        Check { agent, servers, violations: Violations::default(), bytes: 0, refused: Vec::new() };
    let all = check.for_all_servers(&requested.all);
    let mut by_server = BTreeMap::new();
    if requested.by_server.len() > MAX_SERVERS {
        let description = "headers can be brought for at most 256 servers";
        check.violations.push(Violation::field("per_run_mcp_headers", description));
    }
    for (server, raw) in requested.by_server.iter().take(MAX_SERVERS) {
        if let Some(set) = check.for_server(server, raw, requested.ignore_unused) {
            by_server.insert(server.as_str(), set);
        }
    }
    check.whole_run(for_models);
    check.required(&requested.asked, &all, &by_server);
    let violations = check.violations;
    let all = all.map(Source::Fixed);
    let plan = agent.mcp_servers.iter().map(|server| {
        let own = by_server.remove(server.name.as_str()).map(|set| set.map(Source::Fixed));
        (server.name.clone(), merge_layers(server, servers, &all, own.as_ref()))
    });
    (plan.collect(), violations)
}

fn merge_layers(
    server: &AgentServer,
    servers: &Servers,
    all: &HeaderSet<Source>,
    own: Option<&HeaderSet<Source>>,
) -> Planned {
    let layers = [
        (Layer::Server, servers.get(&server.name).map(|registered| registered.headers.layer())),
        (Layer::Agent, Some(server.headers.layer())),
        (Layer::Run, Some(all)),
        (Layer::RunServer, own),
    ];
    merge(layers.into_iter().filter_map(|(layer, set)| Some((layer, set?))))
}

/// A key of a map in a field's path: quoted, escaped, and cut where it is long.
pub fn key(name: &str) -> String {
    const MAX_CHARS: usize = 64;
    let shown: String = name.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    let cut = if name.chars().nth(MAX_CHARS).is_some() { "…" } else { "" };
    format!("[\"{shown}{cut}\"]")
}

impl RawSet {
    /// The set as far as it is right, and what is wrong with it.
    pub(super) fn parse(&self) -> (HeaderSet, Vec<Problem>) {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        HeaderSet::parse(headers, self.remove.iter().map(String::as_str))
    }
}

struct Check<'a> {
    agent: &'a Agent,
    servers: &'a Servers,
    violations: Violations,
    bytes: usize,
    /// The headers that were brought and are refused, by server (empty: all of them): what is told already is not
    /// missing, too.
    refused: Vec<(String, HeaderName)>,
}

impl Check<'_> {
    fn for_all_servers(&mut self, raw: &RawSet) -> HeaderSet {
        let set = self.parse("mcp_headers", "", raw);
        self.allowed_for_all(set, raw)
    }

    fn for_server(&mut self, server: &str, raw: &RawSet, ignore_unused: bool) -> Option<HeaderSet> {
        let field = format!("per_run_mcp_headers{}", key(server));
        if self.agent.server(server).is_none() {
            let registered = self.servers.get(server).is_some();
            if !(registered && ignore_unused) {
                self.refuse_server(field.clone(), server, registered);
                // It is sent nowhere, but what is wrong with it is told at once, too.
                let shown: String = server.chars().take(MAX_SHOWN_CHARS).collect();
                let (_, problems) = raw.parse();
                self.violations
                    .extend(problems.into_iter().map(|problem| violation(&field, &shown, problem)));
            }
            return None;
        }
        let set = self.parse(&field, server, raw);
        Some(self.allowed_for(server, &field, set, raw))
    }

    fn parse(&mut self, field: &str, server: &str, raw: &RawSet) -> HeaderSet {
        let (set, problems) = raw.parse();
        self.bytes += set.size();
        self.note_refused(server, &problems);
        self.violations.extend(problems.into_iter().map(|problem| violation(field, server, problem)));
        set
    }

    fn whole_run(&mut self, for_models: usize) {
        if self.bytes + for_models > rules::MAX_RUN_BYTES {
            let field = if for_models > self.bytes { model_headers::FIELD } else { "per_run_mcp_headers" };
            self.violations.push(Violation::field(field, Refusal::RunTooLarge.to_string()));
        }
    }

    fn refuse_server(&mut self, field: String, server: &str, registered: bool) {
        let used = self.agent.listed_servers();
        let uses = if used.is_empty() { "none" } else { &used };
        let description = if registered {
            format!(
                "agent `{}` does not use this MCP server (`ignore_unused_headers` allows it); it uses: {uses}",
                self.agent.name
            )
        } else {
            format!("no such MCP server is registered; agent `{}` uses: {uses}", self.agent.name)
        };
        self.violations.push(Violation {
            field,
            description,
            kind: ViolationKind::UnknownMcpServer,
            subject: (server.chars().take(MAX_SHOWN_CHARS).collect(), String::new()),
            used_servers: used,
        });
    }
}

/// A header's name as far as it is one. What stands behind may be a value that slipped into the name, as in
/// `Authorization: Bearer …`.
fn shown(name: &str) -> &str {
    let pseudo = usize::from(name.starts_with(':'));
    let end = name[pseudo..].find([':', '=', '\r', '\n']).map_or(name.len(), |end| pseudo + end);
    &name[..end]
}

/// What is wrong with a header of the set at `field`.
pub(super) fn violation(field: &str, server: &str, problem: Problem) -> Violation {
    let part = if problem.in_remove { "remove" } else { "headers" };
    let field = if problem.header.is_empty() && problem.refusal == Refusal::TooManyHeaders {
        field.to_owned()
    } else {
        format!("{field}.{part}{}", key(shown(&problem.header)))
    };
    Violation {
        field,
        description: problem.refusal.to_string(),
        kind: ViolationKind::Field,
        subject: (server.to_owned(), shown(&problem.header).chars().take(64).collect()),
        used_servers: String::new(),
    }
}
