//! The keys `tls` and `proxy`.

use super::{refused::assert_problems, *};
use crate::{
    egress::Route,
    tls::tests::authority::{Authority, Issued},
};

/// Loads a document beside a pair's files and those of another, in a folder `pki`.
fn load_with_pairs(text: &str) -> Result<Config, Vec<String>> {
    let authority = Authority::make();
    let (Issued { certificate, key }, other) = (authority.issue(), authority.issue());
    load_in(
        &[
            ("c.yaml", text),
            ("pki/tls.crt", &certificate),
            ("pki/tls.key", &key),
            ("pki/other.key", &other.key),
            ("pki/ca.crt", &authority.pem()),
            ("pki/empty", ""),
        ],
        "c.yaml",
    )
}

#[track_caller]
fn loaded(text: &str) -> Config {
    load_with_pairs(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The registration `crm` with more fields has these problems and no other.
#[track_caller]
fn assert_server_problems(fields: &str, expected: &[&str]) {
    let text = format!("mcp_servers:\n  crm:\n    url: https://h/\n{fields}");
    assert_eq!(problems(load_with_pairs(&text)), expected, "\n{text}");
}

#[test]
fn grpc_may_be_secured() {
    assert!(good("{}").server.tls.is_none());
    let tls = |more: &str| {
        let text = format!(
            "server: {{ tls: {{ certificate: {{ file: pki/tls.crt }}, key: {{ file: pki/tls.key }}{more} }} }}"
        );
        loaded(&text).server.tls.unwrap()
    };
    assert!(tls("").client_roots.is_none());
    assert!(tls(", client_ca: { file: pki/ca.crt }").client_roots.is_some());
}

#[test]
fn what_is_wrong_with_grpcs_tls() {
    assert_problems(
        "server: { tls: {} }",
        &[
            "c.yaml:1:11: server.tls: the key `certificate` is missing",
            "c.yaml:1:11: server.tls: the key `key` is missing",
        ],
    );
    let text = "server:\n  tls:\n    certificate: { file: none.crt }\n    key: tls.key\n    ca: x\n    client_ca: { file: pki/empty }\n";
    assert_eq!(
        problems(load_with_pairs(text)),
        [
            "c.yaml:3:26: server.tls.certificate.file: \"none.crt\": the file can't be read: No such file or directory (os \
             error 2)",
            "c.yaml:4:10: server.tls.key: expected `{ file: PATH }`, found text",
            "c.yaml:5:5: server.tls.ca: unknown key; there are certificate, key, client_ca",
            "c.yaml:6:24: server.tls.client_ca.file: \"pki/empty\": in the file, there is no certificate in PEM",
        ]
    );
    let unfit = "server: { tls: { certificate: { file: pki/tls.crt }, key: { file: pki/other.key } } }";
    assert_eq!(
        problems(load_with_pairs(unfit)),
        ["c.yaml:1:67: server.tls.key.file: \"pki/other.key\": the key does not fit the certificate"]
    );
}

#[test]
fn a_server_and_a_model_may_have_a_way_of_their_own() {
    let config = loaded(
        "mcp_servers:\n  plain: { url: 'https://h/' }\n  \
         crm: { url: 'https://h/', tls: { ca: { file: pki/ca.crt } }, proxy: 'http://proxy.internal:3128' }\n  \
         same: { url: 'https://i/', tls: { ca: { file: pki/ca.crt } }, proxy: { url: 'http://proxy.internal:3128' } }\n  \
         shown: { url: 'https://h/', tls: { certificate: { file: pki/tls.crt }, key: { file: pki/tls.key } } }\n  \
         known: { url: 'https://h/', proxy: { url: 'http://[::1]:1/', authorization: Basic x } }\n\
         models:\n  main: { provider: anthropic, base_url: 'https://h/', model: m, tls: { ca: { file: pki/ca.crt } }, \
         proxy: 'http://proxy.internal:3128' }\n",
    );
    let route = |name: &str| &config.mcp_servers[name].route;
    assert!(*route("plain") == Route::default());
    assert!(route("crm").roots.is_some() && route("crm").identity.is_none());
    assert_eq!(route("crm").proxy.as_ref().unwrap().uri, "http://proxy.internal:3128/");
    assert!(route("crm") == route("same"), "whose connections are shared");
    assert!(route("shown").identity.is_some() && route("shown").roots.is_none());
    let proxy = route("known").proxy.as_ref().unwrap();
    let authorization = proxy.authorization.as_ref().unwrap()().unwrap();
    assert!(authorization.is_sensitive());
    assert_eq!(authorization, "Basic x");
    let routes = ["plain", "crm", "shown", "known"].map(route);
    assert!((1..4).all(|n| !routes[..n].contains(&routes[n])), "whose connections are not");
    let crate::model::Config::Anthropic(model) = &config.models["main"] else { panic!("it is one") };
    assert!(model.route == *route("crm"));
}

#[test]
fn what_is_wrong_with_a_servers_tls() {
    assert_server_problems(
        "    tls: { certificate: { file: pki/tls.crt } }\n",
        &["c.yaml:4:5: mcp_servers.crm.tls: the key `key` is missing"],
    );
    assert_server_problems(
        "    tls:\n      ca: { file: pki/none }\n      certificate: { file: pki/empty }\n      key: { file: pki/empty }\n",
        &[
            "c.yaml:5:19: mcp_servers.crm.tls.ca.file: \"pki/none\": the file can't be read: No such file or \
             directory (os error 2)",
            "c.yaml:6:28: mcp_servers.crm.tls.certificate.file: \"pki/empty\": in the file, there is no certificate \
             in PEM",
            "c.yaml:7:20: mcp_servers.crm.tls.key.file: \"pki/empty\": in the file, there is no private key in PEM: \
             PKCS #8, PKCS #1 or SEC 1, without a password",
        ],
    );
    let text = "mcp_servers: { crm: { url: 'http://localhost/', tls: {} } }";
    assert_problems(text, &["c.yaml:1:49: mcp_servers.crm.tls: there is no TLS with an http:// URL"]);
}

#[test]
fn what_is_wrong_with_a_proxy() {
    let no_proxy = "expected the URL of an HTTP proxy, such as http://proxy.internal:3128";
    let no_user = "the URL may have no user or password; give `proxy: { url: …, authorization: … }`";
    let no_path = "the URL of a proxy ends with its host and port";
    for (proxy, said) in [
        ("'https://p:3128'", no_proxy),
        ("'socks5://p:1080'", no_proxy),
        ("'p:3128'", no_proxy),
        ("'http://'", no_proxy),
        ("''", no_proxy),
        ("'http://user:password@p/'", no_user),
        ("'http://p/path'", no_path),
        ("'http://p/?query'", no_path),
    ] {
        let at = format!("c.yaml:4:12: mcp_servers.crm.proxy: {said}");
        assert_server_problems(&format!("    proxy: {proxy}\n"), &[&at]);
    }
    assert_server_problems(
        "    proxy: [http://p/]\n",
        &["c.yaml:4:12: mcp_servers.crm.proxy: expected the URL of an HTTP proxy, such as \
           http://proxy.internal:3128, found a list"],
    );
    assert_server_problems(
        "    proxy: { authorization: '', user: x }\n",
        &[
            "c.yaml:4:5: mcp_servers.crm.proxy: the key `url` is missing",
            "c.yaml:4:29: mcp_servers.crm.proxy.authorization: the value is empty",
            "c.yaml:4:33: mcp_servers.crm.proxy.user: unknown key; there are url, authorization",
        ],
    );
}

#[test]
fn plain_text_through_a_proxy_is_allowed_by_name_alone() {
    let text = |url: &str, more: &str| {
        format!("mcp_servers: {{ crm: {{ url: '{url}', {more}proxy: 'http://p/' }} }}")
    };
    for url in ["http://localhost/", "http://h/"] {
        assert_problems(
            &text(url, ""),
            &[
                "c.yaml:1:28: mcp_servers.crm.url: http:// through a proxy would send headers in the clear, whatever \
               the host; use https://, or set `allow_plaintext: true`",
            ],
        );
        good(&text(url, "allow_plaintext: true, "));
    }
    good(&text("https://h/", ""));
}
