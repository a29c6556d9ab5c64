use serde_json::{Value, json};

use super::{super::request::body, pieces, streamed, whole};
use crate::{
    message::{AssistantPart, Message},
    model::{
        Answer, AnswerPart, Piece,
        asked::{Asked, call},
        endpoint::MAX_ANSWER_BYTES,
        failure,
    },
};

/// The message that a model is sent of its own answer.
fn sent_back(answer: &Answer, model: &str) -> Value {
    let part = |part: &AnswerPart| match part {
        AnswerPart::Text(text) | AnswerPart::Aside(text) => AssistantPart::Text(text.clone()),
        AnswerPart::Call(asked) => {
            AssistantPart::Call(call(&asked.call_id, &asked.name, &asked.arguments_json))
        }
        AnswerPart::State(state) => AssistantPart::State(state.clone()),
    };
    let messages = vec![Message::Assistant { parts: answer.parts.iter().map(part).collect() }];
    let asked = Asked { messages, ..Asked::saying("") };
    let body: Value = serde_json::from_slice(&body(model, &asked.request(), false).unwrap()).unwrap();
    body["messages"][1].clone()
}

/// An answer whose message has these fields, whole and in one chunk.
async fn answers(message: &Value) -> [Answer; 2] {
    let of = |field: &str| json!({"choices": [{field: message, "finish_reason": "tool_calls"}]}).to_string();
    [whole(&of("message")).await.unwrap(), streamed(&[&of("delta"), "[DONE]"]).await.unwrap()]
}

fn asking(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "t", "arguments": "{}"}})
}

#[tokio::test]
async fn the_reasoning_that_led_to_calls_goes_back_to_the_model_that_gave_it() {
    for reasoning in ["Hm. \"So\".", ""] {
        let message =
            json!({"content": "Let me see.", "reasoning_content": reasoning, "tool_calls": [asking("c1")]});
        for answer in answers(&message).await {
            let mut expected = message.clone();
            expected["role"] = "assistant".into();
            assert_eq!(sent_back(&answer, "m1"), expected);
            expected.as_object_mut().unwrap().remove("reasoning_content");
            assert_eq!(sent_back(&answer, "m2"), expected);
        }
    }
}

#[tokio::test]
async fn reasoning_that_led_to_no_call_or_has_another_name_does_not_go_back() {
    for message in [
        json!({"content": "a", "reasoning_content": "Hm."}),
        json!({"content": "a", "reasoning_content": null, "tool_calls": [asking("c1")]}),
        json!({"content": "a", "reasoning": "Hm.", "tool_calls": [asking("c1")]}),
    ] {
        for answer in answers(&message).await {
            assert!(!answer.parts.iter().any(|part| matches!(part, AnswerPart::State(_))), "{message}");
        }
    }
}

#[tokio::test]
async fn reasoning_that_came_in_pieces_goes_back_whole() {
    let chunk = |delta: Value| json!({"choices": [{"delta": delta}]}).to_string();
    let events = [
        chunk(json!({"content": null, "reasoning_content": "H"})),
        chunk(json!({"reasoning_content": "m."})),
        chunk(json!({"tool_calls": [asking("c1")], "reasoning_content": null})),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}).to_string(),
    ];
    let answer = streamed(&events.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!(sent_back(&answer, "m1")["reasoning_content"], "Hm.");
}

#[tokio::test]
async fn the_signature_of_a_thought_goes_back_with_its_call_to_the_model_that_gave_it() {
    for vendor in ["google", "vertex"] {
        let extra = json!({vendor: {"thought_signature": "c2ln"}});
        let mut signed = asking("c1");
        signed["extra_content"] = extra.clone();
        let message = json!({"tool_calls": [signed, asking("c2")]});
        for answer in answers(&message).await {
            let calls = sent_back(&answer, "m1")["tool_calls"].clone();
            assert_eq!(calls, message["tool_calls"]);
            assert_eq!(sent_back(&answer, "m2")["tool_calls"], json!([asking("c1"), asking("c2")]));
        }
        // In a chunk of its own.
        let chunk = |call: Value| json!({"choices": [{"delta": {"tool_calls": [call]}}]}).to_string();
        let mut begun = asking("c1");
        begun["index"] = 0.into();
        let events = [
            chunk(json!({"index": 7, "extra_content": extra})),
            chunk(begun),
            chunk(json!({"index": 0, "extra_content": extra})),
            json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}).to_string(),
        ];
        let answer = streamed(&events.each_ref().map(String::as_str)).await.unwrap();
        assert_eq!(sent_back(&answer, "m1")["tool_calls"][0]["extra_content"], extra);
    }
}

#[tokio::test]
async fn what_is_unknown_beside_a_call_is_left_out() {
    for extra in [json!("text"), json!({}), json!({"google": {"thought_signature": 1}}), json!({"x": {}})] {
        let mut odd = asking("c1");
        odd["extra_content"] = extra;
        for answer in answers(&json!({"tool_calls": [odd]})).await {
            assert_eq!(sent_back(&answer, "m1")["tool_calls"], json!([asking("c1")]));
        }
    }
}

#[tokio::test]
async fn what_goes_back_is_bounded() {
    let chunk = json!({"choices": [{"delta": {"reasoning_content": "x".repeat(1_000_000)}}]});
    let events = format!("data: {chunk}\n\n").repeat(MAX_ANSWER_BYTES / 1_000_000 + 1);
    assert_eq!(pieces(&events).await.pop(), Some(Err::<Piece, _>(failure::too_large())));
}
