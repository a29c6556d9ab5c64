//! Whole exchanges with a provider on the loopback.

use super::OpenAiChat;
use crate::{
    credential::Source,
    model::{
        Answer, Error, Model, Piece,
        asked::Asked,
        loopback::{Loopback, all_pieces, clean, endpoint},
    },
};

mod exchange;
mod fault;
mod golden;
mod leniency;
mod request;
mod wanted_back;

/// A model at a base URL, with a key.
fn model(base_url: &str) -> OpenAiChat {
    model_with(base_url, Source::fixed("Bearer key-1").ok())
}

/// A model at a base URL, with this key or none.
fn model_with(base_url: &str, authorization: Option<Source>) -> OpenAiChat {
    let headers: Vec<_> = authorization.map(|source| ("authorization", source)).into_iter().collect();
    let (config, client) = endpoint(base_url, &headers);
    OpenAiChat::new(config, client).unwrap()
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

/// The end of a stream of events, each of which is given without `data: ` and line ends.
async fn streamed(events: &[&str]) -> Result<Answer, Error> {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    match pieces(&body).await.pop().unwrap()? {
        Piece::Done(answer) => Ok(answer),
        piece => panic!("the last piece is {piece:?}"),
    }
}
