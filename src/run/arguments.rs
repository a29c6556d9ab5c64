//! The arguments of a tool call, from what the model wrote to what the tool gets.
//!
//! The tool gets them as they were written, and so as they were shown to who approved them: an amount may have more digits than
//! 64 bits hold. What they are held against its schema as is read from the same text, so both must say the same.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::{schema::Schema, tool::Arguments};

/// A call's arguments: a JSON object, or nothing for none.
///
/// # Errors
/// They are none, in words for the model.
pub(super) fn read(json: &str) -> Result<Arguments, &'static str> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let value: Option<Value> = serde_json::from_str(json).ok().filter(Value::is_object);
    let written = RawValue::from_string(json.to_owned()).ok();
    let (value, written) = value.zip(written).ok_or("The arguments are no JSON object.")?;
    let Ok(Members(named)) = serde_json::from_str(json) else { return Err("The arguments can't be read.") };
    if named != members(&value) {
        // Which of them counts differs from reader to reader.
        return Err("The arguments have two members of one name.");
    }
    Ok(Arguments { value, written: written.into() })
}

/// What of a call's arguments does not fit the tool's schema, as far as that can be said here. A null that the schema does
/// not know is what models write for an argument that is left out.
pub(super) fn problems(schema: &Schema, arguments: &Value) -> Vec<String> {
    let problems = match schema.problems(arguments) {
        Some(problems) if problems.is_empty() => return problems,
        Some(problems) => problems,
        None if schema.unmatched_patterns().is_some() => {
            return vec!["they are too large, or nested too deep, to be held against it".to_owned()];
        }
        // What can't be held against the schema here, the tool looks at itself.
        None => return Vec::new(),
    };
    let mut without_nulls = arguments.clone();
    leave_out_nulls(&mut without_nulls);
    let fits = schema.problems(&without_nulls).unwrap_or_default().is_empty();
    if fits { Vec::new() } else { problems }
}

fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}

/// How many members the objects in a value have, all together.
fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

/// The same of a text, in which an object may have two members of one name.
struct Members(usize);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counting).map(Self)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(Members(more)) = items.next_element()? {
            count += more;
        }
        Ok(count)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some((IgnoredAny, Members(more))) = members.next_entry()? {
            count += 1 + more;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_is_as_good_as_an_optional_argument_that_is_left_out() {
        let schema = r#"{"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"}, "b": {"type": "boolean"}, "c": {"properties": {"d": {"type": "integer"}}}}}"#;
        let schema = Schema::new(RawValue::from_string(schema.into()).unwrap().into());
        let fits = |arguments: Value| problems(&schema, &arguments).is_empty();
        assert!(fits(json!({"a": "x", "b": null, "c": {"d": null}})));
        assert!(!fits(json!({"a": null})), "a required one is not there then");
        assert!(!fits(json!({"a": "x", "b": null, "c": {"d": "1"}})));
    }

    #[test]
    fn arguments_are_an_object_or_nothing() {
        assert_eq!(read(" ").unwrap().value, json!({}));
        assert_eq!(read(r#"{"a":1}"#).unwrap().value["a"], 1);
        for bad in ["[]", "1", "{", "null"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn they_stay_as_they_were_written() {
        let written =
            r#"{"b":12345678901234567890123,"a":[1e2,-0,{"c":0.10}],"d":"\u0041\"","e":null,"f":true}"#;
        assert_eq!(read(&format!(" {written}\n")).unwrap().written.get(), written);
        assert_eq!(read("").unwrap().written.get(), "{}");
    }

    #[test]
    fn a_name_that_stands_twice_in_an_object_is_refused() {
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":[{"b":1,"c":2,"\u0062":3}]}"#] {
            assert!(read(twice).unwrap_err().contains("two members"), "{twice}");
        }
        read(r#"{"a":{"a":{"b":1}},"b":[{"b":1},{"b":1}]}"#).unwrap();
    }
}
