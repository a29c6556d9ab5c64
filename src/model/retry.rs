//! Asks a model again whose failure may pass.
//!
//! There are at most two more tries, as the providers' own clients have it. Each waits for as long as the provider says,
//! to the letter, or else for a random time that is twice as long at most as before: so those that failed together do not
//! come back together. A wait that leaves no time for an answer is not begun, and one that the provider wants to be long
//! is its caller's to decide on: the failure is given back at once, with what the provider said.
//!
//! What was passed on can't be taken back: a stream is begun again only as long as it has given nothing.

use std::time::Duration;

use futures_util::{
    FutureExt, StreamExt, TryFutureExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{Answer, Endpoint, Error, Model, Piece, Prospect, Request};

#[cfg(test)]
mod tests;

/// How often a model is asked again.
const MAX_RETRIES: u32 = 2;
/// The longest time before the first retry, if the provider names none; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// What it doubles to at most.
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// The longest time that a provider is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// What a wait leaves of a run's time at least: less is no time for an answer.
const LEAST_LEFT: Duration = Duration::from_secs(1);

/// A model that is asked again if its failure may pass.
pub struct Retrying<M>(pub M);

/// The tries for one answer.
struct Tries<'a> {
    model: &'a str,
    deadline: Instant,
    retries: u32,
}

impl<M: Model> Retrying<M> {
    fn tries(&self, request: &Request<'_>) -> Tries<'_> {
        Tries { model: self.0.model(), deadline: request.deadline, retries: 0 }
    }

    async fn answer(&self, request: Request<'_>) -> Result<Answer, Error> {
        let mut tries = self.tries(&request);
        loop {
            match self.0.complete(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => tries.wait_after(error).await?,
            }
        }
    }

    /// The pieces of the first try that gives one.
    async fn begun<'a>(&'a self, request: Request<'a>) -> Result<BoxStream<'a, Result<Piece, Error>>, Error> {
        let mut tries = self.tries(&request);
        loop {
            let mut pieces = self.0.stream(request);
            match pieces.next().await {
                Some(Err(error)) => tries.wait_after(error).await?,
                first => return Ok(stream::iter(first).chain(pieces).boxed()),
            }
        }
    }
}

impl<M: Model> Model for Retrying<M> {
    fn provider(&self) -> &'static str {
        self.0.provider()
    }

    fn model(&self) -> &str {
        self.0.model()
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.0.endpoint()
    }

    fn complete<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        self.answer(request).boxed()
    }

    fn stream<'a>(&'a self, request: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        self.begun(request).boxed().try_flatten_stream().boxed()
    }
}

impl Tries<'_> {
    /// Waits until the model may be asked again.
    ///
    /// # Errors
    /// The failure itself: it does not pass, or not in time.
    async fn wait_after(&mut self, error: Error) -> Result<(), Error> {
        let Prospect::Passing { retry_after } = error.prospect() else { return Err(error) };
        let wait = retry_after.unwrap_or_else(|| backoff(self.retries, jitter()));
        let too_long = retry_after.is_some_and(|wait| wait > MAX_RETRY_AFTER);
        let too_late = Instant::now() + wait + LEAST_LEFT > self.deadline;
        if self.retries == MAX_RETRIES || too_long || too_late {
            return Err(error);
        }
        self.retries += 1;
        let Self { model, retries, .. } = self;
        warn!(model, %error, retry = *retries, ?wait, "The model failed and is asked again");
        sleep(wait).await;
        Ok(())
    }
}

/// How long to wait after a number of retries; `jitter` is from 0 to 1.
fn backoff(retries: u32, jitter: f64) -> Duration {
    let longest = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(retries)).min(MAX_BACKOFF);
    longest.mul_f64(jitter)
}

/// A random share, 0 to 1; without random bits, all.
fn jitter() -> f64 {
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}
