//! The process's two listeners: gRPC, and the probes and metrics; and how they end.

mod accept;
mod admin;
mod arriving;
mod boundary;
mod config;
mod connections;
mod counted;
mod gathered;
mod routes;
mod tls;

use std::{
    future, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{service, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Layer;
use tracing::info;

use crate::{
    grpc::{
        AgentHandlers, CatalogHandlers,
        proto::{
            self, agent_service_server::AgentServiceServer, catalog_service_server::CatalogServiceServer,
        },
    },
    reload::Reloads,
    run::Runner,
    telemetry::Meters,
};
use accept::Accepting;
use boundary::{Boundary, BoundaryLayer};
pub use config::{Config, Tls};
use connections::Connections;
use routes::Routes;

/// Calls other than runs that one connection may have under way beside all the runs that there may be.
const MAX_OTHER_CALLS: usize = 256;
/// The services whose health is told; the empty name is the process.
const SERVICES: [&str; 3] = ["", "runwright.v1.AgentService", "runwright.v1.CatalogService"];
/// How long runs that are ended may take to tell their servers, and connections to take the last bytes. Together they
/// are under a second: the process ends by then, whatever connection is open.
const END_TIMEOUT: Duration = Duration::from_millis(500);
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);
/// How long the answers of the last runs may take to go out, as far as there is time to drain.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the process can't go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The admin server failed.
    #[error("the admin server failed: {0}")]
    Admin(#[source] io::Error),
    /// The reflection service can't be built.
    #[error("the reflection service can't be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
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

/// Serves until the first of the `signals`, and then for as long as live runs take, at most the configured time; another signal
/// ends the live runs at once. A stream of signals that ends is none.
///
/// # Errors
/// A server can't be built, or fails.
pub async fn serve(
    config: &Config,
    listeners: Listeners,
    runner: Runner,
    reloads: Reloads,
    meters: Meters,
    mut signals: impl Stream<Item = ()> + Unpin,
) -> Result<(), Error> {
    let ready = Arc::new(AtomicBool::new(true));
    let (health, calls) = calls(&runner).await?;
    let limited = runner.clone();
    let max_calls = move || {
        let runs = limited.parts().limits.max_concurrent_runs;
        runs.saturating_add(MAX_OTHER_CALLS).try_into().unwrap_or(u32::MAX)
    };
    let connections = Arc::new(Connections::new(calls, max_calls, config.max_connection_age));
    let incoming = Accepting::new(TcpIncoming::from(listeners.grpc).with_nodelay(Some(true)));
    let incoming = tls::secured(incoming, config.tls.clone())?;
    let serving = connections.clone();
    let mut grpc = tokio::spawn(async move { serving.serve(incoming).await });
    let admin_router = admin::router(ready.clone(), reloads, meters);
    let mut admin: JoinHandle<Result<(), Error>> =
        tokio::spawn(async { axum::serve(listeners.admin, admin_router).await.map_err(Error::Admin) });

    tokio::select! {
        () = next(&mut signals) => {}
        ended = &mut grpc => return Ok(ended?),
        ended = &mut admin => return ended?,
    }
    ready.store(false, Ordering::Relaxed);
    runner.close();
    connections.leave();
    drain(&runner, &health, connections.answered(), next(&mut signals)).await;
    // A connection may have a call that never ends, and a client that never goes.
    let _ = timeout(FLUSH_TIMEOUT, connections.close()).await;
    admin.abort();
    Ok(())
}

/// All services behind the boundary, and who says how healthy they are.
async fn calls(runner: &Runner) -> Result<(HealthReporter, Boundary<Routes>), Error> {
    let limits = runner.parts().limits;
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let agents = AgentServiceServer::new(AgentHandlers::new(runner.clone()))
        .max_decoding_message_size(limits.max_request_bytes);
    let catalog = CatalogServiceServer::new(CatalogHandlers::new(runner.clone()))
        .max_decoding_message_size(limits.max_request_bytes);
    let others = service::Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();
    Ok((health, BoundaryLayer::new(runner.metrics().clone()).layer(Routes { agents, catalog, others })))
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
async fn drain(
    runner: &Runner,
    health: &HealthReporter,
    answered: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) {
    set_health(health, ServingStatus::NotServing).await;
    info!(live_runs = runner.live_runs(), "Shutting down: no more runs are taken, live ones go on");
    let why = tokio::select! {
        () = async {
            runner.drained().await;
            // Of a run that has ended the answer may still be on its way.
            let _ = timeout(ANSWER_TIMEOUT, answered).await;
        } => return,
        () = sleep(runner.parts().limits.drain_timeout) => "drain_timeout is over",
        () = hurry => "told again to shut down",
    };
    info!(live_runs = runner.live_runs(), why, "Live runs are ended");
    runner.end();
    let _ = timeout(END_TIMEOUT, runner.drained()).await;
}
