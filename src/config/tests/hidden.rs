//! What is wrong in one place hides nothing that is wrong in another.

use super::{refused::assert_problems, *};

/// A document with an MCP server that has the header `x-a`.
fn with_header(value: &str) -> String {
    format!("mcp_servers:\n  crm:\n    url: https://h/\n    headers:\n      x-a: {value}\n")
}

const EXPECTED: &str = "expected text, `{ env: NAME }`, `{ file: PATH }`, `{ oauth_client_credentials: … }` or \
                        `{ google_id_token: … }`";
const NOT_SET: &str = "the environment variable UNSET is not set";

#[test]
fn a_provider_that_is_unknown() {
    let providers = "openai_chat, openai_responses, anthropic, scripted";
    let fields = "    base_url: ftp://h/\n    api_key: { env: UNSET }\n    model: ''\n    headers: { Host: x }\n    \
                  tls: { ca: x }\n    proxy: 1\n    script: [{}]\n";
    let rest = [
        "c.yaml:4:15: models.m.base_url: expected a URL that begins with https:// or http:// and has a host",
        &format!("c.yaml:5:21: models.m.api_key.env: {NOT_SET}"),
        "c.yaml:6:12: models.m.model: a provider's name for a model has 1 to 256 printable characters",
        "c.yaml:7:16: models.m.headers.Host: the name is reserved: HTTP, MCP or Runwright itself sets that header",
        "c.yaml:8:16: models.m.tls.ca: expected `{ file: PATH }`, found text",
        "c.yaml:9:12: models.m.proxy: expected the URL of an HTTP proxy, such as http://proxy.internal:3128, found a number",
        "c.yaml:10:14: models.m.script[0]: a step has `call`, `say` or both",
    ];
    let unknown = format!("c.yaml:3:15: models.m.provider: expected one of {providers}");
    let expected: Vec<&str> = std::iter::once(&*unknown).chain(rest).collect();
    assert_problems(&format!("models:\n  m:\n    provider: openai\n{fields}"), &expected);
    let missing = "c.yaml:2:3: models.m: the key `provider` is missing";
    let expected: Vec<&str> = std::iter::once(missing).chain(rest).collect();
    assert_problems(&format!("models:\n  m:\n    # none\n{fields}"), &expected);
    // Which header the key goes into is not known, so it is in nobody's place.
    assert_problems(
        "models: { m: { provider: antropic, api_key: k, headers: { authorization: a, x-api-key: b } } }",
        &[&format!("c.yaml:1:26: models.m.provider: expected one of {providers}")],
    );
}

#[test]
fn a_certificate_or_a_key_of_the_wrong_kind() {
    let no_file = "the file can't be read: No such file or directory (os error 2)";
    let what = "expected `{ file: PATH }`";
    assert_problems(
        "server:\n  tls:\n    certificate: tls.crt\n    key: { file: none.key }\n",
        &[
            &format!("c.yaml:3:18: server.tls.certificate: {what}, found text"),
            &format!("c.yaml:4:18: server.tls.key.file: \"none.key\": {no_file}"),
        ],
    );
    assert_problems(
        "server:\n  tls:\n    certificate: { file: c.yaml }\n",
        &[
            "c.yaml:2:3: server.tls: the key `key` is missing",
            "c.yaml:3:26: server.tls.certificate.file: \"c.yaml\": in the file, there is no certificate in PEM",
        ],
    );
    assert_problems(
        "server:\n  tls:\n    certificate: { file: none.crt, password: x }\n    key: []\n",
        &[
            &format!("c.yaml:3:18: server.tls.certificate: {what}"),
            &format!("c.yaml:3:26: server.tls.certificate.file: \"none.crt\": {no_file}"),
            &format!("c.yaml:4:10: server.tls.key: {what}, found a list"),
        ],
    );
}

