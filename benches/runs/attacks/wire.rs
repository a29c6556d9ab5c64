//! What ill-behaved clients send, byte by byte.

use std::{io, net::SocketAddr};

use prost::Message;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::Kind;
use crate::{
    Mode,
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
        call, frame, message,
    },
    load::{Work, request},
    scene::{LONG, SLOW},
    soak,
};

const RUN: &str = "/runwright.v1.AgentService/Run";
const RUN_STREAMED: &str = "/runwright.v1.AgentService/RunStreamed";
/// RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113, sections 6.5.2 and 7.
const INITIAL_WINDOW_SIZE: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// More than a window may be (RFC 9113, section 6.9.1).
const OVERFLOW: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
/// The bytes of an answer that a slow reader has room for.
const TINY_WINDOW: u32 = 16;
/// Empty frames of one call.
const EMPTY_FRAMES: usize = 10_000;

/// What a connection sends, one thing after the other.
pub struct Script {
    kind: Kind,
    /// How many things are sent before a run that was begun is given up.
    patience: usize,
    sent: usize,
    stream: u32,
    run: Vec<u8>,
}

/// Connects, and says what comes first: that the client speaks HTTP/2, or only that and what a squatter asks.
pub async fn connect(address: SocketAddr, first: &[u8]) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    connection.write_all(first).await?;
    Ok(connection)
}

/// That a client speaks HTTP/2, with windows of a size.
pub fn preface(window: u32) -> Vec<u8> {
    [PREFACE, &windows(window)].concat()
}

/// What a squatter says: after that it says nothing.
pub fn squatter(kind: Kind, number: usize) -> Vec<u8> {
    match kind {
        Kind::HalfPrefaces => PREFACE[..PREFACE.len() / 2].to_vec(),
        Kind::SlowReaders => {
            let (_, request) = soak::soaked(number);
            [preface(TINY_WINDOW), run(RUN_STREAMED, 1, &request.encode_to_vec())].concat()
        }
        Kind::Vanished => {
            let work = Work { scene: LONG, mode: Mode::Unary, runs: 1, identities: 100 };
            let path = if number.is_multiple_of(2) { RUN } else { RUN_STREAMED };
            [preface(TINY_WINDOW), run(path, 1, &request(work, number).encode_to_vec())].concat()
        }
        _ => Vec::new(),
    }
}

impl Script {
    /// What a new connection of a flood sends, which sends so much in one go.
    pub fn new(kind: Kind, at_once: usize) -> Self {
        let work = Work { scene: SLOW, mode: Mode::Unary, runs: 1, identities: 100 };
        let run = request(work, fastrand::usize(..work.identities)).encode_to_vec();
        Self { kind, patience: at_once, sent: 0, stream: 1, run }
    }

    /// The next thing.
    pub fn next(&mut self) -> Vec<u8> {
        let (sent, stream) = (self.sent, self.stream);
        self.sent += 1;
        match self.kind {
            Kind::Resets => [self.begin(), reset(stream)].concat(),
            Kind::GivenUp if sent < self.patience => self.begin(),
            Kind::GivenUp => {
                let late = u32::try_from(self.patience).unwrap_or(u32::MAX);
                [self.begin(), reset(stream.saturating_sub(2 * late))].concat()
            }
            Kind::Broken if sent.is_multiple_of(2) => {
                [self.begin(), frame(WINDOW_UPDATE, 0, stream, &OVERFLOW)].concat()
            }
            Kind::Broken => {
                self.stream += 2;
                // What speaks of a connection has no place in HTTP/2 (RFC 9113, section 8.2.2).
                let malformed = call(RUN, &[("connection", "close")]);
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &malformed)
            }
            Kind::Settings => windows(65_535 - u32::from(sent.is_multiple_of(2))),
            Kind::EmptyData if sent.is_multiple_of(EMPTY_FRAMES) => {
                self.stream += 2;
                frame(HEADERS, END_HEADERS, stream, &call(RUN, &[]))
            }
            Kind::EmptyData => frame(DATA, 0, stream - 2, &[]),
            Kind::Continuations if sent == 0 => frame(HEADERS, 0, 1, &call(RUN, &[])),
            Kind::Continuations => frame(CONTINUATION, 0, 1, &call(RUN, &[("x-filler", &"x".repeat(100))])),
            _ => frame(PING, 0, 0, &[0; 8]),
        }
    }

    fn begin(&mut self) -> Vec<u8> {
        let stream = self.stream;
        self.stream += 2;
        run(RUN, stream, &self.run)
    }
}

/// A whole call.
fn run(path: &str, stream: u32, request: &[u8]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &call(path, &[]));
    [head, frame(DATA, END_STREAM, stream, &message(false, request))].concat()
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL)
}

fn windows(size: u32) -> Vec<u8> {
    let mut setting = vec![0, INITIAL_WINDOW_SIZE];
    setting.extend(size.to_be_bytes());
    frame(SETTINGS, 0, 0, &setting)
}
