//! The model endpoint behind LiteLLM: it speaks Chat Completions, and does what the user's message tells it to.

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What to answer in a turn. The input of a run is a list of these; where it ends, the tools' results are repeated.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Ask for these tools, by name and arguments.
    Call(Vec<(String, Value)>),
    /// Fail with an HTTP status.
    Fail(u16),
    /// Say something, and then that it failed; for streams only.
    Break,
}

/// The tokens that each answer is said to take.
pub const INPUT_TOKENS: i64 = 31;
pub const OUTPUT_TOKENS: i64 = 17;
pub const CACHED_TOKENS: i64 = 5;
pub const REASONING_TOKENS: i64 = 3;

/// What it says when it fails, which no error of the service repeats.
pub const FAILURE: &str = "Not today.";

/// Starts the endpoint; gives its base URL. It serves as long as the runtime lives.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

async fn answer(request: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&request).unwrap();
    let messages = request["messages"].as_array().unwrap();
    let of = |role: &'static str| messages.iter().filter(move |message| message["role"] == role);
    let turns: Vec<Turn> = serde_json::from_str(&text(of("user").next_back().expect("an input"))).unwrap();
    let streamed = request["stream"] == true;
    match turns.get(of("assistant").count()) {
        Some(Turn::Call(calls)) => {
            let calls: Vec<Value> =
                calls.iter().zip(0..).map(|(call, index)| tool_call(call, index)).collect();
            if streamed { streamed_calls(&calls) } else { whole(&json!(null), &json!(calls), "tool_calls") }
        }
        Some(Turn::Fail(status)) => {
            (StatusCode::from_u16(*status).unwrap(), json_response(&failure())).into_response()
        }
        Some(Turn::Break) => {
            let words = ["It ", "says "].map(|word| delta(&json!({ "role": "assistant", "content": word })));
            events(words.into_iter().chain([failure()]))
        }
        None => {
            let results: Vec<String> =
                (0..of("tool").count()).map(|index| text(result(messages, index))).collect();
            let text = format!("It says {}.", results.join(", "));
            if streamed { streamed_text(&text) } else { whole(&json!(text), &json!(null), "stop") }
        }
    }
}

/// The result of the call with this place in its turn.
fn result(messages: &[Value], index: usize) -> &Value {
    let answers = |message: &&Value| message["tool_call_id"] == call_id(index);
    messages.iter().find(answers).expect("each call has its result")
}

fn call_id(index: usize) -> String {
    format!("call_{index}")
}

/// A message's text: a string, or parts.
fn text(message: &Value) -> String {
    match &message["content"] {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    }
}

fn tool_call((name, arguments): &(String, Value), index: usize) -> Value {
    let function = json!({ "name": name, "arguments": arguments.to_string() });
    json!({ "index": index, "id": call_id(index), "type": "function", "function": function })
}

fn whole(content: &Value, calls: &Value, finish_reason: &str) -> Response {
    let mut message = json!({ "role": "assistant", "content": content });
    if !calls.is_null() {
        message["tool_calls"] = calls.clone();
    }
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish_reason });
    json_response(&json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "behind",
        "choices": [choice],
        "usage": usage(),
    }))
}

fn json_response(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn usage() -> Value {
    json!({
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": { "cached_tokens": CACHED_TOKENS },
        "completion_tokens_details": { "reasoning_tokens": REASONING_TOKENS },
    })
}

fn streamed_text(text: &str) -> Response {
    let words = text.split_inclusive(' ').map(|word| delta(&json!({ "content": word })));
    let first = delta(&json!({ "role": "assistant", "content": "" }));
    events([first].into_iter().chain(words).chain(ending("stop")))
}

/// The calls begin one by one, with the arguments of each in two pieces.
fn streamed_calls(calls: &[Value]) -> Response {
    let piece = |index: &Value, arguments: &str| {
        delta(&json!({ "tool_calls": [{ "index": index, "function": { "arguments": arguments } }] }))
    };
    let mut chunks = vec![delta(&json!({ "role": "assistant", "content": null }))];
    for call in calls {
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let (first, second) = arguments.split_at(1);
        let mut begun = call.clone();
        begun["function"]["arguments"] = json!("");
        chunks.push(delta(&json!({ "tool_calls": [begun] })));
        chunks.extend([piece(&call["index"], first), piece(&call["index"], second)]);
    }
    chunks.extend(ending("tool_calls"));
    events(chunks)
}

fn delta(delta: &Value) -> Value {
    chunk(&json!([{ "index": 0, "delta": delta, "finish_reason": null }]))
}

/// The last choice, and the usage in a chunk of its own.
fn ending(finish_reason: &str) -> [Value; 2] {
    let mut last = chunk(&json!([]));
    last["usage"] = usage();
    [chunk(&json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason }])), last]
}

fn chunk(choices: &Value) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "behind",
        "choices": choices,
    })
}

fn failure() -> Value {
    json!({ "error": { "message": FAILURE, "type": "server_error", "param": null, "code": null } })
}

fn events(chunks: impl IntoIterator<Item = Value>) -> Response {
    let mut lines: String = chunks.into_iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    lines.push_str("data: [DONE]\n\n");
    ([(CONTENT_TYPE, "text/event-stream")], lines).into_response()
}
