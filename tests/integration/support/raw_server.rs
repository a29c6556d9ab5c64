//! A modern MCP server over plain TCP, for what no HTTP library does: connections that break, and answers byte by byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};

/// One connection.
pub type Connection = BufStream<TcpStream>;

type Call = Arc<dyn Fn(Value, Connection) -> BoxFuture<'static, Option<Connection>> + Send + Sync>;

/// A running server. It ends when it is dropped.
pub struct RawServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    call: Call,
    seen: Mutex<Vec<Value>>,
}

impl RawServer {
    /// A server that starts and lists `whoami` as it should. A call is given to `call` with its connection, which may give
    /// that back.
    pub async fn start<F, R>(call: F) -> Self
    where
        F: Fn(Value, Connection) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Connection>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let call: Call = Arc::new(move |message, connection| Box::pin(call(message, connection)));
        let shared = Arc::new(Shared { call, seen: Mutex::default() });
        let serving = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The JSON-RPC methods so far.
    pub fn methods(&self) -> Vec<String> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().map(|message| message["method"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Sends an answer's head and some of its body.
pub async fn send(connection: &mut Connection, head: &str, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", head.trim());
    // The client may have gone.
    let _ = connection.write_all(head.as_bytes()).await;
    let _ = connection.write_all(body.as_bytes()).await;
    let _ = connection.flush().await;
}

/// Breaks a connection, so that the other side reads an error and no end.
pub fn reset(connection: Connection) {
    connection.into_inner().set_zero_linger().unwrap();
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(BufStream::new(stream), shared.clone()));
    }
}

async fn serve(mut connection: Connection, shared: Arc<Shared>) {
    while let Some(message) = read(&mut connection).await {
        shared.seen.lock().unwrap().push(message.clone());
        let result = match message["method"].as_str() {
            Some("server/discover") => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
            }),
            Some("tools/list") => {
                json!({ "resultType": "complete", "tools": [super::mcp_server::tool("whoami")] })
            }
            _ => match (shared.call)(message, connection).await {
                Some(back) => {
                    connection = back;
                    continue;
                }
                None => return,
            },
        };
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
        let head = format!("content-type: application/json\r\ncontent-length: {}", body.len());
        send(&mut connection, &head, &body).await;
    }
}

/// The next request's JSON; `None`: the other side has gone.
pub async fn read(connection: &mut Connection) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some(serde_json::from_slice(&body).unwrap_or_default())
}
