//! Revisions: what tells whether a part of the configuration is the same as before, with what it takes from the environment.
//!
//! A registration that is the same after a reload keeps what belongs to it, so its revision is over all that it says. What
//! files hold is no part of it: they are read again when they change.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{
    decode::{At, Environment},
    yaml::{Kind, Node},
};

/// A state of a part of the configuration. It is made of secrets, and never shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision([u8; 32]);

/// The revisions of what is configured by name.
#[derive(Clone)]
pub struct Revisions {
    models: BTreeMap<String, Revision>,
    mcp_servers: BTreeMap<String, Revision>,
}

impl Revision {
    /// The revision of what stands somewhere, and of what else makes it what it is.
    pub fn of(at: &At<'_>, others: &[&str]) -> Self {
        let mut hash = Sha256::new();
        write(&mut hash, at.node(), at.context.environment);
        others.iter().for_each(|other| write_text(&mut hash, other));
        Self(hash.finalize().into())
    }
}

impl Revisions {
    pub(super) fn of(models: &[(&str, At<'_>)], mcp_servers: &[(&str, At<'_>)]) -> Self {
        let revisions = |entries: &[(&str, At<'_>)]| {
            entries.iter().map(|(name, at)| ((*name).to_owned(), Revision::of(at, &[]))).collect()
        };
        Self { models: revisions(models), mcp_servers: revisions(mcp_servers) }
    }

    /// Whether a model is configured as it was before.
    pub fn same_model(&self, before: &Self, name: &str) -> bool {
        same(&self.models, &before.models, name)
    }

    /// Whether an MCP server is registered as it was before.
    pub fn same_mcp_server(&self, before: &Self, name: &str) -> bool {
        same(&self.mcp_servers, &before.mcp_servers, name)
    }
}

fn same(now: &BTreeMap<String, Revision>, before: &BTreeMap<String, Revision>, name: &str) -> bool {
    now.get(name).is_some_and(|revision| before.get(name) == Some(revision))
}

/// Writes a node so that no two meet: what it is, and all that it has with its length. The order of keys means nothing.
fn write(hash: &mut Sha256, node: &Node, environment: &Environment<'_>) {
    match &node.kind {
        Kind::Null => hash.update([0]),
        Kind::Bool(value) => hash.update([1, u8::from(*value)]),
        Kind::Number(number) => {
            hash.update([2]);
            write_text(hash, &number.to_string());
        }
        Kind::Text(text) => {
            hash.update([3]);
            write_text(hash, text);
        }
        Kind::List(items) => {
            hash.update([4]);
            hash.update(items.len().to_le_bytes());
            items.iter().for_each(|item| write(hash, item, environment));
        }
        Kind::Mapping(entries) => {
            hash.update([5]);
            hash.update(entries.len().to_le_bytes());
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
            for (key, value) in entries {
                write_text(hash, &key.name);
                write(hash, value, environment);
                // Where `env` is the name of something else, and the text that of no variable, this adds nothing.
                let variable = value.text().filter(|_| key.name == "env").and_then(environment);
                write_text(hash, variable.as_deref().unwrap_or_default());
            }
        }
    }
}

fn write_text(hash: &mut Sha256, text: &str) {
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}
