//! The section `server`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    decode::{At, Fields},
    source, tls, units,
};
use crate::{
    credential::Source,
    run::Limits,
    server::{Config, Tls},
};

const KEYS: [&str; 6] =
    ["listen", "admin_listen", "tls", "max_connection_age", "drain_timeout", "digest_key"];
const TLS_KEYS: [&str; 3] = ["certificate", "key", "client_ca"];
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051);
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);
/// The shortest key of digests, in bytes.
const MIN_DIGEST_KEY_BYTES: usize = 16;

/// Takes the section; its `drain_timeout` is one of the `limits`.
pub fn decode(root: &Fields<'_>, limits: &mut Limits) -> Config {
    let fields = root.fields("server", &KEYS);
    limits.drain_timeout = fields.or("drain_timeout", units::duration, limits.run_timeout);
    Config {
        listen: fields.or("listen", address, LISTEN),
        admin_listen: fields.or("admin_listen", address, ADMIN_LISTEN),
        tls: fields.optional("tls", server_tls),
        max_connection_age: fields.or("max_connection_age", units::duration, MAX_CONNECTION_AGE),
        digest_key: fields.optional("digest_key", digest_key),
    }
}

fn address(at: &At<'_>) -> Option<SocketAddr> {
    let what = "an IP address and a port, such as 127.0.0.1:50051";
    let address = at.text_of(what)?.parse();
    address.map_err(|_| at.problem(format!("expected {what}"))).ok()
}

fn server_tls(at: &At<'_>) -> Option<Tls> {
    let fields = at.fields(&TLS_KEYS);
    let client_roots = fields.optional("client_ca", tls::roots);
    Some(Tls { identity: tls::identity(&fields)?, client_roots })
}

fn digest_key(at: &At<'_>) -> Option<Source> {
    let source = source::decode(at)?;
    if source.ready().is_some_and(|key| key.as_bytes().len() < MIN_DIGEST_KEY_BYTES) {
        at.problem(format!("the key has under {MIN_DIGEST_KEY_BYTES} bytes"));
        return None;
    }
    Some(source)
}
