//! Where configured values come from: a literal, the environment, a file that is read again when it changes.

mod file;

use http::HeaderName;

use crate::headers::{self, HeaderSet, SecretValue, rules::Refusal};
pub use file::{FileError, FileSource};

/// The source of one value, such as a registered header's or a model's key.
#[derive(Clone)]
pub enum Source {
    /// A value that does not change: a literal, or one from the environment.
    Fixed(SecretValue),
    /// A file's content.
    File(FileSource),
}

/// Registered headers.
#[derive(Clone, Default)]
pub struct Headers(Vec<Header>);

/// A registered header.
#[derive(Clone)]
pub struct Header {
    /// The name, in lower case.
    pub name: HeaderName,
    /// The source of its value.
    pub source: Source,
    /// Whether values of that name are secret, also those that a layer above has in its place.
    pub secret: bool,
}

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
}

impl Headers {
    /// Registers headers; the names are checked and each stands once.
    pub fn new(headers: Vec<Header>) -> Self {
        Self(headers)
    }

    /// The names, in lower case, in the configured order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|header| header.name.as_str())
    }

    /// The headers with their values as of now.
    pub fn current(&self) -> HeaderSet {
        let current = |Header { name, source, secret }: &Header| headers::Header {
            name: name.clone(),
            value: source.current(),
            secret: *secret,
        };
        HeaderSet::from_checked(self.0.iter().map(current))
    }
}
