use std::sync::Arc;

use serde_json::{Value, json, value::RawValue};

use super::{given, own, reasoning, streamed, whole};
use crate::{
    message::{AssistantPart, Image, ImageSource, Message, ToolResult, UserPart},
    model::{
        OutputSchema, ReasoningEffort, Settings, ToolChoice,
        asked::{Asked, call, tool},
        openai_responses::{extras::Known, request},
    },
};

/// The body of a request for a streamed answer.
fn written(asked: &Asked) -> Value {
    let extras = Known::of("m1").extras(&asked.settings, true);
    serde_json::from_slice(&request::body("m1", &asked.request(), extras, true).unwrap()).unwrap()
}

/// The items that a conversation becomes.
fn items(messages: Vec<Message>) -> Value {
    written(&Asked { messages, ..Asked::saying("") })["input"].take()
}

fn assistant(parts: Vec<AssistantPart>) -> Message {
    Message::Assistant { parts }
}

fn text(text: &str) -> AssistantPart {
    AssistantPart::Text(text.to_owned())
}

fn thought(id: &str) -> AssistantPart {
    AssistantPart::State(own(thought_item(id)))
}

fn thought_item(id: &str) -> Value {
    json!({"type": "reasoning", "id": id, "summary": [], "encrypted_content": "e"})
}

fn said(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": text})
}

#[test]
fn the_least_request() {
    let asked = Asked { instructions: String::new(), ..Asked::saying("hi") };
    let expected = json!({
        "model": "m1",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "include": ["reasoning.encrypted_content"],
        "store": false,
        "stream": true,
    });
    assert_eq!(written(&asked), expected);
}

#[test]
fn a_conversation_that_began_elsewhere_and_every_setting() {
    let image = |media_type: &str, source| Image { media_type: media_type.to_owned(), source };
    let (long, data) = ("x".repeat(65), ImageSource::Base64("/9g=".into()));
    let behind = |url: &str| image("", ImageSource::Url(url.to_owned()));
    let result = |id: &str, text: &str, images, is_error| ToolResult {
        call_id: id.to_owned(),
        text: text.to_owned(),
        images,
        is_error,
    };
    let foreign = |provider, model| AssistantPart::State(given(provider, model, thought_item("rs_9")));
    let messages = vec![
        Message::User {
            parts: vec![
                UserPart::Text("What is this?".to_owned()),
                UserPart::Image(behind("https://h/x.png")),
                UserPart::Image(image("image/jpeg", data)),
            ],
        },
        Message::user("And\n\u{1F980}?"),
        assistant(vec![foreign("anthropic", "m1"), foreign("openai_responses", "m2")]),
        assistant(vec![
            foreign("anthropic", "m1"),
            text("Let me"),
            text(""),
            text("see."),
            AssistantPart::Call(call("toolu_01", "find", " ")),
            AssistantPart::Call(call(&long, "find", "{\"a\": 1}")),
        ]),
        Message::Tool {
            results: vec![
                result("toolu_01", "no such thing", Vec::new(), true),
                result(&long, "", vec![behind("https://h/y.png")], false),
            ],
        },
        Message::user("Go on."),
    ];
    let schema = RawValue::from_string(r#"{"type":"object"}"#.to_owned()).unwrap();
    let settings = Settings {
        output_schema: Some(OutputSchema { json: Arc::from(schema), strict: true }),
        temperature: Some(0.5),
        top_p: Some(0.25),
        max_output_tokens: Some(100),
        reasoning_effort: Some(ReasoningEffort::None),
        parallel_tool_calls: Some(false),
    };
    let tool_choice = ToolChoice::Tool("find");
    let asked = Asked { instructions: String::new(), settings, tool_choice, ..reasoning(messages) };
    let expected: Value = serde_json::from_str(include_str!("golden/foreign.request.json")).unwrap();
    assert_eq!(written(&asked), expected);
}

#[test]
fn a_failed_result_says_something_always() {
    let result = |text: &str, images, is_error| ToolResult {
        call_id: "c".to_owned(),
        text: text.to_owned(),
        images,
        is_error,
    };
    let image =
        || Image { media_type: String::new(), source: ImageSource::Url("https://h/x.png".to_owned()) };
    let results = vec![
        result("", Vec::new(), true),
        result(" \n", vec![image()], true),
        result("no such thing", Vec::new(), true),
        result("", vec![image()], false),
        result(" ", Vec::new(), false),
    ];
    let input = written(&reasoning(vec![Message::Tool { results }]))["input"].take();
    let said: Vec<_> = input.as_array().unwrap().iter().map(|item| item["output"].clone()).collect();
    let failed = "The tool failed.";
    let shown = json!({"type": "input_image", "image_url": "https://h/x.png", "detail": "auto"});
    let both = json!([{"type": "input_text", "text": failed}, shown]);
    assert_eq!(said, [json!(failed), both, json!("no such thing"), json!([shown]), json!(" ")]);
}

#[test]
fn reasoning_is_left_out_where_nothing_follows_it() {
    let cases = [
        (vec![thought("rs_1")], json!([])),
        (
            vec![thought("rs_1"), text("a"), thought("rs_2"), thought("rs_3")],
            json!([thought_item("rs_1"), said("a")]),
        ),
        (
            vec![thought("rs_1"), thought("rs_2"), text("a")],
            json!([thought_item("rs_1"), thought_item("rs_2"), said("a")]),
        ),
    ];
    for (parts, expected) in cases {
        assert_eq!(items(vec![assistant(parts.clone())]), expected, "{parts:?}");
    }
}

#[tokio::test]
async fn what_is_said_on_the_way_is_no_part_of_what_an_answer_comes_to() {
    let said = |text: &str, phase: Value| json!({"type": "message", "phase": phase, "content": text});
    let cases = [
        (vec![said("I look. ", json!("commentary")), said("7", json!("final_answer"))], "I look. 7", "7"),
        (vec![said("7", json!("final_answer")), said("8", json!("final_answer"))], "78", "78"),
        (vec![said("a", json!(null)), said("7", json!("final_answer"))], "a7", "7"),
        (vec![said("I look.", json!("commentary"))], "I look.", "I look."),
        (vec![said("I look.", json!("commentary")), said("", json!("final_answer"))], "I look.", "I look."),
        (vec![said("a", json!(null)), said("b", json!(null))], "ab", "ab"),
    ];
    for (items, text, conclusion) in cases {
        let body = json!({"status": "completed", "output": items});
        let end = json!({"type": "response.completed", "response": body});
        for answer in [whole(&body.to_string()).await, streamed(&[end]).await] {
            let answer = answer.unwrap();
            assert_eq!((&*answer.text(), &*answer.conclusion()), (text, conclusion), "{items:?}");
        }
    }
}

#[test]
fn a_phase_is_of_the_next_message_alone() {
    let phase = |phase: &str| AssistantPart::State(own(json!({"type": "message", "phase": phase})));
    let parts = vec![
        phase("commentary"),
        text("a"),
        text("b"),
        phase("final_answer"),
        text("c"),
        phase("commentary"),
    ];
    let mut expected = [said("a"), said("b"), said("c")];
    expected[0]["phase"] = "commentary".into();
    expected[2]["phase"] = "final_answer".into();
    assert_eq!(items(vec![assistant(parts)]), json!(expected));
}

#[test]
fn ids_of_calls_that_are_too_long_stay_apart() {
    let ids = ["y".repeat(64), "y".repeat(65), "z".repeat(65), String::new()];
    let calls = ids.iter().map(|id| AssistantPart::Call(call(id, "t", ""))).collect();
    let items = items(vec![assistant(calls)]);
    let written: Vec<_> =
        items.as_array().unwrap().iter().map(|item| item["call_id"].as_str().unwrap()).collect();
    assert_eq!(written[0], ids[0]);
    assert!(written.iter().all(|id| (1..=64).contains(&id.len())), "{written:?}");
    let mut apart = written.clone();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), ids.len(), "{written:?}");
}

