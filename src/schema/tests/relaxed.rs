//! Patterns that can't be matched, and what is held against the rest of their schemas.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Value, json};

use super::{SchemaError, fits, schema};

/// A pattern that can't be matched here, nor put in other words.
const TWICE: &str = r"^(a)\1$";

/// A schema as JSON Schema means it, by an engine that matches all patterns.
fn by_all(schema: &Value) -> Validator {
    let patterns = PatternOptions::fancy_regex().size_limit(64 << 20);
    jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns).build(schema).unwrap()
}

#[test]
fn the_rest_of_a_schema_is_held_against_a_value() {
    let order = json!({
        "properties": {
            "code": {"type": "string", "pattern": TWICE, "maxLength": 3},
            "count": {"type": "integer"},
            "tags": {"propertyNames": {"pattern": TWICE, "minLength": 2}},
            "notes": {"patternProperties": {TWICE: {"type": "string"}, "^n": {"type": "integer"}}},
        },
        "required": ["count"],
        "additionalProperties": false,
    });
    assert_eq!((schema(&order).check(), schema(&order).unmatched_patterns()), (Ok(()), Some(1)));
    assert!(fits(&order, &json!({"code": "b", "count": 1, "tags": {"bb": 1}, "notes": {"aa": 1, "n": 1}})));
    for wrong in [
        json!({}),
        json!({"count": "1"}),
        json!({"count": 1, "more": 1}),
        json!({"count": 1, "code": 1}),
        json!({"count": 1, "code": "long"}),
        json!({"count": 1, "tags": {"b": 1}}),
        json!({"count": 1, "notes": {"n": "x"}}),
    ] {
        assert!(!fits(&order, &wrong), "{wrong}");
    }
}

/// Schemas with one in them, each in a way of its own.
fn around(inner: &Value) -> Vec<Value> {
    let digits = json!({"pattern": "^[0-9]+$"});
    vec![
        json!({"not": inner}),
        json!({"if": inner, "then": {"maxLength": 1}, "else": {"minLength": 2}}),
        json!({"if": inner, "then": false}),
        json!({"if": {"type": "string"}, "then": inner, "else": inner}),
        json!({"allOf": [inner, {"minLength": 1}]}),
        json!({"anyOf": [inner, digits]}),
        json!({"oneOf": [inner, {"type": "string"}]}),
        json!({"oneOf": [inner, inner], "anyOf": [digits, true]}),
        json!({"contains": inner, "maxContains": 1}),
        json!({"contains": inner, "minContains": 0, "maxContains": 1}),
        json!({"prefixItems": [inner], "items": {"not": inner}}),
        json!({"contains": inner, "unevaluatedItems": false}),
        json!({"allOf": [{"if": {"contains": inner}, "then": {"items": true}}], "unevaluatedItems": false}),
        json!({"anyOf": [{"prefixItems": [inner]}, true], "unevaluatedItems": {"type": "integer"}}),
        json!({"properties": {"aa": inner}, "additionalProperties": false}),
        json!({"properties": {"b": inner}, "additionalProperties": inner}),
        json!({"patternProperties": {TWICE: inner}, "additionalProperties": false}),
        json!({"patternProperties": {TWICE: true, "^b": inner}, "additionalProperties": {"type": "integer"}}),
        json!({"patternProperties": {TWICE: true}, "unevaluatedProperties": false}),
        json!({"allOf": [{"if": inner, "then": {"properties": {"aa": true}}}], "unevaluatedProperties": false}),
        json!({"allOf": [{"patternProperties": {TWICE: true}, "unevaluatedProperties": true}], "unevaluatedProperties": false}),
        json!({"propertyNames": inner}),
        json!({"propertyNames": {"not": inner}}),
        json!({"dependentSchemas": {"aa": inner}}),
        json!({"not": {"$ref": "#/$defs/inner"}, "$defs": {"inner": inner}}),
        json!({"$ref": "#/$defs/inner", "$defs": {"inner": {"allOf": [inner]}, "other": {"not": {"$ref": "#/$defs/inner"}}}}),
        json!({"const": {"pattern": TWICE}}),
        json!({"if": {"$ref": "#/const"}, "then": {"type": "object"}, "const": {"pattern": TWICE}}),
        json!({"properties": {"not": inner, "pattern": inner}, "required": ["pattern"]}),
    ]
}

/// A schema whose references to its own definitions still lead there.
fn refers(schema: &Value) -> bool {
    schema.to_string().contains("$ref")
}

