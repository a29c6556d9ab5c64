//! A request as the provider reads it, written straight from what the run holds: nothing is copied but into the body.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::error;
use crate::{
    message::{Message, ToolCall},
    model::{Error, Request, ToolSpec},
};

/// The body of a request.
///
/// # Errors
/// The body can't be written, which no known input causes.
pub(super) fn body(model: &str, request: &Request<'_>, streamed: bool) -> Result<Vec<u8>, Error> {
    let body = Body {
        model,
        messages: Messages(request),
        tools: Tools(request.tools),
        stream: streamed,
        stream_options: streamed.then_some(StreamOptions { include_usage: true }),
    };
    serde_json::to_vec(&body).map_err(|_| error::unavailable("the request can't be written"))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Messages<'a>,
    #[serde(skip_serializing_if = "Tools::is_empty")]
    tools: Tools<'a>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

struct Messages<'a>(&'a Request<'a>);

struct Tools<'a>(&'a [ToolSpec]);

struct Calls<'a>(&'a [ToolCall]);

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Entry<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Calls::is_empty")]
        tool_calls: Calls<'a>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

/// A tool or a call; both say that they are functions.
#[derive(Serialize)]
struct Typed<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: T,
}

#[derive(Serialize)]
struct Offered<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Request { instructions, messages, .. } = *self.0;
        let system = (!instructions.is_empty()).then_some(Entry::System { content: instructions });
        serializer.collect_seq(system.into_iter().chain(messages.iter().flat_map(entries)))
    }
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|tool| {
            let ToolSpec { name, description, input_schema, .. } = tool;
            let function = Offered { name, description, parameters: input_schema };
            Typed { id: None, kind: "function", function }
        }))
    }
}

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|call| {
            let arguments = call.arguments_json.trim();
            let arguments = if arguments.is_empty() { "{}" } else { arguments };
            let function = Called { name: &call.name, arguments };
            Typed { id: Some(&call.call_id), kind: "function", function }
        }))
    }
}

impl Tools<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Calls<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a message becomes: tool results stand alone, so it may be several.
fn entries(message: &Message) -> impl Iterator<Item = Entry<'_>> {
    let (one, results) = match message {
        Message::User { text } => (Some(Entry::User { content: text }), &[][..]),
        Message::Assistant { text, calls } => (Some(assistant(text, calls)), &[][..]),
        Message::Tool { results } => (None, results.as_slice()),
    };
    let results =
        results.iter().map(|result| Entry::Tool { tool_call_id: &result.call_id, content: &result.text });
    one.into_iter().chain(results)
}

fn assistant<'a>(text: &'a str, calls: &'a [ToolCall]) -> Entry<'a> {
    let silent = text.is_empty() && !calls.is_empty();
    Entry::Assistant { content: (!silent).then_some(text), tool_calls: Calls(calls) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        message::ToolResult,
        model::asked::{Asked, call, tool},
    };

    fn written(asked: &Asked, streamed: bool) -> Value {
        serde_json::from_slice(&body("m1", &asked.request(), streamed).unwrap()).unwrap()
    }

    #[test]
    fn a_request_without_tools_has_no_such_key() {
        let asked = Asked { instructions: String::new(), ..Asked::saying("hi") };
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(written(&asked, false), json!({"model": "m1", "messages": messages, "stream": false}));
        let options = json!({"include_usage": true});
        let expected =
            json!({"model": "m1", "messages": messages, "stream": true, "stream_options": options});
        assert_eq!(written(&asked, true), expected);
    }

    #[test]
    fn messages_are_written_in_order_and_results_one_by_one() {
        let result =
            |id: &str, is_error| ToolResult { call_id: id.into(), text: format!("of {id}"), is_error };
        let asked = Asked {
            messages: vec![
                Message::User { text: "q\n\u{1F980}".into() },
                Message::Assistant {
                    text: String::new(),
                    calls: vec![call("c1", "t", ""), call("c2", "t", " ")],
                },
                Message::Tool { results: vec![result("c1", false), result("c2", true)] },
                Message::Assistant { text: "both".into(), calls: vec![call("c3", "u", "{\"a\": 1}")] },
                Message::Tool { results: vec![result("c3", false)] },
                Message::Assistant { text: String::new(), calls: vec![] },
            ],
            ..Asked::saying("")
        };
        let called = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let expected = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "q\n\u{1F980}"},
            {"role": "assistant", "content": null, "tool_calls": [called("c1", "t", "{}"), called("c2", "t", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "of c1"},
            {"role": "tool", "tool_call_id": "c2", "content": "of c2"},
            {"role": "assistant", "content": "both", "tool_calls": [called("c3", "u", "{\"a\": 1}")]},
            {"role": "tool", "tool_call_id": "c3", "content": "of c3"},
            {"role": "assistant", "content": ""},
        ]);
        assert_eq!(written(&asked, false)["messages"], expected);
    }

    #[test]
    fn a_tools_schema_goes_in_as_it_is() {
        let schema = r#"{"type":"object", "z":1.0, "a":12345678901234567890123}"#;
        let asked = Asked { tools: vec![tool("crm", "find", "find", schema)], ..Asked::saying("hi") };
        let text = String::from_utf8(body("m1", &asked.request(), false).unwrap()).unwrap();
        let expected =
            format!(r#""tools":[{{"type":"function","function":{{"name":"find","parameters":{schema}}}}}]"#);
        assert!(text.contains(&expected), "{text}");

        let described = ToolSpec { description: "Finds.".into(), ..tool("crm", "find", "find", "{}") };
        let function = json!({"name": "find", "description": "Finds.", "parameters": {}});
        let tools = written(&Asked { tools: vec![described], ..Asked::saying("hi") }, false)["tools"].take();
        assert_eq!(tools, json!([{"type": "function", "function": function}]));
    }
}
