//! What the API takes of JSON Schema for answers: only what it can hold a model to.
//!
//! Source: <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>, "JSON Schema limitations". A schema
//! with anything else is refused with the whole request, so it is looked at first.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

/// The most places of a schema where one of several types may stand.
const MAX_UNIONS: usize = 16;
/// How deep a schema is looked into, through its references.
const MAX_DEPTH: usize = 256;
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "uuid"];

/// Whether the API can hold a model to a schema.
pub(super) fn is_guaranteed(schema: &RawValue) -> bool {
    let Ok(root) = serde_json::from_str::<Value>(schema.get()) else { return false };
    let mut check = Check { root: &root, references: HashMap::new(), unions: 0, depth: 0 };
    check.schema(&root) && check.unions <= MAX_UNIONS
}

struct Check<'a> {
    root: &'a Value,
    /// What was referred to, and whether it was looked at to its end: what is referred to before that contains itself.
    references: HashMap<&'a str, bool>,
    unions: usize,
    /// How many schemas the one that is looked at stands in.
    depth: usize,
}

impl<'a> Check<'a> {
    fn schema(&mut self, schema: &'a Value) -> bool {
        self.depth += 1;
        let is_good = self.depth <= MAX_DEPTH
            && schema.as_object().is_some_and(|keys| keys.iter().all(|(key, value)| self.key(key, value)));
        self.depth -= 1;
        is_good
    }

    fn key(&mut self, key: &str, value: &'a Value) -> bool {
        match key {
            "title" | "description" | "default" | "$schema" | "$id" | "required" | "const" => true,
            "type" => {
                self.unions += usize::from(value.is_array());
                value.is_string() || value.is_array()
            }
            "properties" | "$defs" | "definitions" => {
                value.as_object().is_some_and(|schemas| schemas.values().all(|schema| self.schema(schema)))
            }
            "additionalProperties" => *value == Value::Bool(false),
            "items" => self.schema(value),
            "anyOf" | "allOf" => {
                self.unions += usize::from(key == "anyOf");
                value.as_array().is_some_and(|schemas| schemas.iter().all(|schema| self.schema(schema)))
            }
            "enum" => value.as_array().is_some_and(|values| !values.iter().any(is_compound)),
            "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
            "minItems" => matches!(value.as_u64(), Some(0 | 1)),
            "$ref" => value.as_str().is_some_and(|reference| self.reference(reference)),
            _ => false,
        }
    }

    /// A reference within the document; not one that leads back to where it stands.
    fn reference(&mut self, reference: &'a str) -> bool {
        if let Some(&is_done) = self.references.get(reference) {
            return is_done;
        }
        let pointer = reference.strip_prefix('#').filter(|pointer| !pointer.is_empty());
        let Some(target) = pointer.and_then(|pointer| self.root.pointer(pointer)) else { return false };
        self.references.insert(reference, false);
        let is_good = self.schema(target);
        self.references.insert(reference, is_good);
        is_good
    }
}

fn is_compound(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json, value::to_raw_value};

    use super::*;

    fn raw(schema: &Value) -> Box<RawValue> {
        to_raw_value(schema).unwrap()
    }

    #[test]
    fn how_deep_it_is_looked_into_is_bounded() {
        let chain = |length: usize| {
            let link = |n: usize| json!({"type": "array", "items": {"$ref": format!("#/$defs/{}", n + 1)}});
            let mut links: Map<String, Value> = (0..length).map(|n| (n.to_string(), link(n))).collect();
            links.insert(length.to_string(), json!({"type": "string"}));
            json!({"$ref": "#/$defs/0", "$defs": links})
        };
        assert!(is_guaranteed(&raw(&chain(100))));
        assert!(!is_guaranteed(&raw(&chain(20_000))));
    }

    #[test]
    fn only_what_the_api_knows_can_be_guaranteed() {
        let closed = |properties: Value| json!({"type": "object", "properties": properties, "required": ["a"], "additionalProperties": false});
        let nested = json!({"$defs": {"x": closed(json!({"a": {"$ref": "#/$defs/y"}})), "y": {"type": "string"}},
            "anyOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/x"}]});
        let good = [
            closed(json!({"a": {"type": ["string", "null"], "description": "d"}})),
            closed(json!({"a": {"type": "array", "items": {"enum": ["b", 1, null]}, "minItems": 1}})),
            closed(json!({"a": {"type": "string", "format": "date-time"}, "minimum": {"const": 1}})),
            nested,
        ];
        for schema in good {
            assert!(is_guaranteed(&raw(&schema)), "{schema}");
        }
        let recursive =
            json!({"$defs": {"x": closed(json!({"a": {"$ref": "#/$defs/x"}}))}, "$ref": "#/$defs/x"});
        let many: Map<String, Value> =
            (0..17).map(|n| (n.to_string(), json!({"type": ["string", "null"]}))).collect();
        let bad = [
            closed(json!({"a": {"type": "integer", "minimum": 1}})),
            closed(json!({"a": {"type": "string", "maxLength": 1}})),
            closed(json!({"a": {"type": "string", "format": "phone"}})),
            closed(json!({"a": {"type": "array", "minItems": 2}})),
            closed(json!({"a": {"oneOf": []}})),
            closed(json!({"a": true})),
            closed(json!({"a": {"enum": [{}]}})),
            json!({"type": "object", "additionalProperties": true}),
            json!({"$ref": "https://example.com/s"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"$ref": "#"}),
            closed(Value::Object(many)),
            recursive,
        ];
        for schema in bad {
            assert!(!is_guaranteed(&raw(&schema)), "{schema}");
        }
    }
}
