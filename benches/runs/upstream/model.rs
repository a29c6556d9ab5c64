//! The models.

use std::{convert::Infallible, sync::LazyLock};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::{StreamExt, stream};
use memchr::memmem;
use serde_json::{Value, json};

use super::{Kind, Stage, anthropic, chat, response, responses, speech};
use crate::{
    Mode,
    scene::{Provider, SCENES, Scene},
};

/// The answers of a scene's model: a whole body, or events; first and second.
pub(super) struct Answers {
    pub(super) first: [Vec<Bytes>; 2],
    pub(super) second: [Vec<Bytes>; 2],
}

/// By scene.
static ANSWERS: LazyLock<Vec<Answers>> =
    LazyLock::new(|| SCENES.iter().map(|scene| Answers::of(scene)).collect());

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
    let has_result = memmem::find(&body, result(stage.scene.provider)).is_some();
    let mode = if memmem::find(&body, br#""stream":true"#).is_some() { Mode::Streamed } else { Mode::Unary };
    let kind = if has_result { Kind::Told(mode) } else { Kind::Asked(mode) };
    stage.keep(kind, "POST", stage.scene.provider.path().0, &headers, &body);
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

/// What stands in a request that has a tool's result.
fn result(provider: Provider) -> &'static [u8] {
    match provider {
        Provider::Chat => br#""role":"tool""#,
        Provider::Responses => br#""type":"function_call_output""#,
        Provider::Anthropic => br#""type":"tool_result""#,
    }
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
    chat::streamed(pieces, "stop")
}

impl Answers {
    fn of(scene: &Scene) -> Self {
        match scene.provider {
            Provider::Chat => chat::answers(scene.calls),
            Provider::Responses => responses::answers(scene.calls),
            Provider::Anthropic => anthropic::answers(scene.calls),
        }
    }
}
