use serde_json::json;

use super::*;
use crate::{
    message::ToolResult,
    model::asked::{Asked, call, tool},
};

fn step(calls: &[(&str, &str, Value)], say: &str) -> Step {
    let one = |(server, tool, arguments): &(&str, &str, Value)| {
        let tool = ToolRef { mcp_server: (*server).to_owned(), tool: (*tool).to_owned() };
        (tool, arguments.as_object().cloned().unwrap())
    };
    Step { calls: calls.iter().map(one).collect(), say: say.to_owned() }
}

fn scripted(script: Vec<Step>) -> Scripted {
    Scripted::new(Config { script })
}

fn result(text: &str) -> Message {
    Message::Tool {
        results: vec![ToolResult {
            call_id: "c".into(),
            text: text.into(),
            images: Vec::new(),
            is_error: false,
        }],
    }
}

async fn said(model: &Scripted, asked: &Asked) -> String {
    model.complete(asked.request()).await.unwrap().text()
}

#[tokio::test]
async fn turns_take_their_step_and_the_last_repeats() {
    let model = scripted(vec![step(&[], "one"), step(&[], "two")]);
    for (turn, expected) in [(1, "one"), (2, "two"), (3, "two"), (u32::MAX, "two"), (0, "one")] {
        assert_eq!(said(&model, &Asked { turn, ..Asked::saying("hi") }).await, expected, "turn {turn}");
    }
    assert_eq!(scripted(vec![]).complete(Asked::saying("hi").request()).await, Ok(Answer::default()));
}

#[tokio::test]
async fn results_are_those_of_this_run() {
    let model = scripted(vec![step(&[], "You are {{ results.0.text }}.")]);
    let messages = vec![result("old"), Message::user("who?"), result("ada")];
    let asked = Asked { messages, history: 2, ..Asked::saying("") };
    assert_eq!(said(&model, &asked).await, "You are ada.");
    assert_eq!(said(&model, &Asked { history: 3, ..asked }).await, "You are ada.", "the run goes on with it");
    assert_eq!(said(&model, &Asked::saying("who?")).await, "You are .");
}

#[tokio::test]
async fn a_run_that_goes_on_after_calls_goes_on_in_the_script() {
    let model = scripted(vec![step(&[], "one"), step(&[], "two {{ results.0.text }}"), step(&[], "three")]);
    let asked = || Message::Assistant { parts: vec![AssistantPart::Call(call("c", "t", ""))] };
    let old = [Message::user("old"), asked(), result("old")];
    let open = [old.as_slice(), &[Message::user("who?"), asked()]].concat();
    let answered = [open.as_slice(), &[result("ada")]].concat();
    for (messages, history, turn, expected) in [
        // The result came with the run, or stood in the conversation with others.
        (&answered, 5, 1, "two ada"),
        (&answered, 6, 1, "two ada"),
        (&answered, 6, 2, "three"),
        // The user has said more.
        (&[answered.as_slice(), &[Message::user("and?")]].concat(), 6, 1, "one"),
        (&[answered.as_slice(), &[Message::user("and?")]].concat(), 7, 1, "one"),
    ] {
        let asked = Asked { messages: messages.clone(), history, turn, ..Asked::saying("") };
        assert_eq!(said(&model, &asked).await, expected, "{history} of {}", messages.len());
    }
}

#[tokio::test]
async fn calls_name_the_offered_tool_or_one_that_the_run_does_not_have() {
    let calls = [("crm", "whoami", json!({"a": 1})), ("crm", "gone", json!({})), ("hr", "whoami", json!({}))];
    let model = scripted(vec![step(&calls, "")]);
    let asked = Asked { tools: vec![tool("crm", "whoami", "crm__whoami_2", "{}")], ..Asked::saying("hi") };
    let answer = model.complete(asked.request()).await.unwrap();
    let calls: Vec<_> = answer.calls().map(|c| [&c.call_id[..], &c.name, &c.arguments_json]).collect();
    let expected = [
        ["call_1_0", "crm__whoami_2", r#"{"a":1}"#],
        ["call_1_1", "crm__gone", "{}"],
        ["call_1_2", "hr__whoami", "{}"],
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_call_id_is_not_used_twice_in_a_conversation() {
    let model = scripted(vec![step(&[("crm", "whoami", json!({}))], "")]);
    let calls = vec![call("call_1_0", "t", ""), call("call_1_0_2", "t", "")];
    let messages = vec![Message::Assistant { parts: calls.into_iter().map(AssistantPart::Call).collect() }];
    let answer = model.complete(Asked { messages, ..Asked::saying("") }.request()).await.unwrap();
    assert_eq!(answer.calls().next().unwrap().call_id, "call_1_0_3");
}

#[tokio::test]
async fn a_streamed_answer_is_the_same_word_by_word() {
    let model = scripted(vec![step(&[("crm", "whoami", json!({}))], "You  are\nada.")]);
    let asked = Asked::saying("who am i");
    let whole = model.complete(asked.request()).await.unwrap();
    assert_eq!((whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.total_tokens), (5, 3, 8));
    assert_eq!(whole.usage.model_requests, 1);
    let mut pieces: Vec<_> = model.stream(asked.request()).map(Result::unwrap).collect().await;
    assert_eq!(pieces.pop(), Some(Piece::Done(whole)));
    let words = ["You ", " ", "are\n", "ada."].map(|word| Piece::Text(word.to_owned()));
    assert_eq!(pieces, words);
}
