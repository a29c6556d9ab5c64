//! A connection to the service that can be cut.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpStream as StdStream},
    sync::{Arc, Mutex, PoisonError},
};

use hyper_util::rt::TokioIo;
use runwright::grpc::proto::agent_service_client::AgentServiceClient;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::Outcome;

/// The bytes of an answer that a caller takes before it has read them: so few that a slow one makes its run wait.
const WINDOW_BYTES: u32 = 4 * 1024;

/// A connection.
#[derive(Clone)]
pub struct Line {
    pub client: AgentServiceClient<Channel>,
    sockets: Arc<Mutex<Vec<StdStream>>>,
}

impl Line {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Outcome<Self> {
        let sockets = Arc::<Mutex<Vec<StdStream>>>::default();
        let opened = sockets.clone();
        let connector = service_fn(move |_| {
            let opened = opened.clone();
            async move {
                let socket = TcpStream::connect(address).await?.into_std()?;
                opened.lock().unwrap_or_else(PoisonError::into_inner).push(socket.try_clone()?);
                io::Result::Ok(TokioIo::new(TcpStream::from_std(socket)?))
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES);
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Self { client: AgentServiceClient::new(channel), sockets })
    }

    /// Closes it, whatever is under way.
    pub fn cut(&self) {
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
