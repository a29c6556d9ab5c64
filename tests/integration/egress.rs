//! Where requests go: to the registered origin and nowhere else, whatever an answer points at.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use axum::{
    body::Body,
    http::{Method, Response, StatusCode},
};
use serde_json::json;

use crate::support::{
    error::decode,
    mcp_server::{Era, McpServer, Seen, raw, unauthorized},
    model_server::ModelServer,
    run_as,
    scene::{answering, call_against, list_as, run_against},
    service::{Service, whoami_config},
    soon,
};

/// Chooses requests.
type Which = fn(&Seen) -> bool;

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Where nobody may come: a listener that takes connections and answers none.
struct OffLimits(TcpListener);

impl OffLimits {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}/mcp", self.address())
    }

    /// A connection that was made waits here until it is accepted, so this sees all that ever were.
    fn assert_nobody_came(&self, what: &str) {
        match self.0.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

fn redirect(status: u16, to: &str) -> Response<Body> {
    Response::builder().status(status).header("location", to).body(Body::empty()).unwrap()
}

/// A server that answers some of the requests with a redirect.
async fn redirecting(era: Era, status: u16, to: &str, which: Which) -> McpServer {
    let to = to.to_owned();
    answering(era, move |seen| which(seen).then(|| redirect(status, &to))).await
}

#[test]
fn a_connection_to_the_target_would_be_seen() {
    let target = OffLimits::new();
    target.assert_nobody_came("nobody");
    let _connection = std::net::TcpStream::connect(target.address()).unwrap();
    assert!(std::panic::catch_unwind(|| target.assert_nobody_came("somebody")).is_err());
}

#[tokio::test]
async fn no_redirect_of_an_opening_or_a_list_is_followed() {
    let methods: [(Era, Which); 4] = [
        (Era::Modern, |seen| seen.method() == "server/discover"),
        (Era::Stateful, |seen| seen.method() == "initialize"),
        (Era::Stateful, |seen| seen.method() == "notifications/initialized"),
        (Era::Modern, |seen| seen.method() == "tools/list"),
    ];
    for status in REDIRECTS {
        for (era, which) in methods {
            let target = OffLimits::new();
            let server = redirecting(era, status, &target.url(), which).await;
            let failure = run_against(&server, "").await.unwrap_err();
            assert_eq!(decode(&failure).reason, "MCP_PROTOCOL_ERROR", "{status}: {failure:?}");
            assert!(!failure.message().contains("127.0.0.1"), "{}", failure.message());
            target.assert_nobody_came("an opening");
        }
    }
}

#[tokio::test]
async fn no_redirect_of_a_call_a_resumption_or_a_farewell_is_followed() {
    for status in REDIRECTS {
        for era in [Era::Modern, Era::Stateful] {
            let target = OffLimits::new();
            let server = redirecting(era, status, &target.url(), |seen| seen.method() == "tools/call").await;
            let (_, text) = call_against(&server, "").await;
            assert!(text.contains(&status.to_string()) && !text.contains("127.0.0.1"), "{text}");
            target.assert_nobody_came("a call");
            assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 1);
        }
        let target = Arc::new(OffLimits::new());
        let to = target.url();
        let server = answering(Era::Stateful, move |seen| match (&seen.http, seen.method()) {
            (&Method::GET | &Method::DELETE, _) => Some(redirect(status, &to)),
            (_, "tools/call") => Some(raw(StatusCode::OK, "text/event-stream", "id: 1\nretry: 1\ndata:\n\n")),
            _ => None,
        })
        .await;
        call_against(&server, "timeouts: { call: 500ms }, ").await;
        let methods = server.methods();
        assert!(methods.contains(&"GET".to_owned()) && methods.contains(&"DELETE".to_owned()), "{methods:?}");
        target.assert_nobody_came("a resumption or a farewell");
    }
}

#[tokio::test]
async fn no_redirect_of_a_model_is_followed() {
    for status in REDIRECTS {
        for streamed in [false, true] {
            let target = OffLimits::new();
            let to = target.url();
            let model = ModelServer::start(move |_| std::future::ready(redirect(status, &to))).await;
            let server = McpServer::start(Era::Modern).await;
            let yaml = whoami_config(&server.url()).replace(
                "models:\n",
                &format!(
                    "models:\n  main: {{ provider: openai_chat, base_url: \"{}\", model: m, api_key: a-key }}\n",
                    model.base_url()
                ),
            );
            let service = Service::start(&yaml.replace("model: scripted", "model: main")).await;
            let request = run_as("a", "alice");
            let result = soon("the run's end", async {
                if streamed { service.run_streamed(request).await } else { service.run(request).await }
            });
            assert_eq!(decode(&result.await.unwrap_err()).reason, "MODEL_UNAVAILABLE", "{status}");
            assert_eq!(model.seen().len(), 1);
            target.assert_nobody_came("a model request");
        }
    }
}

#[tokio::test]
async fn nothing_that_an_answer_points_at_is_fetched() {
    let target = OffLimits::new();
    let url = target.url();
    let server = answering(Era::Stateful, move |seen| {
        let icons = json!([{ "src": url, "mimeType": "image/png" }]);
        match seen.method() {
            "initialize" => {
                let server = json!({ "name": "x", "version": "1", "icons": icons, "websiteUrl": url });
                Some(seen.result(json!({
                    "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": server,
                })))
            }
            "tools/list" => {
                let properties = json!({ "x": { "$ref": url }, "y": { "$dynamicRef": url } });
                let schema =
                    json!({ "$schema": url, "$id": url, "type": "object", "properties": properties });
                Some(seen.result(json!({ "tools": [{
                    "name": "whoami", "icons": icons, "inputSchema": schema, "outputSchema": { "$ref": url },
                }] })))
            }
            "tools/call" => Some(seen.result(json!({ "content": [
                { "type": "resource_link", "uri": url, "name": "n", "icons": icons },
                { "type": "text", "text": url },
            ] }))),
            _ => None,
        }
    })
    .await;
    let (_, text) = call_against(&server, "").await;
    assert!(text.contains(&target.address().to_string()), "the model is told of it: {text}");
    target.assert_nobody_came("what an answer points at");
}

#[tokio::test]
async fn the_metadata_of_a_challenge_is_passed_on_and_not_fetched() {
    let target = OffLimits::new();
    let challenge =
        format!("Bearer resource_metadata=\"{0}\", authorization_uri=\"{0}\", realm=\"{0}\"", target.url());
    for at in ["server/discover", "tools/list", "tools/call"] {
        let challenge = challenge.clone();
        let server =
            answering(Era::Modern, move |seen| (seen.method() == at).then(|| unauthorized(&challenge))).await;
        let failure = run_against(&server, "").await.unwrap_err();
        assert_eq!(decode(&failure).challenge.unwrap().resource_metadata, target.url(), "{at}");
        let service = Service::start(&whoami_config(&server.url())).await;
        list_as(&service, "alice").await;
        target.assert_nobody_came(at);
    }
}
