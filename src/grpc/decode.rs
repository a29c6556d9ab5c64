//! Wire to domain: what a request says, checked. All violations come at once; the agent is looked up first.

mod answers;
mod client_tools;
mod images;
mod messages;
mod options;
mod schemas;

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{CallDeadline, proto};
use crate::{
    agent::Agent,
    run::{
        Answer, AskedModel, Error, Failure, ForServers, ModelHeaders, Naming, Parts, RawSet, Replacement,
        Requested, RunRequest, Sets, Violation, Violations, key, plan,
    },
    trace::Correlation,
};
use messages::Conversation;
use options::Options;
pub(super) use schemas::Schemas;

const MAX_NAMED_SERVERS: usize = 256;
const MAX_LABELS: usize = 16;
const MAX_LABEL_BYTES: usize = 256;
const TIMEOUT: &str = "it is longer than nothing; leave it out for the agent's limit";
const INPUT_TIMEOUT: &str = "it is not negative; leave it out to wait as long as the run may take";

/// A request for a run of an agent, without its schemas, which should be compiled by now. `callers` is the caller's own
/// deadline.
///
/// # Errors
/// Fields are wrong.
pub(super) fn run_request(
    request: proto::RunRequest,
    schemas: Schemas,
    agent: Arc<Agent>,
    parts: &Parts,
    correlation: Correlation,
    callers: Option<CallDeadline>,
) -> Result<RunRequest, Error> {
    let refuse = |failure| Error::refused(correlation.request_id.clone(), failure);
    let mut options = request.options.unwrap_or_default();
    let ignore_unused = options.ignore_unused_headers;
    let requested = headers(request.per_run_mcp_headers, request.mcp_headers, ignore_unused);
    let mut of_model = Violations::default();
    let model = Options { agent: &agent, violations: &mut of_model }.model(mem::take(&mut options.model));
    let asked = AskedModel { agent: &agent, model: &model, ignore_unused };
    let model_headers = ModelHeaders::new(raw_sets(request.per_run_model_headers), &asked, &mut of_model);
    let (plan, mut violations) = plan(&agent, &parts.servers, &requested, model_headers.size());
    let client_tools = client_tools::decode(
        mem::take(&mut options.client_tools),
        schemas.client_tools,
        &agent,
        &mut violations,
    );
    let naming = Naming::of(&agent, !client_tools.is_empty());
    let Conversation { messages: history, open } =
        messages::decode(request.messages, naming, &client_tools, &mut violations);
    let answers = answers::decode(request.answers, &mut violations);
    let answers = answers::match_open(answers, &open, &agent, &mut violations);
    let input = Some(request.input).filter(|input| !input.is_empty());
    check_input(&input, history.is_empty(), answers.is_some() && !open.is_empty(), &mut violations);
    check_labels(&request.labels, &mut violations);

    let mut decoder = Options { agent: &agent, violations: &mut violations };
    let bounds = decoder.bounds(&options);
    let output = decoder.output(schemas.output);
    let settings = decoder.settings(&options, output.as_ref());
    let timeout = decoder.duration("timeout", options.timeout, false, TIMEOUT);
    let input_timeout = decoder.duration("input_timeout", options.input_timeout, true, INPUT_TIMEOUT);
    let allowed_tools = decoder.allowed_tools(options.allowed_tools);
    let tool_choice = decoder.tool_choice(options.tool_choice, allowed_tools.as_ref(), &client_tools);
    let on_unauthorized = decoder.on_unauthorized(options.on_unauthorized);
    violations.append(of_model);
    if !violations.is_empty() {
        return Err(refuse(Failure::Invalid(violations)));
    }
    let limit = timeout.unwrap_or(Duration::MAX).min(agent.timeout).min(parts.limits.run_timeout);
    let own = Instant::now() + limit;
    Ok(RunRequest {
        model,
        instructions: instructions(&agent, &options.instructions_append),
        history,
        open,
        answers: answers.unwrap_or_default(),
        input,
        headers: Arc::new(Sets::new(requested, plan)),
        model_headers: Arc::new(model_headers),
        on_unauthorized,
        bounds,
        input_timeout,
        deadline: callers.map_or(own, |callers| callers.work.min(own)),
        report_by: callers.map(|callers| callers.answer),
        allowed_tools,
        client_tools,
        tool_choice,
        settings,
        output,
        labels: request.labels,
        correlation,
        agent,
    })
}

/// Answers to a live run, and what is wrong with them so far.
pub(super) fn submitted(answers: Vec<proto::InputAnswer>) -> (Vec<(String, Option<Answer>)>, Violations) {
    let mut violations = Violations::default();
    (answers::decode(answers, &mut violations), violations)
}

/// A request's headers.
pub(super) fn headers(
    by_server: BTreeMap<String, proto::HeaderSet>,
    all: Option<proto::HeaderSet>,
    ignore_unused: bool,
) -> Requested {
    Requested {
        all: all.map(raw).unwrap_or_default(),
        by_server: raw_sets(by_server),
        ignore_unused,
        asked: Vec::new(),
    }
}

/// Header sets that replace those of a live run.
pub(super) fn replacement(request: &mut proto::UpdateRunHeadersRequest) -> Replacement {
    let (by_server, all) = (mem::take(&mut request.per_run_mcp_headers), request.mcp_headers.take());
    let replaces_all = all.is_some();
    Replacement {
        for_servers: ForServers { requested: headers(by_server, all, false), replaces_all },
        for_models: raw_sets(mem::take(&mut request.per_run_model_headers)),
    }
}

/// Holds a filter to as many names as may be. It comes before all else that is done with them: a request holds millions of
/// empty ones, and each would be held against each server.
///
/// # Errors
/// There are more.
pub(super) fn check_server_count(field: &str, names: &[String]) -> Result<(), Failure> {
    if names.len() > MAX_NAMED_SERVERS {
        return Err(Failure::Invalid(Violation::field(field, "at most 256 servers can be named").into()));
    }
    Ok(())
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

fn raw_sets(sets: BTreeMap<String, proto::HeaderSet>) -> BTreeMap<String, RawSet> {
    sets.into_iter().map(|(name, set)| (name, raw(set))).collect()
}

fn instructions(agent: &Agent, append: &str) -> Arc<str> {
    match (&*agent.instructions, append) {
        (_, "") => agent.instructions.clone(),
        ("", append) => append.into(),
        (own, append) => format!("{own}\n\n{append}").into(),
    }
}

fn check_input(input: &Option<String>, no_messages: bool, is_open: bool, violations: &mut Violations) {
    if input.is_none() && no_messages {
        violations.push(Violation::field("input", "say something: `input` and `messages` are both empty"));
    }
    if input.is_some() && is_open {
        let description =
            "tool calls at the end of `messages` wait for their results; leave the input for later";
        violations.push(Violation::field("input", description));
    }
}

fn unused_server(field: String, agent: &Agent) -> Violation {
    let uses = agent.listed_servers();
    let uses = if uses.is_empty() { "none" } else { &uses };
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
