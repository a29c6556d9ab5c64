//! Wire to domain: what a request says, checked. All violations come at once; the agent is looked up first.

mod messages;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{CallDeadline, proto};
use crate::{
    agent::Agent,
    message::ToolRef,
    run::{
        Error, Failure, Naming, OnUnauthorized, RawSet, Replacement, Requested, RunRequest, Runner, Sets,
        Violation, Violations, key, plan,
    },
    trace::Correlation,
};

const MAX_LABELS: usize = 16;
const MAX_LABEL_BYTES: usize = 256;
const MAX_ALLOWED_TOOLS: usize = 1024;
const NANOS_A_SECOND: u32 = 1_000_000_000;

/// A request for a run. `callers` is the caller's own deadline.
///
/// # Errors
/// There is no such agent, or fields are wrong.
pub(super) fn run_request(
    request: proto::RunRequest,
    runner: &Runner,
    correlation: Correlation,
    callers: Option<CallDeadline>,
) -> Result<RunRequest, Error> {
    let refuse = |failure| Error::refused(correlation.request_id.clone(), failure);
    let agent = runner.agent(&request.agent).map_err(refuse)?;
    let options = request.options.unwrap_or_default();
    let requested = headers(request.per_run_mcp_headers, request.mcp_headers, options.ignore_unused_headers);
    let (plan, mut violations) = plan(&agent, &runner.parts().servers, &requested);
    let naming = Naming { single_server: agent.mcp_servers.len() == 1 };
    let history = messages::decode(request.messages, naming, &mut violations);
    let input = Some(request.input).filter(|input| !input.is_empty());
    check_input(&input, history.is_empty(), &mut violations);
    let max_turns = max_turns(options.max_turns, &agent, &mut violations);
    let timeout = timeout(options.timeout, &mut violations);
    let allowed_tools = allowed_tools(options.allowed_tools, &agent, &mut violations);
    let on_unauthorized = on_unauthorized(options.on_unauthorized, &mut violations);
    check_labels(&request.labels, &mut violations);
    if !violations.is_empty() {
        return Err(refuse(Failure::Invalid(violations)));
    }
    let limit = timeout.unwrap_or(Duration::MAX).min(agent.timeout).min(runner.parts().limits.run_timeout);
    let own = Instant::now() + limit;
    Ok(RunRequest {
        history,
        input,
        headers: Arc::new(Sets::new(requested, plan)),
        on_unauthorized,
        max_turns,
        deadline: callers.map_or(own, |callers| callers.work.min(own)),
        report_by: callers.map(|callers| callers.answer),
        allowed_tools,
        labels: request.labels,
        correlation,
        agent,
    })
}

/// A request's headers.
pub(super) fn headers(
    by_server: BTreeMap<String, proto::HeaderSet>,
    all: Option<proto::HeaderSet>,
    ignore_unused: bool,
) -> Requested {
    Requested {
        all: all.map(raw).unwrap_or_default(),
        by_server: by_server.into_iter().map(|(server, set)| (server, raw(set))).collect(),
        ignore_unused,
        asked: Vec::new(),
    }
}

/// Header sets that replace those of a live run.
pub(super) fn replacement(
    by_server: BTreeMap<String, proto::HeaderSet>,
    all: Option<proto::HeaderSet>,
) -> Replacement {
    let replaces_all = all.is_some();
    Replacement { requested: headers(by_server, all, false), replaces_all }
}

/// Names of servers in a filter that the agent does not use.
pub(super) fn check_servers(field: &str, names: &[String], agent: &Agent, violations: &mut Violations) {
    for (at, name) in names.iter().enumerate() {
        if agent.server(name).is_none() {
            violations.push(unused_server(format!("{field}[{at}]"), agent));
        }
    }
}

fn raw(set: proto::HeaderSet) -> RawSet {
    RawSet { headers: set.headers, remove: set.remove }
}

fn check_input(input: &Option<String>, no_messages: bool, violations: &mut Violations) {
    if input.is_none() && no_messages {
        violations.push(Violation::field("input", "say something: `input` and `messages` are both empty"));
    }
}

fn max_turns(asked: i32, agent: &Agent, violations: &mut Violations) -> u32 {
    match u32::try_from(asked) {
        Ok(0) => agent.max_turns,
        Ok(turns) => turns.min(agent.max_turns),
        Err(_) => {
            violations
                .push(Violation::field("options.max_turns", "it is not negative; 0 is the agent's limit"));
            0
        }
    }
}

fn on_unauthorized(asked: i32, violations: &mut Violations) -> OnUnauthorized {
    match proto::OnUnauthorized::try_from(asked) {
        Ok(proto::OnUnauthorized::Unspecified | proto::OnUnauthorized::Fail) => OnUnauthorized::Fail,
        Ok(proto::OnUnauthorized::Wait) => OnUnauthorized::Wait,
        Err(_) => {
            let description = "it is ON_UNAUTHORIZED_FAIL, ON_UNAUTHORIZED_WAIT or left out";
            violations.push(Violation::field("options.on_unauthorized", description));
            OnUnauthorized::Fail
        }
    }
}

fn timeout(asked: Option<prost_types::Duration>, violations: &mut Violations) -> Option<Duration> {
    let prost_types::Duration { seconds, nanos } = asked?;
    // prost's own conversion overflows on what is far below zero.
    let parts = (u64::try_from(seconds), u32::try_from(nanos));
    match parts {
        (Ok(seconds), Ok(nanos)) if nanos < NANOS_A_SECOND && (seconds, nanos) != (0, 0) => {
            Some(Duration::new(seconds, nanos))
        }
        _ => {
            let description = "it is longer than nothing; leave it out for the agent's limit";
            violations.push(Violation::field("options.timeout", description));
            None
        }
    }
}

fn allowed_tools(
    asked: Vec<proto::ToolRef>,
    agent: &Arc<Agent>,
    violations: &mut Violations,
) -> Option<HashSet<ToolRef>> {
    if asked.len() > MAX_ALLOWED_TOOLS {
        violations.push(Violation::field("options.allowed_tools", "at most 1024 tools can be named"));
        return None;
    }
    for (at, tool) in asked.iter().enumerate() {
        let field = |name| format!("options.allowed_tools[{at}].{name}");
        if agent.server(&tool.mcp_server).is_none() {
            violations.push(unused_server(field("mcp_server"), agent));
        }
        if tool.tool.is_empty() {
            violations.push(Violation::field(field("tool"), "name the tool"));
        }
    }
    let tools = asked.into_iter().map(|tool| ToolRef { mcp_server: tool.mcp_server, tool: tool.tool });
    Some(tools.collect()).filter(|tools: &HashSet<_>| !tools.is_empty())
}

fn unused_server(field: String, agent: &Agent) -> Violation {
    let uses = agent.listed_servers();
    Violation::field(field, format!("agent `{}` uses no such MCP server; it uses: {uses}", agent.name))
}

fn check_labels(labels: &BTreeMap<String, String>, violations: &mut Violations) {
    if labels.len() > MAX_LABELS {
        violations.push(Violation::field("labels", "there are at most 16 labels"));
        return;
    }
    for (name, value) in labels {
        if name.is_empty() || name.len() > MAX_LABEL_BYTES || value.len() > MAX_LABEL_BYTES {
            let description = "a label's name has 1 to 256 bytes, and its value at most 256";
            violations.push(Violation::field(format!("labels{}", key(name)), description));
        }
    }
}
