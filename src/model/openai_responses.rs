//! OpenAI's Responses API, which Azure, vLLM, Ollama and LiteLLM speak, too.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/responses>. It is used without its memory: nothing is stored
//! there, each request has the whole conversation, and what the model reasoned goes along encrypted (see `kept`). What is
//! sent keeps to the reference; what comes back is read leniently: see `answer` and `assembly`. An answer is bounded, whole
//! (8 MiB) or streamed (8 MiB of text, calls and reasoning, and of each event: the last one repeats all), and has at most 128 calls.

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryFutureExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use super::{
    Answer, EndpointConfig, Error, Model, Piece, Request,
    endpoint::{self, Answering, Endpoint},
    events,
};
use crate::egress::{self, Client};

mod answer;
mod assembly;
mod extras;
mod input;
mod item;
mod kept;
mod request;
#[cfg(test)]
mod tests;

use assembly::Assembly;
use extras::Known;

/// A model behind a Responses endpoint.
pub struct OpenAiResponses {
    endpoint: Endpoint,
    model: String,
    known: Known,
}

impl OpenAiResponses {
    /// The model; `/responses` is added to the base URL.
    ///
    /// # Errors
    /// HTTP has no form for the URL.
    pub fn new(config: EndpointConfig, client: Client) -> Result<Self, egress::Error> {
        let EndpointConfig { base_url, model, headers, .. } = config;
        let endpoint = Endpoint::new(base_url, "/responses", &[], headers, client)?;
        Ok(Self { endpoint, known: Known::of(&model), model })
    }

    async fn ask<'a>(&'a self, request: Request<'a>) -> Result<Answer, Error> {
        let answering = self.send(&request, false).await?;
        let (_, answer) = self.whole(answering, &request).await?;
        Ok(answer)
    }

    async fn ask_streamed<'a>(&'a self, request: Request<'a>) -> Result<Pieces<'a>, Error> {
        let answering = self.send(&request, true).await?;
        if !endpoint::is_json(&answering.response) {
            return Ok(events::pieces(answering, Assembly::new(&self.model), request).boxed());
        }
        let (body, answer) = self.whole(answering, &request).await?;
        let reasoning = Some(answer::reasoning(&body)).filter(|text| !text.is_empty()).map(Piece::Reasoning);
        Ok(stream::iter(reasoning.into_iter().chain(Piece::all_of(answer)).map(Ok)).boxed())
    }

    /// A whole answer, and the body that it was read from.
    async fn whole(&self, answering: Answering<'_>, request: &Request<'_>) -> Result<(Bytes, Answer), Error> {
        let Answering { response, mut attempt } = answering;
        let body = endpoint::read(response).await?;
        let answer = answer::whole(&body, Assembly::new(&self.model), request, &mut attempt)?;
        attempt.settle();
        Ok((body, answer))
    }

    /// Sends a request; where an extra is refused, again without it: nothing was done for a refused request.
    async fn send<'a>(&self, request: &Request<'a>, streamed: bool) -> Result<Answering<'a>, Error> {
        let mut extras = self.known.extras(request.settings, streamed);
        loop {
            let body = request::body(&self.model, request, extras, streamed)?;
            let refusal = match self.endpoint.send(request, body, streamed).await {
                Ok(answering) => return Ok(answering),
                Err(refusal) => refusal,
            };
            let Some(fewer) = refusal.param.as_deref().and_then(|param| extras.without(param)) else {
                return Err(refusal.into());
            };
            self.known.learn(extras, fewer, request);
            extras = fewer;
        }
    }
}

type Pieces<'a> = BoxStream<'a, Result<Piece, Error>>;

impl Model for OpenAiResponses {
    fn provider(&self) -> &'static str {
        "openai"
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
