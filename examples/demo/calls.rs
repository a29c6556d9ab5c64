//! The calls that a backend makes, and the grpcurl lines that send the same.

use std::{collections::BTreeMap, net::SocketAddr};

use runwright::grpc::proto::{
    ExplainHeadersRequest, HeaderSet, InputAnswer, ListAgentsRequest, ListToolsRequest, RunOptions,
    RunRequest, SubmitRunInputRequest, UpdateRunHeadersRequest, input_answer::Answer,
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
    /// A streamed run, and what is sent when it waits: the ids are known only then.
    RunWaiting(RunRequest, Reply),
}

/// What a backend sends to a run that waits. The ids in it stand for those of the run.
pub enum Reply {
    /// Fresh headers, at `credentials_required`.
    Headers(UpdateRunHeadersRequest),
    /// Its word, at `approval_required`.
    Input(SubmitRunInputRequest),
}

impl Call {
    /// The grpcurl command for it, to be pasted as it is.
    pub fn grpcurl(&self, address: SocketAddr) -> String {
        command(address, self.method(), &self.fields())
    }

    fn method(&self) -> &'static str {
        match self {
            Self::ListAgents(_) => "CatalogService/ListAgents",
            Self::ExplainHeaders(_) => "CatalogService/ExplainHeaders",
            Self::ListTools(_) => "CatalogService/ListTools",
            Self::Run(_) => "AgentService/Run",
            Self::RunStreamed(_) | Self::RunWaiting(..) => "AgentService/RunStreamed",
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
            Self::Run(request) | Self::RunStreamed(request) | Self::RunWaiting(request, _) => run(request),
        }
    }
}

impl Reply {
    /// The event that it answers, as grpcurl names it, and the ids that are to be filled in.
    pub fn when(&self) -> &'static str {
        match self {
            Self::Headers(_) => "At credentialsRequired, with runId and controlToken of the first event:",
            Self::Input(_) => {
                "At approvalRequired, with its inputId, and runId and controlToken of the first event:"
            }
        }
    }

    /// The grpcurl command for it.
    pub fn grpcurl(&self, address: SocketAddr) -> String {
        match self {
            Self::Headers(request) => {
                let sets = sets(&request.per_run_mcp_headers);
                let fields = control(&request.run_id, &request.control_token, ("per_run_mcp_headers", sets));
                command(address, "AgentService/UpdateRunHeaders", &fields)
            }
            Self::Input(request) => {
                let answers = request.answers.iter().map(approval).collect();
                let fields = control(&request.run_id, &request.control_token, ("answers", answers));
                command(address, "AgentService/SubmitRunInput", &fields)
            }
        }
    }
}

fn control(run_id: &str, control_token: &str, field: (&'static str, Value)) -> [(&'static str, Value); 3] {
    [("run_id", json!(run_id)), ("control_token", json!(control_token)), field]
}

fn approval(answer: &InputAnswer) -> Value {
    let approved = matches!(&answer.answer, Some(Answer::Approval(approval)) if approval.approved);
    json!({ "input_id": answer.input_id, "approval": { "approved": approved } })
}

fn run(request: &RunRequest) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("agent", json!(request.agent)),
        ("input", json!(request.input)),
        ("per_run_mcp_headers", sets(&request.per_run_mcp_headers)),
    ];
    fields.extend(request.options.as_ref().map(|options| ("options", on_unauthorized(options))));
    fields
}

fn command(address: SocketAddr, method: &str, fields: &[(&str, Value)]) -> String {
    let target = format!("{address} runwright.v1.{method}");
    if fields.is_empty() {
        return format!("grpcurl -plaintext {target}");
    }
    format!("grpcurl -plaintext -d '{{{}}}' \\\n  {target}", wrapped(fields))
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

/// The one option that the demo sets.
fn on_unauthorized(options: &RunOptions) -> Value {
    json!({ "on_unauthorized": options.on_unauthorized().as_str_name() })
}

fn set(set: &HeaderSet) -> Value {
    json!({ "headers": set.headers })
}
