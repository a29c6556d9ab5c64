//! A schema's text as one document that stands for itself: its draft, and no address but its own root's.
//!
//! What decides where a `$ref` leads is made plain here, so that [`super::graph`] and the validator can't read it in two
//! ways: the root's own `$id` is taken off, and a schema with further documents in it is refused.

use std::{collections::HashSet, mem};

use jsonschema::Draft;
use serde_json::{Value, value::RawValue};

use super::SchemaError;

/// The most bytes of a schema: what a large tool takes is a tenth of it.
const MAX_BYTES: usize = 256 * 1024;
/// The most levels of a schema's JSON. `serde_json` reads 128; to compile takes several stack frames for each of them.
const MAX_DEPTH: usize = 64;

/// A schema as it is compiled.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Value,
    pub(super) draft: Draft,
    /// Whether references were written by its own address.
    pub(super) is_addressed: bool,
}

impl Document {
    /// Reads a schema, and makes it stand for itself.
    pub(super) fn read(raw: &RawValue) -> Result<Self, SchemaError> {
        let text = raw.get();
        if text.len() > MAX_BYTES {
            return Err(SchemaError::TooLarge);
        }
        // It is JSON already, so this can only fail at what is nested too deep or at a number out of range.
        let mut root: Value = serde_json::from_str(text).map_err(|_| SchemaError::TooDeep)?;
        if depth(&root) > MAX_DEPTH {
            return Err(SchemaError::TooDeep);
        }
        let object = root.as_object_mut().ok_or(SchemaError::NotAnObject)?;
        let draft = object.shift_remove("$schema").as_ref().and_then(known).unwrap_or(Draft::Draft202012);
        let id = match object.shift_remove(id_keyword(draft)) {
            Some(Value::String(id)) => id.trim_end_matches('#').to_owned(),
            _ => String::new(),
        };
        one_document(&root, draft)?;
        let is_addressed = !id.is_empty() && make_local(&mut root, &id);
        Ok(Self { root, draft, is_addressed })
    }
}

/// All names in a schema, whatever they are the names of.
pub(super) fn names(raw: &RawValue) -> HashSet<String> {
    let mut names = HashSet::new();
    if let Ok(mut root) = serde_json::from_str(raw.get()) {
        take_names(&mut root, &mut names);
    }
    names
}

fn take_names(value: &mut Value, names: &mut HashSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, mut value) in mem::take(object) {
                take_names(&mut value, names);
                names.insert(name);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| take_names(value, names)),
        _ => {}
    }
}

/// The draft that a `$schema` names; none where it is no official one.
fn known(schema: &Value) -> Option<Draft> {
    let url = schema.as_str()?.trim_end_matches('#');
    let name = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    match name.strip_prefix("json-schema.org/")? {
        "draft-04/schema" => Some(Draft::Draft4),
        "draft-06/schema" => Some(Draft::Draft6),
        "draft-07/schema" => Some(Draft::Draft7),
        "draft/2019-09/schema" => Some(Draft::Draft201909),
        "draft/2020-12/schema" => Some(Draft::Draft202012),
        _ => None,
    }
}

fn id_keyword(draft: Draft) -> &'static str {
    if draft == Draft::Draft4 { "id" } else { "$id" }
}

/// Refuses a document within the document, which would be an address, or a draft, of its own. It is looked for in data
/// (`const`, `default`) too: what is data and what is a schema is what a document within could change.
fn one_document(value: &Value, draft: Draft) -> Result<(), SchemaError> {
    match value {
        Value::Object(object) => {
            let other_draft =
                object.get("$schema").is_some_and(|it| it.is_string() && known(it) != Some(draft));
            if other_draft {
                return Err(SchemaError::Embedded { keyword: "$schema" });
            }
            let keyword = id_keyword(draft);
            if object.get(keyword).is_some_and(Value::is_string) {
                return Err(SchemaError::Embedded { keyword });
            }
            object.values().try_for_each(|value| one_document(value, draft))
        }
        Value::Array(values) => values.iter().try_for_each(|value| one_document(value, draft)),
        _ => Ok(()),
    }
}

/// Makes references by the document's own address references within it; gives whether there are any.
fn make_local(value: &mut Value, id: &str) -> bool {
    match value {
        Value::Object(object) => object.iter_mut().fold(false, |any, (key, value)| {
            let is_local = match value {
                Value::String(to) if matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") => {
                    make_local_reference(to, id)
                }
                value => make_local(value, id),
            };
            any | is_local
        }),
        Value::Array(values) => values.iter_mut().fold(false, |any, value| any | make_local(value, id)),
        _ => false,
    }
}

fn make_local_reference(to: &mut String, id: &str) -> bool {
    let local = match to.strip_prefix(id) {
        Some("") => "#".to_owned(),
        Some(fragment) if fragment.starts_with('#') => fragment.to_owned(),
        _ => return false,
    };
    *to = local;
    true
}

/// How many levels of objects and arrays a value has.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
