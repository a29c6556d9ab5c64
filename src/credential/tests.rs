//! What tests of sources share.

pub mod keys;
pub mod loopback;
