//! The tools of a run, and their names for the model.
//!
//! A model's provider allows `^[a-zA-Z0-9_-]{1,64}$`. Where the run has one MCP server's tools alone, a tool has its own name; else
//! always `server__tool`, so that no server's later tool can take another's name. A server's name has no underscore, so
//! the two parts can't be confused. What does not fit is replaced and cut, and a digest keeps it apart.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use crate::{
    agent::{Agent, AgentServer},
    mcp::ToolList,
    message::{ToolCall, ToolRef},
    model::AskedCall,
    tool::ToolSpec,
};

const MAX_NAME: usize = 64;

/// The tools that a run offers its model.
#[derive(Default)]
pub(super) struct ToolTable {
    specs: Vec<Arc<ToolSpec>>,
    by_name: HashMap<String, Offered>,
}

/// A tool that a run offers.
#[derive(Clone, Copy)]
struct Offered {
    /// Its place among the specs.
    at: usize,
    /// Whether it is called only if the caller approves.
    needs_approval: bool,
}

/// How a run's tools are named.
#[derive(Clone, Copy)]
pub struct Naming {
    /// Whether all tools are those of one MCP server.
    pub single_server: bool,
}

impl Naming {
    /// How the tools of a run are named: those of the agent's servers, and the caller's own.
    pub fn of(agent: &Agent, has_client_tools: bool) -> Self {
        Self { single_server: agent.mcp_servers.len() == 1 && !has_client_tools }
    }

    /// The tool's name for the model. It depends on the tool alone.
    pub fn name(self, tool: &ToolRef) -> String {
        let name = if self.single_server || tool.is_callers() {
            tool.tool.clone()
        } else {
            format!("{}__{}", tool.mcp_server, tool.tool)
        };
        Self::fit(name)
    }

    /// The name, or one that stands for it where providers do not allow it.
    pub fn fit(name: String) -> String {
        if fits(&name) { name } else { fitted(&name) }
    }
}

impl ToolTable {
    /// Adds a server's tools, as far as the agent and the request allow them. A tool's name for the model may be that of
    /// another, which only a server that wants it brings about: the first one keeps it, as providers refuse a request
    /// with one name twice.
    pub(super) fn add(
        &mut self,
        server: &AgentServer,
        list: &ToolList,
        naming: Naming,
        allowed: Option<&HashSet<ToolRef>>,
    ) {
        for tool in &list.tools {
            let reference = ToolRef { mcp_server: server.name.clone(), tool: tool.name.clone() };
            let by_agent = server.tools.as_ref().is_none_or(|tools| tools.contains(&tool.name));
            if !by_agent || allowed.is_some_and(|allowed| !allowed.contains(&reference)) {
                continue;
            }
            let offered = tool.offered(!naming.single_server, |tool| {
                let name = naming.name(&reference);
                ToolSpec::new(name, reference.clone(), tool.description.clone(), tool.input_schema.clone())
            });
            self.offer(offered, server.approval.is_needed(&tool.name));
        }
    }

    /// Adds the caller's own tools.
    pub(super) fn add_clients(&mut self, tools: &[Arc<ToolSpec>]) {
        tools.iter().for_each(|tool| self.offer(tool.clone(), false));
    }

    fn offer(&mut self, spec: Arc<ToolSpec>, needs_approval: bool) {
        if let Entry::Vacant(free) = self.by_name.entry(spec.name.clone()) {
            free.insert(Offered { at: self.specs.len(), needs_approval });
            self.specs.push(spec);
        }
    }

    /// The tool that a call is for, and whether it is called only if the caller approves. The name alone does not say it: a
    /// conversation may come with a call that names another server's tool, or none's, by a name that this run has.
    pub(super) fn find(&self, call: &ToolCall) -> Option<(&ToolSpec, bool)> {
        let Offered { at, needs_approval } = *self.by_name.get(&call.name)?;
        let spec = &self.specs[at];
        (call.tool.as_ref() == Some(&spec.tool)).then_some((spec, needs_approval))
    }

