//! The way to a server: whom to believe, who to be, and through which proxy.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use http::{HeaderValue, Uri};

use crate::tls::{Identity, Roots};

/// The way to a server. By default: straight, and with the platform's roots.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// Who signs the server's certificate, in place of the platform's roots.
    pub roots: Option<Roots>,
    /// The certificate that a server which asks for one is shown.
    pub identity: Option<Identity>,
    /// What connections go through.
    pub proxy: Option<Proxy>,
}

/// An HTTP proxy, which is asked for a tunnel (`CONNECT`, RFC 9110 section 9.3.6) to every server, one without TLS too: it
/// learns the server's name and port, and of TLS only what anybody on the way sees.
#[derive(Clone)]
pub struct Proxy {
    /// `http`, with a host.
    pub uri: Uri,
    /// What the proxy wants in `Proxy-Authorization`.
    pub authorization: Option<Authorization>,
}

/// The value of a header as of now.
pub type Authorization = Arc<dyn Fn() -> Option<HeaderValue> + Send + Sync>;

/// Two with an authorization are equal only if it is the very same: values are not compared.
impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.authorization, &other.authorization) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same && self.uri == other.uri
    }
}

impl Eq for Proxy {}

impl Hash for Proxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}
