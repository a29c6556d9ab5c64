//! The service as a process, and its callers.

use std::{fs, path::PathBuf};

use runwright::grpc::proto::{
    HeaderSet, RunEvent, RunRequest, RunResponse, agent_service_client::AgentServiceClient,
    catalog_service_client::CatalogServiceClient, run_event::Event,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tonic::{Request, Status, Streaming, transport::Channel};

use super::{
    process::Process,
    servers::{Server, Tool},
};

/// The name by which the service knows the server under test.
pub const SUBJECT: &str = "subject";

/// The service. Started for a server, its agents are `answering`, `failing`, `slow` and `slow_then_answering`, after the
/// tools that they call.
pub struct Service {
    pub process: Process,
    channel: Channel,
    _folder: TempDir,
}

/// Who asks for a run: with a token, and under a request id.
#[derive(Clone, Debug)]
pub struct Caller {
    pub request_id: String,
    pub authorization: Option<String>,
}

impl Service {
    /// A service with agents for the tools of a server, which is at this URL.
    pub async fn start(server: &Server, url: &str) -> Self {
        Self::configured(&config(server, url)).await
    }

    /// A service with a configuration.
    pub async fn configured(config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = write_config(&folder, config);
        let process = Process::start("the service", serve().arg(file));
        let line: Value = serde_json::from_str(&process.line("The service takes runs").await).unwrap();
        let url = format!("http://{}", line["listen"].as_str().unwrap());
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self { process, channel, _folder: folder }
    }

    pub fn agents(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone())
    }

    pub fn catalogue(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone())
    }

    /// A unary run.
    pub async fn run(&self, agent: &str, caller: &Caller) -> Result<RunResponse, Status> {
        Ok(self.agents().run(caller.request(agent)).await?.into_inner())
    }

    /// A streamed run that has begun.
    pub async fn stream(&self, agent: &str, caller: &Caller) -> Streaming<RunEvent> {
        self.agents().run_streamed(caller.request(agent)).await.unwrap().into_inner()
    }

    /// All events of a streamed run that ends well.
    pub async fn events(&self, agent: &str, caller: &Caller) -> Vec<RunEvent> {
        let mut stream = self.stream(agent, caller).await;
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            events.push(event);
        }
        events
    }
}

impl Caller {
    /// A user with a token of its own.
    pub fn user(name: &str, request_id: &str) -> Self {
        let authorization = Some(format!("Bearer {name}.{}", uuid::Uuid::new_v4().simple()));
        Self { request_id: request_id.to_owned(), authorization }
    }

    /// The same user under another request id.
    pub fn again(&self, request_id: &str) -> Self {
        Self { request_id: request_id.to_owned(), ..self.clone() }
    }

    pub fn without_headers(request_id: &str) -> Self {
        Self { request_id: request_id.to_owned(), authorization: None }
    }

    pub fn request(&self, agent: &str) -> Request<RunRequest> {
        let header = |value: &String| ("authorization".to_owned(), value.clone());
        let set = self
            .authorization
            .as_ref()
            .map(|value| HeaderSet { headers: [header(value)].into(), remove: Vec::new() });
        let mut request = Request::new(RunRequest {
            agent: agent.to_owned(),
            input: "Go on.".to_owned(),
            per_run_mcp_headers: set.into_iter().map(|set| (SUBJECT.to_owned(), set)).collect(),
            ..RunRequest::default()
        });
        request.metadata_mut().insert("x-request-id", self.request_id.parse().unwrap());
        request
    }
}

/// The answer at the end of a streamed run's events.
pub fn completed(events: &[RunEvent]) -> &RunResponse {
    match events.last().and_then(|event| event.event.as_ref()) {
        Some(Event::RunCompleted(response)) => response,
        other => panic!("the stream ends with {other:?}"),
    }
}

/// The command that serves; it lacks its configuration.
pub fn serve() -> Command {
    runwright("serve")
}

/// A command of the binary under test; it lacks its configuration.
pub fn runwright(command: &str) -> Command {
    let mut runwright = Command::new(env!("CARGO_BIN_EXE_runwright"));
    runwright.args([command, "--config"]);
    runwright
}

/// Writes a configuration: JSON is YAML.
pub fn write_config(folder: &TempDir, config: &Value) -> PathBuf {
    let file = folder.path().join("runwright.yaml");
    fs::write(&file, serde_json::to_string_pretty(config).unwrap()).unwrap();
    file
}

fn config(server: &Server, url: &str) -> Value {
    let call =
        |tool: Tool| json!([{ "mcp_server": SUBJECT, "tool": tool.name, "arguments": tool.arguments }]);
    let scripted = |script: Value| json!({ "provider": "scripted", "script": script });
    let model =
        |tool: Tool| scripted(json!([{ "call": call(tool) }, { "say": "It says {{ results.0.text }}." }]));
    let both = json!([
        { "call": call(server.slow()) },
        { "call": call(server.answering()) },
        { "say": "It says {{ results.0.text }}, {{ results.1.text }}." },
    ]);
    let agent = |model: &str| json!({ "model": model, "mcp_servers": [SUBJECT] });
    json!({
        "server": { "listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0" },
        "models": {
            "answering": model(server.answering()),
            "failing": model(server.failing()),
            "slow": model(server.slow()),
            "slow_then_answering": scripted(both),
        },
        "mcp_servers": { SUBJECT: { "url": url, "timeouts": { "call": "10m" } } },
        "agents": {
            "answering": agent("answering"),
            "failing": agent("failing"),
            "slow": agent("slow"),
            "slow_then_answering": agent("slow_then_answering"),
        },
    })
}
