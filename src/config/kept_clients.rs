//! The section `kept_clients`.

use super::{decode::Fields, units};
use crate::mcp::KeptClients;

const KEYS: [&str; 3] = ["max", "idle", "age"];

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> KeptClients {
    let fields = root.fields("kept_clients", &KEYS);
    let default = KeptClients::default();
    KeptClients {
        max: fields.or("max", |at| at.number(1..=1_000_000), default.max),
        idle: fields.or("idle", units::duration, default.idle),
        age: fields.or("age", units::duration, default.age),
    }
}
