//! Answers of Chat Completions.

use std::iter;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::{
    TOOL,
    model::{Answers, words},
};

pub(super) fn answers(calls: usize) -> Answers {
    let call = |n: usize| {
        let function = json!({ "name": TOOL, "arguments": "{}" });
        json!({ "index": n, "id": format!("call_{n}"), "type": "function", "function": function })
    };
    let calls = Value::Array((0..calls).map(call).collect());
    let asks = json!({ "role": "assistant", "content": null, "tool_calls": calls });
    let words = words();
    let pieces = words.split_inclusive(' ').map(|word| json!({ "content": word }));
    Answers {
        first: [whole(&asks, "tool_calls"), streamed(iter::once(asks.clone()), "tool_calls")],
        second: [whole(&json!({ "role": "assistant", "content": words }), "stop"), streamed(pieces, "stop")],
    }
}

fn whole(message: &Value, reason: &str) -> Vec<Bytes> {
    let choice = json!({ "index": 0, "message": message, "finish_reason": reason });
    vec![Bytes::from(completion("chat.completion", json!([choice]), true).to_string())]
}

/// The events of an answer that comes in these pieces.
pub(super) fn streamed(deltas: impl Iterator<Item = Value>, reason: &str) -> Vec<Bytes> {
    let delta = |delta, reason| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
    let chunk = |choices, usage| completion("chat.completion.chunk", choices, usage).to_string();
    let mut events: Vec<String> = deltas.map(|text| chunk(delta(text, None), false)).collect();
    events.push(chunk(delta(json!({}), Some(reason)), false));
    events.push(chunk(json!([]), true));
    events.push("[DONE]".to_owned());
    events.into_iter().map(|event| Bytes::from(format!("data: {event}\n\n"))).collect()
}

fn completion(object: &str, choices: Value, with_usage: bool) -> Value {
    let mut completion =
        json!({ "id": "chatcmpl-1", "object": object, "created": 1, "model": "bench", "choices": choices });
    if with_usage {
        completion["usage"] = json!({ "prompt_tokens": 40, "completion_tokens": 32, "total_tokens": 72 });
    }
    completion
}