#[test]
fn sources_that_are_too_many_or_have_an_unknown_key() {
    let keys = "value, env, file, oauth_client_credentials, google_id_token, prefix, secret";
    assert_problems(
        &with_header("{ env: UNSET, prefx: Bearer }"),
        &[
            &format!("c.yaml:5:12: mcp_servers.crm.headers.x-a: a key is unknown; there are {keys}"),
            &format!("c.yaml:5:19: mcp_servers.crm.headers.x-a.env: {NOT_SET}"),
        ],
    );
    assert_problems(
        &with_header("{ env: UNSET, value: 1, google_id_token: { audience: '' } }"),
        &[
            &format!("c.yaml:5:12: mcp_servers.crm.headers.x-a: {EXPECTED}"),
            &format!("c.yaml:5:19: mcp_servers.crm.headers.x-a.env: {NOT_SET}"),
            "c.yaml:5:33: mcp_servers.crm.headers.x-a.value: expected text, found a number; put it in quotes",
            "c.yaml:5:65: mcp_servers.crm.headers.x-a.google_id_token.audience: the text is empty",
        ],
    );
    assert_problems(
        &format!("{}      \"x b\": {{ env: UNSET }}\n", with_header("a")),
        &[
            "c.yaml:6:7: mcp_servers.crm.headers: the name is no HTTP token (RFC 9110 section 5.6.2)",
            &format!("c.yaml:6:21: mcp_servers.crm.headers.env: {NOT_SET}"),
        ],
    );
}

#[test]
fn tokens_that_say_too_much() {
    let path = "mcp_servers.crm.headers.x-a";
    assert_problems(
        &with_header(
            "\n        oauth_client_credentials:\n          issuer: ftp://h/\n          discover: true\n          client_id: c\n          \
             client_secret: { env: UNSET }\n          private_key: none\n        google_id_token: { metadata_host: 1 }",
        ),
        &[
            &format!("c.yaml:6:9: {path}: expected one of `oauth_client_credentials` and `google_id_token`"),
            &format!(
                "c.yaml:7:11: {path}.oauth_client_credentials: there are `client_secret` and `private_key`; keep one"
            ),
            &format!(
                "c.yaml:7:11: {path}.oauth_client_credentials: there are `issuer` and `discover: true`; keep one"
            ),
            &format!(
                "c.yaml:7:19: {path}.oauth_client_credentials.issuer: expected a URL that begins with https:// or http:// and \
                 has a host"
            ),
            &format!("c.yaml:10:33: {path}.oauth_client_credentials.client_secret.env: {NOT_SET}"),
            &format!(
                "c.yaml:11:24: {path}.oauth_client_credentials.private_key: there is no private key in PEM, or it is encrypted"
            ),
            &format!(
                "c.yaml:12:43: {path}.google_id_token.metadata_host: expected a host such as metadata.google.internal, with a \
                 port if need be, or its URL, found a number"
            ),
        ],
    );
    assert_problems(
        &with_header(
            "{ oauth_client_credentials: { issuer: 'http://u@h.example/?q', discover: maybe, client_id: c, client_secret: s } }",
        ),
        &[
            &format!(
                "c.yaml:5:50: {path}.oauth_client_credentials.issuer: http:// to another host than loopback would send headers in \
                 the clear; use https://, or set `allow_plaintext: true`"
            ),
            &format!(
                "c.yaml:5:50: {path}.oauth_client_credentials.issuer: the URL may have no user or password; give a credential in a header"
            ),
            &format!(
                "c.yaml:5:50: {path}.oauth_client_credentials.issuer: the URL of an issuer may have no query (?)"
            ),
            &format!(
                "c.yaml:5:85: {path}.oauth_client_credentials.discover: expected true or false, found text"
            ),
        ],
    );
}

#[test]
fn urls_and_approvals_that_are_wrong_in_several_ways() {
    assert_problems(
        "mcp_servers: { crm: { url: 'http://user@h.example/#part', proxy: 'http://user@proxy/path' } }",
        &[
            "c.yaml:1:28: mcp_servers.crm.url: http:// through a proxy would send headers in the clear, whatever the host; use \
             https://, or set `allow_plaintext: true`",
            "c.yaml:1:28: mcp_servers.crm.url: the URL may have no fragment (#)",
            "c.yaml:1:28: mcp_servers.crm.url: the URL may have no user or password; give a credential in a header",
            "c.yaml:1:66: mcp_servers.crm.proxy: the URL may have no user or password; give `proxy: { url: …, authorization: … }`",
            "c.yaml:1:66: mcp_servers.crm.proxy: the URL of a proxy ends with its host and port",
        ],
    );
    let agent = "    mcp_servers: [{ name: crm, tools: [a], approval: [b, a, c] }]\n";
    assert_problems(
        &refused::with_agent(agent),
        &[
            "c.yaml:6:54: agents.a.mcp_servers[0].approval: `b` is not among the agent's `tools` of that server",
            "c.yaml:6:54: agents.a.mcp_servers[0].approval: `c` is not among the agent's `tools` of that server",
        ],
    );
}
