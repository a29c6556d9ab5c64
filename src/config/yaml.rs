//! YAML as a tree that knows its lines.
//!
//! It is built from the parser's events ([`parse`]), and not by the loader of `saphyr`, for three reasons: a repeated key
//! is one problem among others and names both of its places; nesting is bounded, so that no text can exhaust the stack;
//! and a text that is no YAML gives a problem with a path.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_json::Number;

use super::problem::{Problem, join_key};

mod builder;
mod scalar;

pub use builder::parse;

/// A place in a file.
#[derive(Clone)]
pub struct Mark {
    /// The file.
    pub file: Rc<Path>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A node of the tree. It has no `Debug`: it may be a secret.
#[derive(Clone)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone)]
pub enum Kind {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that JSON could have.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in its order; each key once.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping. Any scalar is one, by its text.
#[derive(Clone)]
pub struct Key {
    /// Where it begins.
    pub mark: Mark,
    /// Its text.
    pub name: String,
}

/// Takes the later ones of repeated keys away, and says so.
pub fn keep_first(entries: &mut Vec<(Key, Node)>, path: &str, problems: &mut Vec<Problem>) {
    let mut seen = HashMap::<String, Mark>::new();
    entries.retain(|(key, _)| {
        let Some(first) = seen.get(&key.name) else {
            seen.insert(key.name.clone(), key.mark.clone());
            return true;
        };
        let Mark { file, line, column } = first;
        let message = format!("the key stands twice; first at {}:{line}:{column}", file.display());
        problems.push(key.mark.problem(&join_key(path, &key.name), message));
        false
    });
}

impl Mark {
    /// The beginning of a file or folder.
    pub fn beginning(file: &Path) -> Self {
        Self { file: file.into(), line: 1, column: 1 }
    }

    /// A problem here.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: PathBuf::from(&*self.file),
            line: self.line,
            column: self.column,
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

impl Node {
    /// The text, if it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// How many lists and mappings stand in each other in it, and how many nodes it has.
    pub fn extent(&self) -> (usize, usize) {
        let children: Vec<&Node> = match &self.kind {
            Kind::List(items) => items.iter().collect(),
            Kind::Mapping(entries) => entries.iter().map(|(_, node)| node).collect(),
            _ => return (0, 1),
        };
        let extents = children.into_iter().map(Self::extent);
        let (depth, nodes) = extents.fold((0, 0), |(depth, nodes), (d, n)| (depth.max(d), nodes + n));
        (depth + 1, nodes + 1)
    }
}
