//! Names in an agent's configuration that its MCP server does not list.
//!
//! A slip in `approval` leaves the tool that was meant unguarded, and nothing else shows it. It can't be told before the
//! server lists its tools, and may be right for another caller's credential: so no run fails of it, and the operator is
//! told, once a list.

use std::collections::HashSet;

use tracing::warn;

use crate::{
    agent::{Agent, AgentServer, Approval},
    mcp::ToolList,
};

/// The most names that are told.
const MAX_TOLD: usize = 16;

/// Logs the names that the agent's use of a server has and that the server does not list, if nobody has for this list.
pub(super) fn tell(agent: &Agent, server: &AgentServer, list: &ToolList) {
    let tools = server.tools.as_deref().unwrap_or_default();
    let approval = if let Approval::Tools(names) = &server.approval { names.as_slice() } else { &[] };
    if (tools.is_empty() && approval.is_empty()) || !list.is_new_to(&agent.name) {
        return;
    }
    let usable = list.tools.iter().map(|tool| &*tool.name);
    let listed: HashSet<&str> = usable.chain(list.dropped.iter().map(|tool| &*tool.name)).collect();
    let unlisted = |names: &[String]| -> Option<String> {
        let unlisted: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !listed.contains(name)).collect();
        let more = if unlisted.len() > MAX_TOLD { ", …" } else { "" };
        let told = &unlisted[..unlisted.len().min(MAX_TOLD)];
        (!told.is_empty()).then(|| format!("{}{more}", told.join(", ")))
    };
    let (tools, approval) = (unlisted(tools), unlisted(approval));
    if tools.is_none() && approval.is_none() {
        return;
    }
    warn!(
        agent = agent.name,
        mcp_server = server.name,
        unlisted.tools = tools,
        unlisted.approval = approval,
        "An agent's configuration names tools that its MCP server does not list; an approval under such a name guards nothing"
    );
}
