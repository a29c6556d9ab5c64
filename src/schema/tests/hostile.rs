//! Schemas that are to cost CPU, memory or stack, and sound ones that look like them.

use serde_json::{Map, Value, json, value::RawValue};

use super::{Cost, MAX_STEPS, Schema, SchemaError, cost, fits, problems, schema};

/// `a0` is any of `a1` twice, and so on.
fn doubled(levels: usize, keyword: &str) -> Value {
    let mut defs = Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/a{}", level + 1)});
        defs.insert(format!("a{level}"), json!({keyword: [next, next]}));
    }
    defs.insert(format!("a{levels}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/a0", "$defs": defs})
}

/// A schema within itself, so many times.
fn nested(levels: usize, around: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(json!({"type": "string"}), |inner, _| around(inner))
}

#[test]
fn nothing_outside_is_referred_to() {
    for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
        for to in [
            "http://127.0.0.1:9/x",
            "file:///etc/hostname",
            "other.json#/a",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            let outside = schema(&json!({"properties": {"a": {keyword: to}}}));
            assert_eq!(
                outside.check(),
                Err(SchemaError::Outside { at: "/properties/a".to_owned() }),
                "{keyword} {to}"
            );
            assert_eq!(outside.problems(&json!({})), None);
        }
    }
    // What is not applied, and an address that is another's, is looked for nowhere either.
    let unused = json!({"$defs": {"a": {"$ref": "http://127.0.0.1:9/x"}}});
    assert!(matches!(schema(&unused).check(), Ok(()) | Err(SchemaError::Outside { .. })));
    assert!(fits(
        &json!({"$schema": "http://127.0.0.1:9/x", "$id": "http://127.0.0.1:9/y", "type": "string"}),
        &json!("x")
    ));
}

#[test]
fn a_document_within_is_refused() {
    let own = json!({"properties": {"a": {"$id": "https://json-schema.org/draft/2020-12/schema", "type": "string"}}});
    assert_eq!(schema(&own).check(), Err(SchemaError::Embedded { keyword: "$id" }));
    let draft = json!({"properties": {"a": {"$schema": "http://json-schema.org/draft-04/schema#"}}});
    assert_eq!(schema(&draft).check(), Err(SchemaError::Embedded { keyword: "$schema" }));
    // A property of the name is none.
    assert!(fits(&json!({"properties": {"$id": {"type": "string"}}}), &json!({"$id": "x"})));
}

#[test]
fn patterns_are_matched_in_linear_time_or_not_at_all() {
    assert_eq!(problems(&json!({"pattern": "^(a+)+$"}), &json!("a".repeat(50_000) + "b")).unwrap().len(), 1);
    for pattern in [r"(a|(?=b))+c", r"(a)\1", r"(?<!a)b", "a{1000}{1000}", r"\p{L}{1000}", "["] {
        for schema in [json!({"pattern": pattern}), json!({"patternProperties": {pattern: false}})] {
            let schema = super::schema(&schema);
            assert_eq!(schema.unmatched_patterns(), Some(1), "{pattern}");
            for value in [json!("x"), json!({"x": 1})] {
                assert_eq!(schema.problems(&value), Some(Vec::new()), "{pattern}");
            }
        }
    }
    // What one may take, many may not take each.
    let large = |at: usize| format!("^.{{{}}}x$", 200 + at);
    let many: Vec<_> = (0..100).map(|at| json!({"pattern": large(at)})).collect();
    assert_eq!(schema(&many[99]).unmatched_patterns(), Some(0));
    assert_eq!(schema(&json!({"prefixItems": many})).unmatched_patterns(), Some(100));
    // However many there are, few are tried one by one.
    let many: Vec<_> = (0..1_000).map(|at| json!({"pattern": format!("^[^{at}]")})).collect();
    assert_eq!(schema(&json!({"prefixItems": many})).unmatched_patterns(), Some(0));
    let many: Vec<_> = [json!({"pattern": "(?<=a)b"})].into_iter().chain(many).collect();
    assert_eq!(schema(&json!({"prefixItems": many})).unmatched_patterns(), Some(502));
    // Nor do lookaheads multiply what is applied without end.
    let many = format!("^{}a", "(?=a)".repeat(10_000));
    assert_eq!(schema(&json!({"pattern": many})).unmatched_patterns(), Some(1));
    let deep = format!("^{}a{}", "(?=".repeat(20_000), ")".repeat(20_000));
    assert_eq!(schema(&json!({"pattern": deep})).unmatched_patterns(), Some(1));
}

