//! The section `limits`.

use std::time::Duration;

use super::{
    decode::Fields,
    key::{Bytes, Key, Keys, Optional},
    reference::Section,
    units::{self, KIB, MIB},
};
use crate::run::Limits;

/// The section's own key.
pub const KEY: Key<Optional> = Key::optional("limits", "Bounds on the runs of the process.");

const MAX_CONCURRENT_RUNS: Key<usize> = Key::or(
    "max_concurrent_runs",
    Limits::DEFAULT.max_concurrent_runs,
    "The most runs at once; one more is refused with `OVERLOADED`.",
);
const RUN_TIMEOUT: Key<Duration> = Key::or(
    "run_timeout",
    Limits::DEFAULT.run_timeout,
    "The longest time of any run. Agents and requests can only lower it.",
);
const MAX_REQUEST_BYTES: Key<Bytes> = Key::or(
    "max_request_bytes",
    Bytes(Limits::DEFAULT.max_request_bytes),
    "The largest gRPC request; a larger one is refused with `REQUEST_TOO_LARGE`. A change needs a restart.",
);
const KEYS: Keys = &[&MAX_CONCURRENT_RUNS, &RUN_TIMEOUT, &MAX_REQUEST_BYTES];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[Section {
    path: "limits",
    about: "Bounds on all runs together. Those of one agent's are [its own](#agentsname).",
    probe: "limits: { HERE }",
    keys: KEYS,
}];

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> Limits {
    let fields = root.fields(&KEY, KEYS);
    Limits {
        max_concurrent_runs: fields.or(&MAX_CONCURRENT_RUNS, |at| at.number(1..=1_000_000)),
        run_timeout: fields.or(&RUN_TIMEOUT, units::duration),
        // The section `server` has it.
        drain_timeout: Limits::DEFAULT.drain_timeout,
        max_request_bytes: fields.or(&MAX_REQUEST_BYTES, |at| units::size(at, KIB..=64 * MIB)),
    }
}
