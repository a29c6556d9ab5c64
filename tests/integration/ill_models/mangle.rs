//! JSON, and bytes, with something wrong in them.

use serde_json::{Value, json};

use crate::support::dice::Dice;

/// Stands in JSON for what no value has, until the JSON is text.
const PLACE: &str = "@@here@@";
const AGAIN: &str = "@@again@@";

/// Something in the place of whatever belongs there, as JSON or nearly so.
fn strange(dice: &Dice, canary: &str) -> String {
    let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let written = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1",
        "0.5",
        "1e308",
        "-1e308",
        "1e400",
        "-0",
        "NaN",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "\"\"",
        "\" \"",
        "\"1\"",
        "\"null\"",
        "\"\\u0000\"",
        "\"\\ud83d\"",
        "\"\u{1F980}\"",
        "\"error\"",
        "\"message\"",
        "\"function_call\"",
        "\"tool_use\"",
        "\"content_filter\"",
        "\"length\"",
        "[]",
        "[null]",
        "[[]]",
        "[1,2]",
        "[{}]",
        "[\"a\",{\"text\":\"b\"}]",
        "{}",
        "{\"type\":\"unheard_of\"}",
        "{\"text\":1}",
        "{\"\":{\"\":{}}}",
        "{\"type\":null,\"id\":[]}",
        "undefined",
        "",
    ];
    match dice.roll(8) {
        0 => json!(canary).to_string(),
        1 => json!({ canary: [canary] }).to_string(),
        2 => deep(dice.pick(&[50, 120, 130, 100_000])),
        3 => json!(canary.repeat(200)).to_string(),
        _ => dice.pick(&written).to_owned(),
    }
}

/// The places of a value and of all that it holds.
fn places(value: &Value) -> Vec<String> {
    let within: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (format!("/{name}"), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, value)| (format!("/{at}"), value)).collect()
        }
        _ => Vec::new(),
    };
    let within = within
        .into_iter()
        .flat_map(|(at, value)| places(value).into_iter().map(move |place| format!("{at}{place}")));
    [String::new()].into_iter().chain(within).collect()
}

/// JSON with one thing in it that does not belong there, lacks, or is there more than once. Other text is left as it is.
pub fn mangle(text: &str, dice: &Dice, canary: &str) -> String {
    let Ok(mut whole) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let places = places(&whole);
    let place = &places[dice.place(places.len())];
    let (parent, name) = place.rsplit_once('/').unwrap_or(("", ""));
    match (dice.roll(10), whole.pointer_mut(parent)) {
        (0, Some(Value::Object(fields))) => {
            fields.remove(name);
        }
        (1, Some(Value::Object(fields))) => {
            if let Some(value) = fields.remove(name) {
                fields.insert(name.to_uppercase(), value);
            }
        }
        (2, Some(Value::Object(fields))) => {
            let value = fields.get(name).cloned().unwrap_or_default();
            fields.insert(format!("{AGAIN}{name}"), value);
        }
        (0, Some(Value::Array(items))) => items.clear(),
        (1 | 2, Some(Value::Array(items))) => {
            let more = items.len() * dice.pick(&[2, 3, 40]);
            *items = items.iter().cycle().take(more).cloned().collect();
        }
        (3, _) => return format!("{text}{}", dice.pick(&["]", "}", " null", ",", "\0"])),
        _ => {
            if let Some(value) = whole.pointer_mut(place) {
                *value = json!(PLACE);
            }
        }
    }
    whole.to_string().replace(&format!("\"{PLACE}\""), &strange(dice, canary)).replace(AGAIN, "")
}

/// Bytes of which some are others.
pub fn spoiled(mut bytes: Vec<u8>, dice: &Dice) -> Vec<u8> {
    for _ in 0..=dice.roll(3) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.place(bytes.len());
        match dice.roll(4) {
            0 => bytes[at] = dice.pick(&[0, 0xff, b'"', b'{', b'}', b'\\', b'\n', b'\r', b':']),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, dice.pick(b"\0\"\\\n\r,]\xc3")),
            _ => bytes.truncate(at),
        }
    }
    bytes
}
