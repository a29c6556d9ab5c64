//! The way to an MCP server or a model: `tls` and `proxy`.

use std::sync::Arc;

use http::Uri;
use url::Url;

use super::{
    decode::{At, Fields},
    source, tls,
    yaml::Kind,
};
use crate::egress::{Authorization, Proxy, Route};

const TLS_KEYS: [&str; 3] = ["ca", "certificate", "key"];
const PROXY_KEYS: [&str; 2] = ["url", "authorization"];
const NO_PROXY: &str = "expected the URL of an HTTP proxy, such as http://proxy.internal:3128";

/// The way to the server at a URL, from the mapping that has `tls` and `proxy`.
pub fn decode(fields: &Fields<'_>, url: Option<&Url>) -> Route {
    if let (Some(at), Some("http")) = (fields.get("tls"), url.map(Url::scheme)) {
        at.key_problem("there is no TLS with an http:// URL");
    }
    let tls = fields.fields("tls", &TLS_KEYS);
    let shows_one = tls.get("certificate").is_some() || tls.get("key").is_some();
    Route {
        roots: tls.optional("ca", tls::roots),
        identity: if shows_one { tls::identity(&tls) } else { None },
        proxy: fields.optional("proxy", proxy),
    }
}

fn proxy(at: &At<'_>) -> Option<Proxy> {
    let Kind::Mapping(_) = at.node().kind else {
        return proxy_uri(at).map(|uri| Proxy { uri, authorization: None });
    };
    let fields = at.fields(&PROXY_KEYS);
    let authorization = fields.optional("authorization", authorization);
    fields.required("url", proxy_uri).map(|uri| Proxy { uri, authorization })
}

/// The text is never shown: it may have a password in it.
fn proxy_uri(at: &At<'_>) -> Option<Uri> {
    let url = Url::parse(at.text_of(NO_PROXY.trim_start_matches("expected "))?).ok();
    let wrong = match &url {
        Some(url) if url.scheme() == "http" => wrong(url),
        _ => Some(NO_PROXY),
    };
    if let Some(wrong) = wrong {
        at.problem(wrong);
        return None;
    }
    url?.as_str().parse().map_err(|_| at.problem(NO_PROXY)).ok()
}

fn wrong(url: &Url) -> Option<&'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        Some("the URL may have no user or password; give `proxy: { url: …, authorization: … }`")
    } else if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        Some("the URL of a proxy ends with its host and port")
    } else {
        None
    }
}

fn authorization(at: &At<'_>) -> Option<Authorization> {
    let source = source::decode(at)?;
    Some(Arc::new(move || source.ready().map(|value| value.as_header().clone())))
}
