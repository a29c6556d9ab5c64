//! What becomes of a run's settings.

use serde_json::{Value, json, value::to_raw_value};

use super::body;
use crate::model::{
    OutputSchema, ReasoningEffort, Settings, ToolChoice,
    asked::{Asked, tool},
};

fn with(model: &str, settings: Settings) -> Value {
    body(model, &Asked { settings, ..Asked::saying("hi") })
}

fn schema(json: &Value, strict: bool) -> Option<OutputSchema> {
    Some(OutputSchema { json: to_raw_value(json).unwrap().into(), strict })
}

#[test]
fn tool_choices() {
    let sent = |tool_choice, parallel_tool_calls| {
        let settings = Settings { parallel_tool_calls, ..Settings::default() };
        let tools = vec![tool("crm", "t", "t", "{}")];
        body("m1", &Asked { tools, tool_choice, settings, ..Asked::saying("hi") })["tool_choice"].take()
    };
    assert_eq!(sent(ToolChoice::Auto, None), Value::Null);
    assert_eq!(sent(ToolChoice::Auto, Some(true)), Value::Null);
    assert_eq!(
        sent(ToolChoice::Auto, Some(false)),
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
    assert_eq!(sent(ToolChoice::None, Some(false)), json!({"type": "none"}));
    assert_eq!(sent(ToolChoice::Required, None), json!({"type": "any"}));
    assert_eq!(
        sent(ToolChoice::Required, Some(false)),
        json!({"type": "any", "disable_parallel_tool_use": true})
    );
    assert_eq!(sent(ToolChoice::Tool("t"), Some(true)), json!({"type": "tool", "name": "t"}));
    let toolless = Asked { tool_choice: ToolChoice::Required, ..Asked::saying("hi") };
    assert_eq!(body("m1", &toolless)["tool_choice"], Value::Null);
}

#[test]
fn a_schema_that_can_be_guaranteed_is_sent_as_a_format() {
    let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let reasoning_effort = Some(ReasoningEffort::Low);
    let settings = Settings { output_schema: schema(&closed, true), reasoning_effort, ..Settings::default() };
    let sent = with("claude-opus-5-5", settings);
    let format = json!({"type": "json_schema", "schema": closed});
    assert_eq!(sent["output_config"], json!({"effort": "low", "format": format}));
    assert_eq!(sent["system"], "Be brief.");
}

#[test]
fn another_schema_is_asked_for() {
    let open = json!({"type": "object"});
    let closed = json!({"type": "object", "additionalProperties": false});
    let bounded = json!({"type": "object", "additionalProperties": false, "minProperties": 1});
    let cases = [
        ("claude-opus-5-5", schema(&open, false)),
        ("claude-opus-5-5", schema(&bounded, true)),
        ("claude-opus-4-1", schema(&closed, true)),
    ];
    for (model, output_schema) in cases {
        let asked_for = output_schema.clone().unwrap().json;
        let sent = with(model, Settings { output_schema, ..Settings::default() });
        assert_eq!(sent["output_config"], Value::Null, "{model}");
        let system = sent["system"].as_str().unwrap();
        assert!(system.starts_with("Be brief.\n\nYour final answer"), "{system}");
        assert!(system.ends_with(&format!("Schema:\n\n{}", asked_for.get())), "{system}");
    }
    let settings = Settings { output_schema: schema(&open, false), ..Settings::default() };
    let sent = body("m1", &Asked { instructions: " ".to_owned(), settings, ..Asked::saying("hi") });
    assert!(sent["system"].as_str().unwrap().starts_with("Your final answer"));
}

#[test]
fn a_system_prompt_that_says_nothing_is_left_out() {
    for instructions in ["", " \n"] {
        let sent = body("m1", &Asked { instructions: instructions.to_owned(), ..Asked::saying("hi") });
        assert_eq!(sent.get("system"), None);
    }
}

#[test]
fn numbers() {
    let settings = Settings { max_output_tokens: Some(7), temperature: Some(1.5), ..Settings::default() };
    let sent = with("m1", settings);
    assert_eq!((&sent["max_tokens"], &sent["temperature"]), (&json!(7), &json!(1.0)));
    let sent = with("m1", Settings { top_p: Some(0.9), ..Settings::default() });
    assert_eq!((&sent["max_tokens"], &sent["top_p"]), (&json!(32_000), &json!(0.9)));
}
