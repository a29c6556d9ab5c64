//! What tests ask a model.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Request, ToolSpec};
use crate::{
    id::RequestId,
    message::{Message, ToolCall, ToolRef},
    trace::{Outgoing, TraceHeaders},
};

/// What a [`Request`] borrows.
pub struct Asked {
    pub instructions: String,
    pub messages: Vec<Message>,
    pub history: usize,
    pub turn: u32,
    pub tools: Vec<ToolSpec>,
    pub outgoing: Outgoing,
}

impl Asked {
    /// A conversation of one message, with instructions, the request id `request-1` and no trace.
    pub fn saying(text: &str) -> Self {
        Self {
            instructions: "Be brief.".to_owned(),
            messages: vec![Message::User { text: text.to_owned() }],
            history: 1,
            turn: 1,
            tools: Vec::new(),
            outgoing: Outgoing {
                request_id: RequestId::parse("request-1").unwrap(),
                trace: TraceHeaders::default(),
            },
        }
    }

    pub fn request(&self) -> Request<'_> {
        Request {
            instructions: &self.instructions,
            messages: &self.messages,
            history: self.history,
            turn: self.turn,
            tools: &self.tools,
            outgoing: &self.outgoing,
        }
    }
}

/// A call in a conversation.
pub fn call(call_id: &str, name: &str, arguments_json: &str) -> ToolCall {
    let (call_id, name, arguments_json) = (call_id.to_owned(), name.to_owned(), arguments_json.to_owned());
    ToolCall { call_id, name, tool: None, arguments_json }
}

/// A tool without a description.
pub fn tool(mcp_server: &str, tool: &str, name: &str, input_schema: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        tool: ToolRef { mcp_server: mcp_server.to_owned(), tool: tool.to_owned() },
        description: Arc::default(),
        input_schema: RawValue::from_string(input_schema.to_owned()).unwrap().into(),
    }
}
