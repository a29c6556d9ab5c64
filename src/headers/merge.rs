//! The place where headers merge.

use http::{HeaderMap, HeaderName};

use super::{DigestKey, Header, HeaderSet, SecretValue, rules};

/// Where a header came from, from the lowest layer to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The MCP server's registration.
    Server,
    /// The agent's own headers for that server.
    Agent,
    /// The request's `mcp_headers`.
    Run,
    /// The request's `per_run_mcp_headers` for that server.
    RunServer,
}

/// What one MCP server is sent in one run: every request of the run to it carries exactly this. While it is planned, values
/// may be sources that still have to give them.
#[derive(Clone)]
pub struct Merged<V = SecretValue> {
    /// Sorted by name; each name once.
    headers: Vec<MergedHeader<V>>,
    /// Sorted; none of them is in `headers`.
    removed: Vec<HeaderName>,
}

/// One header that won.
#[derive(Clone)]
pub struct MergedHeader<V = SecretValue> {
    /// The name, in lower case.
    pub name: HeaderName,
    /// The value.
    pub value: V,
    /// The layer that it came from.
    pub layer: Layer,
    /// Whether the value is secret: the name is a credential's, or this layer or one below says so.
    pub secret: bool,
}

/// [`Merged`] as it may be shown: names, layers and digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The headers, sorted by name.
    pub headers: Vec<AppliedHeader>,
    /// The names that a layer took away and that are not sent, sorted.
    pub removed: Vec<String>,
}

/// A header as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedHeader {
    /// The name, in lower case.
    pub name: String,
    /// The layer that it came from.
    pub layer: Layer,
    /// See [`DigestKey::value_digest`]; empty where the value is not there yet.
    pub digest: String,
}

/// Merges layers, given from the lowest to the highest.
pub fn merge<'a, V: Clone + 'a>(layers: impl IntoIterator<Item = (Layer, &'a HeaderSet<V>)>) -> Merged<V> {
    let mut merged = Merged::default();
    // They stay so in the layers above, even where a layer between takes the header away.
    let mut secret: Vec<&HeaderName> = Vec::new();
    for (layer, set) in layers {
        for name in set.removed() {
            merged.remove(name);
        }
        for Header { name, value, secret: said } in set.headers() {
            if *said {
                secret.push(name);
            }
            let secret = secret.contains(&name) || rules::is_credential(name.as_str());
            merged.set(MergedHeader { name: name.clone(), value: value.clone(), layer, secret });
        }
    }
    merged
}

impl Merged {
    /// The headers for an HTTP request.
    pub fn to_header_map(&self) -> HeaderMap {
        self.headers.iter().map(|header| (header.name.clone(), header.value.as_header().clone())).collect()
    }

    /// What may be shown of them.
    pub fn applied(&self, key: &DigestKey) -> Applied {
        self.applied_as(key, |value| Some(value.clone()))
    }
}

impl<V> Merged<V> {
    /// The headers, sorted by name.
    pub fn headers(&self) -> &[MergedHeader<V>] {
        &self.headers
    }

    /// The header of a lower-case name.
    pub fn get(&self, name: &str) -> Option<&MergedHeader<V>> {
        self.position(name).ok().map(|at| &self.headers[at])
    }

    /// What may be shown of them, where `value` gives the values that are there.
    pub fn applied_as(&self, key: &DigestKey, value: impl Fn(&V) -> Option<SecretValue>) -> Applied {
        let digest = |header: &MergedHeader<V>| Some(key.value_digest(&header.name, &value(&header.value)?));
        let headers = self.headers.iter().map(|header| AppliedHeader {
            name: header.name.as_str().to_owned(),
            layer: header.layer,
            digest: digest(header).unwrap_or_default(),
        });
        let removed = self.removed.iter().map(|name| name.as_str().to_owned());
        Applied { headers: headers.collect(), removed: removed.collect() }
    }

    /// The same headers with other values, one for each, in their order.
    pub fn with_values<W>(&self, values: impl IntoIterator<Item = W>) -> Merged<W> {
        let headers = self.headers.iter().zip(values).map(|(old, value)| {
            let MergedHeader { layer, secret, .. } = *old;
            MergedHeader { name: old.name.clone(), value, layer, secret }
        });
        Merged { headers: headers.collect(), removed: self.removed.clone() }
    }

    fn set(&mut self, header: MergedHeader<V>) {
        self.removed.retain(|removed| *removed != header.name);
        match self.position(header.name.as_str()) {
            Ok(at) => self.headers[at] = header,
            Err(at) => self.headers.insert(at, header),
        }
    }

    fn remove(&mut self, name: &HeaderName) {
        if let Ok(at) = self.position(name.as_str()) {
            self.headers.remove(at);
            let at = self.removed.partition_point(|removed| removed.as_str() < name.as_str());
            self.removed.insert(at, name.clone());
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.headers.binary_search_by(|header| header.name.as_str().cmp(name))
    }
}

impl<V> Default for Merged<V> {
    fn default() -> Self {
        Self { headers: Vec::new(), removed: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
