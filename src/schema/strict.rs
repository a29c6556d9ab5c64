//! Whether OpenAI's strict mode takes a schema, as its guide "Structured model outputs" tells under "Supported schemas".
//!
//! In doubt it does not: without strict mode a schema is a hint to the model, and what it answers is checked all the same;
//! with it, the whole request is refused.

use serde_json::{Map, Value};

/// The guide's limits, over the whole schema.
const MAX_PROPERTIES: usize = 5_000;
const MAX_ENUM_VALUES: usize = 1_000;
/// Of the names of properties and definitions, and of values of `enum` and `const`, together.
const MAX_NAME_BYTES: usize = 120_000;
const MAX_LEVELS: usize = 10;
/// An enum of more values than this may have so many bytes.
const LARGE_ENUM: (usize, usize) = (250, 15_000);

const KEYWORDS: [&str; 22] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "$ref",
    "$defs",
    "definitions",
    "title",
    "description",
    "pattern",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
];
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// Where definitions stand, which is at the top alone.
const DEFINED: [&str; 2] = ["$defs", "definitions"];

/// What was counted so far.
struct Counted<'s> {
    /// The whole schema, which references lead into.
    root: &'s Map<String, Value>,
    properties: usize,
    enum_values: usize,
    name_bytes: usize,
}

/// Whether strict mode takes a schema that is valid and refers to nothing outside itself; without its `$schema`.
pub(super) fn takes(root: &Value) -> bool {
    let Some(keywords) = root.as_object() else { return false };
    let object = keywords.get("type").is_some_and(|name| name == "object");
    let mut counted = Counted { root: keywords, properties: 0, enum_values: 0, name_bytes: 0 };
    object
        && !keywords.contains_key("anyOf")
        && !keywords.contains_key("$ref")
        && counted.takes(root, 0)
        && counted.properties <= MAX_PROPERTIES
        && counted.enum_values <= MAX_ENUM_VALUES
        && counted.name_bytes <= MAX_NAME_BYTES
}

impl Counted<'_> {
    /// `levels`: how many objects are around it.
    fn takes(&mut self, schema: &Value, levels: usize) -> bool {
        let Some(keywords) = schema.as_object() else { return false };
        if !keywords.keys().all(|name| KEYWORDS.contains(&name.as_str())) {
            return false;
        }
        // Beside a reference nothing may stand.
        if let Some(to) = keywords.get("$ref") {
            return keywords.len() == 1 && to.as_str().is_some_and(|to| self.refers(to));
        }
        let is_root = std::ptr::eq(keywords, self.root);
        if !is_root && DEFINED.iter().any(|keyword| keywords.contains_key(*keyword)) {
            return false;
        }
        let typed = keywords.get("type");
        if typed.is_none() && !keywords.contains_key("anyOf") {
            return false;
        }
        let object = is(typed, "object") || keywords.contains_key("properties");
        let array = is(typed, "array") || keywords.contains_key("items");
        let format = keywords.get("format").and_then(Value::as_str);
        format.is_none_or(|format| FORMATS.contains(&format))
            && (!object || levels < MAX_LEVELS && closed(keywords))
            && (!array || keywords.contains_key("items"))
            && self.values(keywords)
            && self.inner(keywords, levels + usize::from(object))
    }

    /// Whether a reference leads to the top or to a definition there: strict mode follows no other. A name that is escaped is in
    /// doubt.
    fn refers(&self, to: &str) -> bool {
        let defined = |keyword: &&str| {
            let name = to.strip_prefix("#/").and_then(|path| path.strip_prefix(*keyword)?.strip_prefix('/'));
            let named = self.root.get(*keyword).and_then(Value::as_object);
            name.zip(named).is_some_and(|(name, named)| !name.contains('/') && named.contains_key(name))
        };
        to == "#" || DEFINED.iter().any(defined)
    }

    /// The subschemas.
    fn inner(&mut self, keywords: &Map<String, Value>, levels: usize) -> bool {
        let properties = keywords.get("properties").and_then(Value::as_object);
        self.properties += properties.map_or(0, Map::len);
        let defined = DEFINED.iter().filter_map(|keyword| keywords.get(*keyword)?.as_object());
        let defined: Vec<_> = defined.flatten().map(|named| (named, 0)).collect();
        let named = properties.into_iter().flatten().map(|named| (named, levels)).chain(defined);
        for ((name, schema), levels) in named {
            self.name_bytes += name.len();
            if !self.takes(schema, levels) {
                return false;
            }
        }
        let any_of = keywords.get("anyOf").and_then(Value::as_array);
        any_of.into_iter().flatten().chain(keywords.get("items")).all(|schema| self.takes(schema, levels))
    }

    /// The values of `enum` and `const`.
    fn values(&mut self, keywords: &Map<String, Value>) -> bool {
        let values = keywords.get("enum").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        let bytes: usize = values.iter().map(text).sum();
        self.enum_values += values.len();
        self.name_bytes += bytes + keywords.get("const").map_or(0, text);
        values.len() <= LARGE_ENUM.0 || bytes <= LARGE_ENUM.1
    }
}

/// Whether an object's properties are all required, and no others allowed.
fn closed(keywords: &Map<String, Value>) -> bool {
    let none = Map::new();
    let properties = keywords.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = keywords.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let required: Vec<_> = required.iter().filter_map(Value::as_str).collect();
    keywords.get("additionalProperties") == Some(&Value::Bool(false))
        && required.len() == properties.len()
        && required.iter().all(|name| properties.contains_key(*name))
}

/// Whether a `type` is, or has in it, the one of the name.
fn is(typed: Option<&Value>, name: &str) -> bool {
    match typed {
        Some(Value::Array(types)) => types.iter().any(|typed| typed == name),
        Some(typed) => typed == name,
        None => false,
    }
}