#[test]
fn what_is_left_out_makes_a_schema_accept_more_and_never_less() {
    let texts = ["", "aa", "b", "42"].map(Value::from);
    let lists = texts.iter().flat_map(|one| [json!([one]), json!([one, "aa"]), json!(["b", one, one])]);
    let objects = texts.iter().flat_map(|one| {
        let name = one.as_str().unwrap();
        [
            json!({name: one}),
            json!({name: "aa", "b": one}),
            json!({"aa": 1, name: 2}),
            json!({"not": one, "pattern": one}),
        ]
    });
    let more = [
        json!(7),
        json!({}),
        json!([]),
        json!([["aa"]]),
        json!({"aa": {"aa": "aa"}}),
        json!({"pattern": TWICE}),
    ];
    let values: Vec<_> = texts.iter().cloned().chain(lists).chain(objects).chain(more).collect();
    let once = around(&json!({"pattern": TWICE}));
    let twice = once.iter().filter(|inner| !refers(inner)).flat_map(around);
    let (mut accepted, mut refused) = (0, 0);
    for schema in once.iter().cloned().chain(twice) {
        let (ours, theirs) = (super::schema(&schema), by_all(&schema));
        for value in &values {
            let fits = ours.problems(value).unwrap().is_empty();
            assert!(fits || !theirs.is_valid(value), "{value} fits {schema}");
            *if fits { &mut accepted } else { &mut refused } += 1;
        }
    }
    assert!(accepted > 1_000 && refused > 1_000, "{accepted} {refused}");
}

#[test]
fn common_patterns_are_matched_though_they_look_around_or_count() {
    let email =
        r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$";
    let texts = [
        "",
        "a",
        "a1",
        "1",
        "A1b",
        "admin",
        "admins",
        "a@b.co",
        ".a@b.co",
        "a..b@b.co",
        "a b",
        "(x)",
        "x|y",
        "a\nb",
        "é",
        "]",
    ];
    let long = [1, 4_999, 5_000, 5_001].map(|count| "é".repeat(count));
    for pattern in [
        r"^(?=.*\d)[a-z0-9]+$",
        r"^(?!admin)[a-z]+$",
        r"^(?=.*[A-Z])(?=.*\d)(?!.*[)(|\]]).{2,5000}$",
        r"^(?!a|b)[^b]",
        r"^(?=(a|[)])1?$)",
        "^(?=.{1,3}$)",
        "^.{1,5000}$",
        "^.{5000}$",
        "^.{2,}$",
        r"^\S{1,3000}$",
        r"^[\w\-@.]{0,65536}$",
        r"^[^\]a]{1,5000}$",
        r"^\p{L}{2,300}$",
        email,
    ] {
        let whole = json!({"pattern": pattern, "allOf": [{"type": "string"}]});
        assert_eq!(
            (schema(&whole).check(), schema(&whole).unmatched_patterns()),
            (Ok(()), Some(0)),
            "{pattern}"
        );
        let theirs = by_all(&whole);
        for text in texts.into_iter().chain(long.iter().map(String::as_str)) {
            let value = json!(text);
            assert_eq!(fits(&whole, &value), theirs.is_valid(&value), "{pattern} {text:.20}");
        }
        assert!(!fits(&whole, &json!(1)), "{pattern}");
    }
    // Others are not in such words, or not for sure.
    for pattern in
        ["^(?=a)b|c", "a(?=b)", "^(?=a)*b{1000}{1000}", "(?=a)b", "^(?=a", r"^(?<=a)b", "^(?=(?!a)b)c"]
    {
        assert_eq!(schema(&json!({"pattern": pattern})).unmatched_patterns(), Some(1), "{pattern}");
    }
}

#[test]
fn no_pattern_is_refused_that_is_one_and_what_is_none_is_told_as_it_is() {
    for pattern in [TWICE, "(?<=a)b", "^(?=.*a)b", "(?:a{1000}){1000}"] {
        assert_eq!(schema(&json!({"properties": {"a": {"pattern": pattern}}})).check(), Ok(()), "{pattern}");
    }
    for (wrong, at) in [
        (json!({"properties": {"a": {"pattern": "("}, "b": {"pattern": TWICE}}}), "/properties/a/pattern"),
        (json!({"properties": {"a": {"patternProperties": {"(": true}}}}), "/properties/a/patternProperties"),
    ] {
        let told = schema(&wrong).check().unwrap_err().to_string();
        assert_eq!(
            told,
            format!(
                r#"the schema is invalid at "{at}": "(" is no regular expression of ECMA-262 with its flag `u`"#
            )
        );
        // A tool's arguments are held against the rest of it all the same.
        assert!(schema(&wrong).unmatched_patterns() > Some(0));
    }
    let other = schema(&json!({"pattern": TWICE, "minLength": "x"})).check();
    assert!(matches!(other, Err(SchemaError::Invalid { .. })), "{other:?}");
}

#[test]
fn a_schema_with_such_a_pattern_is_not_for_strict_mode() {
    let closed = |pattern: &str| {
        let name = json!({"type": "string", "pattern": pattern});
        json!({"type": "object", "properties": {"a": name}, "required": ["a"], "additionalProperties": false})
    };
    assert!(schema(&closed("^a$")).is_strict());
    for pattern in [TWICE, "^(?=a)a$"] {
        assert!(!schema(&closed(pattern)).is_strict(), "{pattern}");
    }
}
