//! The section `limits`.

use super::{
    decode::Fields,
    units::{self, KIB, MIB},
};
use crate::run::Limits;

const KEYS: [&str; 3] = ["max_concurrent_runs", "run_timeout", "max_request_bytes"];

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> Limits {
    let fields = root.fields("limits", &KEYS);
    let default = Limits::default();
    let size = |at: &_| units::size(at, KIB..=64 * MIB);
    Limits {
        max_concurrent_runs: fields.or(
            "max_concurrent_runs",
            |at| at.number(1..=1_000_000),
            default.max_concurrent_runs,
        ),
        run_timeout: fields.or("run_timeout", units::duration, default.run_timeout),
        // The section `server` has it.
        drain_timeout: default.drain_timeout,
        max_request_bytes: fields.or("max_request_bytes", size, default.max_request_bytes),
    }
}
