//! What the tests of all providers use.

pub mod asked;
pub mod loopback;
