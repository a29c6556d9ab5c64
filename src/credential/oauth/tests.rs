use axum::{body::Body, http::Response};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::credential::tests::loopback::{self, Loopback, Seen, not_found, redirect};

mod assertions;
mod bounds;
mod discovery;
mod requests;

const METADATA: &str = "/.well-known/oauth-authorization-server";

/// The metadata of an authorization server that is the whole of an origin, with more or other fields.
fn metadata(seen: &Seen, more: &Value) -> Value {
    let mut metadata = json!({ "issuer": seen.origin, "token_endpoint": format!("{}/token", seen.origin) });
    let more = more.as_object().into_iter().flatten();
    metadata.as_object_mut().unwrap().extend(more.map(|(key, value)| (key.clone(), value.clone())));
    metadata
}

fn issued() -> Response<Body> {
    loopback::json(200, &json!({ "access_token": "issued", "token_type": "bearer", "expires_in": 3600 }))
}

/// An authorization server whose metadata has `more`, and that issues tokens.
async fn issuer(more: Value) -> Loopback {
    Loopback::start(move |seen| match seen.uri.path() {
        METADATA => loopback::json(200, &metadata(seen, &more)),
        "/token" => issued(),
        _ => not_found(),
    })
    .await
}

/// An authorization server that answers a request for a token like this.
async fn answering(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Loopback {
    Loopback::start(move |seen| match seen.uri.path() {
        METADATA => loopback::json(200, &metadata(seen, &json!({}))),
        "/token" => answer(seen),
        _ => not_found(),
    })
    .await
}

/// A client with a secret, whose MCP server is elsewhere.
fn client(issuer: &str) -> ClientCredentials {
    ClientCredentials {
        server: "https://crm.example.com/mcp?key=canary".parse().unwrap(),
        authority: Authority::Issuer(issuer.parse().unwrap()),
        client_id: "client-1".into(),
        proof: Proof::Secret(Source::fixed("secret-1").unwrap()),
        scope: None,
        resource: Resource::Server,
        allow_plaintext: false,
        http: Http::new(std::sync::Arc::default()),
    }
}

/// A client that finds its issuer out from the MCP server at a path of an origin.
fn discovering(server: &Loopback, path: &str) -> ClientCredentials {
    ClientCredentials {
        server: server.url(path),
        authority: Authority::Discovered,
        ..client("https://nobody/")
    }
}

/// What a client is given.
async fn token(client: &ClientCredentials) -> Result<String, SourceError> {
    client.fetch().await.map(|fetched| fetched.token)
}

/// The one request for a token.
#[track_caller]
fn asked(server: &Loopback) -> Seen {
    let seen: Vec<_> = server.seen().into_iter().filter(|seen| seen.uri.path() == "/token").collect();
    let [seen] = seen.try_into().unwrap_or_else(|seen: Vec<_>| panic!("{} requests for tokens", seen.len()));
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    seen
}
