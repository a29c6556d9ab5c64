//! A TCP proxy that does harm on the way between the service and its upstream.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet, yield_now},
};

use super::gate::Gate;

/// What happens to a connection.
#[derive(Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is reset as soon as it is there.
    Refuse,
    /// No answer passes before the gate is open.
    Delay(Gate),
    /// Bytes pass one at a time.
    Trickle,
    /// It is reset after so many bytes in a direction.
    Reset(Direction, usize),
    /// It is closed in good order after so many bytes in a direction.
    Drop(Direction, usize),
    /// After so many bytes in a direction nothing passes any more, and nobody says so.
    HalfOpen(Direction, usize),
}

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Requests,
    Answers,
}

/// A running proxy. It ends, with its connections, when it is dropped.
pub struct FaultProxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    fault: Mutex<Fault>,
    connections: tokio::sync::Mutex<JoinSet<()>>,
}

impl FaultProxy {
    /// A proxy before a server, which does no harm yet.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { fault: Mutex::new(Fault::None), connections: tokio::sync::Mutex::default() });
        let of_all = shared.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let fault = of_all.fault.lock().unwrap().clone();
                let mut connections = of_all.connections.lock().await;
                connections.spawn(pass(client, upstream, fault));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, serving }
    }

    /// What happens to the connections that are made from now on.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// Does no harm any more, and closes what is there.
    pub async fn heal(&self) {
        self.set(Fault::None);
        self.shared.connections.lock().await.shutdown().await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(client: TcpStream, upstream: SocketAddr, fault: Fault) {
    if matches!(fault, Fault::Refuse) {
        return client.set_zero_linger().unwrap();
    }
    let server = TcpStream::connect(upstream).await.unwrap();
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let over = {
        let requests = copy(&mut from_client, &mut to_server, &fault, Direction::Requests);
        let answers = copy(&mut from_server, &mut to_client, &fault, Direction::Answers);
        tokio::select! {
            over = requests => over,
            over = answers => over,
        }
    };
    if over == Over::Reset {
        for end in [to_client.reunite(from_client).unwrap(), to_server.reunite(from_server).unwrap()] {
            end.set_zero_linger().unwrap();
        }
    }
}

/// How a connection ends.
#[derive(PartialEq, Eq)]
enum Over {
    Closed,
    Reset,
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    fault: &Fault,
    direction: Direction,
) -> Over {
    let (last, mut left) = match fault {
        Fault::Reset(on, after) if *on == direction => (Some(Over::Reset), *after),
        Fault::Drop(on, after) if *on == direction => (Some(Over::Closed), *after),
        Fault::HalfOpen(on, after) if *on == direction => (None, *after),
        _ => (None, usize::MAX),
    };
    let mut buffer = [0; 4096];
    loop {
        let piece = match fault {
            Fault::Trickle => &mut buffer[..1],
            _ => &mut buffer[..],
        };
        let Ok(read @ 1..) = from.read(piece).await else { return Over::Closed };
        if let (Fault::Delay(gate), Direction::Answers) = (fault, direction) {
            gate.pass().await;
        }
        let passed = read.min(left);
        if to.write_all(&piece[..passed]).await.is_err() {
            return Over::Closed;
        }
        left = left.saturating_sub(passed);
        if left == 0 {
            match last {
                Some(over) => return over,
                None => std::future::pending().await,
            }
        }
        if matches!(fault, Fault::Trickle) {
            yield_now().await;
        }
    }
}
