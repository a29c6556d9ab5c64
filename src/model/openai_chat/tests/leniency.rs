use std::collections::HashSet;

use serde_json::json;

use super::{model, pieces, streamed, whole};
use crate::{
    message::{AssistantPart, Message, Usage},
    model::{
        Answer, Model, Piece, Stop,
        asked::{Asked, call},
        failure,
        loopback::{Loopback, all_pieces},
    },
};

/// The calls of an answer, each as id, name and arguments.
fn calls(answer: &Answer) -> Vec<[&str; 3]> {
    answer.calls().map(|call| [&call.call_id[..], &call.name, &call.arguments_json]).collect()
}

/// The calls of an answer, each as name and arguments; their ids are unique and not empty.
fn calls_with_any_id(answer: &Answer) -> Vec<[&str; 2]> {
    let ids: HashSet<_> = answer.calls().map(|call| &call.call_id).collect();
    assert_eq!(ids.len(), answer.calls().count(), "{ids:?}");
    assert!(ids.iter().all(|id| !id.is_empty()), "{ids:?}");
    calls(answer).into_iter().map(|[_, name, arguments]| [name, arguments]).collect()
}

/// An answer whose message has these fields.
async fn message(message: serde_json::Value) -> Answer {
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    whole(&body.to_string()).await.unwrap()
}

/// An answer that streams these tool call deltas, a chunk each.
async fn deltas<const N: usize>(deltas: [serde_json::Value; N]) -> Answer {
    let chunk = |delta| json!({"choices": [{"delta": {"tool_calls": [delta]}}]}).to_string();
    let end = json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}).to_string();
    let chunks: Vec<_> = deltas.into_iter().map(chunk).chain([end, "[DONE]".to_owned()]).collect();
    streamed(&chunks.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap()
}

#[tokio::test]
async fn text_comes_in_many_forms() {
    let text_part = json!({"type": "text", "text": "a"});
    let refusal_part = json!({"type": "refusal", "refusal": "no"});
    let (whole, refused) = (Stop::End, Stop::ContentFilter);
    let cases = [
        (json!({}), "", whole),
        (json!({"content": null, "tool_calls": null, "x": [1]}), "", whole),
        (json!({"content": "a", "refusal": ""}), "a", whole),
        (json!({"content": [text_part, {"type": "thinking", "thinking": []}, "b"]}), "ab", whole),
        (json!({"content": null, "refusal": "no"}), "no", refused),
        (json!({"content": [text_part, refusal_part]}), "ano", refused),
    ];
    for (fields, text, stop) in cases {
        let answer = message(fields.clone()).await;
        assert_eq!((&*answer.text(), answer.stop), (text, stop), "{fields}");
        let chunk = json!({"choices": [{"delta": fields, "finish_reason": "stop"}]}).to_string();
        let answer = streamed(&[&chunk]).await.unwrap();
        assert_eq!((&*answer.text(), answer.stop), (text, stop), "{fields}");
    }
}

#[tokio::test]
async fn a_refusal_that_comes_in_pieces_is_one() {
    let chunk = |delta, reason| json!({"choices": [{"delta": delta, "finish_reason": reason}]}).to_string();
    let chunks = [
        chunk(json!({"refusal": "I\u{2019}m "}), json!(null)),
        chunk(json!({"refusal": "sorry"}), json!(null)),
        chunk(json!({}), json!("stop")),
    ];
    let answer = streamed(&chunks.each_ref().map(String::as_str)).await.unwrap();
    assert_eq!((&*answer.text(), answer.stop), ("I\u{2019}m sorry", Stop::ContentFilter));
}

#[tokio::test]
async fn reasoning_that_a_server_shows_is_passed_on_and_is_no_part_of_the_answer() {
    let reasoning = |text: &str| Piece::Reasoning(text.to_owned());
    let text = |text: &str| Piece::Text(text.to_owned());
    let cases = [
        (json!({"content": null, "reasoning_content": "hm"}), vec![reasoning("hm")]),
        (
            json!({"content": "", "reasoning": "hm", "reasoning_details": [{"text": "hm"}]}),
            vec![reasoning("hm")],
        ),
        (json!({"content": "a", "reasoning_content": "hm"}), vec![reasoning("hm"), text("a")]),
        (
            json!({"content": "a", "reasoning": "hm", "reasoning_content": "hm"}),
            vec![reasoning("hm"), text("a")],
        ),
        (
            json!({"content": "a", "reasoning": "hm", "reasoning_content": ""}),
            vec![reasoning("hm"), text("a")],
        ),
        (json!({"content": "a", "reasoning": null, "reasoning_content": null}), vec![text("a")]),
        (json!({"content": "a", "reasoning": {"effort": 1}, "reasoning_content": 7}), vec![text("a")]),
    ];
    for (fields, expected) in cases {
        let shown = if expected.contains(&text("a")) { "a" } else { "" };
        let chunk = json!({"choices": [{"delta": fields}]});
        let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
        let pieces = pieces(&format!("data: {chunk}\n\ndata: {end}\n\n")).await;
        let (done, passed_on) = pieces.split_last().unwrap();
        assert_eq!(passed_on, expected.iter().cloned().map(Ok).collect::<Vec<_>>(), "{fields}");
        assert!(matches!(done, Ok(Piece::Done(answer)) if answer.text() == shown), "{fields} {done:?}");

        assert_eq!(message(fields.clone()).await.text(), shown, "{fields}");
        let whole = json!({"choices": [{"message": fields}]}).to_string();
        let server = Loopback::answering(200, &[("content-type", "application/json")], &whole).await;
        let mut pieces = all_pieces(&model(&server.base_url)).await;
        assert!(matches!(pieces.pop(), Some(Ok(Piece::Done(answer))) if answer.text() == shown), "{fields}");
        assert_eq!(pieces, passed_on, "{fields}: whole");
    }
}

