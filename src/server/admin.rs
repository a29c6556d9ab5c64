//! The probes: `/livez` says that the process lives, `/readyz` that it takes runs. Neither asks an upstream.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};

/// The admin listener's routes. `ready` is turned off when the process takes no more runs.
pub(super) fn router(ready: Arc<AtomicBool>) -> Router {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(readyz)).with_state(ready)
}

async fn readyz(State(ready): State<Arc<AtomicBool>>) -> (StatusCode, &'static str) {
    if ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down: no more runs are taken\n")
    }
}
