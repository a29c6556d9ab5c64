//! Addresses, threads and the key of digests, as they are configured.

use std::{net::SocketAddr, thread, time::Duration};

use crate::{
    credential,
    tls::{Identity, Roots},
};

/// Addresses, threads and the key of digests. They are the process's for as long as it lives.
#[derive(Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_listen: SocketAddr,
    /// How many threads serve.
    pub worker_threads: usize,
    /// How gRPC is secured; `None`: it is plain text.
    pub tls: Option<Tls>,
    /// How old a connection for gRPC becomes, more or less, before it is told to go; calls under way go on.
    pub max_connection_age: Duration,
    /// The key of the digests of header values; `None`: a random one for this process.
    pub digest_key: Option<credential::Source>,
}

impl Config {
    /// How many threads serve where nothing is said: one core is left to what shares the machine, the kernel's network work
    /// among it. A thread that has a core for itself finds its code and data in that core's caches; a run executes much code
    /// once, so one that has to share takes up to twice the CPU.
    #[must_use]
    pub fn usual_worker_threads() -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        cores.saturating_sub(1).max(1)
    }
}

/// How gRPC is secured.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whom clients see.
    pub identity: Identity,
    /// Who signs the certificates that clients must show; `None`: they are asked for none.
    pub client_roots: Option<Roots>,
}
