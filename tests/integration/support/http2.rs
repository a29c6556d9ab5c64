//! HTTP/2 by hand (RFC 9113), for what no client library does.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// A connection that has said that it speaks HTTP/2.
pub struct Wire {
    pub reading: OwnedReadHalf,
    pub writing: OwnedWriteHalf,
}

/// A frame: its type, its flags, its stream, and what it holds.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        let (reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
        writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        writing.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self { reading, writing }
    }

    /// Sends bytes; the other side may have gone.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.writing.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None`: the connection is over.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.reading.read_exact(&mut head).await.ok()?;
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        self.reading.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The last frames, up to the connection's end.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Headers, each a literal (RFC 7541, section 6.2.2), no name or value of which has over 126 bytes.
pub fn headers(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

/// The headers of a call of a method such as `/runwright.v1.AgentService/Run`.
pub fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "service"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    block.extend(headers(more));
    block
}

/// A message of gRPC's, compressed or not.
pub fn message(compressed: bool, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![u8::from(compressed)];
    message.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    message.extend(bytes);
    message
}
