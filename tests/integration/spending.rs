//! What a run tells of what it consumed where its model gave no answer.

use std::future;

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode},
};
use futures_util::{StreamExt, stream};
use runwright::grpc::proto::{CancelRunRequest, Usage, run_event::Event};
use serde_json::json;
use tonic::Status;

use crate::support::{
    error::decode,
    mcp_server::raw,
    model_server::ModelServer,
    run_with,
    service::{Service, asking_config},
    soon,
};

/// An answer's beginning, with what it consumed so far.
fn begun() -> Bytes {
    let usage = json!({ "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9 });
    let chunk = json!({ "choices": [{ "delta": { "content": "a" } }], "usage": usage });
    format!("data: {chunk}\n\n").into()
}

/// Requests and tokens that a failed run tells of.
fn told(status: &Status) -> (i32, i64) {
    let Usage { model_requests, total_tokens, .. } = decode(status).progress.unwrap().usage.unwrap();
    (model_requests, total_tokens)
}

#[tokio::test]
async fn all_tries_of_a_run_that_failed_count() {
    let unreadable = json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 2 } });
    for (status, body, expected) in
        [(529, json!({}), (3, 0)), (200, unreadable, (1, 9)), (401, json!({}), (1, 0))]
    {
        let model = ModelServer::start(move |_| {
            let head = Response::builder().status(status).header("content-type", "application/json");
            future::ready(head.header("retry-after", "0").body(Body::from(body.to_string())).unwrap())
        })
        .await;
        let service = Service::start(&asking_config(&model.base_url(), &[])).await;
        let unary = service.run(run_with("a", [])).await.unwrap_err();
        let streamed = service.events(run_with("a", [])).await.1.unwrap_err();
        assert_eq!([&unary, &streamed].map(told), [expected; 2], "{unary:?}");
    }
    let model =
        ModelServer::start(|_| future::ready(raw(StatusCode::OK, "text/event-stream", begun()))).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let broken_off = service.events(run_with("a", [])).await.1.unwrap_err();
    assert_eq!(told(&broken_off), (1, 9));
}

#[tokio::test]
async fn a_run_that_ends_while_its_model_speaks_tells_what_that_consumed() {
    let model = ModelServer::start(|_| {
        let pieces = stream::iter([Ok::<_, std::io::Error>(begun())]).chain(stream::pending());
        future::ready(raw(StatusCode::OK, "text/event-stream", Body::from_stream(pieces)))
    })
    .await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let mut agents = service.agents.clone();
    let mut events = agents.run_streamed(run_with("a", [])).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    let Some(Event::RunStarted(started)) = first.event else { panic!("{first:?}") };
    let (run_id, control_token) = (first.run_id, started.control_token);
    let end = soon("the run's end", async {
        loop {
            match events.message().await {
                Ok(Some(event)) if matches!(event.event, Some(Event::TextDelta(_))) => {
                    let (run_id, control_token) = (run_id.clone(), control_token.clone());
                    let cancel = CancelRunRequest { run_id, control_token, reason: String::new() };
                    agents.cancel_run(cancel).await.unwrap();
                }
                Ok(event) => assert!(event.is_some()),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!(told(&end), (1, 9));
}