#[tokio::test]
async fn finish_reasons() {
    let cases = [
        (json!(null), Stop::End),
        (json!(""), Stop::End),
        (json!("stop"), Stop::End),
        (json!("function_call"), Stop::End),
        (json!("eos_token"), Stop::End),
        (json!("length"), Stop::OutputLimit),
        (json!("model_length"), Stop::OutputLimit),
        (json!("sensitive"), Stop::ContentFilter),
        (json!("content_filter"), Stop::ContentFilter),
    ];
    for (reason, stop) in cases {
        let body = json!({"choices": [{"message": {"content": "a"}, "finish_reason": reason}]}).to_string();
        assert_eq!(whole(&body).await.unwrap().stop, stop, "{reason}");
        let chunk = json!({"choices": [{"delta": {"content": "a"}, "finish_reason": reason}]}).to_string();
        let streamed = streamed(&[&chunk, "[DONE]"]).await;
        // In a stream the answer goes on until there is one.
        let expected =
            if matches!(reason.as_str(), None | Some("")) { Err(failure::cut()) } else { Ok(stop) };
        assert_eq!(streamed.map(|answer| answer.stop), expected, "{reason}");
    }
}

#[tokio::test]
async fn calls_of_a_whole_answer() {
    let answer = message(json!({"content": null, "tool_calls": [
        {"function": {"name": "a", "arguments": {"x": [1, 2]}}},
        {"id": "", "index": 0, "function": {"name": "b", "arguments": null}},
        {"id": "c1", "index": 0, "function": {"name": "c", "arguments": "{}"}},
        {"id": "c1", "index": 0, "function": {"name": "c", "arguments": "{}"}},
        {"id": 7, "function": {"name": "d", "arguments": "{}"}},
        {},
    ]}))
    .await;
    assert_eq!(
        calls_with_any_id(&answer),
        [["a", "{\"x\":[1,2]}"], ["b", ""], ["c", "{}"], ["c", "{}"], ["d", "{}"]]
    );
    assert!(answer.calls().next().unwrap().call_id.starts_with("call_"));
    assert_eq!(answer.calls().nth(2).unwrap().call_id, "c1");
}

#[tokio::test]
async fn an_id_that_the_conversation_has_is_replaced() {
    let body = r#"{"choices":[{"message":{"tool_calls":[{"id":"call_0","function":{"name":"a"}}]}}]}"#;
    let server = Loopback::answering(200, &[], body).await;
    let messages = vec![Message::Assistant { parts: vec![AssistantPart::Call(call("call_0", "a", ""))] }];
    let answer =
        model(&server.base_url).complete(Asked { messages, ..Asked::saying("") }.request()).await.unwrap();
    assert_eq!(calls_with_any_id(&answer), [["a", ""]]);
    assert_ne!(answer.calls().next().unwrap().call_id, "call_0");
}

#[tokio::test]
async fn interleaved_calls() {
    let answer = deltas([
        json!({"index": 0, "id": "c0", "function": {"name": "a", "arguments": ""}}),
        json!({"index": 1, "id": "c1", "function": {"name": "a", "arguments": "{"}}),
        json!({"index": 0, "function": {"arguments": "{\"x\""}}),
        json!({"index": 1, "function": {"arguments": "}"}}),
        json!({"index": 0, "function": {"arguments": ":1}"}}),
    ])
    .await;
    assert_eq!(calls(&answer), [["c0", "a", "{\"x\":1}"], ["c1", "a", "{}"]]);
}

#[tokio::test]
async fn calls_without_an_index() {
    let answer = deltas([
        json!({"id": "c0", "function": {"name": "a"}}),
        json!({"function": {"arguments": "{"}}),
        json!({"id": "c0", "function": {"arguments": "}"}}),
        json!({"id": "c1", "function": {"name": "a", "arguments": "{\"y\":2}"}}),
        json!({"id": "c0", "function": {"arguments": " "}}),
        json!({"function": {"name": "b", "arguments": {}}}),
    ])
    .await;
    assert_eq!(calls_with_any_id(&answer), [["a", "{} "], ["a", "{\"y\":2}"], ["b", "{}"]]);
}

