//! Which tools are told apart. Their names are the servers', and a server may list any number of them, and others to each
//! identity.

use std::{collections::HashMap, sync::Arc};

use opentelemetry::KeyValue;
use parking_lot::RwLock;

use super::{instruments::Instruments, named::Count};

/// The most tools of a server that are told apart: those that were called first.
const MAX_TOOLS: usize = 200;
/// The most bytes of a tool's name.
const MAX_NAME_BYTES: usize = 64;
/// The name of all others.
const OTHER: &str = "_other";

/// The tools that were called, by their servers.
#[derive(Default)]
pub(super) struct Tools(RwLock<HashMap<String, OfServer>>);

/// A server's tools.
struct OfServer {
    tools: HashMap<String, Arc<Tool>>,
    other: Arc<Tool>,
}

/// A tool, or all others.
pub(super) struct Tool {
    mcp_server: Arc<str>,
    name: Arc<str>,
    ok: Count,
}

impl Tools {
    /// A tool of a registered server.
    pub(super) fn of(&self, mcp_server: &str, tool: &str) -> Arc<Tool> {
        if let Some(server) = self.0.read().get(mcp_server)
            && let Some(found) = server.find(tool)
        {
            return found.clone();
        }
        let mut servers = self.0.write();
        let server = servers.entry(mcp_server.to_owned()).or_insert_with(|| OfServer {
            tools: HashMap::new(),
            other: Arc::new(Tool::new(mcp_server.into(), OTHER)),
        });
        if let Some(found) = server.find(tool) {
            return found.clone();
        }
        let name = &tool[..tool.floor_char_boundary(MAX_NAME_BYTES)];
        let made = Arc::new(Tool::new(server.other.mcp_server.clone(), name));
        server.tools.entry(tool.to_owned()).or_insert(made).clone()
    }
}

impl OfServer {
    /// A tool that is told apart, or the others once there are enough.
    fn find(&self, tool: &str) -> Option<&Arc<Tool>> {
        self.tools.get(tool).or((self.tools.len() >= MAX_TOOLS).then_some(&self.other))
    }
}

impl Tool {
    /// What is counted under these names.
    pub(super) fn new(mcp_server: Arc<str>, name: &str) -> Self {
        Self { mcp_server, name: name.into(), ok: Count::default() }
    }

    /// Counts a call that has ended.
    pub(super) fn count(&self, of: &Instruments, outcome: &'static str) {
        let attributes = || {
            let server = KeyValue::new("mcp_server", self.mcp_server.clone());
            [server, KeyValue::new("outcome", outcome), KeyValue::new("tool", self.name.clone())]
        };
        if outcome == "ok" {
            self.ok.add(&of.tool_calls, 1, attributes);
        } else {
            of.tool_calls.add(1, &attributes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_more_tools_than_are_told_apart() {
        let tools = Tools::default();
        let name = |server: &str, tool: &str| tools.of(server, tool).name.clone();
        let told: Vec<Arc<str>> = (0..MAX_TOOLS + 50).map(|n| name("crm", &format!("t{n}"))).collect();
        assert_eq!(&*told[MAX_TOOLS - 1], "t199");
        assert!(told[MAX_TOOLS..].iter().all(|name| &**name == OTHER));
        assert_eq!(&*name("crm", "t7"), "t7", "the first ones keep their names");
        assert_eq!(&*name("wiki", "t230"), "t230", "another server has its own");
        assert_eq!(tools.0.read()["crm"].tools.len(), MAX_TOOLS);
    }

    #[test]
    fn a_long_name_is_cut() {
        let (tools, long) = (Tools::default(), "ä".repeat(100));
        for _ in 0..2 {
            assert_eq!(*tools.of("crm", &long).name, *"ä".repeat(32));
        }
    }
}
