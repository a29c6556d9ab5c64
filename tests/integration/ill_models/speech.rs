//! What a healthy provider answers, as little as each API needs.

use serde_json::{Value, json};

/// An API that the service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Chat,
    Responses,
    Messages,
}

/// A tool call; the arguments are JSON text, if all is well.
pub struct Call {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

/// A call as a request repeats it.
pub struct Called<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub arguments: &'a Value,
}

/// An event of a stream, with its data as text.
#[derive(Clone)]
pub struct Event {
    pub name: Option<String>,
    pub data: String,
}

/// What is said in a turn: a text, and calls of tools.
pub struct Speech {
    pub api: Api,
    pub text: String,
    pub calls: Vec<Call>,
}

impl Api {
    /// The service's name for it.
    pub fn provider(self) -> &'static str {
        match self {
            Self::Chat => "openai_chat",
            Self::Responses => "openai_responses",
            Self::Messages => "anthropic",
        }
    }

    /// The calls of a request's conversation, and the ids of the results, in order.
    pub fn conversation(self, request: &Value) -> (Vec<Called<'_>>, Vec<&str>) {
        let list = |value: &'static str| request[value].as_array().into_iter().flatten();
        let of = |item: &Value, kind: &str| item["type"] == kind;
        let parts = |field: &'static str| {
            list("messages").flat_map(move |m| m[field].as_array().into_iter().flatten())
        };
        match self {
            Self::Chat => {
                let calls =
                    parts("tool_calls").map(|call| Called::new(&call["id"], &call["function"], "arguments"));
                let results = list("messages").filter(|message| message["role"] == "tool");
                (calls.collect(), results.map(|message| text(&message["tool_call_id"])).collect())
            }
            Self::Responses => {
                let calls = list("input").filter(|item| of(item, "function_call"));
                let results = list("input").filter(|item| of(item, "function_call_output"));
                let calls = calls.map(|item| Called::new(&item["call_id"], item, "arguments"));
                (calls.collect(), results.map(|item| text(&item["call_id"])).collect())
            }
            Self::Messages => {
                let calls = parts("content").filter(|block| of(block, "tool_use"));
                let results = parts("content").filter(|block| of(block, "tool_result"));
                let calls = calls.map(|block| Called::new(&block["id"], block, "input"));
                (calls.collect(), results.map(|block| text(&block["tool_use_id"])).collect())
            }
        }
    }
}

impl<'a> Called<'a> {
    fn new(id: &'a Value, function: &'a Value, arguments: &str) -> Self {
        Self { id: text(id), name: text(&function["name"]), arguments: &function[arguments] }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Call {
    pub fn whoami(id: &str) -> Self {
        Self { id: id.to_owned(), name: "whoami".to_owned(), arguments: r#"{"a":{"b":[1,"c"]}}"#.to_owned() }
    }

    /// The arguments as JSON; as text, where they are none.
    fn input(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| json!(self.arguments))
    }

    /// The arguments in two pieces.
    fn pieces(&self) -> [&str; 2] {
        let middle = self.arguments.len() / 2;
        let middle = (0..=middle).rev().find(|at| self.arguments.is_char_boundary(*at)).unwrap_or_default();
        self.arguments.split_at(middle).into()
    }
}

impl Event {
    fn named(data: &Value) -> Self {
        Self { name: data["type"].as_str().map(str::to_owned), data: data.to_string() }
    }

    fn nameless(data: impl ToString) -> Self {
        Self { name: None, data: data.to_string() }
    }
}

impl Speech {
    /// The body of a whole answer.
    pub fn whole(&self) -> String {
        let answer = match self.api {
            Api::Chat => {
                let calls: Vec<Value> = self.calls.iter().map(chat_call).collect();
                let message = json!({ "role": "assistant", "content": self.text, "tool_calls": calls });
                let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
                json!({ "id": "c", "object": "chat.completion", "choices": [choice], "usage": chat_usage() })
            }
            Api::Responses => {
                let message = (!self.text.is_empty()).then(|| said(&self.text));
                let calls = self.calls.iter().map(responses_call);
                let output: Vec<Value> = [thought()].into_iter().chain(message).chain(calls).collect();
                json!({ "id": "r", "object": "response", "status": "completed", "error": null,
                    "incomplete_details": null, "output": output, "usage": responses_usage() })
            }
            Api::Messages => {
                let text = (!self.text.is_empty()).then(|| json!({ "type": "text", "text": self.text }));
                let calls = self.calls.iter().map(|call| {
                    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.input() })
                });
                let thinking = json!({ "type": "thinking", "thinking": "Hm.", "signature": "c2ln" });
                let content: Vec<Value> = [thinking].into_iter().chain(text).chain(calls).collect();
                json!({ "id": "m", "type": "message", "role": "assistant", "content": content,
                    "stop_reason": "end_turn", "stop_sequence": null, "usage": messages_usage() })
            }
        };
        answer.to_string()
    }

    /// The events of a streamed answer.
    pub fn events(&self) -> Vec<Event> {
        match self.api {
            Api::Chat => self.chat_events(),
            Api::Responses => self.responses_events(),
            Api::Messages => self.messages_events(),
        }
    }

