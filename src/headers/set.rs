//! One layer's headers, checked.

use http::HeaderName;

use super::{SecretValue, rules, rules::Refusal};

/// Headers to set and names to take away: one layer of [`super::merge`]. Every name and value has passed
/// [`super::rules`]. A registered layer has, in place of values, where they come from.
#[derive(Clone)]
pub struct HeaderSet<V = SecretValue> {
    headers: Vec<(HeaderName, V)>,
    remove: Vec<HeaderName>,
}

/// The most headers, and the most removals, of one set that are looked at: a set that has more is refused whatever they
/// are, and a request could hold hundreds of thousands.
const MAX_CHECKED: usize = 256;

/// A header that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name as it was given; empty where the whole set is refused.
    pub header: String,
    /// Whether it stands in `remove`.
    pub in_remove: bool,
    /// Why.
    pub refusal: Refusal,
}

impl HeaderSet {
    /// Takes a set as it was given. The set that comes back has what is right; the problems are all of what is not.
    pub fn parse<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        remove: impl IntoIterator<Item = &'a str>,
    ) -> (Self, Vec<Problem>) {
        let mut set = Self::default();
        let mut problems = Vec::new();
        let mut refuse = |header: &str, in_remove, refusal| {
            problems.push(Problem { header: header.to_owned(), in_remove, refusal });
        };
        let (mut headers, mut remove) = (headers.into_iter(), remove.into_iter());
        let mut names = 0;
        for (name, value) in headers.by_ref().take(MAX_CHECKED) {
            names += 1;
            if let Err(refusal) = set.insert(name, value) {
                refuse(name, false, refusal);
            }
        }
        for name in remove.by_ref().take(MAX_CHECKED) {
            names += 1;
            if let Err(refusal) = set.insert_removal(name) {
                refuse(name, true, refusal);
            }
        }
        if names > rules::MAX_HEADERS {
            refuse("", false, Refusal::TooManyHeaders);
        }
        (set, problems)
    }

    /// The same set with these of its headers alone.
    pub fn with_headers(self, headers: Vec<(HeaderName, SecretValue)>) -> Self {
        Self { headers, ..self }
    }

    /// The bytes of all names and values, for [`rules::MAX_RUN_BYTES`].
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.as_bytes().len());
        headers.chain(self.remove.iter().map(|name| name.as_str().len())).sum()
    }

    fn insert(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let name = rules::check_name(name)?;
        let value = SecretValue::parse(value)?;
        if self.headers.iter().any(|(present, _)| *present == name) {
            return Err(Refusal::RepeatedName);
        }
        self.headers.push((name, value));
        Ok(())
    }

    fn insert_removal(&mut self, name: &str) -> Result<(), Refusal> {
        let name = rules::check_name(name)?;
        if self.headers.iter().any(|(present, _)| *present == name) {
            return Err(Refusal::SetAndRemoved);
        }
        if !self.remove.contains(&name) {
            self.remove.push(name);
        }
        Ok(())
    }
}

impl<V> HeaderSet<V> {
    /// A set of headers that are checked already, as a registration's are; a later one of a name replaces an earlier.
    pub fn from_checked(headers: impl IntoIterator<Item = (HeaderName, V)>) -> Self {
        Self { headers: headers.into_iter().collect(), remove: Vec::new() }
    }

    /// The headers to set.
    pub fn headers(&self) -> &[(HeaderName, V)] {
        &self.headers
    }

    /// The names to take away.
    pub fn removed(&self) -> &[HeaderName] {
        &self.remove
    }

    /// The same set with other values.
    pub fn map<W>(self, value: impl Fn(V) -> W) -> HeaderSet<W> {
        let headers = self.headers.into_iter().map(|(name, old)| (name, value(old)));
        HeaderSet { headers: headers.collect(), remove: self.remove }
    }
}

impl<V> Default for HeaderSet<V> {
    fn default() -> Self {
        Self { headers: Vec::new(), remove: Vec::new() }
    }
}
