//! Answers of the Responses API.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::{
    TOOL,
    model::{Answers, words},
};

pub(super) fn answers(calls: usize) -> Answers {
    let call = |n: usize| {
        let id = format!("call_{n}");
        json!({ "type": "function_call", "call_id": id, "name": TOOL, "arguments": "{}" })
    };
    let calls: Vec<Value> = (0..calls).map(call).collect();
    let words = words();
    let content = json!([{ "type": "output_text", "annotations": [], "text": words }]);
    let message = [json!({ "type": "message", "role": "assistant", "content": content })];
    let deltas: Vec<Value> = words
        .split_inclusive(' ')
        .map(|word| json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": word }))
        .collect();
    Answers {
        first: [whole(&calls), streamed(&[], &calls)],
        second: [whole(&message), streamed(&deltas, &message)],
    }
}

fn whole(output: &[Value]) -> Vec<Bytes> {
    vec![Bytes::from(finished(output).to_string())]
}

/// Items as they begin, pieces of text, and then all items, which are told a second time at the end.
fn streamed(deltas: &[Value], output: &[Value]) -> Vec<Bytes> {
    let item = |kind: &str, (index, item): (usize, &Value)| json!({ "type": kind, "output_index": index, "item": item });
    let begun: Vec<Value> = output.iter().cloned().map(emptied).collect();
    let added = begun.iter().enumerate().map(|numbered| item("response.output_item.added", numbered));
    let done = output.iter().enumerate().map(|numbered| item("response.output_item.done", numbered));
    let end = json!({ "type": "response.completed", "response": finished(output) });
    let event = |(number, mut event): (usize, Value)| {
        event["sequence_number"] = number.into();
        let name = event["type"].as_str().unwrap_or_default();
        Bytes::from(format!("event: {name}\ndata: {event}\n\n"))
    };
    let events = added.chain(deltas.iter().cloned()).chain(done).chain([end]);
    events.enumerate().map(event).collect()
}

/// An item of which nothing was said yet.
fn emptied(mut item: Value) -> Value {
    for (name, nothing) in [("content", json!([])), ("arguments", json!(""))] {
        if let Some(said) = item.get_mut(name) {
            *said = nothing;
        }
    }
    item
}

fn finished(output: &[Value]) -> Value {
    json!({
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "error": null,
        "incomplete_details": null,
        "model": "bench",
        "output": output,
        "usage": {
            "input_tokens": 40,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": 32,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 72,
        },
    })
}
