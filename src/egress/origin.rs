//! Where requests go, and the connections that are kept to there.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::HOST, uri::Scheme};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::{
    Body, SendError,
    connector::Connector,
    own::{Own, Unanswered},
    shared::Shared,
    socket::Socket,
};

/// Node.js and uvicorn close idle connections after 5 s; a request must not meet that.
const POOL_IDLE: Duration = Duration::from_secs(4);
/// How old a connection may be that takes a request. By then a certificate of ours that was withdrawn, and an address that its
/// name no longer has, are out of use.
pub(super) const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// The origins of one client, by scheme and authority.
pub(super) struct Origins {
    connector: Connector,
    connect_timeout: Duration,
    plain: Mutex<HashMap<Box<str>, Arc<Origin>>>,
    secure: Mutex<HashMap<Box<str>, Arc<Origin>>>,
}

/// An origin, and the connections to it that are kept.
pub(super) struct Origin {
    uri: Uri,
    host: HeaderValue,
    connector: Connector,
    connect_timeout: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Idle ones of HTTP/1, who became idle last at the end.
    idle: Vec<(Instant, Own<Socket>)>,
    /// One of HTTP/2.
    shared: Option<Shared>,
    /// Whether somebody closes those that are idle for too long.
    swept: bool,
}

/// A connection of HTTP/1 that can be given back.
pub(super) struct Idle {
    own: Own<Socket>,
    origin: Arc<Origin>,
}

/// A new connection, as the other side wants to speak.
enum Connected {
    Own(Own<Socket>),
    Shared(Shared),
}

impl Origins {
    pub(super) fn new(connector: Connector, connect_timeout: Duration) -> Self {
        Self { connector, connect_timeout, plain: Mutex::default(), secure: Mutex::default() }
    }

    /// The origin of a URL; `None`: it has none.
    pub(super) fn of(&self, uri: &Uri) -> Option<Arc<Origin>> {
        let origins = if *uri.scheme()? == Scheme::HTTPS { &self.secure } else { &self.plain };
        let mut origins = origins.lock();
        let authority = uri.authority()?.as_str();
        if let Some(origin) = origins.get(authority) {
            return Some(origin.clone());
        }
        let origin = Arc::new(Origin {
            uri: uri.clone(),
            host: host(uri)?,
            connector: self.connector.clone(),
            connect_timeout: self.connect_timeout,
            kept: Mutex::default(),
        });
        origins.insert(authority.into(), origin.clone());
        Some(origin)
    }
}

impl Origin {
    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(self: Arc<Self>, request: Request<Bytes>) -> Result<Response<Body>, SendError> {
        let mut request = request.map(Full::new);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        // A kept connection may turn out to be closed before it takes the request; then there is another one.
        while let Some(kept) = self.kept() {
            match self.send_over(kept, request).await {
                Err(Unanswered::Untaken(untaken)) => request = *untaken,
                answer => return answer.map_err(|_| SendError::Broken),
            }
        }
        // Boxed, since to connect takes a large future, and most requests find a connection.
        let connected = Box::pin(timeout(self.connect_timeout, self.connect()));
        let connected = connected.await.unwrap_or(Err(SendError::Connect))?;
        self.send_over(connected, request).await.map_err(|unanswered| match unanswered {
            Unanswered::Untaken(_) => SendError::Connect,
            Unanswered::Broken => SendError::Broken,
        })
    }

    async fn send_over(
        self: &Arc<Self>,
        connection: Connected,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, Unanswered> {
        match connection {
            Connected::Own(own) => {
                request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
                let (own, response) = own.send(request).await?;
                let idle = Idle { own, origin: self.clone() };
                Ok(response.map(|body| Body::own(body, idle)))
            }
            Connected::Shared(shared) => {
                let mut whole = self.uri.clone().into_parts();
                whole.path_and_query = request.uri().path_and_query().cloned();
                *request.uri_mut() = Uri::from_parts(whole).unwrap_or_default();
                request.headers_mut().remove(HOST);
                Ok(shared.send(request).await?.map(Body::shared))
            }
        }
    }

    /// A connection that is kept and takes a request.
    fn kept(&self) -> Option<Connected> {
        loop {
            let (since, mut own) = {
                let mut kept = self.kept.lock();
                if let Some(shared) = kept.shared.as_ref().filter(|shared| shared.is_open()) {
                    return Some(Connected::Shared(shared.clone()));
                }
                kept.idle.pop()?
            };
            if since.elapsed() < POOL_IDLE && own.is_ready() {
                return Some(Connected::Own(own));
            }
        }
    }

    async fn connect(&self) -> Result<Connected, SendError> {
        let io = Socket::new(self.connector.connect(&self.uri).await?);
        if !io.wants_http2() {
            return Ok(Connected::Own(Own::begin(io).await?));
        }
        let new = Shared::begin(io).await?;
        let mut kept = self.kept.lock();
        // Another request may have made one meanwhile.
        let shared = kept.shared.take().filter(Shared::is_open).unwrap_or(new);
        kept.shared = Some(shared.clone());
        Ok(Connected::Shared(shared))
    }

    /// Closes what has been idle for too long, as long as there is something idle.
    async fn sweep(origin: Weak<Self>) {
        loop {
            sleep(POOL_IDLE).await;
            let Some(origin) = origin.upgrade() else { return };
            let mut kept = origin.kept.lock();
            kept.idle.retain(|(since, _)| since.elapsed() < POOL_IDLE);
            if kept.idle.is_empty() {
                kept.swept = false;
                return;
            }
        }
    }
}

impl Idle {
    pub(super) fn own(&mut self) -> &mut Own<Socket> {
        &mut self.own
    }

    /// Keeps the connection for the next request.
    pub(super) fn give_back(self) {
        let Self { own, origin } = self;
        // Where there is no runtime any more, nobody makes another request.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut kept = origin.kept.lock();
        kept.idle.push((Instant::now(), own));
        if !std::mem::replace(&mut kept.swept, true) {
            runtime.spawn(Origin::sweep(Arc::downgrade(&origin)));
        }
    }
}

/// What the `Host` header says: the port only where it is not the scheme's own.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let usual = if *uri.scheme()? == Scheme::HTTPS { 443 } else { 80 };
    let host = uri.host()?;
    match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{host}:{port}").try_into().ok(),
        None => host.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_a_port_only_where_it_is_not_the_usual_one() {
        let hosts = [
            ("http://a.example/x", "a.example"),
            ("http://a.example:80/x", "a.example"),
            ("http://a.example:443/x", "a.example:443"),
            ("https://a.example:443/x", "a.example"),
            ("https://[::1]:8443/x", "[::1]:8443"),
        ];
        for (uri, expected) in hosts {
            assert_eq!(host(&uri.parse().unwrap()).unwrap(), expected, "{uri}");
        }
    }
}
