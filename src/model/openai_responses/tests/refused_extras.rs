use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, future};
use serde_json::{Value, json};

use super::{model, model_named, reasoning};
use crate::{
    headers::HeaderSet,
    message::Message,
    model::{
        Error, Model,
        asked::Asked,
        loopback::{CANARY, Loopback, clean},
    },
};

const ANSWER: &str = r#"{"status":"completed","output":[]}"#;

/// A server that refuses these parameters one after the other, then answers.
async fn refusing(params: &'static [&'static str]) -> Loopback {
    let asked = Arc::new(AtomicUsize::new(0));
    Loopback::start(move || {
        let refused = params.get(asked.fetch_add(1, Ordering::Relaxed));
        let body = refused.map_or(ANSWER.to_owned(), |param| {
            json!({"error": {"message": CANARY, "type": "invalid_request_error", "param": param, "code": null}})
                .to_string()
        });
        let status = if refused.is_some() { 400 } else { 200 };
        let response = Response::builder().status(status).header("content-type", "application/json");
        future::ready(response.body(Body::from(body)).unwrap())
    })
    .await
}

/// What of extras each request asked for that arrived: `include` and the summary.
fn extras(server: &mut Loopback) -> Vec<(bool, bool)> {
    let extras = |body: Value| (!body["include"].is_null(), !body["reasoning"]["summary"].is_null());
    std::iter::from_fn(|| server.seen.try_recv().ok()).map(|seen| extras(seen.body)).collect()
}

fn asked() -> Asked {
    reasoning(vec![Message::user("hi")])
}

async fn streamed(model: &dyn Model, asked: &Asked) {
    let pieces: Vec<_> = model.stream(asked.request()).map(clean).collect().await;
    assert!(matches!(pieces.as_slice(), [Ok(_)]), "{pieces:?}");
}

#[tokio::test]
async fn what_is_refused_is_not_asked_for_again() {
    let mut server = refusing(&["include", "reasoning.summary"]).await;
    let model = model(&server.base_url);
    let asked = asked();
    streamed(&model, &asked).await;
    assert_eq!(extras(&mut server), [(true, true), (false, true), (false, false)]);
    assert_eq!(asked.spent.take().model_requests, 2, "beside the one that is answered");
    streamed(&model, &asked).await;
    assert_eq!(extras(&mut server), [(false, false)]);
    assert_eq!(asked.spent.take().model_requests, 0);
}

#[tokio::test]
async fn one_refusal_says_nothing_of_the_other_extra() {
    let mut server = refusing(&["include"]).await;
    let model = model(&server.base_url);
    clean(model.complete(asked().request()).await).unwrap();
    streamed(&model, &asked()).await;
    assert_eq!(extras(&mut server), [(true, false), (false, false), (false, true)]);
}

#[tokio::test]
async fn what_one_callers_headers_brought_about_is_not_learnt() {
    let mut server = refusing(&["reasoning.summary"]).await;
    let (headers, problems) = HeaderSet::parse([("openai-organization", "org-1")], []);
    assert!(problems.is_empty());
    let model = model(&server.base_url);
    streamed(&model, &Asked { headers, ..asked() }).await;
    streamed(&model, &asked()).await;
    assert_eq!(extras(&mut server), [(true, true), (true, false), (true, true)]);
}

#[tokio::test]
async fn other_refusals_are_not_repeated() {
    for params in [&["input", "input"][..], &["reasoning.effort"], &["include", "include"]] {
        let mut server = refusing(params).await;
        let answer = clean(model(&server.base_url).complete(asked().request()).await);
        assert_eq!(answer, Err(Error::rejected(400, Some("invalid_request_error"))), "{params:?}");
        let expected = if params[0] == "include" { 2 } else { 1 };
        assert_eq!(extras(&mut server).len(), expected, "{params:?}");
    }
}

#[tokio::test]
async fn models_that_are_known_not_to_reason_are_not_asked_for_reasoning() {
    let names = [
        ("gpt-4o", false),
        ("openai/gpt-4.1-mini", false),
        ("gpt-3.5-turbo", false),
        ("gpt-5-chat-latest", false),
        ("gpt-5", true),
        ("gpt-5.1-chat-latest", true),
        ("o4-mini", true),
        ("my-gpt-4", true),
    ];
    for (name, expected) in names {
        let mut server = Loopback::answering(200, &[("content-type", "application/json")], ANSWER).await;
        let model = model_named(&server.base_url, name);
        clean(model.complete(Asked::saying("hi").request()).await).unwrap();
        assert_eq!(extras(&mut server), [(expected, false)], "{name}");
    }
}
