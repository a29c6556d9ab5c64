//! Whole exchanges with a provider on the loopback.

use super::{Anthropic, Caching};
use crate::{
    credential::Source,
    model::{
        Answer, Error, Model, Piece,
        asked::Asked,
        loopback::{Loopback, all_pieces, clean, endpoint},
    },
};

mod conversation;
mod exchange;
mod fault;
mod leniency;
mod settings;

/// A model `m1` at a base URL, with a key.
fn model(base_url: &str) -> Anthropic {
    named("m1", base_url)
}

/// A model of this name at a base URL, with a key.
fn named(name: &str, base_url: &str) -> Anthropic {
    let (mut config, client) = endpoint(base_url, &[("x-api-key", Source::fixed("key-1").unwrap())]);
    config.model = name.to_owned();
    Anthropic::new(config, client).unwrap()
}

/// The body of the request that a model of this name is sent.
fn body(name: &str, asked: &Asked) -> serde_json::Value {
    serde_json::from_slice(&super::request::body(name, &asked.request(), Caching::Unasked, false).unwrap())
        .unwrap()
}

/// A whole answer to a body of status 200.
async fn whole(body: &str) -> Result<Answer, Error> {
    let server = Loopback::answering(200, &[("content-type", "application/json")], body).await;
    clean(model(&server.base_url).complete(Asked::saying("hi").request()).await)
}

/// The pieces that a body of events gives.
async fn pieces(body: &str) -> Vec<Result<Piece, Error>> {
    let server = Loopback::answering(200, &[("content-type", "text/event-stream")], body).await;
    all_pieces(&model(&server.base_url)).await
}

/// The end of a stream of events, each of which is given as its data.
async fn streamed(events: &[&str]) -> Result<Answer, Error> {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    match pieces(&body).await.pop().unwrap()? {
        Piece::Done(answer) => Ok(answer),
        piece => panic!("the last piece is {piece:?}"),
    }
}