#[test]
fn what_multiplies_is_too_costly() {
    let recursive = json!({"$ref": "#"});
    let unevaluated =
        |inner| json!({"unevaluatedProperties": false, "allOf": [{"properties": {"a": inner}}]});
    let hostile = [
        doubled(40, "anyOf"),
        doubled(40, "allOf"),
        doubled(14, "oneOf"),
        json!({"$ref": "#"}),
        json!({"anyOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}),
        json!({"$dynamicAnchor": "a", "$dynamicRef": "#a"}),
        json!({"dependentSchemas": {"a": recursive}}),
        json!({"allOf": [{"items": recursive}, {"items": recursive}]}),
        json!({"anyOf": [{"properties": {"a": recursive}}, {"properties": {"a": recursive}}]}),
        json!({"properties": {"a": recursive}, "patternProperties": {"^a": recursive}}),
        json!({"items": recursive, "contains": recursive}),
        json!({"items": recursive, "allOf": [{"unevaluatedItems": recursive}]}),
        json!({"additionalProperties": recursive, "anyOf": [{"properties": {"b": {"items": recursive}}}, {"additionalProperties": recursive}]}),
        json!({"unevaluatedProperties": false, "allOf": [{"properties": {"a": recursive}}]}),
        nested(15, unevaluated),
        json!({"anyOf": vec![json!({"$ref": "#/$defs/large"}); 8], "$defs": {"large": {"enum": (0..10_000).collect::<Vec<_>>()}}}),
    ];
    for hostile in hostile {
        let refused = schema(&hostile);
        let text = hostile.to_string();
        assert_eq!(refused.check(), Err(SchemaError::TooCostly), "{}", &text[..text.len().min(300)]);
        assert_eq!(refused.problems(&json!({})), None);
    }
}

#[test]
fn sound_recursion_costs_what_one_level_costs() {
    let own = json!({"$ref": "#"});
    let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": own}}});
    assert_eq!(cost(&tree).unwrap().steps, 1);
    let expression = json!({
        "anyOf": [{"type": "number"}, {
            "type": "object",
            "properties": {"op": {"enum": ["+", "-"]}, "left": own, "right": own},
            "required": ["op", "left", "right"],
        }],
    });
    assert!(cost(&expression).unwrap().steps <= 5);
    assert!(!fits(
        &expression,
        &json!({"op": "+", "left": {"op": "-", "left": 1, "right": "x"}, "right": 2})
    ));
    let by_key = json!({"anyOf": [
        {"properties": {"and": {"items": own}}}, {"properties": {"or": {"items": own}}}, {"properties": {"not": own}},
    ]});
    assert!(cost(&by_key).unwrap().steps <= 10);
    // One definition, referred to from many places, is applied once at each.
    let shared: Map<_, _> = (0..1_000).map(|at| (format!("p{at}"), json!({"$ref": "#/$defs/s"}))).collect();
    let shared =
        json!({"properties": shared, "additionalProperties": false, "$defs": {"s": {"type": "string"}}});
    assert_eq!(cost(&shared).unwrap().steps, 126);
    // Each of 60 definitions refers to all: a dense graph, and each place has one of them still.
    let dense: Map<_, _> = (0..60)
        .map(|from| {
            let all: Map<_, _> =
                (0..60).map(|to| (format!("p{to}"), json!({"$ref": format!("#/$defs/d{to}")}))).collect();
            (format!("d{from}"), json!({"properties": all}))
        })
        .collect();
    assert_eq!(schema(&json!({"$ref": "#/$defs/d0", "$defs": dense})).check(), Ok(()));
}

#[test]
fn size_and_nesting_are_bounded() {
    let large = json!({"description": "x".repeat(256 * 1024)});
    assert_eq!(schema(&large).check(), Err(SchemaError::TooLarge));
    let deep = format!("{}true{}", r#"{"not":"#.repeat(120), "}".repeat(120));
    let deep = RawValue::from_string(deep).unwrap();
    assert_eq!(Schema::new(deep.into()).check(), Err(SchemaError::TooDeep));
    let items = |inner| json!({"items": inner});
    assert_eq!(schema(&nested(65, items)).check(), Err(SchemaError::TooDeep));
    assert_eq!(schema(&nested(63, items)).check(), Ok(()));
}

#[test]
fn a_value_too_large_for_its_schema_is_not_checked() {
    let costly = doubled(9, "allOf");
    let Cost { steps, .. } = cost(&costly).unwrap();
    let list = json!({"items": {"$ref": costly["$ref"]}, "$defs": costly["$defs"]});
    assert!(steps > 1_000);
    let most = usize::try_from(MAX_STEPS / steps).unwrap();
    assert_eq!(problems(&list, &json!(vec!["x"; most - 1])), Some(Vec::new()));
    assert_eq!(problems(&list, &json!(vec!["x"; most])), None);
    // A wrong one of that size is refused without looking for all that is wrong in it.
    let told = problems(&list, &json!(vec![1; most - 1])).unwrap();
    assert!(told[0].contains("too large to find out where"), "{told:?}");
}

#[test]
fn the_deepest_that_is_accepted_has_stack_enough() {
    // A test's thread has the stack that a worker of the service has.
    let all = |inner| json!({"not": inner});
    assert_eq!(schema(&nested(31, all)).check(), Ok(()));
    let chain = nested(29, |inner| json!({"not": inner}));
    let recursive = json!({"$ref": "#/$defs/chain", "$defs": {"chain": chain, "own": {"items": {"$ref": "#"}}}, "items": {"$ref": "#"}});
    let depth = cost(&recursive).unwrap().in_place_depth;
    assert!(depth > 25);
    let levels = super::super::MAX_LEVELS / depth - 1;
    let value = (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(problems(&recursive, &value).is_some());
    assert_eq!(problems(&recursive, &json!([[value]])), None);
    let plain = json!({"items": {"$ref": "#"}, "maxItems": 1});
    let value = (0..120).fold(json!([1, 2]), |inner, _| json!([inner]));
    assert_eq!(problems(&plain, &value).unwrap().len(), 1);
    // Many levels of a value, with as many subschemas at each as that leaves room for, and what is wrong at the bottom.
    let union = json!({
        "anyOf": [{"$ref": "#/$defs/node"}],
        "$defs": {"node": {"oneOf": [{"items": {"$ref": "#"}}], "maxItems": 1}},
    });
    assert_eq!(cost(&union).unwrap().in_place_depth, 5);
    let value = (0..100).fold(json!([1, 2]), |inner, _| json!([inner]));
    assert_eq!(problems(&union, &value).unwrap().len(), 1);
}

#[test]
fn the_costliest_that_is_accepted_compiles_to_as_much() {
    let unevaluated =
        |inner| json!({"unevaluatedProperties": false, "allOf": [{"properties": {"a": inner}}]});
    let accepted = (1..15).rev().find(|levels| cost(&nested(*levels, unevaluated)).is_ok()).unwrap();
    assert!(accepted > 5);
    assert_eq!(schema(&nested(accepted, unevaluated)).check(), Ok(()));
}
