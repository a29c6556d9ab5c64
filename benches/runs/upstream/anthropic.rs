//! Answers of Anthropic's Messages API.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::{
    TOOL,
    model::{Answers, words},
};

pub(super) fn answers(calls: usize) -> Answers {
    let call =
        |n: usize| json!({ "type": "tool_use", "id": format!("toolu_{n}"), "name": TOOL, "input": {} });
    let calls: Vec<Value> = (0..calls).map(call).collect();
    let asked = calls
        .iter()
        .map(|call| (call.clone(), vec![json!({ "type": "input_json_delta", "partial_json": "{}" })]));
    let words = words();
    let deltas =
        words.split_inclusive(' ').map(|word| json!({ "type": "text_delta", "text": word })).collect();
    let empty = json!({ "type": "text", "text": "" });
    Answers {
        first: [whole(&calls, "tool_use"), streamed(asked, "tool_use")],
        second: [
            whole(&[json!({ "type": "text", "text": words })], "end_turn"),
            streamed([(empty, deltas)], "end_turn"),
        ],
    }
}

fn whole(content: &[Value], reason: &str) -> Vec<Bytes> {
    vec![Bytes::from(message(content, Some(reason)).to_string())]
}

/// Blocks, each as it begins and with its pieces.
fn streamed(blocks: impl IntoIterator<Item = (Value, Vec<Value>)>, reason: &str) -> Vec<Bytes> {
    let mut events =
        vec![json!({ "type": "message_start", "message": message(&[], None) }), json!({ "type": "ping" })];
    for (index, (block, deltas)) in blocks.into_iter().enumerate() {
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        let piece = |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta });
        events.extend(deltas.into_iter().map(piece));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 32 } }));
    events.push(json!({ "type": "message_stop" }));
    let event = |event: Value| {
        let name = event["type"].as_str().unwrap_or_default();
        Bytes::from(format!("event: {name}\ndata: {event}\n\n"))
    };
    events.into_iter().map(event).collect()
}

fn message(content: &[Value], reason: Option<&str>) -> Value {
    json!({
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "bench",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": null,
        "usage": { "input_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 32 },
    })
}
