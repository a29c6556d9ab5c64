//! A conversation that a caller sends: checked, so that every provider takes it.

use std::{collections::HashSet, sync::Arc};

use super::images::{image, images};
use crate::{
    grpc::proto::{self, part::Part},
    message::{AssistantPart, Message, ProviderState, ToolCall, ToolRef, ToolResult, UserPart, sort_results},
    model::state,
    run::{Naming, Violation, Violations},
    tool::ToolSpec,
};

const MAX_MESSAGES: usize = 10_000;
/// What a run adds fits: an answer of the Responses API has up to 1024 items, of two parts at most each.
const MAX_PARTS: usize = 2048;
const MAX_ID_BYTES: usize = 256;
const MAX_TOOL_BYTES: usize = 512;

/// A conversation before the input.
#[derive(Default)]
pub(super) struct Conversation {
    /// Its messages.
    pub(super) messages: Vec<Message>,
    /// The calls at its end that have no result, in their order.
    pub(super) open: Vec<ToolCall>,
}

/// The messages that are right; what is wrong goes to `violations`. A call without a server is one of the caller's own
/// tools, if there is one of that name.
pub(super) fn decode(
    messages: Vec<proto::Message>,
    naming: Naming,
    client_tools: &[Arc<ToolSpec>],
    violations: &mut Violations,
) -> Conversation {
    if messages.len() > MAX_MESSAGES {
        violations.push(Violation::field("messages", "there are at most 10000 messages"));
        return Conversation::default();
    }
    let mut decoder = Decoder {
        naming,
        client_tools,
        violations,
        ids: HashSet::new(),
        open: HashSet::new(),
        decoded: Vec::new(),
    };
    for (at, message) in messages.into_iter().enumerate() {
        decoder.message(at, message);
    }
    decoder.end()
}

struct Decoder<'a> {
    naming: Naming,
    client_tools: &'a [Arc<ToolSpec>],
    violations: &'a mut Violations,
    /// The ids of all calls so far: Anthropic's API refuses one that comes twice, and elsewhere its results are confused.
    ids: HashSet<String>,
    /// The ids of the last assistant message's calls that have no result yet.
    open: HashSet<String>,
    decoded: Vec<Message>,
}

