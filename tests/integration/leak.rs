//! Header values and keys stay where they belong: on the wire to their own server, and nowhere else.

use axum::http::StatusCode;
use runwright::grpc::proto::{
    ExplainHeadersRequest, HeaderSet, ListAgentsRequest, ListMcpServersRequest, ListToolsRequest, RunRequest,
    run_event::Event,
};
use serde_json::json;

use crate::support::{
    headers,
    leak::{Sinks, assert_no_leak, canary},
    logs,
    mcp_server::{Era, McpServer, Seen, json_response, raw, unauthorized},
    metrics,
    model_server::{ModelServer, calls, has_result, says},
    run_with,
    scene::{answering, whoami_yaml},
    service::Service,
};

/// All that is secret in these tests.
struct Secrets {
    caller: String,
    every_server: String,
    server: String,
    agent: String,
    query: String,
    model_key: String,
}

impl Secrets {
    fn new() -> Self {
        Self {
            caller: canary("caller"),
            every_server: canary("every"),
            server: canary("server"),
            agent: canary("agent"),
            // Of characters that a URL has, and a key.
            query: canary("query").replace(['"', '+', '~', '%', '/'], "-"),
            model_key: canary("model"),
        }
    }

    fn all(&self) -> [&String; 6] {
        [&self.caller, &self.every_server, &self.server, &self.agent, &self.query, &self.model_key]
    }

    /// Agent `a` over server `crm`, and `wiki` if it is there, with a model that calls `crm`'s `whoami`.
    fn yaml(&self, crm: &McpServer, wiki: Option<&McpServer>, model: &ModelServer) -> String {
        whoami_yaml(&[
            ("QUERY", &format!("{}?key={}", crm.url(), self.query)),
            ("SERVER", &self.server),
            ("AGENT", &self.agent),
            ("KEY", &self.model_key),
            ("MODEL", &model.base_url()),
            ("WIKI", &wiki.map_or_else(|| crm.url(), McpServer::url)),
            ("USES", if wiki.is_some() { ", wiki" } else { "" }),
        ])
    }

    fn set(&self) -> HeaderSet {
        headers([("authorization", &format!("Bearer {}", self.caller)), ("x-name", "alice")])
    }

    fn request(&self) -> RunRequest {
        let mut request = run_with("a", [("crm", self.set())]);
        // A name that is no credential's, so that it may go to all servers.
        request.mcp_headers = Some(headers([("x-every", &self.every_server)]));
        request
    }
}

async fn model() -> ModelServer {
    ModelServer::start(|body| {
        let tool = body["tools"][0]["function"]["name"].as_str().unwrap_or_default().to_owned();
        std::future::ready(if has_result(&body) { says("done") } else { calls(&tool, "{}") })
    })
    .await
}

fn quiet(seen: &Seen) -> Option<axum::http::Response<axum::body::Body>> {
    (seen.method() == "tools/call").then(|| seen.tool_text("nothing of note"))
}