    fn chat_events(&self) -> Vec<Event> {
        let chunk = |delta: Value, finish_reason: Option<&str>| {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
            Event::nameless(json!({ "id": "c", "object": "chat.completion.chunk", "choices": [choice] }))
        };
        let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
        events.extend(self.words().map(|word| chunk(json!({ "content": word }), None)));
        for (index, call) in self.calls.iter().enumerate() {
            let mut begun = chat_call(call);
            begun["index"] = json!(index);
            begun["function"]["arguments"] = json!("");
            events.push(chunk(json!({ "tool_calls": [begun] }), None));
            events.extend(call.pieces().map(|piece| {
                let piece = json!({ "index": index, "function": { "arguments": piece } });
                chunk(json!({ "tool_calls": [piece] }), None)
            }));
        }
        events.push(chunk(json!({}), Some("stop")));
        events.push(Event::nameless(json!({ "id": "c", "choices": [], "usage": chat_usage() })));
        events.push(Event::nameless("[DONE]"));
        events
    }

    fn responses_events(&self) -> Vec<Event> {
        let mut told = vec![json!({ "type": "response.created", "response": { "status": "in_progress" } })];
        told.push(json!({ "type": "response.output_item.done", "output_index": 0, "item": thought() }));
        if !self.text.is_empty() {
            let begun = json!({ "type": "message", "id": "msg", "role": "assistant", "content": [] });
            told.push(json!({ "type": "response.output_item.added", "output_index": 1, "item": begun }));
            told.extend(self.words().map(|word| {
                json!({ "type": "response.output_text.delta", "item_id": "msg", "output_index": 1,
                    "content_index": 0, "delta": word })
            }));
            let done = said(&self.text);
            told.push(json!({ "type": "response.output_item.done", "output_index": 1, "item": done }));
        }
        for (index, call) in (2..).zip(&self.calls) {
            let done = responses_call(call);
            let mut begun = done.clone();
            begun["arguments"] = json!("");
            told.push(json!({ "type": "response.output_item.added", "output_index": index, "item": begun }));
            told.extend(call.pieces().map(|piece| {
                json!({ "type": "response.function_call_arguments.delta", "item_id": done["id"],
                    "output_index": index, "delta": piece })
            }));
            told.push(json!({ "type": "response.output_item.done", "output_index": index, "item": done }));
        }
        let whole: Value = serde_json::from_str(&self.whole()).unwrap();
        told.push(json!({ "type": "response.completed", "response": whole }));
        for (number, event) in told.iter_mut().enumerate() {
            event["sequence_number"] = json!(number);
        }
        told.iter().map(Event::named).collect()
    }

    fn messages_events(&self) -> Vec<Event> {
        let message = json!({ "id": "m", "type": "message", "role": "assistant", "content": [],
            "stop_reason": null, "usage": messages_usage() });
        let mut told =
            vec![json!({ "type": "message_start", "message": message }), json!({ "type": "ping" })];
        let mut block = |index: usize, begun: Value, deltas: Vec<Value>| {
            told.push(json!({ "type": "content_block_start", "index": index, "content_block": begun }));
            told.extend(
                deltas
                    .into_iter()
                    .map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
            );
            told.push(json!({ "type": "content_block_stop", "index": index }));
        };
        let thinking = json!({ "type": "thinking", "thinking": "", "signature": "" });
        let thought = json!({ "type": "thinking_delta", "thinking": "Hm." });
        let signature = json!({ "type": "signature_delta", "signature": "c2ln" });
        block(0, thinking, vec![thought, signature]);
        if !self.text.is_empty() {
            let words = self.words().map(|word| json!({ "type": "text_delta", "text": word }));
            block(1, json!({ "type": "text", "text": "" }), words.collect());
        }
        for (index, call) in (2..).zip(&self.calls) {
            let begun = json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} });
            let pieces = call.pieces().map(|p| json!({ "type": "input_json_delta", "partial_json": p }));
            block(index, begun, pieces.into());
        }
        let end = json!({ "stop_reason": "end_turn", "stop_sequence": null });
        told.push(json!({ "type": "message_delta", "delta": end, "usage": messages_usage() }));
        told.push(json!({ "type": "message_stop" }));
        told.iter().map(Event::named).collect()
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }
}

fn chat_call(call: &Call) -> Value {
    let function = json!({ "name": call.name, "arguments": call.arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

fn responses_call(call: &Call) -> Value {
    json!({ "type": "function_call", "id": format!("fc_{}", call.id), "call_id": call.id,
        "name": call.name, "arguments": call.arguments, "status": "completed" })
}

fn said(text: &str) -> Value {
    let part = json!({ "type": "output_text", "text": text, "annotations": [] });
    json!({ "type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [part] })
}

fn thought() -> Value {
    json!({ "type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "c2VjcmV0" })
}

fn chat_usage() -> Value {
    json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
        "prompt_tokens_details": { "cached_tokens": 1 }, "completion_tokens_details": { "reasoning_tokens": 1 } })
}

fn responses_usage() -> Value {
    json!({ "input_tokens": 3, "output_tokens": 2, "total_tokens": 5,
        "input_tokens_details": { "cached_tokens": 1 }, "output_tokens_details": { "reasoning_tokens": 1 } })
}

fn messages_usage() -> Value {
    json!({ "input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1, "output_tokens": 2 })
}
