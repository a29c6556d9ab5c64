//! The service as a process, with one MCP server and one agent.

use std::fs;

use runwright::grpc::proto::{
    ListToolsRequest, RunRequest, RunResponse, Tool, agent_service_client::AgentServiceClient,
    catalog_service_client::CatalogServiceClient,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tonic::{Response, Status, transport::Channel};

use crate::{adapter::ToolCall, process::Process};

/// The name by which the service knows the mock server, and that of its agent.
const SUBJECT: &str = "subject";
/// Where the service finds a client's secret.
const SECRET: &str = "CONFORMANCE_CLIENT_SECRET";

/// How the mock server is reached. With a `client_id` the service has credentials of its own, one of the latter two.
pub struct Registration {
    pub url: String,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    /// PEM.
    pub private_key: Option<String>,
}

/// The service. Its agent makes certain calls, all in one turn.
pub struct Service {
    process: Process,
    channel: Channel,
    _folder: TempDir,
}

impl Service {
    pub async fn start(registration: &Registration, calls: &[ToolCall]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runwright.yaml");
        // JSON is YAML.
        fs::write(&file, config(registration, calls, &folder).to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_runwright"));
        command.args(["serve", "--config"]).arg(file);
        if let Some(secret) = &registration.client_secret {
            command.env(SECRET, secret);
        }
        let process = Process::start("the service", &mut command);
        let line: Value = serde_json::from_str(&process.line("The service takes runs").await).unwrap();
        let url = format!("http://{}", line["listen"].as_str().unwrap());
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self { process, channel, _folder: folder }
    }

    /// The mock server's tools that an agent may use.
    pub async fn tools(&self) -> Vec<Tool> {
        let request = ListToolsRequest {
            agent: SUBJECT.to_owned(),
            include_schemas: true,
            ..ListToolsRequest::default()
        };
        let answer = CatalogServiceClient::new(self.channel.clone()).list_tools(request).await;
        let server = self.answer(answer).servers.remove(0);
        assert!(server.problem.is_none(), "{server:#?}\n{}", self.process.output());
        server.tools
    }

    /// A run. A tool's own failure does not fail it.
    pub async fn run(&self) -> RunResponse {
        let request =
            RunRequest { agent: SUBJECT.to_owned(), input: "Go on.".to_owned(), ..RunRequest::default() };
        self.answer(AgentServiceClient::new(self.channel.clone()).run(request).await)
    }

    /// Ends the service as an operator would.
    pub async fn stop(mut self) {
        self.process.terminate().await;
        let status = self.process.ended().await;
        assert!(status.success(), "{status}\n{}", self.process.output());
    }

    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> T {
        answer.unwrap_or_else(|status| panic!("{status:#?}\n{}", self.process.output())).into_inner()
    }
}

fn config(registration: &Registration, calls: &[ToolCall], folder: &TempDir) -> Value {
    let call =
        |call: &ToolCall| json!({ "mcp_server": SUBJECT, "tool": call.name, "arguments": call.arguments });
    let calls: Vec<Value> = calls.iter().map(call).collect();
    let turns = if calls.is_empty() { vec![] } else { vec![json!({ "call": calls })] };
    let script = [turns, vec![json!({ "say": "That is all." })]].concat();
    json!({
        "server": { "listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0" },
        "models": { "scripted": { "provider": "scripted", "script": script } },
        "mcp_servers": { SUBJECT: { "url": registration.url, "headers": headers(registration, folder) } },
        "agents": { SUBJECT: { "model": "scripted", "mcp_servers": [SUBJECT] } },
    })
}

fn headers(registration: &Registration, folder: &TempDir) -> Value {
    let Some(client_id) = &registration.client_id else { return json!({}) };
    let mut source = json!({ "discover": true, "client_id": client_id });
    if registration.client_secret.is_some() {
        source["client_secret"] = json!({ "env": SECRET });
    }
    if let Some(key) = &registration.private_key {
        let file = folder.path().join("private_key.pem");
        fs::write(&file, key).unwrap();
        source["private_key"] = json!({ "file": file });
    }
    json!({ "Authorization": { "oauth_client_credentials": source, "prefix": "Bearer " } })
}
