//! OpenAI's Chat Completions API, which vLLM, Ollama, LiteLLM and Azure speak, too.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/chat>. What is sent keeps to it; what comes back is read
//! leniently, as those servers differ: see `answer` and `assembly`. An answer is bounded, whole (8 MiB) or streamed (8 MiB
//! of text and calls, 1 MiB an event), and has at most 128 calls.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryFutureExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{
    HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use hyper::body::Incoming;
use url::Url;

use super::{Answer, Error, Model, Piece, Request};
use crate::{
    credential,
    egress::{self, Client},
    trace::Outgoing,
};

mod answer;
mod assembly;
mod error;
mod request;
mod stream_answer;
#[cfg(test)]
mod tests;

/// How long a connection to a provider may take to be made, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer: the bytes of a whole one, the text and the calls of a streamed one.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// An endpoint and a model behind it.
#[derive(Clone)]
pub struct Config {
    /// The API's base, e.g. `https://api.openai.com/v1`; `/chat/completions` is added.
    pub base_url: Url,
    /// The provider's name for the model.
    pub model: String,
    /// The whole `Authorization` header, `Bearer ` included; `None`: none is sent.
    pub authorization: Option<credential::Source>,
}

/// A model behind a Chat Completions endpoint.
pub struct OpenAiChat {
    uri: Uri,
    model: String,
    authorization: Option<credential::Source>,
    client: Client,
}

impl OpenAiChat {
    /// The model.
    ///
    /// # Errors
    /// HTTP has no form for the URL.
    pub fn new(config: Config, client: Client) -> Result<Self, egress::Error> {
        let Config { base_url: mut url, model, authorization } = config;
        let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self { uri: egress::uri(&url)?, model, authorization, client })
    }

    /// Sends a request; the response is a success.
    async fn send(&self, request: &Request<'_>, streamed: bool) -> Result<Response<Incoming>, Error> {
        let body = request::body(&self.model, request, streamed)?;
        let headers = self.headers(request.outgoing, streamed);
        let authorization = headers.get(AUTHORIZATION).cloned();
        let mut post = HttpRequest::new(body.into());
        *post.method_mut() = Method::POST;
        *post.uri_mut() = self.uri.clone();
        *post.headers_mut() = headers;
        let response = self.client.send(post).await.map_err(error::transport)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(error::refusal(response, authorization.as_ref()).await)
    }

    fn headers(&self, outgoing: &Outgoing, streamed: bool) -> HeaderMap {
        let accept = if streamed { "text/event-stream, application/json" } else { "application/json" };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(value) = self.authorization.as_ref().and_then(credential::Source::ready) {
            headers.insert(AUTHORIZATION, value.as_header().clone());
        }
        outgoing.insert_into(&mut headers);
        headers
    }

    async fn ask<'a>(&'a self, request: Request<'a>) -> Result<Answer, Error> {
        let response = self.send(&request, false).await?;
        answer::whole(&read(response).await?, &request)
    }

    async fn ask_streamed<'a>(&'a self, request: Request<'a>) -> Result<Pieces<'a>, Error> {
        let response = self.send(&request, true).await?;
        if !is_json(&response) {
            return Ok(stream_answer::pieces(response, request).boxed());
        }
        let answer = answer::whole(&read(response).await?, &request)?;
        let text = (!answer.text.is_empty()).then(|| Piece::Text(answer.text.clone()));
        Ok(stream::iter(text.into_iter().chain([Piece::Done(answer)]).map(Ok)).boxed())
    }
}

type Pieces<'a> = BoxStream<'a, Result<Piece, Error>>;

impl Model for OpenAiChat {
    fn provider(&self) -> &'static str {
        "openai"
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn complete<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        self.ask(request).boxed()
    }

    fn stream<'a>(&'a self, request: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        self.ask_streamed(request).try_flatten_stream().boxed()
    }
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Error> {
    egress::read_capped(response.into_body(), MAX_ANSWER_BYTES).await.map_err(error::body)
}

/// Whether a server that was asked for a stream gives a whole answer, as some do where there are tools.
fn is_json(response: &Response<Incoming>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.get(..16).is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"))
}
