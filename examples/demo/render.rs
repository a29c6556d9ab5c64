//! Answers, for a reader: what matters, one thing a line. Ids and digests are cut short.

use std::{collections::BTreeMap, time::Duration};

use runwright::grpc::proto::{
    AppliedHeaders, AuthChallenge, ExplainHeadersResponse, HeaderLayer, ListAgentsResponse,
    ListToolsResponse, PendingInput, RunResponse, ToolCall, ToolCallStatus, pending_input::Input,
};

use crate::paint;

/// The agents.
pub fn agents(response: &ListAgentsResponse) -> String {
    let agents = response.agents.iter().map(|agent| {
        let servers = agent.mcp_servers.join(", ");
        line("agent", &format!("{} — {}", paint::good(&agent.name), agent.description))
            + &line("", &format!("model {}, MCP servers: {servers}", agent.model))
    });
    agents.collect()
}

/// What would be sent, and what is wrong with it.
pub fn headers(response: &ExplainHeadersResponse) -> String {
    let servers = response.applied_headers.iter().map(|(server, applied)| {
        let headers = applied.headers.iter().map(|header| {
            let digest = paint::label(&format!("digest {}", short(&header.digest)));
            line(server, &format!("{:<14} {:<11} {digest}", header.name, layer(header.layer())))
        });
        headers.collect::<String>()
    });
    let problems = response.problems.iter();
    let problems =
        problems.map(|problem| line("problem", &format!("{} {}", problem.field, problem.description)));
    servers.chain(problems).collect()
}

/// The tools of each server.
pub fn tools(response: &ListToolsResponse) -> String {
    let servers = response.servers.iter().map(|server| {
        let tools = server.tools.iter().map(|tool| {
            line(&server.mcp_server, &format!("{} — {}", paint::good(&tool.name), tool.description))
        });
        let problem = server.problem.iter().map(|problem| line(&server.mcp_server, &problem.message));
        tools.chain(problem).collect::<String>()
    });
    servers.collect()
}

/// A run that ended well.
pub fn run(response: &RunResponse) -> String {
    let calls: Vec<String> = response.tool_calls.iter().map(tool_call).collect();
    line("answer", &paint::good(&response.final_output))
        + &line("tools", &calls.join(", "))
        + &sent(&response.applied_headers)
        + &line("end", &end(response))
}

/// How a run ended.
pub fn end(response: &RunResponse) -> String {
    let tokens = response.usage.map_or(0, |usage| usage.total_tokens);
    let reason = response.finish_reason().as_str_name().trim_start_matches("FINISH_REASON_");
    format!("{reason} after {} turns, {tokens} tokens", response.turns)
}

/// A tool call, and how it ended.
pub fn tool_call(call: &ToolCall) -> String {
    let name = tool_name(call);
    let took = call.duration.and_then(|duration| Duration::try_from(duration).ok()).unwrap_or_default();
    let status = match call.status() {
        ToolCallStatus::Ok => paint::good("OK"),
        status => paint::bad(status.as_str_name().trim_start_matches("TOOL_CALL_STATUS_")),
    };
    format!("{name} {status} {}", paint::label(&format!("{:.1} ms", took.as_secs_f64() * 1000.0)))
}

/// A tool with its server, where the run has such a tool.
pub fn tool_name(call: &ToolCall) -> String {
    if call.mcp_server.is_empty() { call.tool.clone() } else { format!("{}.{}", call.mcp_server, call.tool) }
}

/// What a run waits for.
pub fn pending_input(pending: &PendingInput) -> String {
    match &pending.input {
        Some(Input::Credentials(refusal)) => {
            format!("by {}, which says: {}", refusal.mcp_server, challenge(refusal))
        }
        Some(Input::Approval(call) | Input::ClientTool(call)) => {
            format!("{} {}", tool_name(call), call.arguments_json)
        }
        None => String::new(),
    }
}

/// An MCP server's words about a credential that it refuses.
pub fn challenge(refusal: &AuthChallenge) -> String {
    format!("{} error={}", paint::good(&refusal.scheme), paint::good(&refusal.error))
}

/// What the shop has executed, by tool.
pub fn executed(tools: &BTreeMap<&str, u32>) -> String {
    let tools: Vec<String> = tools.iter().map(|(tool, times)| format!("{tool} {times}×")).collect();
    let tools = if tools.is_empty() { "nothing".to_owned() } else { tools.join(", ") };
    line("shop", &format!("executed {}", paint::good(&tools)))
}

/// A header's layer.
pub fn layer(layer: HeaderLayer) -> &'static str {
    layer.as_str_name().trim_start_matches("HEADER_LAYER_")
}

/// A line of an answer.
pub fn line(name: &str, text: &str) -> String {
    format!("   {} {text}\n", paint::label(&format!("{name:<10}")))
}

/// The headers that each server was sent, by digest: equal digests are equal values.
pub fn sent(applied: &BTreeMap<String, AppliedHeaders>) -> String {
    let servers = applied.iter().map(|(server, applied)| {
        let headers = applied.headers.iter();
        let headers: Vec<String> = headers
            .map(|header| format!("{} {}", header.name, paint::label(short(&header.digest))))
            .collect();
        line("sent", &format!("to {server}: {}", headers.join(", ")))
    });
    servers.collect()
}

fn short(digest: &str) -> &str {
    digest.get(..6).unwrap_or(digest)
}
