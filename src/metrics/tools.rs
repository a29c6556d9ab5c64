//! Which tools are told apart. Their names are the servers', and a server may list any number of them, and others to each
//! identity.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

/// The most tools of a server that are told apart: those that were called first.
const MAX_TOOLS: usize = 200;
/// The most bytes of a tool's name.
const MAX_NAME_BYTES: usize = 64;
/// The name of all others.
const OTHER: &str = "_other";

/// The tools that were called, by their servers.
#[derive(Default)]
pub(super) struct ToolNames(RwLock<HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>>);

/// A server's name and a tool's, as they are recorded.
pub(super) type Named = (Arc<str>, Arc<str>);

impl ToolNames {
    /// How a tool of a registered server is named.
    pub(super) fn of(&self, mcp_server: &str, tool: &str) -> Named {
        if let Some((server, tools)) = self.0.read().get_key_value(mcp_server) {
            if let Some(name) = tools.get(tool) {
                return (server.clone(), name.clone());
            }
            if tools.len() >= MAX_TOOLS {
                return (server.clone(), OTHER.into());
            }
        }
        let mut servers = self.0.write();
        let server =
            servers.get_key_value(mcp_server).map_or_else(|| mcp_server.into(), |(name, _)| name.clone());
        let tools = servers.entry(server.clone()).or_default();
        if tools.len() >= MAX_TOOLS && !tools.contains_key(tool) {
            return (server, OTHER.into());
        }
        let name = tools.entry(tool.into()).or_insert_with(|| cut(tool).into());
        (server, name.clone())
    }
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_more_tools_than_are_told_apart() {
        let names = ToolNames::default();
        let told: Vec<Arc<str>> = (0..MAX_TOOLS + 50).map(|n| names.of("crm", &format!("t{n}")).1).collect();
        assert_eq!(&*told[MAX_TOOLS - 1], "t199");
        assert!(told[MAX_TOOLS..].iter().all(|name| &**name == OTHER));
        assert_eq!(&*names.of("crm", "t7").1, "t7", "the first ones keep their names");
        assert_eq!(&*names.of("wiki", "t230").1, "t230", "another server has its own");
        assert_eq!(names.0.read()["crm"].len(), MAX_TOOLS);
    }

    #[test]
    fn a_long_name_is_cut() {
        let names = ToolNames::default();
        let long = "ä".repeat(100);
        assert_eq!(*names.of("crm", &long).1, *"ä".repeat(32));
        assert_eq!(*names.of("crm", &long).1, *"ä".repeat(32), "the second time, too");
    }
}
