//! Headers that are registered with a model: what is taken, and every refusal.

use super::*;
use crate::model::Config as Model;

/// A model with these keys besides those that it must have.
fn model(more: &str) -> String {
    format!("models: {{ m: {{ provider: openai_chat, base_url: 'https://h/v1', model: x, {more} }} }}")
}

/// The headers that a model's provider is sent.
#[track_caller]
fn headers(more: &str) -> Vec<(String, String)> {
    match &good(&model(more)).models["m"] {
        Model::OpenAiChat(config) => sent(&config.headers),
        _ => panic!("scripted"),
    }
}

/// The only problem, whose column is counted from behind what all models have.
#[track_caller]
fn assert_problem(more: &str, column: usize, path: &str, said: &str) {
    let column = model("").find(" }").unwrap() + column;
    assert_eq!(problems(load_text(&model(more))), [format!("c.yaml:1:{column}: models.m{path}: {said}")]);
}

#[test]
fn headers_are_sent_besides_the_key() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(headers("headers: {}"), []);
    assert_eq!(
        headers(
            "headers: { X-Team: a, OpenAI-Organization: { env: OPENAI_API_KEY, prefix: 'org ' } }, api_key: k"
        ),
        pairs(&[
            ("x-team", "a"),
            ("openai-organization", "org sk-from-the-environment"),
            ("authorization", "Bearer k"),
        ])
    );
    // Some gateways take the key elsewhere.
    assert_eq!(headers("headers: { api-key: { value: k, secret: true } }"), pairs(&[("api-key", "k")]));
    assert_eq!(headers("headers: { Authorization: Basic eA }"), pairs(&[("authorization", "Basic eA")]));
}

#[test]
fn the_key_has_one_place() {
    let said = "`headers` has `authorization` already, which the key is sent in; keep one of them";
    assert_problem("headers: { AUTHORIZATION: Basic eA }, api_key: k", 39, ".api_key", said);
    assert_problem("api_key: k, headers: { authorization: { env: OPENAI_API_KEY } }", 1, ".api_key", said);
}

#[test]
fn tokens_are_for_mcp_servers() {
    let said =
        "tokens are for the headers of MCP servers; expected text, `{ env: NAME }` or `{ file: PATH }`";
    for token in [
        "{ google_id_token: { audience: a } }",
        "{ google_id_token: {}, prefix: 'Bearer ' }",
        "{ oauth_client_credentials: { discover: true, client_id: c, client_secret: s } }",
        "{ oauth_client_credentials: 1, value: a }",
    ] {
        assert_problem(&format!("headers: {{ X-A: {token} }}"), 17, ".headers.X-A", said);
    }
}

#[test]
fn the_rules_for_headers_hold() {
    let what = "expected text, `{ env: NAME }` or `{ file: PATH }`";
    let keys = "a key is unknown; there are value, env, file, prefix, secret";
    for (header, column, path, said) in [
        ("X-A: 1", 17, ".X-A", format!("{what}, found a number; put it in quotes")),
        ("X-A: {}", 17, ".X-A", what.to_owned()),
        ("X-A: { vault: a }", 17, ".X-A", keys.to_owned()),
        ("X-A: { env: UNSET }", 24, ".X-A.env", "the environment variable UNSET is not set".to_owned()),
    ] {
        assert_problem(&format!("headers: {{ {header} }}"), column, &format!(".headers{path}"), &said);
    }
    for name in ["Content-Type", "X-Request-Id", "traceparent", "Host"] {
        let refused = problems(load_text(&model(&format!("headers: {{ {name}: a }}"))));
        assert!(matches!(&refused[..], [line] if line.contains(name)), "{refused:?}");
    }
}
