//! Addresses and the process's life, as they are configured.

use std::{net::SocketAddr, time::Duration};

use crate::credential;

/// Addresses and the process's life.
#[derive(Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_listen: SocketAddr,
    /// How long live runs may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// The key of the digests of header values; `None`: a random one for this process.
    pub digest_key: Option<credential::Source>,
}
