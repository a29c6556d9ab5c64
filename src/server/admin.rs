//! The probes and the metrics: `/livez` says that the process lives, `/readyz` that it takes runs, `/metrics` what it has
//! done. None asks an upstream.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::{sync::Mutex, task::spawn_blocking};
use tracing::error;

use crate::telemetry::{self, Meters};

/// What the routes answer from.
#[derive(Clone)]
struct Admin {
    ready: Arc<AtomicBool>,
    /// One page is made at a time, however many are asked for.
    meters: Arc<Mutex<Meters>>,
}

/// The admin listener's routes. `ready` is turned off when the process takes no more runs.
pub(super) fn router(ready: Arc<AtomicBool>, meters: Meters) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { ready, meters: Arc::new(Mutex::new(meters)) })
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down: no more runs are taken\n")
    }
}

/// The one format that there is, whatever is asked for: every Prometheus takes it, and names it last in its `Accept`.
async fn metrics(State(admin): State<Admin>) -> (StatusCode, [(HeaderName, &'static str); 1], String) {
    let content_type = [(CONTENT_TYPE, telemetry::CONTENT_TYPE)];
    let meters = admin.meters.lock_owned().await;
    // A page of many metrics takes some milliseconds, which no run is to wait for.
    match spawn_blocking(move || meters.page()).await {
        Ok(Ok(page)) => (StatusCode::OK, content_type, page),
        failed => {
            error!(reason = ?failed.map(|page| page.err()), "The metrics can't be told");
            (StatusCode::INTERNAL_SERVER_ERROR, content_type, String::new())
        }
    }
}
