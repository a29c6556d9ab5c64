//! A decoder that collects: it takes a tree apart, and what is wrong is put down and passed over.
//!
//! [`At`] is a node and how one came to it; [`Fields`] are those of a mapping that has a fixed set of keys. A decoder of
//! some type is a function from `&At` to `Option`: at `None` the problem is put down already. Whether a configuration is
//! good is decided once, at the end, by whether there are problems; until then a default stands in for what is wrong.

use std::{cell::RefCell, ops::RangeInclusive, path::Path};

use super::{
    key::{Depends, Fixed, Key, Keys, Optional, Required},
    loader::Common,
    names,
    problem::{Problem, join_index, join_key},
    versions::Versions,
    yaml::{self, Kind, Mark, Node},
};

/// The environment's variables, by name.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What a whole decoding shares.
pub struct Context<'a> {
    /// Where `env` sources look.
    pub environment: &'a Environment<'a>,
    /// What is shared with the configurations that were read before: what tokens are asked for over, and their sources.
    pub common: &'a Common,
    problems: RefCell<Vec<Problem>>,
    versions: RefCell<Versions>,
}

/// A node, and how one came to it.
#[derive(Clone)]
pub struct At<'a> {
    /// What the whole decoding shares.
    pub context: &'a Context<'a>,
    /// The key that it stands at; the item's beginning in a list.
    pub key_mark: &'a Mark,
    node: &'a Node,
    path: String,
}

/// The values of a mapping with a fixed set of keys.
pub struct Fields<'a> {
    at: At<'a>,
    names: Vec<&'static str>,
    entries: Vec<(&'a str, At<'a>)>,
    /// Whether it is told which of the required ones are missing.
    demands: bool,
}

impl<'a> Context<'a> {
    /// Begins, with the problems that there are already, and the versions of the files.
    pub fn new(
        environment: &'a Environment<'a>,
        common: &'a Common,
        problems: Vec<Problem>,
        versions: Versions,
    ) -> Self {
        let (problems, versions) = (RefCell::new(problems), RefCell::new(versions));
        Self { environment, common, problems, versions }
    }

    /// Notes that a file is read now, and not when it changes: then the whole configuration is.
    pub fn note_read(&self, file: &Path) {
        self.versions.borrow_mut().note(file);
    }

    /// All problems, in the order of their places, and the versions of all files that were noted.
    pub fn end(self) -> (Vec<Problem>, Versions) {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems.dedup();
        (problems, self.versions.into_inner())
    }
}

impl<'a> At<'a> {
    /// The whole document.
    pub fn root(context: &'a Context<'a>, node: &'a Node) -> Self {
        Self { context, key_mark: &node.mark, node, path: ".".to_owned() }
    }

    /// Puts a problem down at the value.
    pub fn problem(&self, message: impl Into<String>) {
        // The parser places a value that is not there at the next token, which may be lines below.
        let mark = if matches!(self.node.kind, Kind::Null) { self.key_mark } else { &self.node.mark };
        self.problem_at(mark, message);
    }

    /// Puts a problem down at the value's key.
    pub fn key_problem(&self, message: impl Into<String>) {
        self.problem_at(self.key_mark, message);
    }

    /// Puts a problem down at a place within the value, with the value's path.
    pub fn problem_at(&self, mark: &Mark, message: impl Into<String>) {
        self.context.problems.borrow_mut().push(mark.problem(&self.path, message));
    }

    /// Puts down that the value is of the wrong type; `what` it should be.
    pub fn expected(&self, what: &str) {
        self.problem(format!("expected {what}, found {}", self.found()));
    }

    /// Puts down that the value is no text, which quotes would make of a number or a flag; `what` it should be.
    pub fn expected_text(&self, what: &str) {
        let quotes = match self.node.kind {
            Kind::Bool(_) | Kind::Number(_) => "; put it in quotes",
            _ => "",
        };
        self.problem(format!("expected {what}, found {}{quotes}", self.found()));
    }

    /// The value as it stands in the file.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The keys that lead to the value.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Puts down that a key is missing, unless the value is no mapping at all.
    pub fn lacks(&self, key: &str) {
        if matches!(self.node.kind, Kind::Mapping(_) | Kind::Null) {
            self.key_problem(format!("the key `{key}` is missing"));
        }
    }

