//! A streamed answer: events in, pieces out.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sse_stream::Sse;
use tokio::time::timeout;

use super::{assembly::Assembly, error};
use crate::{
    model::{Error, Piece, Request},
    sse,
};

/// The largest event, in bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// How long the end of the body is waited for after `[DONE]`. A connection whose response was read to its end is used
/// again; else it is closed.
const END_OF_BODY: Duration = Duration::from_millis(10);

struct Reading<'a> {
    events: BoxStream<'static, Result<Sse, sse::Error<hyper::Error>>>,
    assembly: Assembly,
    request: Request<'a>,
}

/// The pieces of an answer. To drop the stream is to drop the request.
pub(super) fn pieces(
    response: Response<Incoming>,
    request: Request<'_>,
) -> impl Stream<Item = Result<Piece, Error>> {
    let events = sse::events(response.into_body().into_data_stream(), MAX_EVENT_BYTES).boxed();
    // Boxed, since it is moved with each piece.
    let reading = Box::new(Reading { events, assembly: Assembly::default(), request });
    stream::try_unfold(Some(reading), |reading| async move {
        let Some(mut reading) = reading else { return Ok(None) };
        match reading.next_text().await? {
            Some(text) => Ok(Some((Piece::Text(text), Some(reading)))),
            None => Ok(Some((Piece::Done(reading.assembly.finish(&reading.request)?), None))),
        }
    })
}

impl Reading<'_> {
    /// The next text; `None`: the answer is whole.
    async fn next_text(&mut self) -> Result<Option<String>, Error> {
        loop {
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                // `[DONE]` adds nothing to an answer that has said why it ends.
                None | Some(Err(sse::Error::Body(_))) if self.assembly.has_ended() => return Ok(None),
                None => return Err(error::cut()),
                Some(Err(broken)) => return Err(error::events(broken)),
            };
            let Some(data) = event.data else { continue };
            match data.trim() {
                "" => {}
                "[DONE]" => {
                    let _ = timeout(END_OF_BODY, self.events.next()).await;
                    return Ok(None);
                }
                data => {
                    let text = self.add(event.event.as_deref(), data)?;
                    if !text.is_empty() {
                        return Ok(Some(text));
                    }
                }
            }
        }
    }

    fn add(&mut self, event: Option<&str>, data: &str) -> Result<String, Error> {
        if event == Some("error") {
            return Err(error::unavailable("it reported an error instead of an answer"));
        }
        let chunk = serde_json::from_str(data).map_err(|_| error::unreadable())?;
        self.assembly.add(chunk)
    }
}
