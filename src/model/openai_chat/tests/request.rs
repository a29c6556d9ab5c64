use bytes::Bytes;
use serde_json::{Value, json, value::RawValue};

use super::super::request::body;
use crate::{
    message::{AssistantPart, Image, ImageSource, Message, ProviderState, ToolCall, ToolResult, UserPart},
    model::{
        OutputSchema, ReasoningEffort, Settings, ToolChoice,
        asked::{Asked, call, described, tool},
    },
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
    let expected = json!({"model": "m1", "messages": messages, "stream": true, "stream_options": options});
    assert_eq!(written(&asked, true), expected);
}

#[test]
fn messages_are_written_in_order_and_results_one_by_one() {
    let result = |id: &str, is_error| {
        let (call_id, text) = (id.into(), format!("of {id}"));
        ToolResult { call_id, text, images: Vec::new(), is_error }
    };
    let assistant = |text: &str, calls: Vec<ToolCall>| {
        let text = Some(text).filter(|text| !text.is_empty()).map(|text| AssistantPart::Text(text.into()));
        Message::Assistant {
            parts: text.into_iter().chain(calls.into_iter().map(AssistantPart::Call)).collect(),
        }
    };
    let asked = Asked {
        messages: vec![
            Message::user("q\n\u{1F980}"),
            assistant("", vec![call("c1", "t", ""), call("c2", "t", " ")]),
            Message::Tool { results: vec![result("c1", false), result("c2", true)] },
            assistant("both", vec![call("c3", "u", "{\"a\": 1}")]),
            Message::Tool { results: vec![result("c3", false)] },
            assistant("", vec![]),
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
    let schema = r#"{"type":"object", "properties":{}, "z":1.0, "a":12345678901234567890123}"#;
    let asked = Asked { tools: vec![tool("crm", "find", "find", schema)], ..Asked::saying("hi") };
    let text = String::from_utf8(body("m1", &asked.request(), false).unwrap()).unwrap();
    let expected =
        format!(r#""tools":[{{"type":"function","function":{{"name":"find","parameters":{schema}}}}}]"#);
    assert!(text.contains(&expected), "{text}");

    let described = described("crm", "find", "find", "Finds.");
    let function =
        json!({"name": "find", "description": "Finds.", "parameters": {"type": "object", "properties": {}}});
    let tools = written(&Asked { tools: vec![described], ..Asked::saying("hi") }, false)["tools"].take();
    assert_eq!(tools, json!([{"type": "function", "function": function}]));
}

/// What a request has under a key, tools or none.
fn with_settings(settings: Settings, has_tools: bool, key: &str) -> Value {
    let tools = if has_tools { vec![tool("crm", "find", "find", "{}")] } else { Vec::new() };
    written(&Asked { settings, tools, ..Asked::saying("hi") }, false)[key].take()
}

#[test]
fn what_is_not_set_is_not_sent() {
    let asked = Asked { tools: vec![tool("crm", "find", "find", "{}")], ..Asked::saying("hi") };
    let body = written(&asked, false);
    let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["model", "messages", "tools", "stream"]);
}

#[test]
fn a_choice_of_tools_is_sent_where_there_are_tools() {
    for (tool_choice, expected) in [
        (ToolChoice::Auto, Value::Null),
        (ToolChoice::None, json!("none")),
        (ToolChoice::Required, json!("required")),
        (ToolChoice::Tool("find"), json!({"type": "function", "function": {"name": "find"}})),
    ] {
        let mut asked = Asked { tool_choice, ..Asked::saying("hi") };
        assert_eq!(written(&asked, false)["tool_choice"], Value::Null, "{tool_choice:?} without tools");
        asked.tools = vec![tool("crm", "find", "find", "{}")];
        assert_eq!(written(&asked, false)["tool_choice"], expected, "{tool_choice:?}");
    }
    for value in [true, false] {
        let settings = || Settings { parallel_tool_calls: Some(value), ..Settings::default() };
        assert_eq!(with_settings(settings(), true, "parallel_tool_calls"), json!(value));
        assert_eq!(with_settings(settings(), false, "parallel_tool_calls"), Value::Null);
    }
}

#[test]
fn a_schema_for_the_answer_goes_in_as_it_is() {
    for strict in [true, false] {
        let schema = r#"{"type":"object", "z":1.0, "a":{"type":"number"}}"#;
        let json = RawValue::from_string(schema.to_owned()).unwrap().into();
        let output_schema = Some(OutputSchema { json, strict });
        let settings = Settings { output_schema, ..Settings::default() };
        let asked = Asked { settings, ..Asked::saying("hi") };
        let text = String::from_utf8(body("m1", &asked.request(), false).unwrap()).unwrap();
        let expected = format!(
            r#""response_format":{{"type":"json_schema","json_schema":{{"name":"output","schema":{schema},"strict":{strict}}}}}"#
        );
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn sampling_and_limits() {
    let settings = || Settings {
        temperature: Some(0.0),
        top_p: Some(0.25),
        max_output_tokens: Some(u32::MAX),
        ..Settings::default()
    };
    for (key, expected) in [
        ("temperature", json!(0.0)),
        ("top_p", json!(0.25)),
        ("max_completion_tokens", json!(u32::MAX)),
        ("max_tokens", Value::Null),
    ] {
        assert_eq!(with_settings(settings(), false, key), expected, "{key}");
    }
    for (effort, expected) in [
        (ReasoningEffort::None, "none"),
        (ReasoningEffort::Minimal, "minimal"),
        (ReasoningEffort::Low, "low"),
        (ReasoningEffort::Medium, "medium"),
        (ReasoningEffort::High, "high"),
        (ReasoningEffort::Max, "xhigh"),
    ] {
        let settings = Settings { reasoning_effort: Some(effort), ..Settings::default() };
        assert_eq!(with_settings(settings, false, "reasoning_effort"), expected);
    }
}

fn here(media_type: &str, base64: &str) -> Image {
    Image { media_type: media_type.to_owned(), source: ImageSource::Base64(base64.into()) }
}

fn behind(url: &str) -> Image {
    Image { media_type: String::new(), source: ImageSource::Url(url.to_owned()) }
}

fn shown(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

#[test]
fn images_of_a_user_stand_where_they_stood() {
    let image_first = vec![
        UserPart::Image(here("image/png", "iVBO")),
        UserPart::Text("What is it?".to_owned()),
        UserPart::Image(behind("https://h/a.jpg?b=c")),
    ];
    let cases = [
        (
            image_first,
            json!([
                shown("data:image/png;base64,iVBO"),
                {"type": "text", "text": "What is it?"},
                shown("https://h/a.jpg?b=c"),
            ]),
        ),
        (vec![UserPart::Image(behind("https://h/"))], json!([shown("https://h/")])),
        (
            ["a", "b"].map(|text| UserPart::Text(text.to_owned())).to_vec(),
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        ),
        (vec![UserPart::Text("a".to_owned())], json!("a")),
    ];
    for (parts, content) in cases {
        let messages = vec![Message::User { parts }];
        let sent = written(&Asked { messages, ..Asked::saying("") }, false)["messages"][1].take();
        assert_eq!(sent, json!({"role": "user", "content": content}));
    }
}

#[test]
fn images_of_tool_results_come_from_the_user_behind_all_results() {
    let result = |id: &str, images| ToolResult {
        call_id: id.to_owned(),
        text: format!("of {id}"),
        images,
        is_error: false,
    };
    let calls = ["c1", "c2", "c3"].map(|id| AssistantPart::Call(call(id, "t", "{}")));
    let results = vec![
        result("c1", vec![here("image/png", "AA=="), here("image/jpeg", "BB==")]),
        result("c2", Vec::new()),
        result("c3", vec![here("image/webp", "CC==")]),
    ];
    let messages =
        vec![Message::user("q"), Message::Assistant { parts: calls.to_vec() }, Message::Tool { results }];
    let sent = written(&Asked { messages, ..Asked::saying("") }, false)["messages"].take();
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": format!("of {id}")});
    let images = json!({"role": "user", "content": [
        {"type": "text", "text": "The images that the tools gave back, in the order of their results:"},
        shown("data:image/png;base64,AA=="),
        shown("data:image/jpeg;base64,BB=="),
        shown("data:image/webp;base64,CC=="),
    ]});
    assert_eq!(sent.as_array().unwrap()[3..], [result("c1"), result("c2"), result("c3"), images]);
}

#[test]
fn a_failed_result_says_something_always() {
    let result = |text: &str, images, is_error| ToolResult {
        call_id: "c".to_owned(),
        text: text.to_owned(),
        images,
        is_error,
    };
    let results = vec![
        result("", Vec::new(), true),
        result(" \n", vec![here("image/png", "AA==")], true),
        result("no such thing", Vec::new(), true),
        result(" ", Vec::new(), false),
    ];
    let sent = written(&Asked { messages: vec![Message::Tool { results }], ..Asked::saying("") }, false);
    let said: Vec<_> = (1..5).map(|at| sent["messages"][at]["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["The tool failed.", "The tool failed.", "no such thing", " "]);
    assert_eq!(sent["messages"][5]["content"][1], shown("data:image/png;base64,AA=="));
}

#[test]
fn what_another_provider_wants_back_is_left_out() {
    let state = || AssistantPart::State(ProviderState(Bytes::from_static(b"opaque")));
    let text = |text: &str| AssistantPart::Text(text.to_owned());
    let called = json!({"id": "c1", "type": "function", "function": {"name": "t", "arguments": "{}"}});
    for (parts, expected) in [
        (vec![state(), text("a"), state(), text("b")], json!({"role": "assistant", "content": "ab"})),
        (
            vec![state(), AssistantPart::Call(call("c1", "t", "{}"))],
            json!({"role": "assistant", "content": null, "tool_calls": [called]}),
        ),
        (vec![state()], json!({"role": "assistant", "content": ""})),
    ] {
        let messages = vec![Message::Assistant { parts }];
        assert_eq!(written(&Asked { messages, ..Asked::saying("") }, false)["messages"][1], expected);
    }
}

#[test]
fn an_id_that_is_too_long_is_replaced_in_the_call_and_in_its_result_alike() {
    let (fits, long) = ("c".repeat(40), "c".repeat(41));
    let signed = format!("call_1__thought__{}", "Q".repeat(200));
    let naming = format!("functions.crm__{}:0", "t".repeat(40));
    let ids = [fits.as_str(), &long, &signed, &naming];
    let calls = ids.map(|id| AssistantPart::Call(call(id, "t", "{}"))).to_vec();
    let result = |id: &str| ToolResult {
        call_id: id.to_owned(),
        text: "it".to_owned(),
        images: Vec::new(),
        is_error: false,
    };
    let messages =
        vec![Message::Assistant { parts: calls }, Message::Tool { results: ids.map(result).to_vec() }];
    let sent = written(&Asked { messages, ..Asked::saying("") }, false)["messages"].take();
    let called = sent[1]["tool_calls"].as_array().unwrap().iter().map(|call| &call["id"]);
    let called: Vec<_> = called.map(|id| id.as_str().unwrap()).collect();
    let answered: Vec<_> = (2..6).map(|at| sent[at]["tool_call_id"].as_str().unwrap()).collect();
    assert_eq!(called, answered);
    assert_eq!((called[0], called[2], called[3]), (&*fits, &*signed, &*naming));
    assert!(called[1].starts_with("call_") && called[1].len() <= 40, "{}", called[1]);
}
