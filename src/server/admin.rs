//! The probes: `/livez` says that the process lives, `/readyz` that it takes runs. Neither asks an upstream.
//!
//! A process whose last reload failed is ready: it serves what it served before. Were it not, one wrong letter would take all
//! replicas from service at once. So the answer's text tells, and not its status.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use httpdate::fmt_http_date;

use crate::reload::{Broken, Reloads, Standing};

/// The admin listener's routes. `ready` is turned off when the process takes no more runs.
pub(super) fn router(ready: Arc<AtomicBool>, reloads: Reloads) -> Router {
    let readyz = get(readyz).with_state((ready, reloads));
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", readyz)
}

async fn readyz(State((ready, reloads)): State<(Arc<AtomicBool>, Reloads)>) -> (StatusCode, String) {
    if ready.load(Ordering::Relaxed) {
        (StatusCode::OK, told(&reloads.standing()))
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
