//! Tokens that somebody issues for a time: kept, renewed before they expire, and fetched by one request at a time.
//!
//! Nothing is fetched before a first run needs it. From then on a run finds the token there: when a fifth of its life is
//! left, or 5 minutes if that is less, the next to look at it starts to renew it in the background and goes on with the
//! old one. Only where there is none, or it has expired, does a run wait, and all wait for the same fetch, which is a
//! task of its own: a run that leaves takes nothing from the others. A fetch that fails is an error to those who wait
//! for it and to those who come within the next second; then the next one tries again.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::warn;

use super::error::{Asked, Fault, SourceError};
use crate::headers::SecretValue;

#[cfg(test)]
mod tests;

/// How long a token is kept whose issuer does not say how long it lives.
const ASSUMED_LIFE: Duration = Duration::from_secs(5 * 60);
/// The longest life that a token is taken to have, whatever its issuer says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a token is used at least, even if it arrives expired: those who wait for it have nothing better.
const LEAST_USE: Duration = Duration::from_secs(1);
/// A token is renewed when this is left of its life, or a fifth of it, whichever is less.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// How long a fetch takes at most, all its requests together.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a failed fetch is not repeated, where there is no token.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a failed renewal is not repeated, while the old token is still good.
const RENEW_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often a token is given up at most because a server refused it.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What fetches tokens.
pub trait Fetch: Send + Sync {
    /// Fetches a new token.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>>;
}

/// A token as it was issued.
pub struct Fetched {
    /// The token.
    pub token: String,
    /// How long it lives, from when it was asked for; `None`: the issuer does not say.
    pub life: Option<Duration>,
}

/// A source of tokens. Clones share the token.
#[derive(Clone)]
pub struct TokenSource(Arc<Kept>);

/// A source of tokens that is there as long as somebody else holds it.
pub struct WeakTokenSource(Weak<Kept>);

struct Kept {
    /// Where it is configured, for the log.
    place: String,
    prefix: String,
    issuer: Box<dyn Fetch>,
    state: Mutex<State>,
    /// Whose turn it is to fetch.
    turn: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    failure: Option<(Instant, SourceError)>,
    given_up: Option<Instant>,
    /// Whether the token was given up: it is used again only where there is no other.
    stale: bool,
}

struct Token {
    value: SecretValue,
    renew: Instant,
    expires: Instant,
}

type Turn = OwnedMutexGuard<()>;

impl TokenSource {
    /// A source of what `issuer` fetches, with `prefix` in front of it. `place` is where it is configured, for the log.
    pub fn new(place: String, prefix: String, issuer: impl Fetch + 'static) -> Self {
        let (state, turn) = (Mutex::default(), Arc::default());
        Self(Arc::new(Kept { place, prefix, issuer: Box::new(issuer), state, turn }))
    }

    /// The same source, which does not hold it.
    pub fn downgrade(&self) -> WeakTokenSource {
        WeakTokenSource(Arc::downgrade(&self.0))
    }

    /// The token, if there is one that has not expired. It is renewed in the background when that is due.
    pub fn ready(&self) -> Option<SecretValue> {
        let (value, renew) = self.0.state.lock().current()?;
        if renew {
            self.renew();
        }
        Some(value)
    }

    /// The token; waits until it is fetched.
    ///
    /// # Errors
    /// The fetch failed, this one or another within the last second.
    pub async fn value(&self) -> Result<SecretValue, SourceError> {
        if let Some(known) = self.known() {
            return known;
        }
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        // Whoever had the turn before may have fetched it.
        if let Some(known) = self.known() {
            return known;
        }
        self.fetch(turn).await.unwrap_or(Err(Asked::Source.failed(Fault::Aborted)))
    }

    /// Gives the token up if it is this one, so that the next one to need it fetches another, unless that happened lately.
    pub fn refused(&self, value: &SecretValue) {
        self.0.state.lock().give_up(value);
    }

    /// What needs no waiting: the token, or that it could not be fetched a moment ago.
    fn known(&self) -> Option<Result<SecretValue, SourceError>> {
        let failed = || self.0.state.lock().failed_within(RETRY_AFTER);
        self.ready().map(Ok).or_else(|| failed().map(Err))
    }

    /// Renews the token in the background, unless somebody does already.
    fn renew(&self) {
        let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() else { return };
        if Handle::try_current().is_ok() {
            self.fetch(turn);
        }
    }

    /// Fetches a token in a task of its own, which ends with [`FETCH_TIMEOUT`].
    fn fetch(&self, turn: Turn) -> JoinHandle<Result<SecretValue, SourceError>> {
        let kept = Arc::clone(&self.0);
        tokio::spawn(async move {
            let _turn = turn;
            kept.fetch().await
        })
    }
}

impl WeakTokenSource {
    /// The source, if it is still there.
    pub fn upgrade(&self) -> Option<TokenSource> {
        self.0.upgrade().map(TokenSource)
    }
}

impl Kept {
    async fn fetch(&self) -> Result<SecretValue, SourceError> {
        let asked = Instant::now();
        let fetched = timeout(FETCH_TIMEOUT, self.issuer.fetch()).await;
        let fetched = fetched.unwrap_or(Err(Asked::Source.failed(Fault::TimedOut)));
        let token = fetched.and_then(|fetched| self.token(&fetched, asked));
        let mut state = self.state.lock();
        match token {
            Ok(token) => {
                let value = token.value.clone();
                *state = State { token: Some(token), failure: None, stale: false, ..*state };
                Ok(value)
            }
            Err(error) => {
                state.failure = Some((Instant::now(), error));
                // One that some server refused is better than none.
                state.stale = false;
                if state.current().is_some() {
                    // Nobody waits for it, so nobody else tells.
                    warn!(source = %self.place, %error, "A token can't be renewed; the old one is used until it expires");
                }
                Err(error)
            }
        }
    }

    fn token(&self, fetched: &Fetched, asked: Instant) -> Result<Token, SourceError> {
        let value = SecretValue::parse(&format!("{}{}", self.prefix, fetched.token));
        let value = value.map_err(|_| Asked::Source.failed(Fault::Unusable))?;
        let life = fetched.life.unwrap_or(ASSUMED_LIFE).min(LONGEST_LIFE);
        let least = Instant::now() + LEAST_USE;
        let renew = (asked + life - RENEW_BEFORE.min(life / 5)).max(least);
        let expires = (asked + life).max(least);
        Ok(Token { value, renew, expires })
    }
}

impl State {
    /// The token, and whether it is to be renewed now.
    fn current(&self) -> Option<(SecretValue, bool)> {
        let now = Instant::now();
        let token = self.token.as_ref().filter(|token| now < token.expires && !self.stale)?;
        let renew = now >= token.renew && self.failed_within(RENEW_AGAIN_AFTER).is_none();
        Some((token.value.clone(), renew))
    }

    fn failed_within(&self, time: Duration) -> Option<SourceError> {
        self.failure.filter(|(at, _)| at.elapsed() < time).map(|(_, error)| error)
    }

    fn give_up(&mut self, refused: &SecretValue) {
        let is_current =
            self.token.as_ref().is_some_and(|token| token.value.as_bytes() == refused.as_bytes());
        let lately = self.given_up.is_some_and(|at| at.elapsed() < REFUSED_AGAIN_AFTER);
        if is_current && !lately {
            self.stale = true;
            self.given_up = Some(Instant::now());
        }
    }
}
