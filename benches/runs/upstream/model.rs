//! The models.

use std::{convert::Infallible, iter, sync::LazyLock};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::{StreamExt, stream};
use memchr::memmem;
use serde_json::{Value, json};

use super::{Kind, Stage, TOOL, response, speech};
use crate::{Mode, scene::SCENES};

/// The answers of a scene's model: a whole body, or events; first and second.
struct Answers {
    first: [Vec<Bytes>; 2],
    second: [Vec<Bytes>; 2],
}

/// By scene.
static ANSWERS: LazyLock<Vec<Answers>> =
    LazyLock::new(|| SCENES.iter().map(|scene| Answers::new(scene.calls)).collect());

/// The model's last word: 32 of them.
pub fn words() -> String {
    (1..=32).map(|n| format!("word{n:02}")).collect::<Vec<_>>().join(" ")
}

pub(super) async fn answer(
    State(stage): State<Stage>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, StatusCode> {
    // What is asked stands at the ends; results in the middle may be long.
    let has_result = memmem::find(&body, br#""role":"tool""#).is_some();
    let mode = if memmem::find(&body, br#""stream":true"#).is_some() { Mode::Streamed } else { Mode::Unary };
    let kind = if has_result { Kind::Told(mode) } else { Kind::Asked(mode) };
    stage.keep(kind, "POST", "/v1/chat/completions", &headers, &body);
    let answers = &ANSWERS[stage.number];
    let frames = if has_result { &answers.second } else { &answers.first };
    let frames = &frames[mode as usize];
    if mode == Mode::Unary {
        return Ok(response("application/json", Body::from(frames[0].clone())));
    }
    let frames = match stage.scene.addresses_caller && has_result {
        // One request's tool result is another's caller: the model refuses it, and the run fails.
        true => spoken(&caller(&body).ok_or(StatusCode::BAD_REQUEST)?),
        false => frames.clone(),
    };
    let events = stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
    if has_result && stage.scene.held {
        let mut released = stage.upstream.released.subscribe();
        let wait = stream::once(async move {
            // Where nobody is left to release, there is nobody to answer.
            let _ = released.wait_for(|released| *released).await;
            Ok(Bytes::new())
        });
        let held = events.clone().take(1).chain(wait).chain(events.skip(1));
        return Ok(response("text/event-stream", Body::from_stream(held)));
    }
    Ok(response("text/event-stream", Body::from_stream(events)))
}

/// Who asks, if the input and the tool's result agree on it.
fn caller(body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let says = |role: &str| {
        let messages = request["messages"].as_array()?;
        let message = messages.iter().rfind(|message| message["role"] == role)?;
        message["content"].as_str()
    };
    let (asked, told) = (says("user")?.rsplit(' ').next()?, says("tool")?);
    (asked == told).then(|| told.to_owned())
}

/// The events of a long answer to a caller.
fn spoken(caller: &str) -> Vec<Bytes> {
    let pieces = (0..speech::PIECES).map(|number| json!({ "content": speech::piece(caller, number) }));
    streamed(pieces, "stop")
}

impl Answers {
    fn new(calls: usize) -> Self {
        let call = |n: usize| {
            let function = json!({ "name": TOOL, "arguments": "{}" });
            json!({ "index": n, "id": format!("call_{n}"), "type": "function", "function": function })
        };
        let calls = Value::Array((0..calls).map(call).collect());
        let asks = json!({ "role": "assistant", "content": null, "tool_calls": calls });
        let words = words();
        let pieces = words.split_inclusive(' ').map(|word| json!({ "content": word }));
        Self {
            first: [whole(&asks, "tool_calls"), streamed(iter::once(asks.clone()), "tool_calls")],
            second: [
                whole(&json!({ "role": "assistant", "content": words }), "stop"),
                streamed(pieces, "stop"),
            ],
        }
    }
}

fn whole(message: &Value, reason: &str) -> Vec<Bytes> {
    let choice = json!({ "index": 0, "message": message, "finish_reason": reason });
    vec![Bytes::from(completion("chat.completion", json!([choice]), true).to_string())]
}

fn streamed(deltas: impl Iterator<Item = Value>, reason: &str) -> Vec<Bytes> {
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
