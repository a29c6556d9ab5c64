//! OTLP over HTTP: the exporter's requests, over egress.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use thiserror::Error;
use tokio::{runtime::Handle, time::timeout};

use super::{CONNECT_TIMEOUT, Config};
use crate::{
    credential::Headers,
    egress::{self, BodyError, Client, Egress, Profile, Route, SendError, read_capped},
};

/// The largest answer of a collector, in bytes. It says at most how much it did not take.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Sends the exporter's requests on a runtime.
pub struct Sender {
    client: Client,
    headers: Headers,
    runtime: Handle,
    timeout: Duration,
}

/// Why a batch was not taken.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the answer can't be read")]
    Answer(#[from] BodyError),
    #[error("there is no answer in time")]
    Timeout,
}

impl Sender {
    pub(super) fn new(config: &Config, egress: &Egress, runtime: Handle) -> Result<Self, egress::Error> {
        let client = egress.client(Profile { connect_timeout: CONNECT_TIMEOUT, route: Route::default() })?;
        Ok(Self { client, headers: config.headers.clone(), runtime, timeout: config.timeout })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The library adds those of its environment variables, which nobody has checked.
        let ours = [CONTENT_TYPE, CONTENT_ENCODING].map(|name| (request.headers_mut().remove(&name), name));
        request.headers_mut().clear();
        for (value, name) in ours {
            request.headers_mut().extend(value.map(|value| (name, value)));
        }
        for header in self.headers.current().headers() {
            request.headers_mut().insert(header.name.clone(), header.value.as_header().clone());
        }
        let (client, limit) = (self.client.clone(), self.timeout);
        // The exporter's thread is none of the runtime's: neither timers nor sockets can be made here.
        let answer = self.runtime.spawn(async move { timeout(limit, answer(client, request)).await });
        Ok(answer.await?.unwrap_or(Err(Error::Timeout))?)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender(..)")
    }
}

async fn answer(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
    let (head, body) = client.send(request).await?.into_parts();
    Ok(Response::from_parts(head, read_capped(body, MAX_ANSWER_BYTES).await?))
}
