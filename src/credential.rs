//! Where configured values come from: a literal, the environment, a file that is read again when it changes, or who
//! issues tokens.
//!
//! Some values have to be waited for, so headers are merged with their sources in place of values ([`Planned`]), and only
//! those that win are asked ([`resolve`]): a source that fails, fails only the runs that need it.

mod error;
mod file;
mod google;
mod http;
mod oauth;
#[cfg(test)]
pub mod tests;
mod token;

use futures_util::future::try_join_all;

use crate::headers::{Applied, DigestKey, Header, HeaderSet, Merged, SecretValue, rules::Refusal};
pub use error::SourceError;
pub use file::FileSource;
pub use google::GoogleIdToken;
pub use http::Http;
pub use oauth::{
    Algorithm, Authority, ClientCredentials, KeyError, KeySource, PrivateKey, Proof, Resource, SigningKey,
    canonical_url,
};
pub use token::{TokenSource, WeakTokenSource};

/// The source of one value, such as a registered header's or a model's key.
#[derive(Clone)]
pub enum Source {
    /// A value that does not change: a literal, or one from the environment.
    Fixed(SecretValue),
    /// A file's content.
    File(FileSource),
    /// A token that is issued for a time.
    Token(TokenSource),
}

/// Registered headers: names, each with the source of its value.
#[derive(Clone, Default)]
pub struct Headers(HeaderSet<Source>);

/// What one MCP server is to be sent, when the values that win have been asked for.
pub type Planned = Merged<Source>;

impl Source {
    /// A value that does not change.
    ///
    /// # Errors
    /// The value may be no header's.
    pub fn fixed(text: &str) -> Result<Self, Refusal> {
        SecretValue::parse(text).map(Self::Fixed)
    }

    /// The value as of now, if it is there without waiting. A token that is near its end is renewed in the background.
    pub fn ready(&self) -> Option<SecretValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::File(file) => Some(file.current()),
            Self::Token(token) => token.ready(),
        }
    }

    /// The value as of now; waits for a token to be fetched.
    ///
    /// # Errors
    /// A token can't be fetched.
    pub async fn value(&self) -> Result<SecretValue, SourceError> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::File(file) => Ok(file.current()),
            Self::Token(token) => token.value().await,
        }
    }

    /// Whether it is a token, which everybody shares that the source is registered for.
    pub fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    /// Tells that a server refused a value of this source: a token that still is the current one is given up, so that the
    /// next [`Source::value`] fetches another. That happens at most every 10 s: a server that refuses everything is no
    /// reason to ask the issuer each time. A file is looked at anew.
    pub fn refused(&self, value: &SecretValue) {
        match self {
            Self::Fixed(_) => {}
            Self::File(file) => file.look_next_time(),
            Self::Token(token) => token.refused(value),
        }
    }
}

impl Headers {
    /// Registers headers; the names are checked and each stands once.
    pub fn new(headers: Vec<Header<Source>>) -> Self {
        Self(HeaderSet::from_checked(headers))
    }

    /// Adds a header; whether there was none of that name.
    pub fn add(&mut self, header: Header<Source>) -> bool {
        let is_new = !self.0.sets(&header.name);
        if is_new {
            let headers = self.0.headers().iter().cloned().chain([header]);
            self.0 = HeaderSet::from_checked(headers.collect::<Vec<_>>());
        }
        is_new
    }

    /// The names, in lower case, in the configured order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.headers().iter().map(|header| header.name.as_str())
    }

    /// The headers as a layer to be merged.
    pub fn layer(&self) -> &HeaderSet<Source> {
        &self.0
    }

    /// The headers whose values are there without waiting.
    pub fn current(&self) -> HeaderSet {
        let ready = |Header { name, value, secret }: &Header<Source>| {
            Some(Header { name: name.clone(), value: value.ready()?, secret: *secret })
        };
        HeaderSet::from_checked(self.0.headers().iter().filter_map(ready))
    }
}

/// The headers with their values, which may have to be waited for.
///
/// # Errors
/// A source fails.
pub async fn resolve(planned: &Planned) -> Result<Merged, SourceError> {
    let ready: Option<Vec<_>> = planned.headers().iter().map(|header| header.value.ready()).collect();
    if let Some(values) = ready {
        return Ok(planned.with_values(values));
    }
    let values = planned.headers().iter().map(|header| header.value.value());
    Ok(planned.with_values(try_join_all(values).await?))
}

/// What may be shown of headers; the digest of a value that is not there yet is empty.
pub fn applied(planned: &Planned, key: &DigestKey) -> Applied {
    planned.applied_as(key, Source::ready)
}
