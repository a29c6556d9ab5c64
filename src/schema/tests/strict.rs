//! What OpenAI's strict mode takes.

use serde_json::{Value, json};

use super::schema;

fn strict(value: &Value) -> bool {
    schema(value).is_strict()
}

/// An object as strict mode wants it, with one property.
fn object(property: &Value) -> Value {
    json!({"type": "object", "properties": {"a": property}, "required": ["a"], "additionalProperties": false})
}

#[test]
fn closed_objects_of_supported_keywords_are_taken() {
    let text = json!({"type": "string"});
    for property in [
        json!({"type": ["string", "null"], "description": "or none"}),
        json!({"type": "string", "enum": ["a", "b"]}),
        json!({"type": "integer", "minimum": 1, "maximum": 3}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "array", "items": object(&text), "minItems": 1, "maxItems": 2}),
        json!({"anyOf": [object(&text), {"type": "null"}]}),
        json!({"$ref": "#"}),
    ] {
        assert!(strict(&object(&property)), "{property}");
    }
    let mut full = object(&json!({"$ref": "#/$defs/b"}));
    full["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    full["$defs"] = json!({"b": object(&text)});
    assert!(strict(&full));
    full["$defs"] = json!({"b": {"type": "object", "properties": {}}});
    assert!(!strict(&full));
}

#[test]
fn anything_else_is_not() {
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let optional =
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
    let root = json!({"anyOf": [object(&json!({"type": "string"}))]});
    for value in [open.clone(), optional.clone(), root, json!({"type": "string"}), json!({}), json!(true)] {
        assert!(!strict(&value), "{value}");
    }
    for property in [
        open,
        optional,
        json!({}),
        json!(true),
        json!({"type": "array"}),
        json!({"type": "object"}),
        json!({"type": "string", "minLength": 1}),
        json!({"type": "string", "default": "x"}),
        json!({"type": "string", "format": "uri"}),
        json!({"type": "string", "pattern": "(?=a)"}),
        json!({"oneOf": [{"type": "string"}]}),
        json!({"allOf": [{"type": "string"}], "type": "string"}),
        json!({"$ref": "#", "description": "again"}),
        json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
    ] {
        assert!(!strict(&object(&property)), "{property}");
    }
}

#[test]
fn references_lead_to_the_top_or_to_what_is_defined_there() {
    let text = json!({"type": "string"});
    let refers = |to: &str| {
        let mut whole = object(&json!({"$ref": to}));
        whole["$id"] = json!("https://example.com/it.json");
        whole["$defs"] = json!({"b": object(&text), "c/d": text});
        whole["definitions"] = json!({"e": {"$ref": "#"}});
        whole
    };
    for to in ["#", "#/$defs/b", "#/definitions/e"] {
        assert!(strict(&refers(to)), "{to}");
    }
    let own = ["https://example.com/it.json", "https://example.com/it.json#/$defs/b"];
    for to in ["#/properties", "#/$defs/b/properties/a", "#/$defs/c~1d", "#/$defs", own[0], own[1]] {
        let whole = refers(to);
        assert!(schema(&whole).check().is_ok(), "{to}: it is valid all the same");
        assert!(!strict(&whole), "{to}");
    }
    for keyword in ["$defs", "definitions"] {
        let mut inner = object(&text);
        inner[keyword] = json!({"b": text});
        assert!(!strict(&object(&inner)), "{keyword} below the top");
    }
}

#[test]
fn limits_hold() {
    let nested = |levels| (0..levels).fold(json!({"type": "string"}), |inner, _| object(&inner));
    assert!(strict(&nested(10)));
    assert!(!strict(&nested(11)));
    let choice = |count: usize, bytes: usize| {
        let values: Vec<_> = (0..count).map(|at| format!("{at:0bytes$}")).collect();
        object(&json!({"type": "string", "enum": values}))
    };
    assert!(strict(&choice(1_000, 10)));
    assert!(!strict(&choice(1_001, 10)));
    assert!(strict(&choice(250, 100)));
    assert!(!strict(&choice(251, 100)));
}
