//! A schema's subschemas, and which of them is applied where: to the value itself, or to one of its children.

use std::{collections::HashMap, mem};

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::{SchemaError, document::Document};

/// What a subschema costs beside itself for each of these many values that it compares with, such as an enum's.
const VALUES_PER_STEP: usize = 8;
/// What it costs to match a text against a pattern, in steps.
const PATTERN_STEPS: u64 = 16;

/// The subschemas that can be reached, the root first.
pub(super) struct Graph<'s> {
    pub(super) nodes: Vec<Node<'s>>,
    /// What each of them is written as.
    values: Vec<&'s Value>,
    /// Where each of these is among them.
    found: HashMap<*const Value, usize>,
    /// How many regular expressions there are.
    pub(super) patterns: usize,
}

/// A subschema. Others are named by their index.
#[derive(Default)]
pub(super) struct Node<'s> {
    /// What it takes to hold a value against it alone, in steps.
    pub(super) weight: u64,
    /// Applied to the same value.
    pub(super) in_place: Vec<usize>,
    /// Applied to the property of the name.
    pub(super) properties: HashMap<&'s str, usize>,
    /// Applied to each property with another name.
    pub(super) other_properties: Vec<usize>,
    /// Applied to properties of whatever name: which ones match a pattern is not asked.
    pub(super) any_property: Vec<usize>,
    /// Applied to names.
    pub(super) names: Vec<usize>,
    /// Applied to the item at the index.
    pub(super) prefix: Vec<usize>,
    /// Applied to each item after those.
    pub(super) rest: Vec<usize>,
    /// Applied to each item.
    pub(super) any_item: Vec<usize>,
    /// Whether it asks what its subschemas evaluated, which holds the value against them again.
    pub(super) unevaluated: bool,
}

impl Node<'_> {
    /// All that it applies, to the value itself or to its children.
    fn applied(&self) -> impl Iterator<Item = usize> {
        self.in_place
            .iter()
            .chain(self.to_children().into_iter().flatten())
            .chain(self.properties.values())
            .copied()
    }

    /// All that it applies to its children, but for those that it names.
    fn to_children(&self) -> [&Vec<usize>; 6] {
        [&self.other_properties, &self.any_property, &self.names, &self.prefix, &self.rest, &self.any_item]
    }

    /// Whether another is applied in its place, and nothing else.
    pub(super) fn only_refers(&self) -> bool {
        self.in_place.len() == 1
            && self.weight == 1
            && !self.unevaluated
            && self.properties.is_empty()
            && self.to_children().iter().all(|edges| edges.is_empty())
    }
}

/// Finds subschemas; each is known by where it stands in memory.
struct Walk<'s> {
    document: &'s Document,
    anchors: HashMap<&'s str, &'s Value>,
    found: HashMap<*const Value, usize>,
    waiting: Vec<&'s Value>,
    patterns: usize,
}

impl<'s> Graph<'s> {
    /// Reads a document. Every keyword counts in every draft: one that means nothing there makes the schema seem
    /// costlier, never cheaper.
    pub(super) fn read(document: &'s Document) -> Result<Self, SchemaError> {
        let mut walk = Walk {
            document,
            anchors: HashMap::new(),
            found: HashMap::new(),
            waiting: Vec::new(),
            patterns: 0,
        };
        walk.collect_anchors(&document.root)?;
        walk.index(&document.root);
        let mut nodes = Vec::new();
        // Those that wait get their indexes in the order in which they are found.
        while let Some(value) = walk.waiting.get(nodes.len()).copied() {
            nodes.push(match value {
                Value::Object(keywords) => walk.node(value, keywords)?,
                _ => Node { weight: 1, ..Node::default() },
            });
        }
        Ok(Self { nodes, values: walk.waiting, found: walk.found, patterns: walk.patterns })
    }

