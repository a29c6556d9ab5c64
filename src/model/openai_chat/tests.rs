//! Whole exchanges with a provider on the loopback.

mod exchange;
mod fault;
mod leniency;
mod loopback;
