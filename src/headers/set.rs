//! One layer's headers, checked.

use http::HeaderName;

use super::{SecretValue, rules, rules::Refusal};

/// Headers to set and names to take away: one layer of [`super::merge`]. Every name and value has passed
/// [`super::rules`]. A registered layer has, in place of values, where they come from.
#[derive(Clone)]
pub struct HeaderSet<V = SecretValue> {
    headers: Vec<Header<V>>,
    remove: Vec<HeaderName>,
}

/// A header of a set.
#[derive(Clone)]
pub struct Header<V = SecretValue> {
    /// The name, in lower case.
    pub name: HeaderName,
    /// The value, or where it comes from.
    pub value: V,
    /// Whether values of that name are secret, also those that a layer above has in its place.
    pub secret: bool,
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

    /// The bytes of all names and values, for [`rules::MAX_RUN_BYTES`].
    pub fn size(&self) -> usize {
        let header = |header: &Header| header.name.as_str().len() + header.value.as_bytes().len();
        let headers = self.headers.iter().map(header);
        headers.chain(self.remove.iter().map(|name| name.as_str().len())).sum()
    }

    fn insert(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let name = rules::check_name(name)?;
        let value = SecretValue::parse(value)?;
        if self.sets(&name) {
            return Err(Refusal::RepeatedName);
        }
        self.headers.push(Header { name, value, secret: false });
        Ok(())
    }

    fn insert_removal(&mut self, name: &str) -> Result<(), Refusal> {
        let name = rules::check_name(name)?;
        if self.sets(&name) {
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
    pub fn from_checked(headers: impl IntoIterator<Item = Header<V>>) -> Self {
        Self { headers: headers.into_iter().collect(), remove: Vec::new() }
    }

    /// The headers to set.
    pub fn headers(&self) -> &[Header<V>] {
        &self.headers
    }

    /// The names to take away.
    pub fn removed(&self) -> &[HeaderName] {
        &self.remove
    }

    /// Keeps the headers and removals that `keep` says, which is told the name and whether it stands in `remove`.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, bool) -> bool) {
        self.headers.retain(|header| keep(&header.name, false));
        self.remove.retain(|name| keep(name, true));
    }

    /// Whether it has a value for a name.
    pub fn sets(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|header| header.name == *name)
    }

    /// The same set with other values.
    pub fn map<W>(self, value: impl Fn(V) -> W) -> HeaderSet<W> {
        let map = |Header { name, value: old, secret }| Header { name, value: value(old), secret };
        let headers = self.headers.into_iter().map(map);
        HeaderSet { headers: headers.collect(), remove: self.remove }
    }
}

impl<V> Default for HeaderSet<V> {
    fn default() -> Self {
        Self { headers: Vec::new(), remove: Vec::new() }
    }
}
