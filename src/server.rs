//! The process's two listeners: gRPC, and the probes and metrics; and how they end.

mod accept;
mod admin;
mod boundary;
mod config;
mod gathered;

use std::{
    future, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, TryStreamExt};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{
    Server,
    server::{Router, TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::layer::util::{Identity, Stack};
use tracing::info;

use crate::{
    grpc::{
        AgentHandlers, CatalogHandlers,
        proto::{
            self, agent_service_server::AgentServiceServer, catalog_service_server::CatalogServiceServer,
        },
    },
    run::Runner,
    telemetry::Meters,
};
use accept::Accepting;
use boundary::BoundaryLayer;
pub use config::Config;
use gathered::Gathered;

/// Calls of one connection that may be cancelled before they were seen here; one more ends the connection, and all runs
/// on it. The library's 20 is less than a busy caller, or a mesh, may give up at once; each costs its headers.
const MAX_UNSEEN_RESETS: usize = 1024;
/// The services whose health is told; the empty name is the process.
const SERVICES: [&str; 3] = ["", "runwright.v1.AgentService", "runwright.v1.CatalogService"];
/// How long runs that are ended may take to tell their servers, and connections to take the last bytes. Together they
/// are under a second: the process ends by then, whatever connection is open.
const END_TIMEOUT: Duration = Duration::from_millis(500);
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);
/// A client that has vanished is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the process can't go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The gRPC server failed.
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The admin server failed.
    #[error("the admin server failed: {0}")]
    Admin(#[source] io::Error),
    /// The reflection service can't be built.
    #[error("the reflection service can't be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A server's task broke.
    #[error("a server's task broke: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Where the process listens; bound already.
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For `/livez`, `/readyz` and `/metrics`.
    pub admin: TcpListener,
}

/// Serves until the first of the `signals`, and then for as long as live runs take, at most `drain_timeout`; another signal
/// ends the live runs at once. A stream of signals that ends is none.
///
/// # Errors
/// A server can't be built, or fails.
pub async fn serve(
    config: &Config,
    listeners: Listeners,
    runner: Runner,
    meters: Meters,
    mut signals: impl Stream<Item = ()> + Unpin,
) -> Result<(), Error> {
    let ready = Arc::new(AtomicBool::new(true));
    let (health, router) = router(&runner).await?;
    let goaway = CancellationToken::new();
    let connections = TcpIncoming::from(listeners.grpc).with_nodelay(Some(true)).map_ok(Gathered::new);
    let incoming = Accepting::new(connections);
    let serving = router.serve_with_incoming_shutdown(incoming, goaway.clone().cancelled_owned());
    let mut grpc: JoinHandle<Result<(), Error>> = tokio::spawn(async { Ok(serving.await?) });
    let admin_router = admin::router(ready.clone(), meters);
    let mut admin: JoinHandle<Result<(), Error>> =
        tokio::spawn(async { axum::serve(listeners.admin, admin_router).await.map_err(Error::Admin) });

    tokio::select! {
        () = next(&mut signals) => {}
        ended = &mut grpc => return ended?,
        ended = &mut admin => return ended?,
    }
    ready.store(false, Ordering::Relaxed);
    drain(config, &runner, &health, next(&mut signals)).await;
    goaway.cancel();
    // tonic waits for every connection, a silent one too, for ever.
    let _ = timeout(FLUSH_TIMEOUT, grpc).await;
    admin.abort();
    Ok(())
}

type Layered = Stack<BoundaryLayer, Identity>;

async fn router(runner: &Runner) -> Result<(HealthReporter, Router<Layered>), Error> {
    let limits = runner.parts().limits;
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let agents = AgentServiceServer::new(AgentHandlers::new(runner.clone()))
        .max_decoding_message_size(limits.max_request_bytes);
    let catalog = CatalogServiceServer::new(CatalogHandlers::new(runner.clone()))
        .max_decoding_message_size(limits.max_request_bytes);
    let router = Server::builder()
        .http2_max_pending_accept_reset_streams(Some(MAX_UNSEEN_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(BoundaryLayer::new(runner.parts().metrics.clone()))
        .add_service(agents)
        .add_service(catalog)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((health, router))
}

/// Reflection over the contract and over `google.rpc`, so that grpcurl decodes an error's details.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

/// Waits for the next signal, where there are no more for ever.
async fn next(signals: &mut (impl Stream<Item = ()> + Unpin)) {
    if signals.next().await.is_none() {
        future::pending().await
    }
}

/// Takes no more runs, and waits for the live ones; those that take too long, or longer than until `hurry`, are ended.
async fn drain(config: &Config, runner: &Runner, health: &HealthReporter, hurry: impl Future<Output = ()>) {
    runner.close();
    set_health(health, ServingStatus::NotServing).await;
    info!(live_runs = runner.live_runs(), "Shutting down: no more runs are taken, live ones go on");
    let why = tokio::select! {
        () = runner.drained() => return,
        () = sleep(config.drain_timeout) => "drain_timeout is over",
        () = hurry => "told again to shut down",
    };
    info!(live_runs = runner.live_runs(), why, "Live runs are ended");
    runner.end();
    let _ = timeout(END_TIMEOUT, runner.drained()).await;
}
