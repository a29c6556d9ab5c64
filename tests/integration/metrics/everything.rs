//! A service that has done one of everything, so that every metric has a value.

use std::future;

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use runwright::grpc::proto::{CancelRunRequest, RunRequest};
use serde_json::Value;

use crate::support::{
    inputs::approve,
    mcp_server::{Era, McpServer, Seen, empty, unauthorized},
    model_server::{ModelServer, calls, has_result, says},
    reader::Reader,
    run_as,
    scene::{answering, reason},
    service::Service,
};

/// The service, and what it asked.
pub struct Everything {
    pub service: Service,
    pub crm: McpServer,
    pub model: ModelServer,
}

impl Everything {
    /// Starts it, and has it do everything.
    pub async fn start() -> Self {
        let crm = answering(Era::Modern, expired).await;
        let model = ModelServer::start(|body| future::ready(answer(&body))).await;
        let yaml = format!(
            r#"
limits: {{ max_concurrent_runs: 7, max_request_bytes: 1MiB }}
kept_clients: {{ max: 1 }}
models:
  main: {{ provider: openai_chat, base_url: "{}", model: m-1 }}
mcp_servers:
  crm: {{ url: "{}" }}
agents:
  a: {{ model: main, mcp_servers: [crm] }}
  asks: {{ model: main, mcp_servers: [{{ name: crm, approval: [whoami] }}] }}
"#,
            model.base_url(),
            crm.url()
        );
        let all = Self { service: Service::start(&yaml).await, crm, model };
        all.run().await;
        all.fail().await;
        all
    }

    async fn run(&self) {
        let service = &self.service;
        service.run(run_as("a", "alice")).await.unwrap();
        service.run_streamed(run_as("a", "bob")).await.unwrap();
        for input in ["fail", "no_such_tool"] {
            service.run(RunRequest { input: input.into(), ..run_as("a", "carol") }).await.unwrap();
        }
        let mut waits = Reader::start(service, run_as("asks", "dora")).await;
        let asked = waits.asked().await;
        waits.submit([approve(&asked.input_id)]).await.unwrap();
        waits.end().await.unwrap();
    }

    async fn fail(&self) {
        let service = &self.service;
        let refused = RunRequest { input: "refuse".into(), ..run_as("a", "alice") };
        assert_eq!(reason(&service.run(refused).await.unwrap_err()).1, "MODEL_REJECTED");
        let expired = service.run(run_as("a", "expired")).await.unwrap_err();
        assert_eq!(reason(&expired).1, "MCP_UNAUTHORIZED");
        let unknown = service.run(run_as("no-such-agent", "alice")).await.unwrap_err();
        assert_eq!(reason(&unknown).1, "AGENT_NOT_FOUND");
        let nobody = service.agents.clone().cancel_run(CancelRunRequest::default()).await.unwrap_err();
        assert_eq!(reason(&nobody).1, "RUN_NOT_FOUND");
        for ok in [false, true] {
            service.runner.parts().metrics.config_reloaded(ok);
        }
    }
}

/// 401 for a call with a certain token.
fn expired(seen: &Seen) -> Option<Response<Body>> {
    let expired = seen.header("authorization") == "Bearer expired" && seen.method() == "tools/call";
    expired.then(|| unauthorized("Bearer error=\"invalid_token\""))
}

/// A model that does what the user says.
fn answer(body: &Value) -> Response<Body> {
    let messages = body["messages"].as_array().unwrap();
    let said = messages.iter().rfind(|message| message["role"] == "user").unwrap();
    match said["content"].as_str().unwrap() {
        "refuse" => empty(StatusCode::BAD_REQUEST),
        _ if has_result(body) => says("done"),
        "go" => calls("whoami", "{}"),
        tool => calls(tool, "{}"),
    }
}
