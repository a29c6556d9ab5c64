//! The section `mcp_servers`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    caller_headers,
    decode::{At, Fields},
    endpoint, route,
    source::{self, Tokens},
    units::{self, KIB, MIB},
};
use crate::{
    credential::Headers,
    headers::CallerRules,
    mcp::{ServerConfig, SessionScope, Timeouts},
};

const KEYS: [&str; 10] = [
    "url",
    "allow_plaintext",
    "tls",
    "proxy",
    "headers",
    "caller_headers",
    "session_scope",
    "tools_ttl",
    "max_body_bytes",
    "timeouts",
];
const TIMEOUTS_KEYS: [&str; 3] = ["connect", "startup", "call"];
const SCOPES: [(&str, SessionScope); 3] =
    [("auto", SessionScope::Auto), ("run", SessionScope::Run), ("identity", SessionScope::Identity)];
const TOOLS_TTL: Duration = Duration::from_secs(5 * 60);
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// The longest name of a server.
const MAX_NAME_BYTES: usize = 32;

/// Takes the section's entries.
pub fn decode(entries: &[(&str, At<'_>)]) -> BTreeMap<String, ServerConfig> {
    let servers = entries.iter().filter_map(|(name, at)| server(name, at));
    servers.map(|server| (server.name.clone(), server)).collect()
}

fn server(name: &str, at: &At<'_>) -> Option<ServerConfig> {
    let fields = at.fields(&KEYS);
    let name = server_name(name, at);
    let url = endpoint::decode(&fields, "url");
    Some(ServerConfig {
        route: route::decode(&fields, url.as_ref()),
        headers: fields.or(
            "headers",
            |at| source::headers(at, Tokens::For(url.as_ref())),
            Headers::default(),
        ),
        caller_headers: fields.or("caller_headers", caller_headers::decode, CallerRules::default()),
        session_scope: fields.or("session_scope", |at| at.one_of(&SCOPES), SessionScope::default()),
        tools_ttl: fields.or("tools_ttl", units::duration_or_zero, TOOLS_TTL),
        max_body_bytes: fields.or("max_body_bytes", |at| units::size(at, KIB..=64 * MIB), MAX_BODY_BYTES),
        timeouts: timeouts(&fields),
        // Last, so that what is above is looked at in any case.
        name: name?,
        url: url?,
    })
}

fn server_name(name: &str, at: &At<'_>) -> Option<String> {
    let right = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let right = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(right);
    if !right {
        at.key_problem("an MCP server's name has 1 to 32 characters of a-z, 0-9 and -");
    }
    right.then(|| name.to_owned())
}

fn timeouts(server: &Fields<'_>) -> Timeouts {
    let fields = server.fields("timeouts", &TIMEOUTS_KEYS);
    let default = Timeouts::default();
    Timeouts {
        connect: fields.or("connect", units::duration, default.connect),
        startup: fields.or("startup", units::duration, default.startup),
        call: fields.or("call", units::duration, default.call),
    }
}
