//! Who issues tokens, and how that is found out.

use super::*;
use crate::credential::tests::loopback::clean;

const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// An issuer at `path` of an origin whose metadata is at `place` alone, and names itself `name`.
async fn issuer_at(
    place: &'static str,
    path: &'static str,
    name: &'static str,
) -> (Loopback, ClientCredentials) {
    let server = Loopback::start(move |seen| match seen.uri.path() {
        found if found == place => {
            let name = name.replace("ORIGIN", &seen.origin);
            loopback::json(200, &metadata(seen, &json!({ "issuer": name })))
        }
        "/token" => issued(),
        _ => not_found(),
    })
    .await;
    let client = client(server.url(path).as_str());
    (server, client)
}

#[tokio::test]
async fn an_issuers_metadata_is_looked_for_where_mcp_says() {
    let places = [
        "/.well-known/oauth-authorization-server/realms/a",
        "/.well-known/openid-configuration/realms/a",
        "/realms/a/.well-known/openid-configuration",
    ];
    for path in ["/realms/a", "/realms/a/"] {
        for (at, place) in places.into_iter().enumerate() {
            let (server, client) = issuer_at(place, path, "ORIGIN/realms/a").await;
            token(&client).await.unwrap();
            let looked: Vec<_> = places[..=at].iter().map(|place| format!("GET {place}")).collect();
            assert_eq!(server.paths()[..=at], looked);
            assert_eq!(server.paths()[at + 1..], ["POST /token"]);
        }
    }
    for place in [METADATA, "/.well-known/openid-configuration"] {
        for name in ["ORIGIN", "ORIGIN/"] {
            let (_server, client) = issuer_at(place, "/", name).await;
            token(&client).await.unwrap();
        }
    }
    let (server, client) = issuer_at("/nowhere", "/realms/a", "").await;
    assert_eq!(clean(token(&client).await), "the authorization server's metadata is nowhere to be found");
    assert_eq!(server.paths().len(), 3);
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    for name in [
        "ORIGIN/realms/b",
        "ORIGIN",
        "https://issuer.example.com/realms/a",
        "ORIGIN/realms/a/b",
        "",
        "realms/a",
    ] {
        let (server, client) =
            issuer_at("/.well-known/oauth-authorization-server/realms/a", "/realms/a", name).await;
        let said = clean(token(&client).await);
        assert_eq!(said, "the authorization server's metadata is of another issuer", "{name}");
        assert_eq!(server.paths().len(), 1, "no token was asked for");
    }
}

/// An MCP server whose metadata is at `place` alone and names `resource`, and whose issuer is the second.
async fn protected_at(place: &'static str, resource: &'static str) -> (Loopback, Loopback) {
    let issuer = issuer(json!({})).await;
    let named = issuer.origin.clone();
    let server = Loopback::start(move |seen| {
        let resource = resource.replace("ORIGIN", &seen.origin);
        let document =
            json!({ "resource": resource, "authorization_servers": [named, "https://second.example.com"] });
        if seen.uri.path() == place { loopback::json(200, &document) } else { not_found() }
    })
    .await;
    (server, issuer)
}

#[tokio::test]
async fn an_mcp_server_names_its_issuer() {
    let below = "/.well-known/oauth-protected-resource/v1/mcp";
    for (place, resource) in [
        (below, "ORIGIN/v1/mcp"),
        (below, "ORIGIN/v1/"),
        (below, "ORIGIN/v1"),
        (below, "ORIGIN"),
        (RESOURCE, "ORIGIN/v1/mcp"),
        (RESOURCE, "ORIGIN"),
    ] {
        let (server, issuer) = protected_at(place, resource).await;
        assert_eq!(token(&discovering(&server, "/v1/mcp?key=canary")).await.unwrap(), "issued");
        let resource = resource.replace("ORIGIN", &server.origin);
        assert_eq!(asked(&issuer).field("resource"), resource, "as it names itself");
        let looked = [below, RESOURCE].map(|place| format!("GET {place}"));
        assert_eq!(server.paths(), looked[..if place == below { 1 } else { 2 }]);
    }
}

#[tokio::test]
async fn the_resource_may_be_left_unsaid() {
    let (server, issuer) = protected_at(RESOURCE, "ORIGIN").await;
    let client = ClientCredentials { resource: Resource::Unsaid, ..discovering(&server, "/mcp") };
    token(&client).await.unwrap();
    assert!(asked(&issuer).form().iter().all(|(name, _)| name != "resource"));
}

#[tokio::test]
async fn metadata_of_another_resource_is_refused() {
    for resource in
        ["ORIGIN/v1/mc", "ORIGIN/v1/mcp/a", "ORIGIN/v2", "https://crm.example.com/v1/mcp", "v1/mcp", ""]
    {
        let (server, issuer) = protected_at("/.well-known/oauth-protected-resource/v1/mcp", resource).await;
        let said = clean(token(&discovering(&server, "/v1/mcp")).await);
        assert_eq!(said, "the MCP server's protected resource metadata is of another resource", "{resource}");
        assert!(issuer.paths().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_names_nobody_is_its_own_issuer() {
    // Some servers answer whatever is asked with a page.
    for status in [404, 401, 405, 200] {
        let server = Loopback::start(move |seen| match seen.uri.path() {
            METADATA => loopback::json(200, &metadata(seen, &json!({}))),
            "/token" => issued(),
            _ => Response::builder().status(status).body(Body::from("<html>")).unwrap(),
        })
        .await;
        assert_eq!(token(&discovering(&server, "/mcp?key=canary")).await.unwrap(), "issued", "{status}");
        assert_eq!(asked(&server).field("resource"), format!("{}/mcp", server.origin));
        let looked = [&format!("{RESOURCE}/mcp"), RESOURCE, METADATA].map(|place| format!("GET {place}"));
        assert_eq!(server.paths()[..3], looked);
    }
}

#[tokio::test]
async fn a_fault_of_the_metadata_is_no_reason_to_ask_elsewhere() {
    let document = |servers: Value| json!({ "resource": "RESOURCE", "authorization_servers": servers });
    for (status, document, said) in [
        (500, document(json!([])), "answered with status 500"),
        (429, document(json!([])), "answered with status 429"),
        (200, document(json!([])), "gave an answer that is not understood"),
    ] {
        let server = Loopback::start(move |seen| {
            let text = document.to_string().replace("RESOURCE", &seen.origin);
            Response::builder().status(status).body(text.into()).unwrap()
        })
        .await;
        let error = clean(token(&discovering(&server, "/mcp")).await);
        assert_eq!(error, format!("the MCP server's protected resource metadata {said}"));
        assert_eq!(server.paths(), [format!("GET {RESOURCE}/mcp")]);
    }
}

#[tokio::test]
async fn what_a_challenge_says_is_not_followed() {
    let other = issuer(json!({})).await;
    let to = other.origin.clone();
    let server = Loopback::start(move |seen| match seen.uri.path() {
        METADATA => loopback::json(200, &metadata(seen, &json!({}))),
        "/token" => issued(),
        _ => {
            let challenge = format!("Bearer resource_metadata=\"{to}/metadata\", authorization_uri=\"{to}\"");
            let unauthorized = Response::builder().status(401).header("www-authenticate", challenge);
            unauthorized.body(Body::empty()).unwrap()
        }
    })
    .await;
    assert_eq!(token(&discovering(&server, "/mcp")).await.unwrap(), "issued");
    assert!(other.paths().is_empty());
    assert!(!server.paths().iter().any(|path| path.ends_with(" /mcp")), "the MCP server itself is not asked");
}
