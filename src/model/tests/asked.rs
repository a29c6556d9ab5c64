//! What tests ask a model.

use std::sync::Arc;

use serde_json::value::RawValue;

use tokio::time::{Duration, Instant};

use crate::{
    headers::HeaderSet,
    id::RequestId,
    message::{Message, ToolCall, ToolRef},
    model::{Request, Settings, Spent, ToolChoice},
    tool::ToolSpec,
    trace::{Outgoing, TraceHeaders},
};

/// What a [`Request`] borrows.
pub struct Asked {
    pub instructions: String,
    pub messages: Vec<Message>,
    pub history: usize,
    pub turn: u32,
    pub tools: Vec<Arc<ToolSpec>>,
    pub tool_choice: ToolChoice<'static>,
    pub settings: Settings,
    pub headers: HeaderSet,
    pub outgoing: Outgoing,
    /// The run's time from when the request is made.
    pub budget: Duration,
    pub spent: Spent,
}

impl Asked {
    /// A conversation of one message, with instructions, the request id `request-1` and no trace.
    pub fn saying(text: &str) -> Self {
        Self {
            instructions: "Be brief.".to_owned(),
            messages: vec![Message::user(text)],
            history: 1,
            turn: 1,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            settings: Settings::default(),
            headers: HeaderSet::default(),
            outgoing: Outgoing {
                request_id: RequestId::parse("request-1").unwrap(),
                trace: TraceHeaders::default(),
            },
            budget: Duration::from_secs(60),
            spent: Spent::default(),
        }
    }

    pub fn request(&self) -> Request<'_> {
        Request {
            instructions: &self.instructions,
            messages: &self.messages,
            history: self.history,
            turn: self.turn,
            tools: &self.tools,
            tool_choice: self.tool_choice,
            settings: &self.settings,
            headers: &self.headers,
            outgoing: &self.outgoing,
            deadline: Instant::now() + self.budget,
            spent: &self.spent,
        }
    }
}

/// A call in a conversation.
pub fn call(call_id: &str, name: &str, arguments_json: &str) -> ToolCall {
    let (call_id, name, arguments_json) = (call_id.to_owned(), name.to_owned(), arguments_json.to_owned());
    ToolCall { call_id, name, tool: None, arguments_json }
}

/// A tool without a description.
pub fn tool(mcp_server: &str, tool: &str, name: &str, input_schema: &str) -> Arc<ToolSpec> {
    let reference = ToolRef { mcp_server: mcp_server.to_owned(), tool: tool.to_owned() };
    let schema = RawValue::from_string(input_schema.to_owned()).unwrap();
    Arc::new(ToolSpec::new(name.to_owned(), reference, Arc::default(), schema.into()))
}

/// A tool that takes anything.
pub fn described(mcp_server: &str, tool: &str, name: &str, description: &str) -> Arc<ToolSpec> {
    let reference = ToolRef { mcp_server: mcp_server.to_owned(), tool: tool.to_owned() };
    let schema = RawValue::from_string("{}".to_owned()).unwrap();
    Arc::new(ToolSpec::new(name.to_owned(), reference, description.into(), schema.into()))
}
