//! The way to an MCP server or a model: `tls` and `proxy`.

use std::sync::Arc;

use http::Uri;
use url::Url;

use super::{
    decode::{At, Fields},
    key::{Depends, Key, Keys, Optional, Required},
    reference::Section,
    source, tls,
    yaml::Kind,
};
use crate::egress::{Authorization, Proxy, Route};

/// The key of TLS.
pub const TLS: Key<Optional> =
    Key::optional("tls", "Own roots, and a certificate of ours: [below](#mcp_serversnametls).");
/// The key of a proxy.
pub const PROXY: Key<Optional> = Key::optional(
    "proxy",
    "The HTTP proxy that is asked for a tunnel: its URL, or [a mapping](#mcp_serversnameproxy). \
     Proxies of the environment are never asked.",
);
const CA: Key<Optional> =
    Key::optional("ca", "Roots in PEM, in place of the platform's: what signs the server's certificate.");
// Both or none: that one of them lacks is told where the other one is.
const CERTIFICATE: Key<Depends> = Key::or(
    tls::CERTIFICATE.name,
    Depends("required with `key`"),
    "The certificate that the server is shown when it asks, in PEM.",
);
const PRIVATE_KEY: Key<Depends> =
    Key::or(tls::PRIVATE_KEY.name, Depends("required with `certificate`"), tls::PRIVATE_KEY.means);
const TLS_KEYS: Keys = &[&CA, &CERTIFICATE, &PRIVATE_KEY];
const URL: Key<Required> = Key::required("url", "The proxy's URL, `http://HOST:PORT`.");
const AUTHORIZATION: Key<Optional> =
    Key::optional("authorization", "A [value](#values) for `Proxy-Authorization`; left out: none is sent.");
const PROXY_KEYS: Keys = &[&URL, &AUTHORIZATION];
/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "mcp_servers.<name>.tls",
        about: "`models.<name>.tls` has the same keys. The files are read again when they change.",
        probe: "mcp_servers: { x: { tls: { HERE } } }",
        keys: TLS_KEYS,
    },
    Section {
        path: "mcp_servers.<name>.proxy",
        about: "`models.<name>.proxy` has the same keys.",
        probe: "mcp_servers: { x: { proxy: { HERE } } }",
        keys: PROXY_KEYS,
    },
];
const NO_PROXY: &str = "expected the URL of an HTTP proxy, such as http://proxy.internal:3128";

/// The way to the server at a URL, from the mapping that has `tls` and `proxy`.
pub fn decode(fields: &Fields<'_>, url: Option<&Url>) -> Route {
    if let (Some(at), Some("http")) = (fields.get(&TLS), url.map(Url::scheme)) {
        at.key_problem("there is no TLS with an http:// URL");
    }
    let tls = fields.fields(&TLS, TLS_KEYS);
    let shows_one = tls.get(&CERTIFICATE).is_some() || tls.get(&PRIVATE_KEY).is_some();
    Route {
        roots: tls.optional(&CA, tls::roots),
        identity: if shows_one { tls::identity(&tls) } else { None },
        proxy: fields.optional(&PROXY, proxy),
    }
}

fn proxy(at: &At<'_>) -> Option<Proxy> {
    let Kind::Mapping(_) = at.node().kind else {
        return proxy_uri(at).map(|uri| Proxy { uri, authorization: None });
    };
    let fields = at.fields(PROXY_KEYS);
    let authorization = fields.optional(&AUTHORIZATION, authorization);
    fields.required(&URL, proxy_uri).map(|uri| Proxy { uri, authorization })
}

/// The text is never shown: it may have a password in it.
fn proxy_uri(at: &At<'_>) -> Option<Uri> {
    let url = Url::parse(at.text_of(NO_PROXY.trim_start_matches("expected "))?).ok();
    let Some(url) = url.filter(|url| url.scheme() == "http") else {
        at.problem(NO_PROXY);
        return None;
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user {
        at.problem("the URL may have no user or password; give `proxy: { url: …, authorization: … }`");
    }
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    if has_more {
        at.problem("the URL of a proxy ends with its host and port");
    }
    if has_user || has_more {
        return None;
    }
    url.as_str().parse().map_err(|_| at.problem(NO_PROXY)).ok()
}

fn authorization(at: &At<'_>) -> Option<Authorization> {
    let source = source::decode(at)?;
    Some(Arc::new(move || source.ready().map(|value| value.as_header().clone())))
}
