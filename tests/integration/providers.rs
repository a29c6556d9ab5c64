//! One conversation that goes from provider to provider, and back.

use axum::{body::Body, http::Response};
use runwright::grpc::proto::{RunOptions, RunRequest};
use serde_json::{Value, json};

use crate::support::{
    mcp_server::{Era, McpServer, json_response},
    model_server::ModelServer,
    run_as,
    service::Service,
};

/// What each provider wants back of its own reasoning, and nobody else is told.
const STATES: [(&str, &str); 2] = [("responses", "state-of-responses"), ("claude", "state-of-claude")];

/// A model of each API. Where a user spoke last it asks who calls; then it says its name.
fn answer(body: &Value) -> Response<Body> {
    let model = body["model"].as_str().unwrap();
    let asks = said(body).last().is_some_and(|last| last.starts_with("user: "));
    let done = format!("{model} is done");
    json_response(&match model {
        "chat" if asks => {
            let function = json!({ "name": "whoami", "arguments": "{\"n\":[1]}" });
            let calls = json!([{ "id": "call_1", "type": "function", "function": function }]);
            json!({ "choices": [{ "message": { "tool_calls": calls }, "finish_reason": "tool_calls" }] })
        }
        "chat" => json!({ "choices": [{ "message": { "content": done }, "finish_reason": "stop" }] }),
        "responses" => {
            let thought =
                json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": STATES[0].1 });
            let call = json!({ "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "whoami", "arguments": "{\"n\":[1]}" });
            let content = json!([{ "type": "output_text", "text": done }]);
            let message =
                json!({ "type": "message", "id": "msg_1", "role": "assistant", "content": content });
            json!({ "status": "completed", "output": [thought, if asks { call } else { message }] })
        }
        _ => {
            let thought = json!({ "type": "thinking", "thinking": "Hm.", "signature": STATES[1].1 });
            let call = json!({ "type": "tool_use", "id": "call_1", "name": "whoami", "input": { "n": [1] } });
            let text = json!({ "type": "text", "text": done });
            let content = [thought, if asks { call } else { text }];
            json!({ "content": content, "stop_reason": if asks { "tool_use" } else { "end_turn" } })
        }
    })
}

/// What a request's conversation says, whichever API it is of.
fn said(body: &Value) -> Vec<String> {
    let entries = body["messages"].as_array().or(body["input"].as_array()).unwrap();
    entries.iter().flat_map(|entry| said_in(entry, entry["role"].as_str().unwrap_or_default())).collect()
}

fn said_in(entry: &Value, role: &str) -> Vec<String> {
    let call = |name: &Value, arguments: &Value| {
        let arguments: Value =
            arguments.as_str().map_or_else(|| arguments.clone(), |text| serde_json::from_str(text).unwrap());
        vec![format!("call: {} {arguments}", name.as_str().unwrap())]
    };
    match entry["type"].as_str() {
        Some("function_call") => return call(&entry["name"], &entry["arguments"]),
        Some("tool_use") => return call(&entry["name"], &entry["input"]),
        Some("function_call_output") => return said_by("result", &entry["output"]),
        Some("tool_result") => return said_by("result", &entry["content"]),
        Some("text" | "input_text" | "output_text") => return said_by(role, &entry["text"]),
        Some("thinking" | "reasoning") => return Vec::new(),
        _ => {}
    }
    let calls = entry["tool_calls"].as_array().into_iter().flatten();
    let calls = calls.flat_map(|asked| call(&asked["function"]["name"], &asked["function"]["arguments"]));
    said_by(if role == "tool" { "result" } else { role }, &entry["content"])
        .into_iter()
        .chain(calls)
        .collect()
}

fn said_by(role: &str, content: &Value) -> Vec<String> {
    match content {
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![format!("{role}: {text}")],
        blocks => blocks.as_array().into_iter().flatten().flat_map(|block| said_in(block, role)).collect(),
    }
}

#[tokio::test]
async fn a_conversation_goes_from_provider_to_provider_and_nothing_of_it_is_lost() {
    let model = ModelServer::start(|body| async move { answer(&body) }).await;
    let server = McpServer::start(Era::Modern).await;
    let (url, base) = (server.url(), model.base_url());
    let claude = base.trim_end_matches("/v1");
    let service = Service::start(&format!(
        r#"
models:
  chat: {{ provider: openai_chat, base_url: "{base}", model: chat }}
  responses: {{ provider: openai_responses, base_url: "{base}", model: responses }}
  claude: {{ provider: anthropic, base_url: "{claude}", model: claude }}
mcp_servers:
  crm: {{ url: "{url}" }}
agents:
  a: {{ model: chat, allowed_models: [responses, claude], mcp_servers: [crm] }}
"#
    ))
    .await;
    let (mut messages, mut expected) = (Vec::new(), vec![]);
    // Each after each other.
    for (at, model) in
        ["chat", "responses", "claude", "chat", "claude", "responses", "chat"].iter().enumerate()
    {
        let input = format!("Question {at}");
        let options = RunOptions { model: (*model).to_owned(), ..RunOptions::default() };
        let request = RunRequest {
            messages: messages.clone(),
            input: input.clone(),
            options: Some(options),
            ..run_as("a", "alice")
        };
        let response = service.run(request).await.unwrap();
        assert_eq!(response.final_output, format!("{model} is done"));
        messages.extend(response.new_messages);
        expected.extend([
            format!("user: {input}"),
            "call: whoami {\"n\":[1]}".to_owned(),
            "result: Bearer alice".to_owned(),
            format!("assistant: {model} is done"),
        ]);
    }
    let requests: Vec<Value> = model.seen().into_iter().map(|(_, body)| body).collect();
    assert_eq!(requests.len(), 14);
    for (at, request) in requests.iter().enumerate() {
        // The first request of a run ends with the question, the second with the result.
        let shown = at / 2 * 4 + if at % 2 == 0 { 1 } else { 3 };
        assert_eq!(said(request), expected[..shown], "{request}");
        for (whose, state) in STATES {
            let comes_back = request["model"] == whose && at % 2 == 1;
            let is_told = request.to_string().contains(state);
            assert!(is_told || !comes_back, "{whose} gets its own back: {request}");
            assert!(!is_told || request["model"] == whose, "nobody else does: {request}");
        }
    }
}