#[test]
fn choices_and_efforts() {
    let choices = [
        (ToolChoice::Auto, Value::Null),
        (ToolChoice::None, json!("none")),
        (ToolChoice::Required, json!("required")),
        (ToolChoice::Tool("find"), json!({"type": "function", "name": "find"})),
    ];
    for (tool_choice, expected) in choices {
        let asked = Asked { tool_choice, ..reasoning(Vec::new()) };
        assert_eq!(written(&asked)["tool_choice"], expected, "{tool_choice:?}");
        let without = Asked { tools: Vec::new(), ..asked };
        assert_eq!(written(&without)["tool_choice"], Value::Null, "{tool_choice:?}");
    }
    let efforts = [
        (ReasoningEffort::None, json!({"effort": "none"})),
        (ReasoningEffort::Minimal, json!({"effort": "minimal", "summary": "auto"})),
        (ReasoningEffort::Low, json!({"effort": "low", "summary": "auto"})),
        (ReasoningEffort::Medium, json!({"effort": "medium", "summary": "auto"})),
        (ReasoningEffort::High, json!({"effort": "high", "summary": "auto"})),
        (ReasoningEffort::Max, json!({"effort": "xhigh", "summary": "auto"})),
    ];
    for (effort, expected) in efforts {
        let settings = Settings { reasoning_effort: Some(effort), ..Settings::default() };
        assert_eq!(written(&Asked { settings, ..Asked::saying("") })["reasoning"], expected);
    }
}

#[test]
fn a_tools_schema_goes_in_as_it_is() {
    let schema = r#"{"type":"object", "properties":{}, "z":1.0, "a":12345678901234567890123}"#;
    let asked = Asked { tools: vec![tool("crm", "find", "find", schema)], ..Asked::saying("hi") };
    let extras = Known::of("m1").extras(&asked.settings, true);
    let text = String::from_utf8(request::body("m1", &asked.request(), extras, true).unwrap()).unwrap();
    let expected =
        format!(r#""tools":[{{"type":"function","name":"find","parameters":{schema},"strict":false}}]"#);
    assert!(text.contains(&expected), "{text}");
}