impl Decoder<'_> {
    fn message(&mut self, at: usize, message: proto::Message) {
        let field = format!("messages[{at}]");
        let role = message.role();
        if message.parts.is_empty() {
            self.refuse(format!("{field}.parts"), "a message has at least one part");
            return;
        }
        if message.parts.len() > MAX_PARTS {
            self.refuse(format!("{field}.parts"), "a message has at most 2048 parts");
            return;
        }
        if role != proto::MessageRole::Tool && !self.open.is_empty() {
            self.refuse(
                field.clone(),
                "a tool call of the message before has no result; send one for each call",
            );
            self.open.clear();
        }
        if role != proto::MessageRole::Tool {
            // The results of a turn are complete, and may have come in any order.
            sort_results(&mut self.decoded);
        }
        let parts = message.parts.into_iter().map(|part| part.part);
        match role {
            proto::MessageRole::User => self.user(&field, parts),
            proto::MessageRole::Assistant => self.assistant(&field, parts),
            proto::MessageRole::Tool => self.tool(&field, parts),
            proto::MessageRole::Unspecified => {
                self.refuse(format!("{field}.role"), "say who the message is from: user, assistant or tool");
            }
        }
    }

    fn user(&mut self, field: &str, parts: impl Iterator<Item = Option<Part>>) {
        let mut decoded = Vec::new();
        for (at, part) in parts.enumerate() {
            let field = format!("{field}.parts[{at}]");
            match part {
                Some(Part::Text(text)) => decoded.push(UserPart::Text(text)),
                Some(Part::Image(given)) => {
                    let field = format!("{field}.image");
                    decoded.extend(image(&field, given, self.violations).map(UserPart::Image));
                }
                _ => self.refuse(field, "a user's message has text and image parts only"),
            }
        }
        self.decoded.push(Message::User { parts: decoded });
    }

    fn assistant(&mut self, field: &str, parts: impl Iterator<Item = Option<Part>>) {
        let mut decoded = Vec::new();
        for (at, part) in parts.enumerate() {
            let field = format!("{field}.parts[{at}]");
            match part {
                Some(Part::Text(text)) => decoded.push(AssistantPart::Text(text)),
                Some(Part::ToolCall(call)) => {
                    let call = self.call(&format!("{field}.tool_call"), call);
                    decoded.extend(call.map(AssistantPart::Call));
                }
                Some(Part::ProviderState(bytes)) if state::is_state(&bytes) => {
                    decoded.push(AssistantPart::State(ProviderState(bytes.into())));
                }
                Some(Part::ProviderState(_)) => {
                    let field = format!("{field}.provider_state");
                    self.refuse(field, "send it as a run gave it in `new_messages`, or leave the part out");
                }
                _ => self.refuse(
                    field,
                    "an assistant's message has text, tool_call and provider_state parts only",
                ),
            }
        }
        self.decoded.push(Message::Assistant { parts: decoded });
    }

    fn call(&mut self, field: &str, call: proto::ToolCall) -> Option<ToolCall> {
        if !(1..=MAX_ID_BYTES).contains(&call.call_id.len()) {
            self.refuse(format!("{field}.call_id"), "each call has an id of its own, of at most 256 bytes");
            return None;
        }
        // It has a result all the same, which is not to be refused with it.
        self.open.insert(call.call_id.clone());
        if !self.ids.insert(call.call_id.clone()) {
            self.refuse(
                format!("{field}.call_id"),
                "a call before it has this id; give each call an id of its own, and its result the same",
            );
            return None;
        }
        if !(1..=MAX_TOOL_BYTES).contains(&call.tool.len()) {
            self.refuse(format!("{field}.tool"), "name the tool, in at most 512 bytes");
            return None;
        }
        // A call of a tool that its run did not have names no server, either.
        let is_known =
            !call.mcp_server.is_empty() || self.client_tools.iter().any(|tool| tool.name == call.tool);
        let tool = is_known.then(|| ToolRef { mcp_server: call.mcp_server, tool: call.tool.clone() });
        let name = tool.as_ref().map_or_else(|| Naming::fit(call.tool), |tool| self.naming.name(tool));
        Some(ToolCall { call_id: call.call_id, name, tool, arguments_json: call.arguments_json })
    }

    fn tool(&mut self, field: &str, parts: impl Iterator<Item = Option<Part>>) {
        let mut results = Vec::new();
        for (at, part) in parts.enumerate() {
            let Some(Part::ToolResult(result)) = part else {
                self.refuse(format!("{field}.parts[{at}]"), "a tool's message has tool_result parts only");
                continue;
            };
            if !self.open.remove(&result.call_id) {
                self.refuse(
                    format!("{field}.parts[{at}].tool_result.call_id"),
                    "it answers no tool call of the message before",
                );
                continue;
            }
            let field = format!("{field}.parts[{at}].tool_result");
            results.push(ToolResult {
                call_id: result.call_id,
                text: result.text,
                images: images(&field, result.images, self.violations),
                is_error: result.is_error,
            });
        }
        match (self.decoded.last_mut(), results.is_empty()) {
            // The results of a turn may come in several messages.
            (Some(Message::Tool { results: before }), _) => before.extend(results),
            (_, false) => self.decoded.push(Message::Tool { results }),
            _ => {}
        }
    }

    fn end(mut self) -> Conversation {
        let asked = self.decoded.iter().rposition(|message| matches!(message, Message::Assistant { .. }));
        let calls = asked.into_iter().flat_map(|at| self.decoded[at].calls());
        let open = calls.filter(|call| self.open.contains(&call.call_id)).cloned().collect();
        sort_results(&mut self.decoded);
        Conversation { messages: self.decoded, open }
    }

    fn refuse(&mut self, field: String, description: &str) {
        self.violations.push(Violation::field(field, description));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_state_is_kept_byte_by_byte() {
        // Spaces, order and escapes as they came.
        let state = r#" {"model":"m","provider":"p" , "state":{"b":1.0,"a":"\u00fc\/"}}"#.as_bytes().to_vec();
        let part = proto::Part { part: Some(Part::ProviderState(state.clone())) };
        let message = proto::Message { role: proto::MessageRole::Assistant.into(), parts: vec![part] };
        let mut violations = Violations::default();
        let naming = Naming { single_server: true };
        let Conversation { messages, .. } = decode(vec![message], naming, &[], &mut violations);
        assert!(violations.is_empty());
        let parts = vec![AssistantPart::State(ProviderState(state.into()))];
        assert_eq!(messages, [Message::Assistant { parts }]);
    }
}
