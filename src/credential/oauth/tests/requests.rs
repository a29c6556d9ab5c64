//! The request for a token: what it says, and what is made of its answer.

use std::time::Duration;

use super::*;
use crate::credential::tests::loopback::{CANARY, clean};

fn basic(seen: &Seen) -> String {
    let encoded = seen.header("authorization").strip_prefix("Basic ").unwrap();
    String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
}

fn owned<const N: usize>(fields: [(&str, &str); N]) -> Vec<(String, String)> {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test]
async fn a_secret_is_sent_by_basic_authentication() {
    for methods in [
        json!({}),
        json!({ "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"] }),
    ] {
        let server = issuer(methods).await;
        let mut client = client(&server.origin);
        client.client_id = "a client:1%é".into();
        client.proof = Proof::Secret(Source::fixed("p+q&r s:=").unwrap());
        client.scope = Some("read write".into());
        let fetched = client.fetch().await.ok().unwrap();
        assert_eq!((fetched.token.as_str(), fetched.life), ("issued", Some(Duration::from_secs(3600))));

        let seen = asked(&server);
        assert_eq!(
            basic(&seen),
            "a+client%3A1%25%C3%A9:p%2Bq%26r+s%3A%3D",
            "form-encoded: RFC 6749 section 2.3.1"
        );
        let resource = "https://crm.example.com/mcp";
        let form = [("grant_type", "client_credentials"), ("resource", resource), ("scope", "read write")];
        assert_eq!(seen.form(), owned(form));
        assert_eq!(server.paths(), [format!("GET {METADATA}"), "POST /token".into()]);
    }
}

#[tokio::test]
async fn a_secret_is_sent_in_the_body_where_nothing_else_will_do() {
    let server =
        issuer(json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"] }))
            .await;
    assert_eq!(token(&client(&server.origin)).await.unwrap(), "issued");
    let seen = asked(&server);
    assert_eq!(seen.header("authorization"), "");
    let form = [
        ("client_id", "client-1"),
        ("client_secret", "secret-1"),
        ("grant_type", "client_credentials"),
        ("resource", "https://crm.example.com/mcp"),
    ];
    assert_eq!(seen.form(), owned(form));
}

#[tokio::test]
async fn a_secret_is_not_sent_where_none_is_taken() {
    for methods in [json!(["private_key_jwt"]), json!(["none"]), json!([])] {
        let server = issuer(json!({ "token_endpoint_auth_methods_supported": methods })).await;
        let said = clean(token(&client(&server.origin)).await);
        assert_eq!(said, "the authorization server's token endpoint takes no client secret");
        assert_eq!(server.paths(), [format!("GET {METADATA}")]);
    }
}

#[tokio::test]
async fn the_resource_is_what_was_configured() {
    for (resource, sent) in [(Resource::Named("api://crm".into()), "api://crm"), (Resource::Unsaid, "")] {
        let server = issuer(json!({})).await;
        let client = ClientCredentials { resource, ..client(&server.origin) };
        token(&client).await.unwrap();
        assert_eq!(asked(&server).field("resource"), sent);
    }
}

#[tokio::test]
async fn a_secret_in_a_file_is_the_one_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "old\n").unwrap();
    let file = FileSource::open(path.clone(), String::new()).unwrap();
    let server = issuer(json!({})).await;
    let client =
        ClientCredentials { proof: Proof::Secret(Source::File(file.clone())), ..client(&server.origin) };
    token(&client).await.unwrap();
    std::fs::write(&path, "fresh\n").unwrap();
    file.look_next_time();
    token(&client).await.unwrap();
    let sent: Vec<_> = server.seen().iter().filter(|seen| seen.method == "POST").map(basic).collect();
    assert_eq!(sent, ["client-1:old", "client-1:fresh"]);
}

#[tokio::test]
async fn a_refusal_is_told_by_its_code_alone() {
    for (code, shown) in [
        ("invalid_client", "invalid_client"),
        ("invalid_scope", "invalid_scope"),
        ("unauthorized_client", "unauthorized_client"),
        ("invalid_target", "invalid_target"),
        (CANARY, "for a reason of its own"),
    ] {
        let server = answering(move |_| {
            let body = json!({ "error": code, "error_description": CANARY, "error_uri": CANARY });
            loopback::json(if code == "invalid_client" { 401 } else { 400 }, &body)
        })
        .await;
        let said = clean(token(&client(&server.origin)).await);
        assert_eq!(said, format!("the authorization server's token endpoint refused the request ({shown})"));
        asked(&server);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_not_shown() {
    let page = |status: u16| Response::builder().status(status).body(Body::from(CANARY)).unwrap();
    let json = |status: u16, body: Value| loopback::json(status, &body);
    let not_understood = "the authorization server's token endpoint gave an answer that is not understood";
    for (case, said) in [
        (0, not_understood),
        (1, not_understood),
        (2, not_understood),
        (3, not_understood),
        (4, "the authorization server's token endpoint answered with status 404"),
        (5, "the authorization server's token endpoint answered with status 503"),
        (6, "the authorization server's token endpoint gave a token that can't be sent"),
    ] {
        let server = answering(move |_| match case {
            0 => page(200),
            1 => json(200, json!({ "access_token": 1, "token_type": CANARY })),
            2 => json(200, json!({ "error": CANARY })),
            3 => json(400, json!({ "message": CANARY })),
            4 => page(404),
            5 => json(503, json!({ "error": CANARY })),
            _ => json(200, json!({ "access_token": CANARY, "token_type": "DPoP" })),
        })
        .await;
        assert_eq!(clean(token(&client(&server.origin)).await), said);
    }
}
