//! Anthropic's Messages API.
//!
//! Reference: <https://platform.claude.com/docs/en/api/messages>. The key goes in `x-api-key`. A caller can bring an
//! `authorization` of its own in its place; it then removes `x-api-key`, as the API refuses both together.
//!
//! - **Tokens.** The API requires `max_tokens`: where a run sets no limit, 32,000, or as much as an older model takes.
//! - **Reasoning.** Models differ in how they are asked to think: see `models` and `plan`. Without a setting nothing is
//!   sent, and some models think by themselves.
//! - **Sampling.** A temperature above 1 is sent as 1, the API's highest. Where a model takes no sampling parameters, or
//!   none beside thinking, they are left out; of a temperature and a `top_p`, which it refuses together, the former is sent.
//! - **Tool choice.** It is sent as asked for. Claude Fable 5.1, Opus 5.5 and Sonnet 5.5 refuse to be forced to a tool.
//! - **Thinking blocks** go back with the tool results that they led to, which the API requires, and not in later turns,
//!   where it may refuse them: newer models bind them to the system prompt and the tools, which differ from run to run.
//! - **Prompt caching.** Anthropic's own API is asked for it: see `caching`.
//! - **Structured output.** A schema that the API can guarantee is sent to it; another is asked for in the system prompt.
//!
//! What comes back is read leniently: unknown events, blocks and fields are skipped. An answer is bounded, whole (8 MiB) or
//! streamed (8 MiB of blocks, and of each event), and has at most 128 calls.

use futures_util::{
    FutureExt, StreamExt, TryFutureExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{HeaderName, HeaderValue};

use super::{
    Answer, EndpointConfig, Error, Model, Piece, Request,
    endpoint::{self, Answering, Endpoint},
    events,
};
use crate::egress::{self, Client};

mod answer;
mod assembly;
mod caching;
mod messages;
mod models;
mod plan;
mod request;
mod schema;
#[cfg(test)]
mod tests;
mod thought;

use assembly::Assembly;
use caching::Caching;

const PROVIDER: &str = "anthropic";
static FIXED: [(HeaderName, HeaderValue); 1] =
    [(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"))];

/// A model behind a Messages endpoint.
pub struct Anthropic {
    endpoint: Endpoint,
    model: String,
    caching: Caching,
}

impl Anthropic {
    /// The model; `/v1/messages` is added to the base URL.
    ///
    /// # Errors
    /// HTTP has no form for the URL.
    pub fn new(config: EndpointConfig, client: Client) -> Result<Self, egress::Error> {
        let EndpointConfig { base_url, model, headers, .. } = config;
        let caching = Caching::at(&base_url);
        let endpoint = Endpoint::new(base_url, "/v1/messages", &FIXED, headers, client)?;
        Ok(Self { endpoint, model, caching })
    }

    async fn ask<'a>(&'a self, request: Request<'a>) -> Result<Answer, Error> {
        let body = request::body(&self.model, &request, self.caching, false)?;
        let answering = self.endpoint.send(&request, body, false).await?;
        let (_, answer) = self.whole(answering, &request).await?;
        Ok(answer)
    }

    async fn ask_streamed<'a>(&'a self, request: Request<'a>) -> Result<Pieces<'a>, Error> {
        let body = request::body(&self.model, &request, self.caching, true)?;
        let answering = self.endpoint.send(&request, body, true).await?;
        if !endpoint::is_json(&answering.response) {
            return Ok(events::pieces(answering, Assembly::new(&self.model), request).boxed());
        }
        let (shown, answer) = self.whole(answering, &request).await?;
        Ok(stream::iter(shown.into_iter().chain([Ok(Piece::Done(answer))])).boxed())
    }

    /// A whole answer, and what of it is passed on where it was to be streamed.
    async fn whole(
        &self,
        answering: Answering<'_>,
        request: &Request<'_>,
    ) -> Result<(events::Pieces, Answer), Error> {
        let Answering { response, mut attempt } = answering;
        let body = endpoint::read(response).await?;
        let mut pieces = events::Pieces::default();
        let answer = answer::whole(&body, Assembly::new(&self.model), request, &mut attempt, &mut pieces)?;
        attempt.settle();
        Ok((pieces, answer))
    }
}

type Pieces<'a> = BoxStream<'a, Result<Piece, Error>>;

impl Model for Anthropic {
    fn provider(&self) -> &'static str {
        PROVIDER
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        Some(&self.endpoint)
    }

    fn complete<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        self.ask(request).boxed()
    }

    fn stream<'a>(&'a self, request: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        // Boxed alone, too, to be gone when the answer begins: it is large, and a stream may be open for long.
        self.ask_streamed(request).boxed().try_flatten_stream().boxed()
    }
}
