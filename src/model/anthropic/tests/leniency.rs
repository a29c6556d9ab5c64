use serde_json::{Value, json};

use super::{model, pieces, streamed, whole};
use crate::{
    message::{AssistantPart, Message, Usage},
    model::{
        Answer, AnswerPart, Model, Piece, Stop,
        asked::{Asked, call},
        loopback::Loopback,
    },
};

const END: &str =
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#;

/// The calls of an answer, each as id, name and arguments.
fn calls(answer: &Answer) -> Vec<[&str; 3]> {
    answer.calls().map(|call| [&call.call_id[..], &call.name, &call.arguments_json]).collect()
}

async fn answer(content: Value) -> Answer {
    whole(&json!({"content": content, "stop_reason": "end_turn"}).to_string()).await.unwrap()
}

fn start(index: i64, block: &Value) -> String {
    json!({"type": "content_block_start", "index": index, "content_block": block}).to_string()
}

fn delta(index: i64, delta: &Value) -> String {
    json!({"type": "content_block_delta", "index": index, "delta": delta}).to_string()
}

async fn stream(events: &[String]) -> Answer {
    let events: Vec<_> = events.iter().map(String::as_str).chain([END]).collect();
    streamed(&events).await.unwrap()
}

#[tokio::test]
async fn stop_reasons() {
    let cases = [
        (json!(null), Stop::End),
        (json!(""), Stop::End),
        (json!("end_turn"), Stop::End),
        (json!("tool_use"), Stop::End),
        (json!("stop_sequence"), Stop::End),
        (json!("pause_turn"), Stop::End),
        (json!("of_days_to_come"), Stop::End),
        (json!("max_tokens"), Stop::OutputLimit),
        (json!("model_context_window_exceeded"), Stop::OutputLimit),
        (json!("refusal"), Stop::ContentFilter),
    ];
    for (reason, stop) in cases {
        let details = json!({"type": "refusal", "category": "cyber"});
        let body = json!({"content": [], "stop_reason": reason, "stop_details": details}).to_string();
        assert_eq!(whole(&body).await.unwrap().stop, stop, "{reason}");
        let end = json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_details": details}});
        let answer = streamed(&[&end.to_string(), r#"{"type":"message_stop"}"#]).await.unwrap();
        assert_eq!((answer.stop, answer.parts), (stop, vec![]), "{reason}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_skipped() {
    let unknown = json!({"type": "server_tool_use", "id": 7, "text": [], "input": {"a": 1}});
    let text = |text: &str| json!({"type": "text", "text": text, "citations": [{"type": "x"}]});
    let parts = vec![AnswerPart::Text("a".to_owned()), AnswerPart::Text("b".to_owned())];
    let whole = answer(json!([text("a"), unknown, {"type": null}, {}, text("b"), text("")])).await;
    assert_eq!(whole.parts, parts);

    let events = [
        json!({"type": "message_start"}).to_string(),
        json!({"type": "ping"}).to_string(),
        json!({"type": "of_days_to_come", "index": "0", "message": "m", "delta": {"type": "text_delta", "text": "no"}})
            .to_string(),
        start(0, &text("a")),
        delta(0, &json!({"type": "citations_delta", "citation": {"text": []}})),
        delta(0, &json!({"type": "text_delta", "text": null})),
        start(1, &unknown),
        delta(1, &json!({"type": "input_json_delta", "partial_json": "{}"})),
        delta(1, &json!({"type": "text_delta", "text": "no"})),
        delta(9, &json!({"type": "text_delta", "text": "no"})),
        start(2, &json!({"type": "text"})),
        delta(2, &json!({"type": "text_delta", "text": "b"})),
        json!({"type": "content_block_start", "index": 3}).to_string(),
        json!({"type": "content_block_delta", "index": 2}).to_string(),
    ];
    assert_eq!(stream(&events).await.parts, parts);
}

#[tokio::test]
async fn an_answer_may_say_nothing() {
    for content in [json!([]), json!(null)] {
        let answer = answer(content.clone()).await;
        assert_eq!((answer.stop, answer.parts), (Stop::End, vec![]), "{content}");
    }
}

#[tokio::test]
async fn arguments_come_in_many_forms() {
    let use_of = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "t", "input": input});
    let whole = answer(json!([
        use_of("a", json!({"x": [1, 2]})),
        use_of("b", json!(null)),
        {"type": "tool_use", "id": "c", "name": "t"},
        use_of("d", json!("text")),
    ]))
    .await;
    let expected = [["a", "t", "{\"x\":[1,2]}"], ["b", "t", "{}"], ["c", "t", "{}"], ["d", "t", "\"text\""]];
    assert_eq!(calls(&whole), expected);

    let piece = |index, json: &str| delta(index, &json!({"type": "input_json_delta", "partial_json": json}));
    let events = [
        start(0, &use_of("a", json!({}))),
        start(1, &use_of("b", json!({"y": 1}))),
        piece(1, ""),
        piece(0, "{\"x\":"),
        start(2, &use_of("c", json!({}))),
        piece(0, " 1}"),
        json!({"type": "content_block_stop", "index": 2}).to_string(),
    ];
    assert_eq!(
        calls(&stream(&events).await),
        [["a", "t", "{\"x\": 1}"], ["b", "t", "{\"y\":1}"], ["c", "t", "{}"]]
    );
}

#[tokio::test]
async fn ids_are_unique_in_the_conversation() {
    let uses = json!([{"type": "tool_use", "id": "toolu_1", "name": "a"}, {"type": "tool_use", "name": "b"}]);
    let body = json!({"content": uses, "stop_reason": "tool_use"}).to_string();
    let server = Loopback::answering(200, &[], &body).await;
    let messages = vec![Message::Assistant { parts: vec![AssistantPart::Call(call("toolu_1", "a", ""))] }];
    let asked = Asked { messages, ..Asked::saying("") };
    let answer = model(&server.base_url).complete(asked.request()).await.unwrap();
    let ids: Vec<_> = answer.calls().map(|call| &call.call_id[..]).collect();
    assert!(ids[0] != "toolu_1" && !ids[1].is_empty() && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn thinking_without_a_signature_is_not_kept() {
    let cut = json!({"type": "thinking", "thinking": "Hm"});
    assert_eq!(answer(json!([cut])).await.parts, []);
    let thinking = delta(0, &json!({"type": "thinking_delta", "thinking": "m."}));
    let body: String =
        [start(0, &cut), thinking, END.to_owned()].map(|data| format!("data: {data}\n\n")).concat();
    let pieces = pieces(&body).await;
    assert_eq!(pieces[0], Ok(Piece::Reasoning("Hmm.".to_owned())));
    assert!(matches!(&pieces[1..], [Ok(Piece::Done(answer))] if answer.parts.is_empty()), "{pieces:?}");
    // What is shown of thinking may be nothing at all.
    let hidden = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
    assert!(matches!(answer(json!([hidden])).await.parts[..], [AnswerPart::State(_)]));
}

#[tokio::test]
async fn usage_is_the_most_that_was_said() {
    let one = Usage { model_requests: 1, ..Usage::default() };
    let begin = |usage: Value| json!({"type": "message_start", "message": {"usage": usage}}).to_string();
    let end = |usage: Value| {
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}).to_string()
    };
    let cases = [
        (json!(null), json!(null), one),
        (json!("many"), json!({"output_tokens": "3"}), one),
        (
            json!({"input_tokens": -3.0, "output_tokens": 1}),
            json!({}),
            Usage { output_tokens: 1, total_tokens: 1, ..one },
        ),
        (
            json!({"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1}),
            json!({"input_tokens": 0, "output_tokens": 7}),
            Usage { input_tokens: 5, cached_input_tokens: 2, output_tokens: 7, total_tokens: 12, ..one },
        ),
        (
            json!({"input_tokens": 0}),
            json!({"input_tokens": 4, "cache_creation_input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 1}}),
            Usage { input_tokens: 5, output_tokens: 2, total_tokens: 7, reasoning_tokens: 1, ..one },
        ),
    ];
    for (first, last, expected) in cases {
        let events = [begin(first.clone()), end(last.clone())];
        let answer = streamed(&[&events[0], &events[1]]).await.unwrap();
        assert_eq!(answer.usage, expected, "{first} {last}");
    }
    assert_eq!(answer(json!([])).await.usage, one);
}

#[tokio::test]
async fn events_are_written_in_many_ways() {
    let text = start(0, &json!({"type": "text", "text": "a"}));
    let bare = r#"{"index":0,"content_block":{"type":"text","text":"a"}}"#;
    let bodies = [
        format!(
            "data:{text}\n\ndata:{END}\n\ndata:{{\"type\":\"message_stop\"}}\n\ndata: behind the end\n\n"
        ),
        format!("\u{FEFF}event: heartbeat\ndata: -\n\ndata: {text}\n\ndata: {END}\n\n"),
        format!("data: {}\n\ndata: {END}\n\n", text.replace(':', ":\ndata: ")),
        format!("event: content_block_start\r\ndata: {text}\r\n\r\ndata: {END}\r\n\r\n"),
        format!(
            ": keep alive\n\nevent: ping\ndata: -\n\ndata: {text}\n\n:\n\ndata: {END}\n\ndata: {{\"type\":\"message_stop\"}}"
        ),
        format!(
            "event: content_block_start\ndata: {bare}\n\ndata: {END}\n\nevent: message_stop\ndata: {{}}\n\n"
        ),
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
