//! TLS in front of a server that speaks none, with notes of who came.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rustls::ServerConfig;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// What stands in front. It ends when it is dropped.
pub struct TlsFront {
    pub address: SocketAddr,
    notes: Arc<Notes>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Notes {
    /// Of each connection, the certificate that the client showed.
    shown: Mutex<Vec<Option<Vec<u8>>>>,
    refused: Mutex<Vec<String>>,
}

impl TlsFront {
    /// Passes on what comes over TLS.
    pub async fn start(config: ServerConfig, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::<Notes>::default();
        let serving = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), notes.clone(), to));
        Self { address, notes, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// Of each connection so far, the certificate that the client showed, as DER.
    pub fn shown(&self) -> Vec<Option<Vec<u8>>> {
        self.notes.shown.lock().unwrap().clone()
    }

    /// Why connections were refused so far.
    pub fn refused(&self) -> Vec<String> {
        self.notes.refused.lock().unwrap().clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, notes: Arc<Notes>, to: SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(pass(stream, tls.clone(), notes.clone(), to));
    }
}

async fn pass(stream: TcpStream, tls: TlsAcceptor, notes: Arc<Notes>, to: SocketAddr) {
    let mut stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return notes.refused.lock().unwrap().push(error.to_string()),
    };
    let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
    notes.shown.lock().unwrap().push(shown);
    let mut server = TcpStream::connect(to).await.unwrap();
    // Either side may have gone.
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}