#[tokio::test]
async fn a_whole_run_leaves_its_secrets_nowhere() {
    let (logs, _guard) = logs::catch();
    for era in [Era::Modern, Era::Stateful] {
        let secrets = Secrets::new();
        let (crm, wiki) = (answering(era, quiet).await, answering(era, quiet).await);
        let model = model().await;
        let service = Service::start(&secrets.yaml(&crm, Some(&wiki), &model)).await;
        let mut sinks = Sinks::default();

        let response = service.run(secrets.request()).await.unwrap();
        sinks.add_message("the response", &response);
        let (events, end) = service.events(secrets.request()).await;
        end.unwrap();
        for event in &events {
            sinks.add_message("an event", event);
        }
        assert_eq!(response.tool_calls.len(), 1);

        let mut catalog = service.catalog.clone();
        let explain = ExplainHeadersRequest {
            agent: "a".into(),
            per_run_mcp_headers: [("crm".to_owned(), secrets.set())].into(),
            mcp_headers: secrets.request().mcp_headers,
        };
        sinks.add_message("ExplainHeaders", &catalog.explain_headers(explain).await.unwrap().into_inner());
        let servers = catalog.list_mcp_servers(ListMcpServersRequest::default()).await.unwrap().into_inner();
        sinks.add_message("ListMcpServers", &servers);
        let agents = catalog.list_agents(ListAgentsRequest::default()).await.unwrap().into_inner();
        sinks.add_message("ListAgents", &agents);
        let list = ListToolsRequest {
            agent: "a".into(),
            include_schemas: true,
            per_run_mcp_headers: [("crm".to_owned(), secrets.set())].into(),
            mcp_headers: secrets.request().mcp_headers,
            ..Default::default()
        };
        sinks.add_message("ListTools", &catalog.list_tools(list).await.unwrap().into_inner());

        sinks.add("the log", logs.text()).add("the metrics", metrics::page(&service).await.text);
        for secret in secrets.all() {
            assert_no_leak(secret, &sinks);
        }
        // Each goes to its own server, and to no other.
        let mut at_wiki = Sinks::default();
        at_wiki.add_requests("wiki's requests", &wiki);
        let mut at_model = Sinks::default();
        at_model.add_model_requests("the model's requests", &model);
        for secret in [&secrets.caller, &secrets.server, &secrets.agent, &secrets.query, &secrets.model_key] {
            assert_no_leak(secret, &at_wiki);
        }
        for secret in secrets.all().into_iter().filter(|secret| **secret != secrets.model_key) {
            assert_no_leak(secret, &at_model);
        }
        assert!(crm.seen().iter().all(|seen| seen.header("authorization").contains(&secrets.caller)));
        assert!(wiki.seen().iter().all(|seen| seen.header("x-every") == secrets.every_server));
        assert!(model.seen()[0].0["authorization"].to_str().unwrap().contains(&secrets.model_key));
        the_log_says_something(&logs.text());
        control_tokens_are_not_logged(&events, &logs.text());
    }
}

fn the_log_says_something(log: &str) {
    assert!(log.contains("A run has ended"), "{log}");
    assert!(log.contains("span field") && log.contains("span invoke_agent"), "{log}");
}

fn control_tokens_are_not_logged(events: &[runwright::grpc::proto::RunEvent], log: &str) {
    let Some(Event::RunStarted(started)) = &events[0].event else { panic!("run_started comes first") };
    assert!(started.control_token.len() >= 22);
    assert!(!log.contains(&started.control_token));
    assert!(!format!("{events:?}").contains(&started.control_token));
}

type Reflection = fn(&Seen, &str) -> axum::http::Response<axum::body::Body>;

/// How a server may give back what it was sent.
const REFLECTIONS: [(&str, Reflection); 6] = [
    ("an error page", |_, sent| raw(StatusCode::INTERNAL_SERVER_ERROR, "text/html", format!("<p>{sent}"))),
    ("a refusal in JSON", |_, sent| {
        raw(StatusCode::BAD_REQUEST, "application/json", json!({ "error": sent }).to_string())
    }),
    ("a JSON-RPC error", |seen, sent| {
        let error = json!({ "code": -32000, "message": sent, "data": { "sent": sent } });
        json_response(&json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error }))
    }),
    ("no JSON", |_, sent| raw(StatusCode::OK, "application/json", sent.to_owned())),
    ("a challenge", |_, sent| {
        let quoted = sent.replace('"', "\\\"");
        unauthorized(&format!(
            "Bearer error=\"{quoted}\", scope=\"{quoted}\", resource_metadata=\"https://x.example/?{quoted}\""
        ))
    }),
    ("a redirect", |_, sent| {
        let mut answer = raw(StatusCode::FOUND, "text/plain", "");
        answer.headers_mut().insert("location", format!("https://x.example/{sent}").parse().unwrap());
        answer
    }),
];

