//! JSON Schemas of tools' arguments, as providers take them.
//!
//! OpenAI and Anthropic refuse a whole request for one tool whose schema is not of the type `object`, or has alternatives at
//! its top; MCP allows both. OpenAI refuses it for gaps, too. The tool's server still sees to it that arguments fit.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

/// What providers do not take at the top.
const REFUSED: [&str; 5] = ["anyOf", "oneOf", "allOf", "enum", "not"];
/// How many references are followed from the top: they may lead in a circle.
const MAX_REFERENCES: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Top<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(default)]
    any_of: Option<IgnoredAny>,
    #[serde(default)]
    one_of: Option<IgnoredAny>,
    #[serde(default)]
    all_of: Option<IgnoredAny>,
    #[serde(default, rename = "enum")]
    one_of_values: Option<IgnoredAny>,
    #[serde(default)]
    not: Option<IgnoredAny>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(default, rename = "$ref")]
    reference: Option<IgnoredAny>,
}

impl Top<'_> {
    /// Whether it is an object's, without what providers refuse.
    fn suits(&self) -> bool {
        let refused = [self.any_of, self.one_of, self.all_of, self.one_of_values, self.not];
        self.kind.is_some_and(|kind| kind.get() == r#""object""#) && refused.iter().all(Option::is_none)
    }
}

/// A schema in a form that providers take, if they do not take it as it is.
///
/// # Errors
/// It can't be written, which no known schema causes.
pub(super) fn fitted(schema: &RawValue) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let Ok(top) = serde_json::from_str::<Top<'_>>(schema.get()) else { return Ok(None) };
    if top.suits() {
        return Ok(None);
    }
    let Ok(mut fitted) = serde_json::from_str::<Map<String, Value>>(schema.get()) else { return Ok(None) };
    fit(&mut fitted);
    to_raw_value(&fitted).map(Some)
}

/// A schema in a form that OpenAI's APIs take, if they do not take it as it is: [`fitted`], and without the gaps that they
/// refuse even where nothing is strict. They miss an object's `properties` at the top and an array's `items` everywhere.
///
/// # Errors
/// It can't be written, which no known schema causes.
pub(super) fn completed(schema: &RawValue) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let Ok(top) = serde_json::from_str::<Top<'_>>(schema.get()) else { return Ok(None) };
    let has_properties = top.properties.is_some_and(|properties| properties.get().starts_with('{'));
    let is_whole = top.suits() && has_properties && top.reference.is_none();
    if is_whole && !schema.get().contains(r#""array""#) {
        return Ok(None);
    }
    let Ok(mut root) = serde_json::from_str::<Value>(schema.get()) else { return Ok(None) };
    inline(&mut root);
    let Some(keywords) = root.as_object_mut() else { return Ok(None) };
    fit(keywords);
    let properties = keywords.entry("properties").or_insert(Value::Null);
    if !properties.is_object() {
        *properties = Value::Object(Map::new());
    }
    let was_added = add_items(&mut root);
    (was_added || !is_whole).then(|| to_raw_value(&root)).transpose()
}

fn fit(keywords: &mut Map<String, Value>) {
    keywords.retain(|key, _| !REFUSED.contains(&key.as_str()));
    keywords.insert("type".to_owned(), "object".into());
}

/// Puts what the root refers to in its place: the arguments' names stand there. What the root says itself stays.
fn inline(root: &mut Value) {
    for _ in 0..MAX_REFERENCES {
        let path = root.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        let Some(target) = path.and_then(|path| root.pointer(path)).and_then(Value::as_object).cloned()
        else {
            return;
        };
        let Some(keywords) = root.as_object_mut() else { return };
        keywords.shift_remove("$ref");
        for (keyword, value) in target {
            keywords.entry(keyword).or_insert(value);
        }
    }
}

/// Adds `items` to each array's schema that says nothing of what is in it; gives whether there was any.
fn add_items(schema: &mut Value) -> bool {
    let Some(keywords) = schema.as_object_mut() else { return false };
    let is_array = match keywords.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
        kind => kind.is_some_and(|kind| kind == "array"),
    };
    let is_bare = is_array && !keywords.contains_key("items") && !keywords.contains_key("prefixItems");
    if is_bare {
        keywords.insert("items".to_owned(), Value::Object(Map::new()));
    }
    keywords.iter_mut().fold(is_bare, |added, (keyword, value)| added | add_items_within(keyword, value))
}

