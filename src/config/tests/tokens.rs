//! Tokens as the values of headers: what is taken, what it does, and every refusal.

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use axum::{body::Body, http::Response};
use serde_json::json;

use super::{super::token, *};
use crate::credential::{
    Headers, Source,
    tests::{
        keys,
        loopback::{self, Loopback, not_found},
    },
};

const CLIENT: &str = "discover: true, client_id: c, client_secret: s";

/// An issuer that is the whole of an origin, and Google's metadata server.
async fn issuer() -> Loopback {
    Loopback::start(|seen| match seen.uri.path() {
        "/.well-known/oauth-authorization-server" => {
            let token_endpoint = format!("{}/token", seen.origin);
            loopback::json(200, &json!({ "issuer": seen.origin, "token_endpoint": token_endpoint }))
        }
        "/token" => loopback::json(200, &json!({ "access_token": "issued", "token_type": "Bearer" })),
        "/computeMetadata/v1/instance/service-accounts/default/identity" => {
            Response::new(Body::from("e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.e30"))
        }
        _ => not_found(),
    })
    .await
}

/// The only one of some headers.
#[track_caller]
fn only(headers: &Headers) -> Source {
    let sources: Vec<_> = headers.layer().headers().iter().collect();
    let [header] = sources.as_slice() else { panic!("{} headers", sources.len()) };
    assert!(matches!(header.value, Source::Token(_)));
    header.value.clone()
}

