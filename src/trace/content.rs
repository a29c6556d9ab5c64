//! What is said in a run, for the spans of agents that are configured to have it on them: JSON as the conventions for
//! generative AI have it (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/>).
//!
//! All of it is scrubbed first and cut then, so that no secret is cut into a part that is not found. Images are named and
//! left out.

use serde_json::{Value, json};

use crate::message::{AssistantPart, Message, ToolCall, ToolResult, UserPart};

/// The most bytes of text in one attribute. Of a conversation the newest messages are kept.
pub const MAX_BYTES: usize = 8 * 1024;
/// What a part takes beside its text.
const PART_BYTES: usize = 64;
const CUT: &str = " [cut]";

/// Takes secrets out of a text.
pub type Scrub<'a> = dyn Fn(&str) -> String + 'a;

/// Text alone, such as a tool's arguments or its result.
pub fn text(text: &str, scrub: &Scrub<'_>) -> String {
    Room { left: MAX_BYTES, scrub }.take(text)
}

/// The system prompt.
pub fn instructions(instructions: &str, scrub: &Scrub<'_>) -> String {
    json!([{ "type": "text", "content": text(instructions, scrub) }]).to_string()
}

/// A conversation, as far back as there is room.
pub fn conversation(messages: &[Message], scrub: &Scrub<'_>) -> String {
    let mut room = Room { left: MAX_BYTES, scrub };
    let mut told = Vec::new();
    for message in messages.iter().rev() {
        if room.left == 0 {
            break;
        }
        let (role, parts) = room.message(message);
        told.push(json!({ "role": role, "parts": parts }));
    }
    told.reverse();
    Value::Array(told).to_string()
}

/// A model's answer, and why it ended.
pub fn answer(parts: &[AssistantPart], finish_reason: &str, scrub: &Scrub<'_>) -> String {
    let parts = Room { left: MAX_BYTES, scrub }.assistant(parts);
    json!([{ "role": "assistant", "parts": parts, "finish_reason": finish_reason }]).to_string()
}

/// What room there is for text.
struct Room<'a> {
    left: usize,
    scrub: &'a Scrub<'a>,
}

impl Room<'_> {
    fn message(&mut self, message: &Message) -> (&'static str, Vec<Value>) {
        match message {
            Message::User { parts } => ("user", self.user(parts)),
            Message::Assistant { parts } => ("assistant", self.assistant(parts)),
            Message::Tool { results } => ("tool", self.tool(results)),
        }
    }

    fn user(&mut self, parts: &[UserPart]) -> Vec<Value> {
        self.each(parts, |room, part| match part {
            UserPart::Text(text) => Some(room.text(text)),
            UserPart::Image(_) => Some(json!({ "type": "blob", "modality": "image" })),
        })
    }

    fn assistant(&mut self, parts: &[AssistantPart]) -> Vec<Value> {
        self.each(parts, |room, part| match part {
            AssistantPart::Text(text) => Some(room.text(text)),
            AssistantPart::Call(call) => Some(room.call(call)),
            // The provider's, and opaque.
            AssistantPart::State(_) => None,
        })
    }

    fn tool(&mut self, results: &[ToolResult]) -> Vec<Value> {
        self.each(results, |room, ToolResult { call_id, text, .. }| {
            let (id, response) = (room.take(call_id), room.take(text));
            Some(json!({ "type": "tool_call_response", "id": id, "response": response }))
        })
    }

    /// The parts for which there is room.
    fn each<P>(&mut self, parts: &[P], tell: impl Fn(&mut Self, &P) -> Option<Value>) -> Vec<Value> {
        let mut told = Vec::new();
        for part in parts {
            if self.left == 0 {
                break;
            }
            told.extend(tell(self, part));
            self.left = self.left.saturating_sub(PART_BYTES);
        }
        told
    }

    fn text(&mut self, text: &str) -> Value {
        json!({ "type": "text", "content": self.take(text) })
    }

    fn call(&mut self, ToolCall { call_id, name, arguments_json, .. }: &ToolCall) -> Value {
        let (id, name, arguments) = (self.take(call_id), self.take(name), self.take(arguments_json));
        json!({ "type": "tool_call", "id": id, "name": name, "arguments": arguments })
    }

    fn take(&mut self, text: &str) -> String {
        let mut text = (self.scrub)(text);
        if text.len() > self.left {
            text.truncate(text.floor_char_boundary(self.left));
            text.push_str(CUT);
        }
        self.left = self.left.saturating_sub(text.len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(text: &str) -> String {
        text.replace("secret", "[redacted]")
    }

    #[test]
    fn a_conversation_is_told_as_the_conventions_have_it_and_scrubbed() {
        let call = ToolCall {
            call_id: "c1".to_owned(),
            name: "find".to_owned(),
            tool: None,
            arguments_json: r#"{"q":"secret"}"#.to_owned(),
        };
        let result =
            ToolResult { call_id: "c1".to_owned(), text: "it".to_owned(), images: vec![], is_error: false };
        let messages = [
            Message::user("the secret"),
            Message::Assistant { parts: vec![AssistantPart::Call(call)] },
            Message::Tool { results: vec![result] },
        ];
        let told: Value = serde_json::from_str(&conversation(&messages, &scrub)).unwrap();
        let arguments = r#"{"q":"[redacted]"}"#;
        let expected = json!([
            { "role": "user", "parts": [{ "type": "text", "content": "the [redacted]" }] },
            { "role": "assistant", "parts": [{ "type": "tool_call", "id": "c1", "name": "find", "arguments": arguments }] },
            { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "c1", "response": "it" }] },
        ]);
        assert_eq!(told, expected);
    }

    #[test]
    fn the_newest_is_kept_and_nothing_is_cut_before_it_is_scrubbed() {
        let long = format!("{}secret", "x".repeat(MAX_BYTES - 3));
        assert_eq!(text(&long, &scrub), format!("{}[re{CUT}", "x".repeat(MAX_BYTES - 3)));

        let messages = [Message::user("old"), Message::user("y".repeat(2 * MAX_BYTES))];
        let told = conversation(&messages, &scrub);
        assert!(told.len() < MAX_BYTES + 200 && !told.contains("old"), "{}", told.len());
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told.as_array().unwrap().len(), 1);
    }

    #[test]
    fn an_answer_says_why_it_ended() {
        let parts = [AssistantPart::Text("a secret".to_owned())];
        let told: Value = serde_json::from_str(&answer(&parts, "stop", &scrub)).unwrap();
        assert_eq!(told[0]["finish_reason"], "stop");
        assert_eq!(told[0]["parts"][0]["content"], "a [redacted]");
    }
}
