//! Conversations that did not come from this API alone.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::body;
use crate::{
    message::{AssistantPart, Image, ImageSource, Message, ProviderState, ToolResult, UserPart},
    model::{
        ReasoningEffort, Settings,
        anthropic::thought::Thought,
        asked::{Asked, call},
        state,
    },
};

fn text(text: &str) -> AssistantPart {
    AssistantPart::Text(text.to_owned())
}

fn assistant<const N: usize>(parts: [AssistantPart; N]) -> Message {
    Message::Assistant { parts: parts.into() }
}

fn asks(call_id: &str, arguments: &str) -> AssistantPart {
    AssistantPart::Call(call(call_id, "t", arguments))
}

fn results<const N: usize>(results: [(&str, &str, bool); N]) -> Message {
    let result = |(call_id, text, is_error): (&str, &str, bool)| {
        let (call_id, text) = (call_id.to_owned(), text.to_owned());
        ToolResult { call_id, text, images: Vec::new(), is_error }
    };
    Message::Tool { results: results.map(result).into() }
}

fn state(provider: &str, model: &str) -> AssistantPart {
    let block = json!({"type": "thinking", "thinking": model, "signature": "c2ln"});
    AssistantPart::State(state::seal(provider, model, &block).unwrap())
}

fn messages(messages: Vec<Message>) -> Value {
    body("m1", &Asked { messages, ..Asked::saying("") })["messages"].take()
}

/// How the model is asked to think in a conversation, where it has a budget for it.
fn thinking(messages: Vec<Message>) -> Value {
    let settings = Settings { reasoning_effort: Some(ReasoningEffort::Minimal), ..Settings::default() };
    body("claude-haiku-4-5", &Asked { messages, settings, ..Asked::saying("") })["thinking"]["type"].take()
}