    /// Text.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.node.text();
        if text.is_none() {
            self.expected_text("text");
        }
        text
    }

    /// Text that stands for something else, `what`.
    pub fn text_of(&self, what: &str) -> Option<&'a str> {
        let text = self.node.text();
        if text.is_none() {
            self.expected(what);
        }
        text
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Option<bool> {
        match self.node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    /// A whole number in a range.
    pub fn number<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<T> {
        let number = match &self.node.kind {
            Kind::Number(number) => number.as_u64().filter(|number| range.contains(number)),
            _ => None,
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.problem(format!("expected a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A number in a range.
    pub fn decimal(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match &self.node.kind {
            Kind::Number(number) => number.as_f64().filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.problem(format!("expected a number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// One of some words.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let expected = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let text = self.text_of(&format!("one of {expected}"))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.problem(format!("expected one of {expected}"));
        }
        found
    }

    /// A list's items.
    pub fn items(&self) -> Option<Vec<At<'a>>> {
        let Kind::List(items) = &self.node.kind else {
            self.expected("a list");
            return None;
        };
        let at = |(index, node): (usize, &'a Node)| At {
            context: self.context,
            key_mark: &node.mark,
            node,
            path: join_index(&self.path, index),
        };
        Some(items.iter().enumerate().map(at).collect())
    }

    /// A mapping's entries, whatever their keys; none where it is empty.
    pub fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let entries: &[_] = match &self.node.kind {
            Kind::Mapping(entries) => entries,
            Kind::Null => &[],
            _ => {
                self.expected("a mapping");
                &[]
            }
        };
        let at = |(key, node): &'a (yaml::Key, Node)| {
            let path = join_key(&self.path, &key.name);
            (key.name.as_str(), At { context: self.context, key_mark: &key.mark, node, path })
        };
        entries.iter().map(at).collect()
    }

    /// A mapping's values, where only these keys may be.
    pub fn fields(&self, keys: Keys<'_>) -> Fields<'a> {
        let (fields, others) = self.known_fields(keys);
        for (name, at) in others {
            at.key_problem(names::unknown("unknown key", name, &fields.names));
        }
        fields
    }

    /// A mapping's values of these keys, and what else there is, of which nothing is told.
    pub fn known_fields(&self, keys: Keys<'_>) -> (Fields<'a>, Vec<(&'a str, At<'a>)>) {
        let names: Vec<_> = keys.iter().map(|key| key.name()).collect();
        let (entries, others) = self.entries().into_iter().partition(|(name, _)| names.contains(name));
        (Fields { at: self.clone(), names, entries, demands: true }, others)
    }

    /// The same value under the path of what it stands in: for one whose key may be a secret.
    pub fn under(self, parent: &Self) -> Self {
        Self { path: parent.path.clone(), ..self }
    }

    fn found(&self) -> &'static str {
        match self.node.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

impl<'a> Fields<'a> {
    /// The value of a key.
    pub fn get<D>(&self, key: &Key<D>) -> Option<&At<'a>> {
        self.entries.iter().find(|(name, _)| *name == key.name).map(|(_, at)| at)
    }

    /// The same where it is not known which keys must be there: that one is missing is not told.
    pub fn without_demands(self) -> Self {
        Self { demands: false, ..self }
    }

    /// Where a key stands, or would stand.
    pub fn place<D>(&self, key: &Key<D>) -> At<'a> {
        let missing = || At { path: join_key(&self.at.path, key.name), ..self.at.clone() };
        self.get(key).cloned().unwrap_or_else(missing)
    }

    /// The value of a key that may be missing.
    pub fn optional<T>(&self, key: &Key<Optional>, decode: impl FnOnce(&At<'a>) -> Option<T>) -> Option<T> {
        self.decoded(key, decode)
    }

    /// The value of a key, or its default.
    pub fn or<D: Fixed>(&self, key: &Key<D>, decode: impl FnOnce(&At<'a>) -> Option<D::Value>) -> D::Value {
        self.decoded(key, decode).unwrap_or_else(|| key.default.value())
    }

    /// The value of a key, or what stands in for it here.
    pub fn or_else<T>(&self, key: &Key<Depends>, decode: impl FnOnce(&At<'a>) -> Option<T>, default: T) -> T {
        self.decoded(key, decode).unwrap_or(default)
    }

    /// The value of a key that must be there.
    pub fn required<T>(&self, key: &Key<Required>, decode: impl FnOnce(&At<'a>) -> Option<T>) -> Option<T> {
        if self.demands && self.get(key).is_none() {
            self.at.lacks(key.name);
        }
        self.decoded(key, decode)
    }

    /// The mapping of a key, where only `keys` may be; an empty one if it is missing.
    pub fn fields(&self, key: &Key<Optional>, keys: Keys<'_>) -> Fields<'a> {
        match self.get(key) {
            Some(at) => at.fields(keys),
            None => {
                let names = keys.iter().map(|key| key.name()).collect();
                Fields { at: self.at.clone(), names, entries: Vec::new(), demands: true }
            }
        }
    }

    /// The mapping of a key, whatever its own keys; an empty one if it is missing.
    pub fn entries(&self, key: &Key<Optional>) -> Vec<(&'a str, At<'a>)> {
        self.get(key).map(At::entries).unwrap_or_default()
    }

    fn decoded<D, T>(&self, key: &Key<D>, decode: impl FnOnce(&At<'a>) -> Option<T>) -> Option<T> {
        debug_assert!(
            self.names.contains(&key.name),
            "{} is decoded, and none of {:?}",
            key.name,
            self.names
        );
        self.get(key).and_then(decode)
    }
}
