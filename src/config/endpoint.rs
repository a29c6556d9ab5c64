//! URLs of MCP servers and of models' providers.

use http::Uri;
use url::Url;

use super::{
    decode::{At, Fields},
    key::Key,
    route,
};
use crate::egress;

/// The key that lets a URL be one of plain text.
pub const ALLOW_PLAINTEXT: Key<bool> =
    Key::or("allow_plaintext", false, "Whether an `http://` URL may lead to another host than loopback.");

const HTTP: &str = "a URL that begins with https:// or http:// and has a host";
const NOT_HTTP: &str = "expected a URL that begins with https:// or http:// and has a host";
const PLAINTEXT_TO_PROXY: &str = "http:// through a proxy would send headers in the clear, whatever the host; use \
                                  https://, or set `allow_plaintext: true`";
const PLAINTEXT: &str = "http:// to another host than loopback would send headers in the clear; use https://, or set \
                         `allow_plaintext: true`";

/// What decides whether the URL of a mapping may be one of plain text.
#[derive(Clone, Copy)]
pub struct Plaintext {
    allowed: bool,
    proxied: bool,
}

impl Plaintext {
    /// What the mapping says: its `allow_plaintext`, and whether it has a `proxy`.
    pub fn of(fields: &Fields<'_>) -> Self {
        let allowed = fields.or(&ALLOW_PLAINTEXT, At::flag);
        Self { allowed, proxied: fields.get(&route::PROXY).is_some() }
    }

    /// The same of a URL that is sent no headers unless it `has_headers`: without them it may be plain text.
    pub fn unless(self, has_headers: bool) -> Self {
        Self { allowed: self.allowed || !has_headers, ..self }
    }
}

/// A URL. Its text is never shown: its query may be a secret.
pub fn decode(at: &At<'_>, plaintext: Plaintext) -> Option<Url> {
    let Plaintext { allowed, proxied } = plaintext;
    let url = Url::parse(at.text_of(HTTP)?).ok();
    let wrong = url.as_ref().map_or_else(|| vec![NOT_HTTP], |url| wrong(url, allowed, proxied));
    wrong.iter().for_each(|wrong| at.problem(*wrong));
    url.filter(|_| wrong.is_empty())
}

/// All that is wrong with a URL.
fn wrong(url: &Url, allow_plaintext: bool, proxied: bool) -> Vec<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return vec![NOT_HTTP];
    }
    let is_plain = url.scheme() == "http" && !allow_plaintext;
    let checks = [
        (
            !url.username().is_empty() || url.password().is_some(),
            "the URL may have no user or password; give a credential in a header",
        ),
        (url.fragment().is_some(), "the URL may have no fragment (#)"),
        (
            url.as_str().parse::<Uri>().is_err(),
            "HTTP has no form for the URL; percent-encode what is unusual in it",
        ),
        // Loopback is the proxy's own then.
        (is_plain && proxied, PLAINTEXT_TO_PROXY),
        (is_plain && !proxied && !egress::is_loopback(url), PLAINTEXT),
    ];
    checks.into_iter().filter_map(|(is_wrong, what)| is_wrong.then_some(what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_stays_on_the_machine() {
        for (url, loopback) in [
            ("http://localhost/", true),
            ("http://LOCALHOST:8080/mcp", true),
            ("http://127.0.0.1/", true),
            ("http://127.200.0.9:9/", true),
            ("http://[::1]:9/", true),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://0.0.0.0/", false),
            ("http://10.0.0.1/", false),
            ("http://[::2]/", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(wrong(&url, false, false).is_empty(), loopback, "{url}");
            assert!(!wrong(&url, false, true).is_empty(), "{url}");
            assert!(wrong(&url, true, false).is_empty(), "{url}");
            assert!(wrong(&url, true, true).is_empty(), "{url}");
        }
    }

    #[test]
    fn a_url_that_http_has_no_form_for_is_refused() {
        let url = |length: usize| Url::parse(&format!("http://localhost/{}", "x".repeat(length))).unwrap();
        assert!(wrong(&url(1000), false, false).is_empty());
        assert!(wrong(&url(70_000), false, false)[0].contains("HTTP has no form"));
    }
}
