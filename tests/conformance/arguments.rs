//! Arguments for tools that nobody told us how to call.

use runwright::grpc::proto::Tool;
use serde_json::{Map, Value, json};

use crate::adapter::ToolCall;

/// A call of each tool with the arguments that it requires.
pub fn calls(tools: &[Tool]) -> Vec<ToolCall> {
    let schemas: Vec<Value> =
        tools.iter().map(|tool| serde_json::from_str(&tool.input_schema_json).unwrap()).collect();
    // Where any object will do, a server that echoes it shall see what came of its own first schema on the way.
    let any_object = schemas.first().cloned().unwrap_or_default();
    let call = |(tool, schema): (&Tool, &Value)| ToolCall {
        name: tool.name.clone(),
        arguments: required(schema, &any_object),
    };
    tools.iter().zip(&schemas).map(call).collect()
}

fn required(schema: &Value, any_object: &Value) -> Map<String, Value> {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), value(&schema["properties"][name], any_object))).collect()
}

fn value(schema: &Value, any_object: &Value) -> Value {
    match schema["type"].as_str() {
        Some("integer") => json!(7),
        Some("number") => json!(2.5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") if schema["properties"].is_null() => any_object.clone(),
        Some("object") => required(schema, any_object).into(),
        _ => json!("text"),
    }
}
