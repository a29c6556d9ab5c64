use serde_json::json;

use super::*;
use crate::credential::tests::loopback::{CANARY, Loopback, clean, redirect};

fn token(exp: u64) -> String {
    let part = |part: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let header = part(json!({ "alg": "RS256", "typ": "JWT" }));
    format!("{header}.{}.{CANARY}", part(json!({ "aud": "https://crm/", "exp": exp, "email": CANARY })))
}

fn in_seconds(seconds: u64) -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + seconds
}

async fn answering(status: u16, body: impl Into<String>) -> (Loopback, Result<Fetched, SourceError>) {
    let body = body.into();
    let answer = move |_: &_| http::Response::builder().status(status).body(body.clone().into()).unwrap();
    fetch(Loopback::start(answer).await).await
}

async fn fetch(server: Loopback) -> (Loopback, Result<Fetched, SourceError>) {
    let source = GoogleIdToken::new(
        server.url("/"),
        "https://crm.example.com/mcp?a=b&c",
        Http::new(Default::default()),
    );
    let fetched = source.fetch().await;
    (server, fetched)
}

#[tokio::test]
async fn a_token_is_asked_for_as_google_documents_it() {
    let issued = token(in_seconds(3600));
    let (server, fetched) = answering(200, format!("{issued}\n")).await;
    let fetched = fetched.ok().unwrap();
    assert_eq!(fetched.token, issued);
    let life = fetched.life.unwrap();
    assert!(life <= Duration::from_secs(3600) && life > Duration::from_secs(3500), "{life:?}");

    let [seen] = server.seen().try_into().ok().unwrap();
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("GET", PATH));
    let query = "audience=https%3A%2F%2Fcrm.example.com%2Fmcp%3Fa%3Db%26c&format=full";
    assert_eq!(seen.uri.query(), Some(query));
    assert_eq!(seen.header("metadata-flavor"), "Google");
}

#[tokio::test]
async fn an_expired_token_has_no_life_left() {
    let (_server, fetched) = answering(200, token(1)).await;
    assert_eq!(fetched.ok().unwrap().life, Some(Duration::ZERO));
}

#[tokio::test]
async fn what_is_no_token_is_an_error_that_does_not_show_it() {
    let no_expiry = format!("a.{}.b", BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"email\":\"{CANARY}\"}}")));
    for body in ["", CANARY, "a.b.c", &no_expiry] {
        let said = clean(answering(200, body).await.1);
        assert_eq!(said, "Google's metadata server gave an answer that is not understood", "{body}");
    }
    for status in [204, 401, 404, 503] {
        let said = clean(answering(status, CANARY).await.1);
        assert_eq!(said, format!("Google's metadata server answered with status {status}"));
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let target = Loopback::start(|_| redirect(404, "/")).await;
    for status in [301, 302, 303, 307, 308] {
        let to = target.origin.clone();
        let server = Loopback::start(move |_| redirect(status, &to)).await;
        let said = clean(fetch(server).await.1);
        assert_eq!(said, "Google's metadata server answered with a redirect, and none is followed");
    }
    assert!(target.paths().is_empty());
}
