//! The section `kept_clients`.

use std::time::Duration;

use super::{
    decode::Fields,
    key::{Key, Keys, Optional},
    reference::Section,
    units,
};
use crate::mcp::KeptClients;

/// The section's own key.
pub const KEY: Key<Optional> =
    Key::optional("kept_clients", "Bounds on open MCP clients that wait for the next run of their identity.");

const MAX: Key<usize> = Key::or(
    "max",
    KeptClients::DEFAULT.max,
    "The most that are kept; the one that was used longest ago goes first.",
);
const IDLE: Key<Duration> = Key::or("idle", KeptClients::DEFAULT.idle, "The longest time without a run.");
const AGE: Key<Duration> = Key::or("age", KeptClients::DEFAULT.age, "The longest time since it was opened.");
const KEYS: Keys = &[&MAX, &IDLE, &AGE];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[Section {
    path: "kept_clients",
    about: "A client that is open for an identity (a registered server and the exact merged headers) is kept for its next \
            run, which opens nothing then. It holds no header's value meanwhile.",
    probe: "kept_clients: { HERE }",
    keys: KEYS,
}];

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> KeptClients {
    let fields = root.fields(&KEY, KEYS);
    KeptClients {
        max: fields.or(&MAX, |at| at.number(1..=1_000_000)),
        idle: fields.or(&IDLE, units::duration),
        age: fields.or(&AGE, units::duration),
    }
}