#[tokio::test]
async fn calls_that_all_have_the_index_0() {
    let by_id = deltas([
        json!({"index": 0, "id": "c0", "function": {"name": "a", "arguments": "{}"}}),
        json!({"index": 0, "id": "c1", "function": {"name": "a", "arguments": "{}"}}),
    ]);
    assert_eq!(calls(&by_id.await), [["c0", "a", "{}"], ["c1", "a", "{}"]]);
    let by_name_or_content = deltas([
        json!({"index": 0, "id": "", "function": {"name": "a", "arguments": "{}"}}),
        json!({"index": 0, "id": "", "function": {"name": "a", "arguments": "{}"}}),
        json!({"index": 0, "id": "", "function": {"name": "b", "arguments": "{}"}}),
    ]);
    assert_eq!(calls_with_any_id(&by_name_or_content.await), [["a", "{}"], ["a", "{}"], ["b", "{}"]]);
}

#[tokio::test]
async fn pieces_that_repeat_the_name_or_bring_new_ids() {
    let repeated = deltas([
        json!({"index": 0, "id": "c0", "function": {"name": "a", "arguments": ""}}),
        json!({"index": 0, "id": "c0", "function": {"name": "a", "arguments": "{\"x\":"}}),
        json!({"index": 0, "id": "c0", "function": {"name": "a", "arguments": "1}"}}),
        json!({"index": 0, "id": "c0", "function": {"name": "a", "arguments": ""}}),
    ]);
    assert_eq!(calls(&repeated.await), [["c0", "a", "{\"x\":1}"]]);
    let new_ids = deltas([
        json!({"index": 0, "id": "c0", "function": {"name": "a"}}),
        json!({"index": 0, "id": "c1", "function": {"name": null, "arguments": "{"}}),
        json!({"index": 0, "id": "c2", "function": {"arguments": "}"}}),
    ]);
    assert_eq!(calls(&new_ids.await), [["c0", "a", "{}"]]);
}

#[tokio::test]
async fn usage_is_the_last_that_can_be_read() {
    let chunk = |usage: serde_json::Value| json!({"choices": [], "usage": usage}).to_string();
    let end = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    let one = Usage { model_requests: 1, ..Usage::default() };
    assert_eq!(streamed(&[end]).await.unwrap().usage, one);
    let every = [chunk(json!({"prompt_tokens": 3, "completion_tokens": 1})), end.to_owned()];
    let last = chunk(json!({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": null}));
    let usage = streamed(&[&every[0], &every[1], &last, &chunk(json!(null)), "[DONE]"]).await.unwrap().usage;
    assert_eq!(usage, Usage { input_tokens: 3, output_tokens: 4, total_tokens: 7, ..one });
    let negative = chunk(json!({"prompt_tokens": -3, "completion_tokens": 4, "total_tokens": -1,
        "prompt_tokens_details": {"cached_tokens": -2}, "completion_tokens_details": {"reasoning_tokens": 2}}));
    let usage = streamed(&[end, &negative]).await.unwrap().usage;
    assert_eq!(usage, Usage { output_tokens: 4, total_tokens: 4, reasoning_tokens: 2, ..one });
    for nonsense in [json!("many"), json!(true), json!({"prompt_tokens": "3"})] {
        assert_eq!(streamed(&[end, &chunk(nonsense.clone())]).await.unwrap().usage, one);
        let usage = streamed(&[end, &last, &chunk(nonsense)]).await.unwrap().usage;
        assert_eq!(usage.total_tokens, 7);
    }
}

#[tokio::test]
async fn events_are_written_in_many_ways() {
    let chunk = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    let end = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let bodies = [
        format!("data:{chunk}\n\ndata:{end}\n\ndata:[DONE]\n\n"),
        format!("data: {chunk}\r\n\r\ndata: {end}\r\n\r\ndata: [DONE]\r\n\r\n"),
        format!(": OPENROUTER PROCESSING\n\ndata: {chunk}\n\n:\n\nevent: ping\ndata:\n\ndata: {end}\n\n"),
        format!(
            "\u{FEFF}event: keepalive\ndata: ping\n\ndata: {chunk}\n\nevent: heartbeat\ndata: 1\n\ndata: {end}\n\n"
        ),
        format!("data: {}\n\ndata: {end}\n\n", chunk.replace(':', ":\ndata: ")),
        format!("event: message\nid: 1\ndata: {chunk}\n\ndata: {end}\n\n"),
        format!("data: {chunk}\n\ndata: {end}\n\ndata: [DONE]\n\ndata: behind the end\n\n"),
        format!("data: {chunk}\n\ndata: {end}\n\ndata: [DONE]"),
    ];
    for body in bodies {
        let pieces = pieces(&body).await;
        assert_eq!(pieces[0], Ok(Piece::Text("a".to_owned())), "{body}");
        assert!(
            matches!(&pieces[1..], [Ok(Piece::Done(answer))] if answer.text() == "a"),
            "{body} {pieces:?}"
        );
    }
}
