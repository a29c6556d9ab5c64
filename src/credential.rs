//! Where configured values come from: a literal, the environment, a file that is read again when it changes.
//!
//! Some values have to be waited for, so headers are merged with their sources in place of values ([`Planned`]), and only
//! those that win are asked ([`resolve`]): a source that fails, fails only the runs that need it.

mod file;

use http::HeaderName;
use thiserror::Error;

use crate::headers::{Applied, DigestKey, HeaderSet, Merged, SecretValue, rules::Refusal};
pub use file::{FileError, FileSource};

/// The source of one value, such as a registered header's or a model's key.
#[derive(Clone)]
pub enum Source {
    /// A value that does not change: a literal, or one from the environment.
    Fixed(SecretValue),
    /// A file's content.
    File(FileSource),
}

/// Why a source gives no value. Our own words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SourceError(pub String);

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

    /// The value as of now.
    pub fn current(&self) -> SecretValue {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::File(file) => file.current(),
        }
    }

    /// The value, if it is there without waiting.
    pub fn ready(&self) -> Option<SecretValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::File(file) => Some(file.current()),
        }
    }

    /// The value, which may have to be waited for.
    ///
    /// # Errors
    /// The source fails.
    pub async fn value(&self) -> Result<SecretValue, SourceError> {
        Ok(self.current())
    }

    /// Takes note that a server refused a value, so that the next one may be another.
    pub fn refused(&self, _value: &SecretValue) {
        match self {
            Self::Fixed(_) => {}
            Self::File(file) => file.look_next_time(),
        }
    }
}

impl Headers {
    /// Registers headers; the names are checked and each stands once.
    pub fn new(headers: Vec<(HeaderName, Source)>) -> Self {
        Self(HeaderSet::from_checked(headers))
    }

    /// The names, in lower case, in the configured order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.headers().iter().map(|(name, _)| name.as_str())
    }

    /// The headers as a layer to be merged.
    pub fn layer(&self) -> &HeaderSet<Source> {
        &self.0
    }

    /// The headers with the values that are there.
    pub fn current(&self) -> HeaderSet {
        let headers = self.0.headers().iter();
        HeaderSet::from_checked(headers.filter_map(|(name, source)| Some((name.clone(), source.ready()?))))
    }
}

/// The headers with their values, which may have to be waited for.
///
/// # Errors
/// A source fails.
pub async fn resolve(planned: &Planned) -> Result<Merged, SourceError> {
    if let Ok(merged) = planned.try_map(|source| source.ready().ok_or(())) {
        return Ok(merged);
    }
    let values = planned.headers().iter().map(|header| header.value.value());
    let mut values = futures_util::future::try_join_all(values).await?.into_iter();
    let lost = || SourceError("a value was lost".to_owned());
    planned.try_map(|_| values.next().ok_or_else(lost))
}

/// What may be shown of headers; the digest of a value that is not there yet is empty.
pub fn applied(planned: &Planned, key: &DigestKey) -> Applied {
    planned.applied_as(key, Source::ready)
}