/// The same in the subschemas that a keyword has. Data, such as a `default`, is left alone.
fn add_items_within(keyword: &str, value: &mut Value) -> bool {
    let any = |added, schema| added | add_items(schema);
    match (keyword, value) {
        ("properties" | "$defs" | "definitions", Value::Object(named)) => named.values_mut().fold(false, any),
        ("items" | "prefixItems" | "anyOf" | "allOf" | "oneOf", Value::Array(list)) => {
            list.iter_mut().fold(false, any)
        }
        ("items" | "additionalProperties", schema) => add_items(schema),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_providers_refuse_at_the_top_is_left_out_and_nothing_else() {
        let cases = [
            (r#"{"type":"object","properties":{"a":{"anyOf":[{}]}}}"#, None),
            (r#"{}"#, Some(r#"{"type":"object"}"#)),
            (r#"{"anyOf":[{"required":["a"]}],"title":"t"}"#, Some(r#"{"title":"t","type":"object"}"#)),
            (r#"{"type":"object","enum":[1],"not":{},"allOf":[],"oneOf":[]}"#, Some(r#"{"type":"object"}"#)),
            (r#"{"type":["object","null"]}"#, Some(r#"{"type":"object"}"#)),
            ("true", None),
        ];
        for (schema, expected) in cases {
            let schema = RawValue::from_string(schema.to_owned()).unwrap();
            let fitted = fitted(&schema).unwrap();
            assert_eq!(fitted.as_deref().map(RawValue::get), expected, "{schema}");
        }
    }

    /// What is sent of a schema to OpenAI.
    fn sent(schema: &str) -> String {
        let schema = RawValue::from_string(schema.to_owned()).unwrap();
        completed(&schema).unwrap().as_deref().unwrap_or(&schema).get().to_owned()
    }

    #[test]
    fn openai_gets_properties_at_the_top() {
        let cases = [
            ("{}", r#"{"type":"object","properties":{}}"#),
            (r#"{"type":"object"}"#, r#"{"type":"object","properties":{}}"#),
            (r#"{"type":"object","properties":null}"#, r#"{"type":"object","properties":{}}"#),
            (r#"{"type":["object","null"]}"#, r#"{"type":"object","properties":{}}"#),
            (r#"{"anyOf":[{}],"properties":{"a":{}}}"#, r#"{"properties":{"a":{}},"type":"object"}"#),
        ];
        for (schema, expected) in cases {
            assert_eq!(sent(schema), expected, "{schema}");
        }
    }

    #[test]
    fn openai_gets_items_for_each_array() {
        let bare = r#"{"type":"array"}"#;
        let given = r#"{"type":"array","items":{}}"#;
        for place in [
            "BARE",
            r#"{"type":"object","properties":{"b":BARE}}"#,
            r#"{"items":BARE}"#,
            r#"{"items":[BARE]}"#,
            r#"{"prefixItems":[{},BARE]}"#,
            r#"{"additionalProperties":BARE}"#,
            r#"{"anyOf":[BARE,{"type":"null"}]}"#,
            r#"{"allOf":[BARE]}"#,
            r#"{"oneOf":[BARE]}"#,
            r#"{"$defs":{"d":BARE}}"#,
            r#"{"properties":{"properties":BARE}}"#,
        ] {
            let schema = format!(r#"{{"type":"object","properties":{{"a":{place},"z":BARE}}}}"#);
            assert_eq!(sent(&schema.replace("BARE", bare)), schema.replace("BARE", given));
        }
        for keyword in ["$defs", "definitions"] {
            let schema = format!(r#"{{"type":"object","properties":{{}},"{keyword}":{{"d":BARE}}}}"#);
            assert_eq!(sent(&schema.replace("BARE", bare)), schema.replace("BARE", given));
        }
        let listed = r#"{"type":"object","properties":{"a":{"type":["array","null"]}}}"#;
        assert_eq!(sent(listed), listed.replace(r#""null"]"#, r#""null"],"items":{}"#));
    }

    #[test]
    fn what_openai_takes_is_sent_as_it_was_written() {
        for schema in [
            r#"{ "type": "object", "properties": {"a": {"type": "object"}}, "z": 1.0 }"#,
            r#"{ "type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}} }"#,
            r#"{ "type": "object", "properties": {"a": {"type": "array", "prefixItems": [{}]}} }"#,
            r#"{ "type": "object", "properties": {"a": {"default": {"type": "array"}}} }"#,
            r#"{ "type": "object", "properties": {"type": {"const": "array"}}, "required": ["type"] }"#,
            "true",
        ] {
            assert_eq!(sent(schema), schema);
        }
    }

    #[test]
    fn what_the_top_refers_to_stands_there_for_openai() {
        let defined = r##""$defs":{"a":{"$ref":"#/$defs/b","title":"a"},"b":{"type":"object","properties":{"x":{"$ref":"#"}},"title":"b"}}"##;
        let schema = format!(r##"{{"$ref":"#/$defs/a",{defined}}}"##);
        let expected =
            format!(r##"{{{defined},"title":"a","type":"object","properties":{{"x":{{"$ref":"#"}}}}}}"##);
        assert_eq!(sent(&schema), expected);

        let circle = r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}"##;
        let unknown = r##"{"$ref":"#/$defs/a"}"##;
        for schema in [circle, unknown] {
            assert!(sent(schema).ends_with(r#""type":"object","properties":{}}"#), "{}", sent(schema));
        }
    }
}
