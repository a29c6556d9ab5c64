//! The probes and the metrics: `/livez` says that the process lives, `/readyz` that it takes runs, `/metrics` what it has
//! done. None asks an upstream.
//!
//! A process whose last reload failed is ready: it serves what it served before. Were it not, one wrong letter would take all
//! replicas from service at once. So the answer's text tells, and not its status.

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
use httpdate::fmt_http_date;
use tokio::{sync::Mutex, task::spawn_blocking};
use tracing::error;

use crate::{
    reload::{Broken, Reloads, Standing},
    telemetry::{self, Meters},
};

/// What the routes answer from.
#[derive(Clone)]
struct Admin {
    ready: Arc<AtomicBool>,
    reloads: Reloads,
    /// One page is made at a time, however many are asked for.
    meters: Arc<Mutex<Meters>>,
}

/// The admin listener's routes. `ready` is turned off when the process takes no more runs.
pub(super) fn router(ready: Arc<AtomicBool>, reloads: Reloads, meters: Meters) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { ready, reloads, meters: Arc::new(Mutex::new(meters)) })
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, told(&admin.reloads.standing()))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down: no more runs are taken\n".to_owned())
    }
}

/// What a process says that takes runs.
fn told(standing: &Standing) -> String {
    let Some(Broken { at, problems }) = standing.broken else { return "ok\n".to_owned() };
    let (at, in_force) = (fmt_http_date(at), fmt_http_date(standing.in_force_since));
    format!("ok\nthe configuration of {at} is broken, problems: {problems}; that of {in_force} is in force\n")
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
