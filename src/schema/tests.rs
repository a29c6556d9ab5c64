use std::{sync::Arc, thread};

use serde_json::{Value, json, value::to_raw_value};

use super::{MAX_STEPS, Schema, SchemaError, cost, cost::Cost, document::Document, graph::Graph};

mod hostile;
mod relaxed;
mod strict;

fn schema(value: &Value) -> Schema {
    Schema::new(to_raw_value(value).unwrap().into())
}

fn problems(schema: &Value, value: &Value) -> Option<Vec<String>> {
    self::schema(schema).problems(value)
}

fn fits(schema: &Value, value: &Value) -> bool {
    problems(schema, value).unwrap().is_empty()
}

fn cost(schema: &Value) -> Result<Cost, SchemaError> {
    let document = Document::read(&to_raw_value(schema).unwrap())?;
    cost::of(&Graph::read(&document)?)
}

#[test]
fn says_what_does_not_fit_and_where() {
    let customer = json!({
        "type": "object",
        "properties": {
            "customer": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
            "limit": {"type": "integer", "maximum": 100},
        },
        "additionalProperties": false,
    });
    assert!(fits(&customer, &json!({"customer": {"id": "x"}, "limit": 3})));
    assert_eq!(
        problems(&customer, &json!({"customer": {"id": 12}, "limit": 101, "more": 1})).unwrap(),
        [
            r#"at /customer/id: 12 is not of type "string""#,
            "at /limit: 101 is greater than the maximum of 100",
            "at the root: Additional properties are not allowed ('more' was unexpected)",
        ]
    );
    assert_eq!(
        problems(&customer, &json!({"customer": {}})).unwrap(),
        [r#"at /customer: "id" is a required property"#]
    );
}

#[test]
fn tells_five_problems_each_short_and_without_large_values() {
    let names = json!({"items": {"type": "string"}});
    let large = json!(vec![vec!["canary".repeat(50); 20]; 9]);
    let told = problems(&names, &large).unwrap();
    assert_eq!(told.len(), 5);
    assert_eq!(told[0], r#"at /0: the array is not of type "string""#);
    assert!(told.iter().all(|problem| !problem.contains("canary")), "{told:?}");

    let long = "ä".repeat(5_000);
    for (schema, value) in [
        (json!({"properties": {&long: {"type": "string"}}}), json!({&long: 1})),
        (json!({"enum": [long]}), json!(1)),
        (json!({"additionalProperties": false}), json!({&long: 1})),
        (json!({"not": {"const": long}}), json!(long)),
        (json!({"required": [long]}), json!({})),
        (json!({"maxLength": 3}), json!(long)),
    ] {
        let told = problems(&schema, &value).unwrap();
        assert!(!told.is_empty() && told.iter().all(|problem| problem.len() <= 200), "{told:?}");
    }
}

#[test]
fn drafts_are_known_by_their_address_and_others_are_2020_12() {
    // `prefixItems` is a keyword since 2020-12; before, `items` did that. `exclusiveMaximum` was a flag in draft 4.
    let recent = |draft: &str| json!({"$schema": draft, "prefixItems": [{"type": "string"}]});
    for draft in ["https://json-schema.org/draft/2020-12/schema", "https://example.com/own", "nonsense", ""] {
        assert!(!fits(&recent(draft), &json!([1])), "{draft}");
    }
    assert!(!fits(&json!({"prefixItems": [{"type": "string"}]}), &json!([1])));
    for draft in ["draft/2019-09/schema", "draft-07/schema#", "draft-06/schema#", "draft-04/schema#"] {
        let draft = format!("http://json-schema.org/{draft}");
        assert!(fits(&recent(&draft), &json!([1])), "{draft}");
        assert!(!fits(&json!({"$schema": draft, "items": [{"type": "string"}]}), &json!([1])), "{draft}");
    }
    let four =
        json!({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": true});
    assert!(!fits(&four, &json!(3)));
}

#[test]
fn references_within_are_followed() {
    let to = |reference: &str| {
        json!({
            "$id": "https://example.com/root.json",
            "properties": {"a": {"$ref": reference}},
            "$defs": {"a b": {"$anchor": "named", "type": "string"}},
        })
    };
    for reference in ["#/$defs/a%20b", "#named", "https://example.com/root.json#/$defs/a%20b"] {
        assert_eq!(schema(&to(reference)).check(), Ok(()));
        assert!(!fits(&to(reference), &json!({"a": 1})), "{reference}");
        assert!(fits(&to(reference), &json!({"a": "x"})), "{reference}");
    }
    let own = json!({"$dynamicAnchor": "node", "properties": {"child": {"$dynamicRef": "#node"}}, "required": ["a"]});
    assert!(!fits(&own, &json!({"a": 1, "child": {}})));
    let nowhere = schema(&to("#/$defs/b")).check();
    assert!(matches!(&nowhere, Err(SchemaError::Invalid { at, .. }) if at == "/properties/a"), "{nowhere:?}");
}

#[test]
fn format_asserts_nothing() {
    for draft in ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"] {
        assert!(fits(&json!({"$schema": draft, "format": "email"}), &json!("none")));
    }
}

#[test]
fn what_is_no_schema_is_told() {
    assert_eq!(schema(&json!(true)).check(), Err(SchemaError::NotAnObject));
    assert_eq!(schema(&json!([])).check(), Err(SchemaError::NotAnObject));
    let invalid = schema(&json!({"properties": {"a": {"minLength": "x"}}}));
    assert_eq!(
        invalid.check().unwrap_err().to_string(),
        r#"the schema is invalid at "/properties/a/minLength": "x" is not of type "integer""#
    );
    assert_eq!(invalid.problems(&json!({})), None);
}

#[test]
fn is_compiled_once_for_all_clones_and_threads() {
    let one = schema(&json!({"type": "string"}));
    let clones: Vec<_> = (0..8).map(|_| one.clone()).collect();
    let told = clones.into_iter().map(|schema| thread::spawn(move || (schema.problems(&json!(1)), schema)));
    for thread in told.collect::<Vec<_>>() {
        let (told, clone) = thread.join().unwrap();
        assert_eq!(told.unwrap().len(), 1);
        assert!(std::ptr::eq(one.compiled(), clone.compiled()));
    }
    assert!(Arc::ptr_eq(one.raw(), one.clone().raw()));
}