    /// The name of a tool for the model, if the run offers it.
    pub(super) fn name_of(&self, tool: &ToolRef) -> Option<&str> {
        self.specs.iter().find(|spec| spec.tool == *tool).map(|spec| &*spec.name)
    }

    /// The tools as the model is offered them.
    pub(super) fn specs(&self) -> &[Arc<ToolSpec>] {
        &self.specs
    }

    /// The call that a model asks for; it names no tool where the run has none of that name.
    pub(super) fn resolve(&self, asked: AskedCall) -> ToolCall {
        let AskedCall { call_id, name, arguments_json } = asked;
        // A name that is made up may be anything: the provider would not take it back, and it stands in a span.
        let name = Naming::fit(name);
        let tool = self.by_name.get(&name).map(|offered| self.specs[offered.at].tool.clone());
        ToolCall { call_id, name, tool, arguments_json }
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn fits(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn fitted(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let tag: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let replaced = name.bytes().map(|byte| if is_allowed(byte) { char::from(byte) } else { '_' });
    let kept: String = replaced.take(MAX_NAME - 1 - tag.len()).collect();
    format!("{kept}_{tag}")
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::{agent::Approval, credential, mcp};

    fn tool(server: &str, tool: &str) -> ToolRef {
        ToolRef { mcp_server: server.into(), tool: tool.into() }
    }

    #[test]
    fn one_server_keeps_the_names_and_several_qualify_them() {
        assert_eq!(Naming { single_server: true }.name(&tool("crm", "whoami")), "whoami");
        assert_eq!(Naming { single_server: false }.name(&tool("crm", "whoami")), "crm__whoami");
    }

    #[test]
    fn a_name_that_does_not_fit_is_valid_and_its_own() {
        let naming = Naming { single_server: true };
        let odd = ["a.b", "a/b", "", "ü", &"x".repeat(65), &format!("{}y", "x".repeat(64))];
        let names: HashSet<String> = odd.iter().map(|name| naming.name(&tool("crm", name))).collect();
        assert_eq!(names.len(), odd.len());
        for name in names {
            assert!((1..=64).contains(&name.len()) && name.bytes().all(is_allowed), "{name}");
        }
    }

    #[test]
    fn no_name_is_offered_twice_and_the_first_tool_has_it() {
        let naming = Naming { single_server: true };
        let taken = naming.name(&tool("crm", "find.orders"));
        let listed = |name: &str| {
            let schema = RawValue::from_string("{}".into()).unwrap();
            mcp::Tool::new(name.into(), "".into(), schema.into())
        };
        let tools = ["find.orders", &taken, "whoami"].map(listed).into();
        let headers = credential::Headers::default();
        let approval = Approval::Never;
        let server = AgentServer { name: "crm".into(), required: true, tools: None, approval, headers };
        let mut table = ToolTable::default();
        table.add(&server, &ToolList::new(tools, Vec::new()), naming, None);
        let offered: Vec<&str> = table.specs().iter().map(|spec| &*spec.name).collect();
        assert_eq!(offered, [&*taken, "whoami"]);
        let asked = AskedCall { call_id: "1".into(), name: taken, arguments_json: "{}".into() };
        assert_eq!(table.resolve(asked).tool, Some(tool("crm", "find.orders")));
    }

    #[test]
    fn a_name_that_is_made_up_is_one_that_the_provider_takes_back() {
        let resolve = |name: &str| {
            let asked = AskedCall { call_id: "1".into(), name: name.into(), arguments_json: String::new() };
            ToolTable::default().resolve(asked)
        };
        assert_eq!(resolve("made_up").name, "made_up");
        for odd in ["functions.t", "a b", "\u{1F980}", &"x".repeat(65)] {
            let call = resolve(odd);
            assert!(fits(&call.name) && call.tool.is_none(), "{}", call.name);
        }
    }
}
