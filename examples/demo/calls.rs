//! The calls that a backend makes, and the grpcurl lines that send the same.

use std::{collections::BTreeMap, net::SocketAddr};

use runwright::grpc::proto::{
    ExplainHeadersRequest, HeaderSet, ListAgentsRequest, ListToolsRequest, RunRequest,
};
use serde_json::{Value, json};

/// The longest line of a command, in characters.
const MAX_WIDTH: usize = 100;

/// A call of the service.
pub enum Call {
    ListAgents(ListAgentsRequest),
    ExplainHeaders(ExplainHeadersRequest),
    ListTools(ListToolsRequest),
    Run(RunRequest),
    RunStreamed(RunRequest),
}

impl Call {
    /// The grpcurl command for it, to be pasted as it is.
    pub fn grpcurl(&self, address: SocketAddr) -> String {
        let target = format!("{address} runwright.v1.{}", self.method());
        let fields = self.fields();
        if fields.is_empty() {
            return format!("grpcurl -plaintext {target}");
        }
        format!("grpcurl -plaintext -d '{{{}}}' \\\n  {target}", wrapped(&fields))
    }

    fn method(&self) -> &'static str {
        match self {
            Self::ListAgents(_) => "CatalogService/ListAgents",
            Self::ExplainHeaders(_) => "CatalogService/ExplainHeaders",
            Self::ListTools(_) => "CatalogService/ListTools",
            Self::Run(_) => "AgentService/Run",
            Self::RunStreamed(_) => "AgentService/RunStreamed",
        }
    }

    /// The fields that are set, each as the JSON that grpcurl takes.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::ListAgents(_) => vec![],
            Self::ExplainHeaders(request) => vec![
                ("agent", json!(request.agent)),
                ("mcp_headers", request.mcp_headers.as_ref().map_or(Value::Null, set)),
                ("per_run_mcp_headers", sets(&request.per_run_mcp_headers)),
            ],
            Self::ListTools(request) => vec![
                ("agent", json!(request.agent)),
                ("per_run_mcp_headers", sets(&request.per_run_mcp_headers)),
            ],
            Self::Run(request) | Self::RunStreamed(request) => vec![
                ("agent", json!(request.agent)),
                ("input", json!(request.input)),
                ("per_run_mcp_headers", sets(&request.per_run_mcp_headers)),
            ],
        }
    }
}

/// Fields as JSON has them, on as few lines as they fit.
fn wrapped(fields: &[(&str, Value)]) -> String {
    let (mut text, mut width) = (String::new(), "grpcurl -plaintext -d '{".len());
    for (at, (name, value)) in fields.iter().enumerate() {
        let field = format!("\"{name}\":{value}");
        if at > 0 {
            let fits = width + field.len() + 2 < MAX_WIDTH;
            text += if fits { ", " } else { ",\n  " };
            width = if fits { width + 2 } else { 2 };
        }
        width += field.len();
        text += &field;
    }
    text
}

fn sets(sets: &BTreeMap<String, HeaderSet>) -> Value {
    sets.iter().map(|(server, headers)| (server.clone(), set(headers))).collect()
}

fn set(set: &HeaderSet) -> Value {
    json!({ "headers": set.headers })
}
