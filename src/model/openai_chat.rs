//! OpenAI's Chat Completions API, which vLLM, Ollama, LiteLLM and Azure speak, too.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/chat>. What is sent keeps to it; what comes back is read
//! leniently, as those servers differ: see `answer` and `assembly`. An answer is bounded, whole (8 MiB) or streamed (8 MiB
//! of text, calls and what goes back of the reasoning, and of each event), and has at most 128 calls.

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
mod kept;
mod request;
#[cfg(test)]
mod tests;
mod usual;

use assembly::Assembly;

/// A model behind a Chat Completions endpoint.
pub struct OpenAiChat {
    endpoint: Endpoint,
    model: String,
}

impl OpenAiChat {
    /// The model; `/chat/completions` is added to the base URL.
    ///
    /// # Errors
    /// HTTP has no form for the URL.
    pub fn new(config: EndpointConfig, client: Client) -> Result<Self, egress::Error> {
        let EndpointConfig { base_url, model, headers, .. } = config;
        let endpoint = Endpoint::new(base_url, "/chat/completions", &[], headers, client)?;
        Ok(Self { endpoint, model })
    }

    async fn ask<'a>(&'a self, request: Request<'a>) -> Result<Answer, Error> {
        let body = request::body(&self.model, &request, false)?;
        let answering = self.endpoint.send(&request, body, false).await?;
        let (_, answer) = self.whole(answering, &request).await?;
        Ok(answer)
    }

    async fn ask_streamed<'a>(&'a self, request: Request<'a>) -> Result<Pieces<'a>, Error> {
        let body = request::body(&self.model, &request, true)?;
        let answering = self.endpoint.send(&request, body, true).await?;
        if !endpoint::is_json(&answering.response) {
            return Ok(events::pieces(answering, Assembly::new(&self.model), request).boxed());
        }
        let (reasoning, answer) = self.whole(answering, &request).await?;
        let reasoning = Some(reasoning).filter(|text| !text.is_empty()).map(Piece::Reasoning);
        Ok(stream::iter(reasoning.into_iter().chain(Piece::all_of(answer)).map(Ok)).boxed())
    }

    /// A whole answer, and the reasoning that came with it.
    async fn whole(
        &self,
        answering: Answering<'_>,
        request: &Request<'_>,
    ) -> Result<(String, Answer), Error> {
        let Answering { response, mut attempt } = answering;
        let body = endpoint::read(response).await?;
        let answer = answer::whole(&body, Assembly::new(&self.model), request, &mut attempt)?;
        attempt.settle();
        Ok(answer)
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
