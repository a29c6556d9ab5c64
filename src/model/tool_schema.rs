//! JSON Schemas of tools' arguments, as providers take them.
//!
//! OpenAI and Anthropic refuse a whole request for one tool whose schema is not of the type `object`, or has alternatives at
//! its top; MCP allows both. The tool's server still sees to it that arguments fit.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

/// What providers do not take at the top.
const REFUSED: [&str; 5] = ["anyOf", "oneOf", "allOf", "enum", "not"];

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
}

/// A schema in a form that providers take, if they do not take it as it is.
///
/// # Errors
/// It can't be written, which no known schema causes.
pub(super) fn fitted(schema: &RawValue) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let Ok(top) = serde_json::from_str::<Top<'_>>(schema.get()) else { return Ok(None) };
    let is_object = top.kind.is_some_and(|kind| kind.get() == r#""object""#);
    let refused = [top.any_of, top.one_of, top.all_of, top.one_of_values, top.not];
    if is_object && refused.iter().all(Option::is_none) {
        return Ok(None);
    }
    let Ok(mut fitted) = serde_json::from_str::<Map<String, Value>>(schema.get()) else { return Ok(None) };
    fitted.retain(|key, _| !REFUSED.contains(&key.as_str()));
    fitted.insert("type".to_owned(), "object".into());
    to_raw_value(&fitted).map(Some)
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
}
