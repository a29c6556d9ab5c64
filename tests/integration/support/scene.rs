//! What many tests set up: a service with one agent over one server, and things to wait for.

use std::future;

use axum::{body::Body, http::Response};
use runwright::grpc::proto::{ListToolsRequest, McpServerTools, RunResponse, ToolCall};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Response as Answer, Status};

use super::{
    error::decode,
    gate::Gate,
    headers,
    mcp_server::{Era, McpServer, Seen},
    no_run_left, run_as, run_with,
    service::{Service, whoami_config},
};

/// Agent `a` calls `whoami` on `crm`; `fields` are more of the server's registration, such as `tools_ttl: 0s, `.
pub fn crm_config(url: &str, fields: &str) -> String {
    whoami_config(url).replace("crm: { url", &format!("crm: {{ {fields}url"))
}

/// The same, but the agent makes other calls: an entry a turn, each a YAML list such as
/// `[{ mcp_server: crm, tool: whoami, arguments: {} }]`. It says all results, a `|` behind each.
pub fn script_config(url: &str, fields: &str, turns: &[&str]) -> String {
    let calls: String = turns.iter().map(|calls| format!("      - call: {calls}\n")).collect();
    let count = turns.iter().map(|calls| calls.matches("mcp_server").count()).sum();
    let say: String = (0..count).map(|n| format!("{{{{ results.{n}.text }}}}|")).collect();
    crm_config(url, fields)
        .replace("      - call: [{ mcp_server: crm, tool: whoami, arguments: {} }]\n", &calls)
        .replace("{{ results.0.text }}", &say)
}

/// One call of a tool without arguments, for [`script_config`].
pub fn call_of(tool: &str) -> String {
    format!("[{{ mcp_server: crm, tool: {tool}, arguments: {{}} }}]")
}

/// A server whose hook answers at once.
pub async fn answering<F>(era: Era, answer: F) -> McpServer
where
    F: Fn(&Seen) -> Option<Response<Body>> + Send + Sync + 'static,
{
    McpServer::with_hook(era, move |seen| future::ready(answer(&seen))).await
}

/// A service that may hold one run, and that run, which goes on until the gate is opened.
pub struct Full {
    pub gate: Gate,
    pub server: McpServer,
    pub service: Service,
    pub run: JoinHandle<Result<RunResponse, Status>>,
}

impl Full {
    pub async fn start() -> Self {
        let gate = Gate::closed();
        let server = McpServer::slow(Era::Modern, &gate).await;
        let yaml = format!("{}limits: {{ max_concurrent_runs: 1 }}\n", whoami_config(&server.url()));
        let service = Service::start(&yaml).await;
        let mut agents = service.agents.clone();
        let run = tokio::spawn(async move { agents.run(run_with("a", [])).await.map(Answer::into_inner) });
        gate.entered(1).await;
        Self { gate, server, service, run }
    }

    /// Has the run end, and its place be free.
    pub async fn clear(self) -> Service {
        self.gate.open();
        self.run.await.unwrap().unwrap();
        no_run_left(&self.service).await;
        self.service
    }
}

/// Runs agent `a` for alice against a server; `fields` as in [`crm_config`].
pub async fn run_against(server: &McpServer, fields: &str) -> Result<RunResponse, Status> {
    let service = Service::start(&crm_config(&server.url(), fields)).await;
    super::soon("the run's end", service.run(run_as("a", "alice"))).await
}

/// The one tool call of a run against a server whose hook answers `tools/call`, and what the model was shown of it.
pub async fn call_against(server: &McpServer, fields: &str) -> (ToolCall, String) {
    let mut response = run_against(server, fields).await.unwrap();
    assert_eq!(response.tool_calls.len(), 1);
    (response.tool_calls.remove(0), response.final_output)
}

/// The tools of agent `a` on `crm` for a token.
pub async fn list_as(service: &Service, token: &str) -> McpServerTools {
    let set = headers([("authorization", &format!("Bearer {token}"))]);
    let request = ListToolsRequest {
        agent: "a".into(),
        per_run_mcp_headers: [("crm".to_owned(), set)].into(),
        ..ListToolsRequest::default()
    };
    let listing = async { service.catalog.clone().list_tools(request).await };
    let mut servers = super::soon("a list", listing).await.unwrap().into_inner().servers;
    assert_eq!(servers.len(), 1);
    servers.remove(0)
}

/// Which of the contract's reasons a failure has, and its gRPC code.
pub fn reason(status: &Status) -> (tonic::Code, String) {
    (status.code(), decode(status).reason)
}

/// Counts what is alive, and waits until nothing is.
#[derive(Clone, Default)]
pub struct Gauge(watch::Sender<usize>);

/// One that is alive, until it is dropped.
pub struct Alive(watch::Sender<usize>);

impl Gauge {
    pub fn enter(&self) -> Alive {
        self.0.send_modify(|count| *count += 1);
        Alive(self.0.clone())
    }

    /// Waits until a number of them are alive.
    pub async fn reaches(&self, what: &str, count: usize) {
        super::soon(what, self.0.subscribe().wait_for(|alive| *alive == count)).await.unwrap();
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A configuration with everything in it that may be secret; each pair replaces a word.
pub fn whoami_yaml(words: &[(&str, &str)]) -> String {
    let template = r#"
models:
  main: { provider: openai_chat, base_url: "$MODEL$", model: m, api_key: '$KEY$' }
mcp_servers:
  crm: { url: "$QUERY$", headers: { X-Service-Key: '$SERVER$' } }
  wiki: { url: "$WIKI$" }
agents:
  a:
    model: main
    mcp_servers: [{ name: crm, headers: { X-Agent-Token: '$AGENT$' } }$USES$]
"#;
    words.iter().fold(template.to_owned(), |yaml, (word, by)| yaml.replace(&format!("${word}$"), by))
}