#[tokio::test]
async fn what_an_upstream_gives_back_reaches_no_status_and_no_log() {
    let (logs, _guard) = logs::catch();
    for (what, reflection) in REFLECTIONS {
        for at in ["server/discover", "initialize", "tools/list"] {
            let secrets = Secrets::new();
            let crm = answering(Era::Stateful, move |seen| {
                let sent = seen.header("authorization").trim_start_matches("Bearer ").to_owned();
                (seen.method() == at || at == "server/discover").then(|| reflection(seen, &sent))
            })
            .await;
            let model = model().await;
            let service = Service::start(&secrets.yaml(&crm, None, &model)).await;
            let status = service.run(secrets.request()).await.unwrap_err();
            let (_, end) = service.events(secrets.request()).await;
            let list = ListToolsRequest {
                agent: "a".into(),
                per_run_mcp_headers: [("crm".to_owned(), secrets.set())].into(),
                ..Default::default()
            };
            let list = service.catalog.clone().list_tools(list).await.unwrap().into_inner();
            let mut sinks = Sinks::default();
            sinks
                .add_status("the status", &status)
                .add_status("the stream's status", &end.unwrap_err())
                .add_message("ListTools", &list)
                .add_model_requests("the model's requests", &model)
                .add("the log", logs.text());
            for secret in secrets.all() {
                assert_no_leak(secret, &sinks);
            }
            assert!(logs.text().contains("A run has"), "{what}: {}", logs.text());
        }
    }
}

#[tokio::test]
async fn a_models_refusal_gives_no_key_away() {
    type Refusal = fn(&str) -> (StatusCode, String);
    let reflections: [Refusal; 5] = [
        |key| (StatusCode::UNAUTHORIZED, json!({ "error": { "message": key, "code": key } }).to_string()),
        |key| (StatusCode::BAD_REQUEST, json!({ "error": { "message": key, "code": "bad" } }).to_string()),
        |key| (StatusCode::BAD_REQUEST, json!({ "error": { "code": key, "type": key } }).to_string()),
        |key| (StatusCode::INTERNAL_SERVER_ERROR, key.to_owned()),
        |key| (StatusCode::OK, key.to_owned()),
    ];
    let (logs, _guard) = logs::catch();
    for reflection in reflections {
        let mut secrets = Secrets::new();
        // As many providers' keys are made.
        secrets.model_key = canary("sk").replace(['"', '+', '~', '%', '/'], "-");
        let (status, body) = reflection(&secrets.model_key);
        let model = ModelServer::start(move |_| {
            let mut refusal = raw(status, "application/json", body.clone());
            refusal.headers_mut().insert("retry-after", "0".parse().unwrap());
            std::future::ready(refusal)
        })
        .await;
        let crm = McpServer::start(Era::Modern).await;
        let service = Service::start(&secrets.yaml(&crm, None, &model)).await;
        let status = service.run(secrets.request()).await.unwrap_err();
        let mut sinks = Sinks::default();
        sinks.add_status("the status", &status).add("the log", logs.text());
        assert_no_leak(&secrets.model_key, &sinks);
    }
}

#[tokio::test]
async fn a_refused_header_is_named_and_not_shown() {
    let (logs, _guard) = logs::catch();
    let crm = McpServer::start(Era::Modern).await;
    let model = model().await;
    let secrets = Secrets::new();
    let service = Service::start(&secrets.yaml(&crm, None, &model)).await;
    let refused = [
        ("authorization", format!("{}\u{1}", secrets.caller)),
        ("authorization", format!(" {}", secrets.caller)),
        ("host", secrets.caller.clone()),
        ("mcp-session-id", secrets.caller.clone()),
        ("x y", secrets.caller.clone()),
        ("x-long", secrets.caller.repeat(400)),
        ("x-umlaut", format!("ü{}", secrets.caller)),
    ];
    for (name, value) in refused {
        let request = run_with("a", [("crm", headers([(name, &value)]))]);
        let status = service.run(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{name}");
        let (_, end) = service.events(request.clone()).await;
        let explain = ExplainHeadersRequest {
            agent: "a".into(),
            per_run_mcp_headers: request.per_run_mcp_headers,
            mcp_headers: None,
        };
        let explained = service.catalog.clone().explain_headers(explain).await.unwrap().into_inner();
        let mut sinks = Sinks::default();
        sinks
            .add_status("the status", &status)
            .add_status("the stream's status", &end.unwrap_err())
            .add_message("ExplainHeaders", &explained)
            .add("the log", logs.text());
        assert_no_leak(&secrets.caller, &sinks);
    }
    assert!(crm.seen().is_empty() && model.seen().is_empty());
}
