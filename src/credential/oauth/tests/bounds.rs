//! Where requests of tokens go, how long they take and how much they read.

use std::{net::TcpListener, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::credential::{
    error::Asked,
    tests::loopback::{CANARY, clean},
};

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

#[tokio::test]
async fn no_redirect_is_followed() {
    let target = issuer(json!({})).await;
    for status in REDIRECTS {
        let to = format!("{}{METADATA}", target.origin);
        let server = Loopback::start(move |_| redirect(status, &to)).await;
        let not_followed = "answered with a redirect, and none is followed";
        let said = clean(token(&client(&server.origin)).await);
        assert_eq!(said, format!("the authorization server's metadata {not_followed}"));
        let said = clean(token(&discovering(&server, "/mcp")).await);
        assert_eq!(said, format!("the MCP server's protected resource metadata {not_followed}"));

        let to = format!("{}/token", target.origin);
        let server = answering(move |_| redirect(status, &to)).await;
        let said = clean(token(&client(&server.origin)).await);
        assert_eq!(said, format!("the authorization server's token endpoint {not_followed}"));
    }
    assert!(target.paths().is_empty());
}

#[tokio::test]
async fn a_large_answer_is_refused() {
    let large = |bytes: usize| {
        let answer = json!({ "access_token": "issued", "token_type": "Bearer", "more": "x".repeat(bytes) });
        loopback::json(200, &answer)
    };
    let server = answering(move |_| large(60 * 1024)).await;
    assert_eq!(token(&client(&server.origin)).await.unwrap(), "issued");
    let server = answering(move |_| large(64 * 1024)).await;
    let said = clean(token(&client(&server.origin)).await);
    assert_eq!(said, "the authorization server's token endpoint answered with more than 64 KiB");
    let server = Loopback::start(move |_| large(64 * 1024)).await;
    let said = clean(token(&client(&server.origin)).await);
    assert_eq!(said, "the authorization server's metadata answered with more than 64 KiB");
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_is_waited_for_10_seconds() {
    // The system takes the connection, and nobody reads from it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(&format!("http://{}", silent.local_addr().unwrap()));
    let begun = Instant::now();
    assert_eq!(clean(token(&client).await), "the authorization server's metadata took too long");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_waited_for_10_seconds() {
    let server = Loopback::start(|_| {
        let endless = futures_util::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>();
        Response::new(Body::from_stream(endless))
    })
    .await;
    let begun = Instant::now();
    assert_eq!(
        clean(token(&client(&server.origin)).await),
        "the authorization server's metadata took too long"
    );
    assert!(begun.elapsed() < Duration::from_secs(11));
}

#[tokio::test]
async fn who_is_not_there_is_told_so() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let said = clean(token(&client(&format!("http://{address}/{CANARY}"))).await);
    assert_eq!(said, "the authorization server's metadata can't be reached");
}

#[tokio::test]
async fn metadata_leads_nowhere_in_the_clear() {
    let leads = "the authorization server's metadata leads to a URL that is not https://";
    for endpoint in ["http://issuer.example.com/token", "http://169.254.169.254/token", "file:///etc/passwd"]
    {
        let server = issuer(json!({ "token_endpoint": endpoint })).await;
        assert_eq!(clean(token(&client(&server.origin)).await), leads, "{endpoint}");
        assert_eq!(server.paths().len(), 1);
    }
    let server = issuer(json!({ "token_endpoint": "file:///etc/passwd" })).await;
    let client = ClientCredentials { allow_plaintext: true, ..client(&server.origin) };
    assert_eq!(clean(token(&client).await), leads);

    let server = Loopback::start(|seen| {
        loopback::json(
            200,
            &json!({ "resource": seen.origin, "authorization_servers": ["http://issuer.example.com"] }),
        )
    })
    .await;
    let said = clean(token(&discovering(&server, "/mcp")).await);
    assert_eq!(said, "the MCP server's protected resource metadata leads to a URL that is not https://");
}

#[test]
fn only_what_is_on_this_machine_leads_to_this_machine() {
    let http = Http::new(std::sync::Arc::default());
    let leads = |from: &str, to: &str, allow_plaintext| {
        let reader = Reader { http: &http, allow_plaintext };
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        reader.check_step(Asked::IssuerMetadata, &from, &to).is_ok()
    };
    for (from, to, otherwise, allowed) in [
        ("https://a/", "https://b/", true, true),
        ("http://127.0.0.1:1/", "http://localhost:2/", true, true),
        ("https://a/", "http://127.0.0.1:1/", false, true),
        ("http://127.0.0.1:1/", "http://a/", false, true),
        ("https://a/", "ftp://a/", false, false),
    ] {
        assert_eq!((leads(from, to, false), leads(from, to, true)), (otherwise, allowed), "{from} {to}");
    }
}
