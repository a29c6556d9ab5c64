//! Addresses and the key of digests, as they are configured.

use std::{net::SocketAddr, time::Duration};

use crate::{
    credential,
    tls::{Identity, Roots},
};

/// Addresses and the key of digests. They are the process's for as long as it lives.
#[derive(Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_listen: SocketAddr,
    /// How gRPC is secured; `None`: it is plain text.
    pub tls: Option<Tls>,
    /// How old a connection for gRPC becomes, more or less, before it is told to go; calls under way go on.
    pub max_connection_age: Duration,
    /// The key of the digests of header values; `None`: a random one for this process.
    pub digest_key: Option<credential::Source>,
}

/// How gRPC is secured.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whom clients see.
    pub identity: Identity,
    /// Who signs the certificates that clients must show; `None`: they are asked for none.
    pub client_roots: Option<Roots>,
}
