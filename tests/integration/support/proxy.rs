//! An HTTP proxy that makes tunnels, all to one server, and notes every byte that passes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A running proxy. It ends when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    notes: Arc<Notes>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Notes {
    asked: Mutex<Vec<String>>,
    passed: Mutex<Vec<u8>>,
}

impl Proxy {
    /// A proxy whose tunnels all lead to this server, whatever they are asked for.
    pub async fn start(to: SocketAddr) -> Self {
        Self::new(Some(to), "HTTP/1.1 200 Connection established\r\n\r\n").await
    }

    /// A proxy that gives an answer, and no tunnel.
    pub async fn refusing(answer: &'static str) -> Self {
        Self::new(None, answer).await
    }

    async fn new(to: Option<SocketAddr>, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::<Notes>::default();
        let noted = notes.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, to, answer, noted.clone()));
            }
        });
        Self { address, notes, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for so far: the whole head of each request, in lower case.
    pub fn asked(&self) -> Vec<String> {
        self.notes.asked.lock().unwrap().clone()
    }

    /// Everything that passed through the tunnels so far, in both directions, as the proxy sees it.
    pub fn passed(&self) -> String {
        String::from_utf8_lossy(&self.notes.passed.lock().unwrap()).into_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut client: TcpStream, to: Option<SocketAddr>, answer: &str, notes: Arc<Notes>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    notes.asked.lock().unwrap().push(String::from_utf8(head).unwrap().to_ascii_lowercase());
    client.write_all(answer.as_bytes()).await.unwrap();
    let Some(to) = to else { return };
    let server = TcpStream::connect(to).await.unwrap();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(copy(from_client, to_server, &notes), copy(from_server, to_client, &notes));
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, notes: &Notes) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        notes.passed.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    // Either side may have gone.
    let _ = to.shutdown().await;
}
