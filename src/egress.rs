//! The only place that builds HTTP clients.
//!
//! They speak hyper's HTTP, which does no more than it is told: it follows no redirect, sends no referer, keeps no cookie
//! and asks no proxy of the environment. Clients share connections, never headers: each request brings its own. Where a
//! registration has roots, a certificate or a proxy of its own, its connections are its own, too, shared only with those
//! that have the very same ([`Profile`]).
//!
//! A connection of HTTP/1 belongs to one request at a time, and whoever makes that request polls it ([`own`]): no task
//! stands between, which would be woken for each request, each answer and each part of its body. One of HTTP/2 has a task,
//! and all requests share it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::USER_AGENT, uri::InvalidUri};
use parking_lot::Mutex;
use thiserror::Error;
use url::{Host, Url};

mod body;
mod connector;
mod origin;
mod own;
mod route;
mod shared;
mod socket;
mod wakes;

pub use body::{Body, BodyError, read_capped};
use connector::Connector;
pub use connector::{connector, tls_error};
use origin::Origins;
pub use route::{Authorization, Proxy, Route};

const WHO_WE_ARE: HeaderValue = HeaderValue::from_static(concat!("runwright/", env!("CARGO_PKG_VERSION")));

/// Why there is no client.
#[derive(Debug, Error)]
pub enum Error {
    /// The TLS backend can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// A URL that HTTP has no form for.
    #[error("a URL can't be requested: {0}")]
    Url(#[from] InvalidUri),
}

/// Why a request has no answer. The underlying errors are not told: their texts have the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no connection: nothing was sent.
    #[error("no connection could be made")]
    Connect,
    /// The connection fails before the answer begins.
    #[error("the connection failed before it answered")]
    Broken,
}

/// What makes connections differ. Registrations with the same profile share a client and its connections.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The longest time for a connection to be made, a proxy and TLS included.
    pub connect_timeout: Duration,
    /// The way to the server.
    pub route: Route,
}

/// The clients, one for each profile.
#[derive(Default)]
pub struct Egress {
    /// Those that somebody has: a reload may have left no use for some.
    clients: Mutex<HashMap<Profile, Weak<Origins>>>,
}

/// Sends requests over connections that it keeps for the next ones.
#[derive(Clone)]
pub struct Client(Arc<Origins>);

impl Egress {
    /// The client of a profile.
    ///
    /// # Errors
    /// The TLS backend can't be set up.
    pub fn client(&self, profile: Profile) -> Result<Client, Error> {
        let mut clients = self.clients.lock();
        clients.retain(|_, origins| origins.strong_count() > 0);
        if let Some(origins) = clients.get(&profile).and_then(Weak::upgrade) {
            return Ok(Client(origins));
        }
        let connector = Connector::new(profile.route.clone())?;
        let origins = Arc::new(Origins::new(connector, profile.connect_timeout));
        clients.insert(profile, Arc::downgrade(&origins));
        Ok(Client(origins))
    }
}

impl Client {
    /// Sends a request, and waits for the answer's headers. To drop the future, or the body, is to drop the request.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Body>, SendError> {
        request.headers_mut().insert(USER_AGENT, WHO_WE_ARE);
        let origin = self.0.of(request.uri()).ok_or(SendError::Connect)?;
        origin.send(request).await
    }
}

/// What requests to a URL name.
///
/// # Errors
/// HTTP has no form for it.
pub fn uri(url: &Url) -> Result<Uri, Error> {
    Ok(url.as_str().parse()?)
}

/// Whether a URL leads to this machine alone, whatever its port.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
