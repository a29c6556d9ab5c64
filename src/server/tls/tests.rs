use std::convert::Infallible;

use futures_util::{FutureExt, stream};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    sync::mpsc,
    task::unconstrained,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::tls::{Roots, tests::authority::Authority};

/// Waits for what comes without time passing, or at a time of the service's: far longer ends a test that is broken.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(10 * HANDSHAKE_TIMEOUT, work).await.unwrap_or_else(|_| panic!("it did not happen"))
}

/// A listener with TLS, and who believes it.
struct Listener {
    authority: Authority,
    arriving: mpsc::UnboundedSender<DuplexStream>,
    served: mpsc::UnboundedReceiver<Connection<DuplexStream>>,
    _folder: tempfile::TempDir,
}

impl Listener {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::make();
        let identity = authority.issue().identity(folder.path());
        let (arriving, mut arrivals) = mpsc::unbounded_channel();
        let incoming =
            stream::poll_fn(move |cx| arrivals.poll_recv(cx).map(|next| next.map(Ok::<_, Infallible>)));
        let secured = secured(incoming, Some(Tls { identity, client_roots: None })).unwrap();
        let (serve, served) = mpsc::unbounded_channel();
        tokio::spawn(secured.for_each(move |Ok(connection)| {
            let _ = serve.send(connection);
            future::ready(())
        }));
        Self { authority, arriving, served, _folder: folder }
    }

    /// The other side of a new connection.
    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        self.arriving.send(ours).unwrap_or_else(|_| panic!("it listens"));
        theirs
    }

    /// A client of a new connection that offers these protocols.
    async fn speak(&self, alpn: &[&[u8]]) -> io::Result<client::TlsStream<DuplexStream>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), self.authority.pem()).unwrap();
        let roots = Roots::open(folder.path().join("ca.crt")).unwrap();
        let config: fn(Parts) -> Result<ClientConfig, rustls::Error> = |parts| {
            let config =
                ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
            Ok(config.with_root_certificates(parts.roots.unwrap()).with_no_client_auth())
        };
        let mut config = ClientConfig::clone(&Following::new(None, Some(roots), config).unwrap().current());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, self.connect())).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_holds_up_nobody_and_is_dropped_after_a_time() {
    let mut listener = Listener::new();
    let began = Instant::now();
    let mut silent = listener.connect();
    let _client = listener.speak(&[b"h2"]).await.unwrap();
    assert!(soon(listener.served.recv()).await.is_some());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(soon(silent.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), HANDSHAKE_TIMEOUT.as_secs());
    assert!(listener.served.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn however_many_are_silent_others_are_served_soon() {
    let mut listener = Listener::new();
    let began = Instant::now();
    let silent: Vec<_> = (0..2 * MAX_UNDER_WAY).map(|_| listener.connect()).collect();
    let _client = listener.speak(&[b"h2"]).await.unwrap();
    assert!(soon(listener.served.recv()).await.is_some());
    assert_eq!(began.elapsed().as_secs(), 3, "half of the places come free each second, for one behind 1024");
    let mut open = 0;
    for mut connection in silent {
        let read = unconstrained(connection.read(&mut [0])).now_or_never();
        open += usize::from(read.is_none());
    }
    assert_eq!(open, MAX_SLOW, "those that may be slow");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_offer_http_2_is_refused() {
    let mut listener = Listener::new();
    let other = listener.speak(&[b"http/1.1"]).await.unwrap_err();
    assert!(other.to_string().contains("NoApplicationProtocol"), "{other}");
    let mut none = listener.speak(&[]).await.unwrap();
    assert_eq!(soon(none.read(&mut [0])).await.unwrap(), 0, "TLS is ended as it should be");
    let _both = listener.speak(&[b"http/1.1", b"h2"]).await.unwrap();
    assert!(soon(listener.served.recv()).await.is_some());
    assert!(listener.served.try_recv().is_err(), "no other");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_tls_is_dropped() {
    let mut listener = Listener::new();
    let mut plain = listener.connect();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    soon(plain.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.len() < 16, "an alert at most: {answer:?}");
    assert!(listener.served.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn without_tls_connections_are_served_as_they_come() {
    let (ours, mut theirs) = duplex(64);
    let secured = secured(stream::iter([Ok::<_, Infallible>(ours)]), None).unwrap();
    let Ok(mut connection) = std::pin::pin!(secured).next().await.unwrap();
    connection.write_all(b"x").await.unwrap();
    assert_eq!(theirs.read_u8().await.unwrap(), b'x');
}