/// The value of a header of the server `crm` at a URL, whose source is this.
async fn value(url: &str, source: &str) -> String {
    let config = good(&format!("mcp_servers: {{ crm: {{ url: '{url}', headers: {{ X-A: {source} }} }} }}"));
    let value = only(&config.mcp_servers["crm"].headers).value().await.unwrap();
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn client_credentials_are_used_as_configured() {
    let server = issuer().await;
    let origin = &server.origin;
    let source = format!(
        "{{ oauth_client_credentials: {{ issuer: '{origin}', client_id: c, client_secret: {{ env: OPENAI_API_KEY }}, \
         scope: a b, resource: 'urn:crm' }}, prefix: 'Bearer ' }}"
    );
    assert_eq!(value("https://crm.example.com/mcp", &source).await, "Bearer issued");
    let request = server.seen().pop().unwrap();
    let fields = ["grant_type", "scope", "resource"].map(|name| request.field(name));
    assert_eq!(fields, ["client_credentials", "a b", "urn:crm"]);
    assert!(request.header("authorization").starts_with("Basic "));

    let source = format!("{{ oauth_client_credentials: {{ {CLIENT}, resource: false }} }}");
    assert_eq!(value(&format!("{origin}/mcp"), &source).await, "issued", "no prefix but the configured one");
    assert_eq!(server.seen().pop().unwrap().field("resource"), "");
}

#[tokio::test]
async fn a_private_key_is_text_a_variable_or_a_file() {
    let pem = keys::ec(&ECDSA_P256_SHA256_FIXED_SIGNING).own;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(folder.path().join("key.pem"), &pem).unwrap();
    let server = issuer().await;
    let lines: String = pem.lines().map(|line| format!("              {line}\n")).collect();
    for (source, algorithm) in [
        (format!("|\n{lines}"), ""),
        ("{ env: KEY }\n".to_owned(), "            signing_algorithm: ES256\n            key_id: k1\n"),
        ("{ file: key.pem }\n".to_owned(), ""),
    ] {
        let text = format!(
            "{AGENT}mcp_servers:\n  crm:\n    url: {}/mcp\n    headers:\n      Authorization:\n        prefix: 'Bearer '\n        \
             oauth_client_credentials:\n            discover: true\n            client_id: c\n{algorithm}            \
             private_key: {source}",
            server.origin
        );
        fs::write(&file, &text).unwrap();
        let key = |name: &str| (name == "KEY").then(|| pem.clone());
        let config = load(&file, &key).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        only(&config.mcp_servers["crm"].headers).value().await.unwrap();
        assert!(!server.seen().pop().unwrap().field("client_assertion").is_empty(), "{source}");
    }
}

#[tokio::test]
async fn a_google_token_is_for_the_servers_url_unless_configured() {
    let server = issuer().await;
    let host = server.origin.strip_prefix("http://").unwrap();
    for (url, more, audience) in [
        ("https://crm.example.com/mcp?key=1", "", "https%3A%2F%2Fcrm.example.com%2Fmcp"),
        ("https://crm.example.com", "", "https%3A%2F%2Fcrm.example.com"),
        ("https://crm.example.com/mcp", "audience: crm, ", "crm"),
    ] {
        for host in [host, &server.origin, &format!("{}/", server.origin)] {
            let source =
                format!("{{ google_id_token: {{ {more}metadata_host: '{host}' }}, prefix: 'Bearer ' }}");
            assert_eq!(value(url, &source).await, "Bearer e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.e30");
            let query = format!("audience={audience}&format=full");
            assert_eq!(server.seen().pop().unwrap().uri.query(), Some(query.as_str()));
        }
    }
}

#[tokio::test]
async fn an_agents_headers_may_be_tokens_too() {
    let server = issuer().await;
    let config = good(&format!(
        "models: {{ m: {{ provider: scripted, script: [{{ say: hi }}] }} }}\n\
         mcp_servers: {{ crm: {{ url: '{}/mcp' }}, other: {{ url: 'https://other/' }} }}\n\
         agents: {{ a: {{ model: m, mcp_servers: [other, {{ name: crm, headers: {{ X-A: {{ \
         oauth_client_credentials: {{ {CLIENT} }} }} }} }}] }} }}",
        server.origin
    ));
    only(&config.agents["a"].mcp_servers[1].headers).value().await.unwrap();
    assert_eq!(server.seen().pop().unwrap().field("resource"), format!("{}/mcp", server.origin));
}

#[tokio::test]
async fn nothing_is_fetched_until_a_value_is_needed() {
    let server = issuer().await;
    let config = good(&format!(
        "mcp_servers: {{ crm: {{ url: '{}/mcp', headers: {{ X-A: {{ oauth_client_credentials: {{ {CLIENT} }} }} }} }} }}",
        server.origin
    ));
    let headers = &config.mcp_servers["crm"].headers;
    assert!(headers.names().eq(["x-a"]));
    assert!(headers.current().headers().is_empty() && server.paths().is_empty());
    only(headers).value().await.unwrap();
    assert_eq!(sent(headers), [("x-a".to_owned(), "issued".to_owned())]);
}

#[test]
fn issuers_and_metadata_hosts_are_taken_where_nothing_is_told_in_the_clear() {
    let taken = |source: &str| {
        load_text(&format!(
            "mcp_servers: {{ crm: {{ url: 'https://h/', headers: {{ X-A: {{ {source} }} }} }} }}"
        ))
        .is_ok()
    };
    for (issuer, allowed) in [
        ("issuer: 'https://issuer.example.com/realms/a'", true),
        ("issuer: 'http://localhost:1/'", true),
        ("issuer: 'http://issuer.example.com/'", false),
        ("issuer: 'http://issuer.example.com/', allow_plaintext: true", true),
    ] {
        let source = format!("oauth_client_credentials: {{ {issuer}, client_id: c, client_secret: s }}");
        assert_eq!(taken(&source), allowed, "{issuer}");
    }
    for (host, allowed) in [
        ("metadata.google.internal", true),
        ("metadata.google.internal:80", true),
        ("http://metadata.google.internal", true),
        ("169.254.169.254", true),
        ("169.254.169.254:8080", true),
        ("[fe80::1]:80", true),
        ("[::1]:80", true),
        ("localhost", true),
        ("127.0.0.1:8080", true),
        ("https://metadata.example.com:8443/", true),
        ("metadata.example.com", false),
        ("10.0.0.1", false),
        ("[fd20:ce::254]", false),
        ("metadata.google.internal.example.com", false),
    ] {
        assert_eq!(taken(&format!("google_id_token: {{ metadata_host: '{host}' }}")), allowed, "{host}");
    }
    assert!(taken("google_id_token: {}") && taken("google_id_token:"));
}

/// The source has this problem and no other, at a column of the source and a path below the header's.
#[track_caller]
fn assert_problem(source: &str, column: usize, path: &str, said: &str) {
    let before = "mcp_servers: { crm: { url: 'https://h/', headers: { X-A: ";
    let problems = problems(load_text(&format!("{before}{source} }} }} }}")));
    let column = before.len() + column;
    assert_eq!(
        problems,
        [format!("c.yaml:1:{column}: mcp_servers.crm.headers.X-A{path}: {said}")],
        "{source}"
    );
}

#[test]
fn kinds_of_sources_stand_alone() {
    let what = "expected text, `{ env: NAME }`, `{ file: PATH }`, `{ oauth_client_credentials: … }` or \
                `{ google_id_token: … }`";
    let oauth = "oauth_client_credentials: { discover: true, client_id: c, client_secret: s }";
    assert_problem("{ google_id_token: {}, env: EMPTY }", 1, "", what);
    assert_problem(&format!("{{ {oauth}, file: f }}"), 1, "", what);
    let one = "expected one of `oauth_client_credentials` and `google_id_token`";
    assert_problem(&format!("{{ {oauth}, google_id_token: {{}} }}"), 1, "", one);
    let unknown = "a key is unknown; there are value, env, file, oauth_client_credentials, google_id_token, prefix, secret";
    assert_problem("{ google_id_token: {}, audience: a }", 1, "", unknown);
}

#[test]
fn a_prefix_is_checked_at_the_start() {
    let said = "the value may hold only printable ASCII characters";
    assert_problem("{ google_id_token: {}, prefix: \"Bearer\\n\" }", 32, ".prefix", said);
}

#[test]
fn tokens_are_for_headers_alone() {
    let said =
        "tokens are for the headers of MCP servers; expected text, `{ env: NAME }` or `{ file: PATH }`";
    let token = "{ google_id_token: {} }";
    let model = format!(
        "models: {{ m: {{ provider: openai_chat, base_url: 'https://h/', model: x, api_key: {token} }} }}"
    );
    assert_eq!(problems(load_text(&model)), [format!("c.yaml:1:82: models.m.api_key: {said}")]);
    let key = format!("server: {{ digest_key: {token} }}");
    assert_eq!(problems(load_text(&key)), [format!("c.yaml:1:23: server.digest_key: {said}")]);
    let nested =
        format!("{{ oauth_client_credentials: {{ discover: true, client_id: c, client_secret: {token} }} }}");
    assert_problem(&nested, 76, ".oauth_client_credentials.client_secret", said);
}

/// What is said of a source, without the place and the path of the header.
#[track_caller]
fn said(key: &str, source: &str) -> Vec<String> {
    let text =
        format!("mcp_servers: {{ crm: {{ url: 'https://h/', headers: {{ X-A: {{ {key}: {source} }} }} }} }}");
    let (before, header) = ("c.yaml:1:", format!("mcp_servers.crm.headers.X-A.{key}"));
    let problems = problems(load_text(&text));
    let said = problems.iter().map(|problem| {
        let (column, said) = problem.strip_prefix(before).unwrap().split_once(": ").unwrap();
        let column = column.parse::<i64>().unwrap() - i64::try_from(text.find(source).unwrap()).unwrap() - 1;
        format!("{column}{}", said.strip_prefix(&header).unwrap())
    });
    said.collect()
}

#[test]
fn client_credentials_are_refused() {
    let bad_key = "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----";
    let bad_key = format!("{{ discover: true, client_id: c, private_key: \"{bad_key}\" }}");
    let plaintext = "http:// to another host than loopback would send headers in the clear; use https://, or set \
                     `allow_plaintext: true`";
    let not_pem = "there is no private key in PEM, or it is encrypted";
    let resource = "expected an absolute URI without a fragment, or false";
    for (source, expected) in [
        ("{ discover: true, client_secret: s }", "-26: the key `client_id` is missing".to_owned()),
        ("{ client_id: c, client_secret: s }", "0: expected `issuer`, or `discover: true`".to_owned()),
        ("{ discover: false, client_id: c, client_secret: s }", "0: expected `issuer`, or `discover: true`".to_owned()),
        (
            "{ discover: true, issuer: 'https://i/', client_id: c, client_secret: s }",
            "0: there are `issuer` and `discover: true`; keep one".to_owned(),
        ),
        ("{ discover: yes, client_id: c, client_secret: s }", "12.discover: expected true or false, found text".to_owned()),
        ("{ issuer: 'http://i/', client_id: c, client_secret: s }", format!("10.issuer: {plaintext}")),
        (
            "{ issuer: 'https://i/?a=b', client_id: c, client_secret: s }",
            "10.issuer: the URL of an issuer may have no query (?)".to_owned(),
        ),
        ("{ discover: true, client_id: c }", "0: expected `client_secret` or `private_key`".to_owned()),
        (
            "{ discover: true, client_id: c, client_secret: s, private_key: { file: none } }",
            "0: there are `client_secret` and `private_key`; keep one\n71.private_key.file: \"none\": the file can't be read: No \
             such file or directory (os error 2)"
                .to_owned(),
        ),
        ("{ discover: true, client_id: '', client_secret: s }", "29.client_id: the text is empty".to_owned()),
        ("{ discover: true, client_id: c, client_secret: '' }", "47.client_secret: the value is empty".to_owned()),
        (
            "{ discover: true, client_id: c, client_secret: { env: NOT_SET } }",
            "54.client_secret.env: the environment variable NOT_SET is not set".to_owned(),
        ),
        (
            "{ discover: true, client_id: c, client_secret: s, key_id: k }",
            "50.key_id: only a `private_key` has one".to_owned(),
        ),
        (
            "{ discover: true, client_id: c, client_secret: s, signing_algorithm: ES256 }",
            "50.signing_algorithm: only a `private_key` has one".to_owned(),
        ),
        ("{ discover: true, client_id: c, private_key: none }", format!("45.private_key: {not_pem}")),
        ("{ discover: true, client_id: c, private_key: { env: EMPTY } }", format!("52.private_key.env: {not_pem}")),
        (
            "{ discover: true, client_id: c, private_key: { file: c.yaml } }",
            format!("53.private_key.file: \"c.yaml\": in the file, {not_pem}"),
        ),
        (
            "{ discover: true, client_id: c, private_key: { file: c.yaml, prefix: a } }",
            format!(
                "45.private_key: a key is unknown; there are value, env, file\n53.private_key.file: \"c.yaml\": in the file, {not_pem}"
            ),
        ),
        (
            &bad_key,
            "45.private_key: the private key is none of RSA with 2048 to 8192 bits, EC on P-256 and EC on P-384".to_owned(),
        ),
        ("{ discover: true, client_id: c, client_secret: s, scope: '' }", "57.scope: the text is empty".to_owned()),
        ("{ discover: true, client_id: c, client_secret: s, resource: crm }", format!("60.resource: {resource}")),
        ("{ discover: true, client_id: c, client_secret: s, resource: 'a:b#c' }", format!("60.resource: {resource}")),
        ("{ discover: true, client_id: c, client_secret: s, resource: true }", format!("60.resource: {resource}, found true or false")),
    ] {
        assert_eq!(said(token::OAUTH.name, source).join("\n"), expected, "{source}");
    }
    let unknown = said(token::OAUTH.name, "{ discover: true, client_id: c, client_secret: s, scopes: a }");
    assert!(unknown[0].starts_with("50.scopes: unknown key (did you mean scope?)"), "{unknown:?}");
}

#[test]
fn a_key_that_does_not_sign_as_asked_is_refused() {
    let pem = keys::ec(&ECDSA_P256_SHA256_FIXED_SIGNING).pkcs8;
    for (algorithm, expected) in [
        ("RS256", "the private key does not sign with the algorithm that is asked for"),
        ("HS256", "expected one of RS256, PS256, ES256, ES384"),
    ] {
        let pem = pem.replace('\n', "\\n");
        let source = format!(
            "{{ discover: true, client_id: c, private_key: \"{pem}\", signing_algorithm: {algorithm} }}"
        );
        let [said] = said(token::OAUTH.name, &source).try_into().unwrap();
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn google_id_tokens_are_refused() {
    let host = "a host such as metadata.google.internal, with a port if need be, or its URL";
    let nearby = "only metadata.google.internal, loopback and link-local addresses may be asked over http://";
    for (source, expected) in [
        ("{ audience: '' }", "12.audience: the text is empty".to_owned()),
        ("{ audience: 1 }", "12.audience: expected text, found a number; put it in quotes".to_owned()),
        ("{ metadata_host: 1 }", format!("17.metadata_host: expected {host}, found a number")),
        ("{ metadata_host: '' }", format!("17.metadata_host: expected {host}")),
        ("{ metadata_host: 'a b' }", format!("17.metadata_host: expected {host}")),
        ("{ metadata_host: 'localhost/path' }", format!("17.metadata_host: expected {host}")),
        ("{ metadata_host: 'localhost?a' }", format!("17.metadata_host: expected {host}")),
        ("{ metadata_host: 'user@localhost' }", format!("17.metadata_host: expected {host}")),
        ("{ metadata_host: 'ftp://localhost' }", format!("17.metadata_host: expected {host}")),
        ("{ metadata_host: metadata.example.com }", format!("17.metadata_host: {nearby}")),
        ("text", "0: expected a mapping, found text".to_owned()),
    ] {
        assert_eq!(said(token::GOOGLE.name, source), [expected], "{source}");
    }
}
