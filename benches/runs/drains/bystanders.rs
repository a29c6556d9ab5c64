//! Connections that are open while a service ends, and have no run.

use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

use crate::Outcome;

/// How many connections say nothing, and how many half say that they speak HTTP/2.
pub const SILENT: usize = 20;
pub const HALF_PREFACES: usize = 20;

/// The connections.
pub struct Bystanders {
    _sockets: Vec<TcpStream>,
    _watch: (HealthClient<Channel>, Streaming<HealthCheckResponse>),
}

impl Bystanders {
    /// Has all of them connect.
    pub async fn gather(address: SocketAddr) -> Outcome<Self> {
        let mut sockets = Vec::new();
        for number in 0..SILENT + HALF_PREFACES {
            let mut socket = TcpStream::connect(address).await?;
            if number < HALF_PREFACES {
                socket.write_all(b"PRI * HTTP/2").await?;
            }
            sockets.push(socket);
        }
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let mut client = HealthClient::new(channel);
        let mut health = client.watch(HealthCheckRequest::default()).await?.into_inner();
        health.message().await?.ok_or("the service does not say how it is")?;
        Ok(Self { _sockets: sockets, _watch: (client, health) })
    }
}