#[test]
fn blank_text_is_left_out_and_answers_that_nothing_is_left_of() {
    let sent = messages(vec![
        Message::User { parts: vec![UserPart::Text("q".to_owned()), UserPart::Text(" \n".to_owned())] },
        assistant([text(""), text("\n\n")]),
        Message::user(" "),
        Message::user(" r "),
        assistant([text(" a \n"), asks("c1", "{}")]),
        results([("c1", "", false)]),
        Message::Tool { results: Vec::new() },
        assistant([text("b"), text("and \n")]),
    ]);
    let expected = json!([
        {"role": "user", "content": [{"type": "text", "text": "q"}]},
        {"role": "user", "content": [{"type": "text", "text": "[An empty message]"}]},
        {"role": "user", "content": [{"type": "text", "text": " r "}]},
        {"role": "assistant", "content": [{"type": "text", "text": " a \n"}, {"type": "tool_use", "id": "c1", "name": "t", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "and"}]},
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn ids_that_do_not_fit_are_replaced_alike_in_call_and_result() {
    let odd = ["call|fc_1", "", "functions.t:0", "\u{FC}"];
    let sent = messages(vec![
        Message::user("q"),
        Message::Assistant { parts: odd.map(|id| asks(id, "{}")).into() },
        results(odd.map(|id| (id, "r", false))),
        assistant([asks("call_Ab-9", "{}")]),
        results([("call_Ab-9", "r", false)]),
    ]);
    let ids = |message: usize, key: &str| {
        let blocks = sent[message]["content"].as_array().unwrap().iter();
        blocks.map(|block| block[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let replaced = ids(1, "id");
    assert_eq!(replaced, ids(2, "tool_use_id"));
    assert_eq!(
        replaced[0], "toolu_42a808f1a9426bfae7e5a84eb126b517",
        "the same in every process and release"
    );
    for (place, id) in replaced.iter().enumerate() {
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{id}");
        assert!(!replaced[..place].contains(id), "{replaced:?}");
    }
    assert_eq!([ids(3, "id"), ids(4, "tool_use_id")], [["call_Ab-9"], ["call_Ab-9"]]);
}

#[test]
fn arguments_are_an_object_whatever_the_model_wrote() {
    let unreadable = ["{\"a\":1e400}", r#"{"a":"\ud83d"}"#];
    for arguments in
        ["", " ", "null", "[1]", "\"{}\"", "{", "{} {}", "{\"a\":}"].into_iter().chain(unreadable)
    {
        let sent = messages(vec![Message::user("q"), assistant([asks("c", arguments)])]);
        assert_eq!(sent[1]["content"][0]["input"], json!({}), "{arguments}");
    }
    let sent = messages(vec![Message::user("q"), assistant([asks("c", " {\"a\": [1]} ")])]);
    assert_eq!(sent[1]["content"][0]["input"], json!({"a": [1]}));
}

#[test]
fn a_failed_result_has_text_alone_and_images_come_behind_all_results() {
    let image = |media_type: &str| Image {
        media_type: media_type.to_owned(),
        source: ImageSource::Base64("aQ==".into()),
    };
    let result = |call_id: &str, images, is_error| ToolResult {
        call_id: call_id.to_owned(),
        text: String::new(),
        images,
        is_error,
    };
    let sent = messages(vec![
        Message::user("q"),
        assistant([asks("c1", ""), asks("c2", "")]),
        Message::Tool {
            results: vec![
                result("c1", vec![image("image/png")], true),
                result("c2", vec![image("image/gif"), image("image/svg+xml")], false),
            ],
        },
    ]);
    let shown = |media_type| json!({"type": "image", "source": {"type": "base64", "media_type": media_type, "data": "aQ=="}});
    let word = json!({"type": "text", "text": "[An image of the type image/svg+xml, which can't be shown]"});
    let failed = json!([{"type": "text", "text": "The tool failed."}]);
    let expected = json!([
        {"type": "tool_result", "tool_use_id": "c1", "content": failed, "is_error": true},
        {"type": "tool_result", "tool_use_id": "c2", "content": [shown("image/gif"), word]},
        shown("image/png"),
    ]);
    assert_eq!(sent[2]["content"], expected);
}

#[test]
fn only_the_models_own_thinking_goes_back_and_only_in_the_turn_that_goes_on() {
    let turn = |id: &str| assistant([state("anthropic", "m1"), asks(id, "")]);
    let forged = AssistantPart::State(ProviderState("{\"provider\":\"anthropic\"}".into()));
    let sent = messages(vec![
        Message::user("q"),
        turn("c1"),
        results([("c1", "r", false)]),
        Message::user("and?"),
        assistant([
            state("openai", "m1"),
            state("anthropic", "m2"),
            forged,
            state("anthropic", "m1"),
            text("Hm."),
            asks("c2", ""),
        ]),
        results([("c2", "r", false)]),
        turn("c3"),
        results([("c3", "r", false)]),
    ]);
    let kinds = |message: usize| {
        let blocks = sent[message]["content"].as_array().unwrap().iter();
        blocks.map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(1), ["tool_use"]);
    assert_eq!(kinds(4), ["thinking", "text", "tool_use"]);
    assert_eq!(sent[4]["content"][0], json!({"type": "thinking", "thinking": "m1", "signature": "c2ln"}));
    assert_eq!(kinds(6), ["thinking", "tool_use"]);
}

#[test]
fn no_message_ends_in_thinking() {
    let parts = || [state("anthropic", "m1"), text("a"), state("anthropic", "m1")];
    let sent = messages(vec![
        Message::user("q"),
        assistant([state("anthropic", "m1")]),
        assistant(parts()),
        assistant([text("b")]),
    ]);
    let kinds: Vec<_> =
        sent.as_array().unwrap().iter().map(|m| m["content"].as_array().unwrap().len()).collect();
    assert_eq!(kinds, [1, 2, 1], "{sent}");
    let last = messages(vec![Message::user("q"), assistant(parts())]);
    assert_eq!(last[1]["content"], json!([{"type": "text", "text": "a"}]));
}

#[test]
fn a_model_that_is_not_to_think_is_not_told_what_it_thought() {
    use ReasoningEffort::{Low, None as Off};
    let kept = |model: &str, effort: Option<ReasoningEffort>| {
        let thought = state("anthropic", model);
        let messages =
            vec![Message::user("q"), assistant([thought, asks("c1", "")]), results([("c1", "r", false)])];
        let settings = Settings { reasoning_effort: effort, ..Settings::default() };
        let sent = body(model, &Asked { messages, settings, ..Asked::saying("") });
        sent["messages"][1]["content"][0]["type"] == "thinking"
    };
    let cases = [
        ("claude-sonnet-4-5", None, false),
        ("claude-sonnet-4-5", Some(Off), false),
        ("claude-sonnet-4-5", Some(Low), true),
        ("claude-opus-4-8", None, false),
        ("claude-opus-4-8", Some(Low), true),
        ("claude-opus-5", None, true),
        ("claude-opus-5", Some(Off), false),
        ("claude-sonnet-5-5", Some(Off), true),
        ("claude-opus-5-5", Some(Off), true),
    ];
    for (model, effort, expected) in cases {
        assert_eq!(kept(model, effort), expected, "{model} {effort:?}");
    }
}

#[test]
fn a_turn_that_began_without_thinking_goes_on_without_it() {
    let own = || state("anthropic", "claude-haiku-4-5");
    let foreign = || state("openai", "gpt-5");
    let done = || results([("c", "r", false)]);
    let ended =
        || [Message::user("q"), assistant([foreign(), asks("c", "")]), done(), assistant([text("a")])];
    let on: [Vec<Message>; 5] = [
        vec![Message::user("q")],
        ended().into_iter().chain([Message::user("and?")]).collect(),
        vec![Message::user("q"), assistant([own(), asks("c", "")]), done(), Message::user("and?")],
        vec![Message::user("q"), assistant([own(), asks("c", "")]), done()],
        vec![
            Message::user("q"),
            assistant([own(), asks("c", "")]),
            done(),
            assistant([asks("d", "")]),
            results([("d", "r", false)]),
        ],
    ];
    for conversation in on {
        assert_eq!(thinking(conversation.clone()), "enabled", "{conversation:?}");
    }
    let off: [Vec<Message>; 5] = [
        // The API joins what the user says to the results: the turn goes on.
        vec![Message::user("q"), assistant([foreign(), asks("c", "")]), done(), Message::user("and?")],
        vec![Message::user("q"), assistant([asks("c", "")]), done()],
        vec![Message::user("q"), assistant([foreign(), asks("c", "")]), done()],
        vec![Message::user("q"), assistant([text("a"), own(), asks("c", "")]), done()],
        vec![Message::user("q"), assistant([own(), text("The answer is")])],
    ];
    for conversation in off {
        assert_eq!(thinking(conversation.clone()), "disabled", "{conversation:?}");
    }
}

proptest! {
    /// What is in a state is a thinking block of this model, or is left out.
    #[test]
    fn no_state_brings_another_block_in(bytes in "\\PC{0,40}", kind in "thinking|redacted_thinking|text|tool_use") {
        let block = json!({"type": kind, "data": bytes, "text": bytes});
        for part in [
            ProviderState(bytes.clone().into()),
            state::seal("anthropic", "m1", &block).unwrap(),
        ] {
            let is_thought = Thought::open(&part, "m1").is_some();
            prop_assert!(!is_thought);
            let parts = vec![AssistantPart::State(part), asks("c", "")];
            let sent = messages(vec![Message::user("q"), Message::Assistant { parts }, results([("c", "r", false)])]);
            prop_assert_eq!(sent[1]["content"].as_array().unwrap().len(), 1);
        }
    }
}