    /// The regular expressions.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &'s str> {
        self.values.iter().filter_map(|value| value.as_object()).flat_map(own_patterns)
    }

    /// Where a regular expression stands first, as a JSON Pointer to its keyword.
    pub(super) fn place_of(&self, pattern: &str) -> Option<String> {
        let has_it = |value: &&&'s Value| {
            value.as_object().is_some_and(|it| own_patterns(it).any(|own| own == pattern))
        };
        let value = self.values.iter().find(has_it)?;
        let is_own = value.get("pattern").is_some_and(|own| own == pattern);
        let keyword = if is_own { "pattern" } else { "patternProperties" };
        Some(format!("{}/{keyword}", pointer(self.values.first()?, value)?))
    }

    /// Those that a subschema has under a keyword: one, or a list of them.
    pub(super) fn under(&self, index: usize, keyword: &str) -> impl Iterator<Item = usize> {
        let inner = self.values[index].get(keyword);
        let list = inner.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        inner.into_iter().chain(list).filter_map(|inner| self.found.get(&std::ptr::from_ref(inner)).copied())
    }

    /// Of each whether it, or one that is applied by it, has a regular expression that `is_meant`.
    pub(super) fn above(&self, is_meant: impl Fn(&str) -> bool) -> Vec<bool> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.applied().for_each(|inner| users[inner].push(index));
        }
        let has = |value: &&Value| value.as_object().is_some_and(|it| own_patterns(it).any(&is_meant));
        let mut above: Vec<bool> = self.values.iter().map(has).collect();
        let mut waiting: Vec<usize> = (0..above.len()).filter(|index| above[*index]).collect();
        while let Some(index) = waiting.pop() {
            for user in &users[index] {
                if !mem::replace(&mut above[*user], true) {
                    waiting.push(*user);
                }
            }
        }
        above
    }

    /// The root with the keywords of each subschema changed; it is given with its index.
    pub(super) fn rewritten(&self, change: &impl Fn(usize, &mut Map<String, Value>)) -> Value {
        self.values.first().map_or(Value::Null, |root| self.copied(root, change))
    }

    fn copied(&self, value: &Value, change: &impl Fn(usize, &mut Map<String, Value>)) -> Value {
        match value {
            Value::Object(object) => {
                let index = self.found.get(&std::ptr::from_ref(value));
                let copied = |(name, inner): (&String, &Value)| {
                    // What a value is compared with stays as it is, whatever refers to it.
                    let is_data = index.is_some() && matches!(name.as_str(), "const" | "enum");
                    (name.clone(), if is_data { inner.clone() } else { self.copied(inner, change) })
                };
                let mut copy = object.iter().map(copied).collect();
                if let Some(index) = index {
                    change(*index, &mut copy);
                }
                Value::Object(copy)
            }
            Value::Array(values) => values.iter().map(|value| self.copied(value, change)).collect(),
            _ => value.clone(),
        }
    }
}

impl<'s> Walk<'s> {
    fn index(&mut self, value: &'s Value) -> usize {
        let next = self.waiting.len();
        let index = *self.found.entry(std::ptr::from_ref(value)).or_insert(next);
        if index == next {
            self.waiting.push(value);
        }
        index
    }

