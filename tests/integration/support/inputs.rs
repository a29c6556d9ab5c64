//! Runs whose calls wait for their caller: a scene with a model that asks for tools, and words for what one answers.

use std::{future, sync::Arc};

use axum::{body::Body, http::Response};
use runwright::grpc::proto::{
    ApprovalAnswer, ClientTool, InputAnswer, Message, RunOptions, RunRequest, RunResponse, ToolCall,
    ToolOutput, input_answer::Answer, part, pending_input::Input,
};
use serde_json::{Value, json};

use super::{
    mcp_server::{Era, McpServer, json_response},
    model_server::{ModelServer, says},
    service::{Service, asking_config},
};

/// The tools that a model asks for in one turn, and their arguments.
pub type Asked = [(&'static str, &'static str)];

/// A service with one agent `a`, whose model asks for tools when the user has spoken, and then says their results, a `|`
/// behind each. Its calls are `call_0`, `call_1` and so on, unless the conversation has had such ids.
pub struct Scene {
    pub model: ModelServer,
    pub server: McpServer,
    pub service: Service,
}

impl Scene {
    /// The agent has server `crm` with tools `whoami` and `fail`; `uses` is more of its entry there, such as
    /// `approval: all`, and `agent` more of the agent's own.
    pub async fn start(asked: &Asked, uses: &str, agent: &str) -> Self {
        Self::with(McpServer::start(Era::Modern).await, asked, uses, agent).await
    }

    /// The same with another server.
    pub async fn with(server: McpServer, asked: &Asked, uses: &str, agent: &str) -> Self {
        let asked: Arc<[_]> = asked.into();
        let model = ModelServer::start(move |body| future::ready(answer(&asked, &body))).await;
        let yaml = asking_config(&model.base_url(), &[("crm", &server.url())])
            .replace("[crm]", &format!("[{{ name: crm, {uses} }}]"))
            .replace("a: { model", &format!("a: {{ {agent} model"));
        let service = Service::start(&yaml).await;
        Self { model, server, service }
    }

    /// The calls that the server got, each with its token.
    pub fn called(&self) -> Vec<(String, String)> {
        let seen = self.server.seen();
        let calls = seen.iter().filter(|seen| seen.method() == "tools/call");
        calls
            .map(|seen| {
                let token = seen.header("authorization").trim_start_matches("Bearer ");
                (seen.tool().to_owned(), token.to_owned())
            })
            .collect()
    }

    /// The conversation as the model was given it last.
    pub fn conversation(&self) -> Vec<Value> {
        let seen = self.model.seen();
        seen.last().unwrap().1["messages"].as_array().unwrap().clone()
    }

    /// The tools as the model was offered them last.
    pub fn offered(&self) -> Vec<String> {
        let seen = self.model.seen();
        let tools = seen.last().unwrap().1["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn answer(asked: &Asked, body: &Value) -> Response<Body> {
    let messages = body["messages"].as_array().unwrap();
    let since = messages.iter().rposition(|message| message["role"] == "assistant").unwrap_or(0);
    let results = messages[since..].iter().filter(|message| message["role"] == "tool");
    let results: String = results.map(|result| format!("{}|", result["content"].as_str().unwrap())).collect();
    if !results.is_empty() {
        return says(&results);
    }
    let calls: Vec<Value> = asked
        .iter()
        .enumerate()
        .map(|(at, (name, arguments))| {
            let function = json!({ "name": name, "arguments": arguments });
            json!({ "id": format!("call_{at}"), "type": "function", "function": function })
        })
        .collect();
    let message = json!({ "role": "assistant", "content": null, "tool_calls": calls });
    json_response(&json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] }))
}

/// The caller approves.
pub fn approve(input_id: &str) -> InputAnswer {
    approval(input_id, true, "")
}

/// The caller does not.
pub fn deny(input_id: &str, reason: &str) -> InputAnswer {
    approval(input_id, false, reason)
}

fn approval(input_id: &str, approved: bool, reason: &str) -> InputAnswer {
    let answer = ApprovalAnswer { approved, reason: reason.to_owned() };
    InputAnswer { input_id: input_id.to_owned(), answer: Some(Answer::Approval(answer)) }
}

/// What a tool of the caller's own gave back.
pub fn output(input_id: &str, text: &str) -> InputAnswer {
    tool_output(input_id, text, false)
}

/// The same, where it failed.
pub fn failed_output(input_id: &str, text: &str) -> InputAnswer {
    tool_output(input_id, text, true)
}

fn tool_output(input_id: &str, text: &str, is_error: bool) -> InputAnswer {
    let answer = ToolOutput { text: text.to_owned(), is_error, images: Vec::new() };
    InputAnswer { input_id: input_id.to_owned(), answer: Some(Answer::ToolOutput(answer)) }
}

/// A tool of the caller's own.
pub fn client_tool(name: &str, input_schema_json: &str) -> ClientTool {
    ClientTool {
        name: name.to_owned(),
        description: format!("what {name} does"),
        input_schema_json: input_schema_json.to_owned(),
    }
}

/// A request with tools of the caller's own, which take any arguments.
pub fn with_tools(request: RunRequest, names: &[&str]) -> RunRequest {
    let client_tools = names.iter().map(|name| client_tool(name, "{}")).collect();
    let options = RunOptions { client_tools, ..request.options.unwrap_or_default() };
    RunRequest { options: Some(options), ..request }
}

/// A request that goes on with a conversation, and answers what is open in it.
pub fn going_on(
    request: RunRequest,
    messages: &[&[Message]],
    answers: impl Into<Vec<InputAnswer>>,
) -> RunRequest {
    RunRequest { messages: messages.concat(), answers: answers.into(), input: String::new(), ..request }
}

/// The ids of what a run waits for, in order, each with whether it is an approval.
pub fn pending(response: &RunResponse) -> Vec<(&str, bool)> {
    let pending = response.pending.iter().inspect(|pending| assert_eq!(pending.expire_time, None));
    pending.map(|pending| (&*pending.input_id, matches!(pending.input, Some(Input::Approval(_))))).collect()
}

/// The ids of the calls in messages that have no result there, in order.
pub fn open(messages: &[Message]) -> Vec<&str> {
    let parts = || messages.iter().flat_map(|message| &message.parts).filter_map(|part| part.part.as_ref());
    let has_result = |call: &ToolCall| {
        parts().any(|part| matches!(part, part::Part::ToolResult(result) if result.call_id == call.call_id))
    };
    let calls =
        parts().filter_map(|part| if let part::Part::ToolCall(call) = part { Some(call) } else { None });
    calls.filter(|call| !has_result(call)).map(|call| &*call.call_id).collect()
}
