//! Connections to servers, straight or through a proxy, with TLS where the URL wants it.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};
use hyper_rustls::{ConfigBuilderExt, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use rustls::{
    CertificateError, ClientConfig, Error as TlsError, pki_types::ServerName, sign::SingleCertAndKey,
};
use tokio::net::TcpStream;
use tower::Service;
use tracing::debug;

use super::{Error, Proxy, Route, SendError};
use crate::tls::{self, Following, Parts};

/// How long a connection is silent before it is asked whether there is still somebody.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// What is spoken over TLS, what is liked best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A connection.
pub(super) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections of one route.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    proxy: Option<Proxy>,
    tls: Arc<Following<ClientConfig>>,
}

/// What makes connections for those that bring their own HTTP, by a route without its proxy. A server's certificate is for
/// the `server_name`, or else for the host of its URL.
///
/// # Errors
/// The TLS backend can't be set up.
pub fn connector(
    route: Route,
    server_name: Option<ServerName<'static>>,
) -> Result<HttpsConnector<HttpConnector>, Error> {
    let Connector { tcp, tls, .. } = Connector::new(route)?;
    Ok(match server_name {
        Some(name) => {
            HttpsConnector::new(tcp, tls.current(), false, Arc::new(FixedServerNameResolver::new(name)))
        }
        None => HttpsConnector::from((tcp, tls.current())),
    })
}

impl Connector {
    pub(super) fn new(route: Route) -> Result<Self, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let tls = Following::new(route.identity, route.roots, config).map_err(Error::Tls)?;
        Ok(Self { tcp, proxy: route.proxy, tls: Arc::new(tls) })
    }

    /// A new connection to the origin of a URL.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<Io, SendError> {
        let (tcp, tls) = (self.tcp.clone(), self.tls.current());
        let connected = match &self.proxy {
            None => HttpsConnector::from((tcp, tls)).call(uri.clone()).await,
            Some(proxy) => {
                let to = with_port(uri).ok_or(SendError::Connect)?;
                HttpsConnector::from((tunnel(proxy, tcp), tls)).call(to).await
            }
        };
        connected.map_err(|error| {
            debug!(reason = reason(&*error), "No connection could be made");
            SendError::Connect
        })
    }
}

/// The configuration of this side. A server's certificate is checked against the roots and for its name, whatever else.
fn config(parts: Parts) -> Result<ClientConfig, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
    let builder = match parts.roots {
        Some(roots) => builder.with_root_certificates(roots),
        None => builder.try_with_platform_verifier()?,
    };
    let mut config = match parts.identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn tunnel(proxy: &Proxy, tcp: HttpConnector) -> Tunnel<HttpConnector> {
    let tunnel = Tunnel::new(proxy.uri.clone(), tcp);
    match proxy.authorization.as_ref().and_then(|authorization| authorization()) {
        Some(authorization) => tunnel.with_auth(authorization),
        None => tunnel,
    }
}

/// A URL's origin with its port: where there is none, the library asks a proxy for 443, without TLS, too.
fn with_port(uri: &Uri) -> Option<Uri> {
    let scheme = uri.scheme()?;
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let authority = format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(usual));
    Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query("/").build().ok()
}

/// What of an error may be told: its own text may have the URL.
fn reason(error: &(dyn StdError + 'static)) -> &'static str {
    match tls_error(error) {
        Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "no root that is believed has signed the server's certificate"
        }
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the server's certificate is for another name",
        Some(TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the server's certificate is expired",
        Some(TlsError::InvalidCertificate(_)) => "the server's certificate is not good",
        Some(TlsError::AlertReceived(_)) => "the server refused the TLS handshake",
        Some(_) => "the TLS handshake failed",
        None => "the server, or the proxy before it, can't be reached or refused",
    }
}

/// The error of TLS that an error is, or that an error of I/O was made of.
pub fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    if let Some(error) = error.downcast_ref() {
        return Some(error);
    }
    let inner: &(dyn StdError + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_the_port() {
        for (uri, expected) in [
            ("http://a.example/x?y", "http://a.example:80/"),
            ("https://a.example/x", "https://a.example:443/"),
            ("https://a.example:8443", "https://a.example:8443/"),
            ("http://[::1]/", "http://[::1]:80/"),
        ] {
            assert_eq!(with_port(&uri.parse().unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn an_error_of_tls_is_found_in_others() {
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, TlsError::DecryptError));
        assert_eq!(tls_error(&error), Some(&TlsError::DecryptError));
        assert!(tls_error(&io::Error::other("x")).is_none());
    }
}