    fn node(&mut self, value: &'s Value, keywords: &'s Map<String, Value>) -> Result<Node<'s>, SchemaError> {
        let mut node = Node { weight: 1 + self.own_steps(keywords), ..Node::default() };
        for (keyword, inner) in keywords {
            match keyword.as_str() {
                "allOf" | "anyOf" | "oneOf" => self.list(inner, &mut node.in_place),
                "not" | "if" | "then" | "else" => node.in_place.push(self.index(inner)),
                "dependentSchemas" | "dependencies" => self.map(inner, &mut node.in_place),
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    self.refer(value, keyword, inner, &mut node.in_place)?
                }
                "properties" => {
                    for (name, inner) in inner.as_object().into_iter().flatten() {
                        node.properties.insert(name, self.index(inner));
                    }
                }
                "patternProperties" => self.map(inner, &mut node.any_property),
                "additionalProperties" => node.other_properties.push(self.index(inner)),
                "unevaluatedProperties" => {
                    node.unevaluated = true;
                    node.other_properties.push(self.index(inner));
                }
                "propertyNames" => node.names.push(self.index(inner)),
                "contains" => node.any_item.push(self.index(inner)),
                "unevaluatedItems" => {
                    node.unevaluated = true;
                    node.rest.push(self.index(inner));
                }
                "items" | "prefixItems" | "additionalItems" => self.items(keyword, inner, &mut node),
                _ => {}
            }
        }
        Ok(node)
    }

    /// The keywords of items mean others since 2020-12.
    fn items(&mut self, keyword: &str, inner: &'s Value, node: &mut Node<'s>) {
        let recent = self.document.draft == Draft::Draft202012;
        match (keyword, inner) {
            ("items", Value::Array(_)) => self.list(inner, &mut node.prefix),
            ("items", _) => node.rest.push(self.index(inner)),
            ("prefixItems", _) if recent => self.list(inner, &mut node.prefix),
            ("additionalItems", _) if !recent => node.rest.push(self.index(inner)),
            _ => {}
        }
    }

    fn list(&mut self, inner: &'s Value, edges: &mut Vec<usize>) {
        edges.extend(inner.as_array().into_iter().flatten().map(|inner| self.index(inner)));
    }

    fn map(&mut self, inner: &'s Value, edges: &mut Vec<usize>) {
        edges.extend(inner.as_object().into_iter().flatten().map(|(_, inner)| self.index(inner)));
    }

    /// Follows a reference within the document.
    fn refer(
        &mut self,
        at: &Value,
        keyword: &str,
        to: &'s Value,
        edges: &mut Vec<usize>,
    ) -> Result<(), SchemaError> {
        let Some(to) = to.as_str() else { return Ok(()) };
        let at = || pointer(&self.document.root, at).unwrap_or_default();
        let Some(fragment) = to.strip_prefix('#') else {
            return Err(SchemaError::Outside { at: at() });
        };
        let nowhere = || SchemaError::Invalid { at: at(), why: format!("its {keyword} leads nowhere") };
        let target = match fragment {
            "" => &self.document.root,
            path if path.starts_with('/') => {
                let path = percent_decoded(path).ok_or_else(nowhere)?;
                self.document.root.pointer(&path).ok_or_else(nowhere)?
            }
            name => self.anchors.get(name).copied().ok_or_else(nowhere)?,
        };
        let index = self.index(target);
        edges.push(index);
        Ok(())
    }

    /// In one document an anchor's name stands once, so a dynamic reference leads to one place too.
    fn collect_anchors(&mut self, value: &'s Value) -> Result<(), SchemaError> {
        match value {
            Value::Object(object) => {
                for name in
                    ["$anchor", "$dynamicAnchor"].iter().filter_map(|keyword| object.get(*keyword)?.as_str())
                {
                    let other = self.anchors.insert(name, value);
                    if other.is_some_and(|other| !std::ptr::eq(other, value)) {
                        let at = pointer(&self.document.root, value).unwrap_or_default();
                        return Err(SchemaError::Invalid {
                            at,
                            why: "another anchor has its name".to_owned(),
                        });
                    }
                }
                object.values().try_for_each(|value| self.collect_anchors(value))
            }
            Value::Array(values) => values.iter().try_for_each(|value| self.collect_anchors(value)),
            _ => Ok(()),
        }
    }

    /// What a subschema's own keywords cost.
    fn own_steps(&mut self, keywords: &Map<String, Value>) -> u64 {
        let compared = ["enum", "const", "required", "dependentRequired", "properties"];
        let compared = compared.iter().filter_map(|keyword| keywords.get(*keyword));
        let values: usize =
            compared.map(|value| value.as_object().map_or_else(|| count(value), Map::len)).sum();
        let named = keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
        let patterns = named + usize::from(keywords.contains_key("pattern"));
        self.patterns += patterns;
        (values / VALUES_PER_STEP) as u64 + patterns as u64 * PATTERN_STEPS
    }
}

/// The regular expressions that a subschema itself has.
fn own_patterns(keywords: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let own = keywords.get("pattern").and_then(Value::as_str);
    let named = keywords.get("patternProperties").and_then(Value::as_object);
    own.into_iter().chain(named.into_iter().flat_map(Map::keys).map(String::as_str))
}

/// How many values there are in a value, with itself.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(object) => object.values().map(count).sum(),
        Value::Array(values) => values.iter().map(count).sum(),
        _ => 0,
    }
}

/// A reference's fragment as a JSON Pointer (RFC 6901, section 6).
fn percent_decoded(fragment: &str) -> Option<String> {
    percent_encoding::percent_decode_str(fragment).decode_utf8().ok().map(Into::into)
}

/// Where a subschema stands, as a JSON Pointer.
fn pointer(root: &Value, target: &Value) -> Option<String> {
    if std::ptr::eq(root, target) {
        return Some(String::new());
    }
    let inner = |key: String, value| pointer(value, target).map(|rest| format!("/{key}{rest}"));
    match root {
        Value::Object(object) => {
            object.iter().find_map(|(key, value)| inner(key.replace('~', "~0").replace('/', "~1"), value))
        }
        Value::Array(values) => {
            values.iter().enumerate().find_map(|(at, value)| inner(at.to_string(), value))
        }
        _ => None,
    }
}
