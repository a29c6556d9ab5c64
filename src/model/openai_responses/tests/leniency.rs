use std::collections::HashSet;

use serde_json::{Value, json};

use super::{model, pieces, pieces_of, streamed, whole};
use crate::{
    message::Usage,
    model::{
        Answer, AnswerPart, Piece, Stop,
        loopback::{CANARY, Loopback, all_pieces},
    },
};

fn text(delta: &str) -> Value {
    json!({"type": "response.output_text.delta", "delta": delta})
}

fn completed() -> Value {
    json!({"type": "response.completed", "response": {"status": "completed"}})
}

/// An answer that consists of these items, and comes whole.
async fn of_items(items: Value) -> Answer {
    whole(&json!({"status": "completed", "output": items}).to_string()).await.unwrap()
}

fn calls(answer: &Answer) -> Vec<[&str; 3]> {
    answer.calls().map(|call| [&call.call_id[..], &call.name, &call.arguments_json]).collect()
}

/// The calls, each as name and arguments; their ids are unique and not empty.
fn calls_with_any_id(answer: &Answer) -> Vec<[&str; 2]> {
    let ids: HashSet<_> = answer.calls().map(|call| &call.call_id).collect();
    assert_eq!(ids.len(), answer.calls().count(), "{ids:?}");
    assert!(ids.iter().all(|id| !id.is_empty()), "{ids:?}");
    calls(answer).into_iter().map(|[_, name, arguments]| [name, arguments]).collect()
}

fn states(answer: &Answer) -> Vec<Value> {
    let state = |part: &AnswerPart| {
        let AnswerPart::State(state) = part else { return None };
        serde_json::from_slice::<Value>(&state.0).ok().map(|mut sealed| sealed["state"].take())
    };
    answer.parts.iter().filter_map(state).collect()
}

#[tokio::test]
async fn text_comes_in_many_forms() {
    let message = |content: Value| json!([{"type": "message", "role": "assistant", "content": content}]);
    let cases = [
        (json!([]), "", Stop::End),
        (json!([{"type": "message"}]), "", Stop::End),
        (message(json!("a")), "a", Stop::End),
        (
            message(
                json!([{"type": "output_text", "text": "a"}, {"type": "x"}, {"type": "output_text", "text": "b"}]),
            ),
            "ab",
            Stop::End,
        ),
        (message(json!([{"type": "output_text", "text": "a", "refusal": null}])), "a", Stop::End),
        (message(json!([{"type": "refusal", "refusal": "no"}])), "no", Stop::ContentFilter),
        (json!([{"type": "web_search_call", "id": 1, "action": []}, {"id": "x"}]), "", Stop::End),
    ];
    for (items, text, stop) in cases {
        let answer = of_items(items.clone()).await;
        assert_eq!((answer.text().as_str(), answer.stop), (text, stop), "{items}");
        let end = json!({"type": "response.completed", "response": {"output": items}});
        assert_eq!(streamed(&[end]).await.unwrap(), answer, "{items}");
    }
}

#[tokio::test]
async fn why_an_answer_ends() {
    let cases = [
        (json!({"status": "completed"}), Stop::End),
        (json!({}), Stop::End),
        (
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
            Stop::OutputLimit,
        ),
        (
            json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}),
            Stop::ContentFilter,
        ),
        (json!({"status": "incomplete", "incomplete_details": {"reason": "length"}}), Stop::OutputLimit),
        (json!({"status": "incomplete", "incomplete_details": null}), Stop::OutputLimit),
    ];
    for (mut response, stop) in cases {
        let kind = if stop == Stop::End { "response.completed" } else { "response.incomplete" };
        let end = json!({"type": kind, "response": response});
        let answer = streamed(&[text("a"), end]).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.stop), ("a", stop), "{response}");
        response["output"] = json!([]);
        assert_eq!(whole(&response.to_string()).await.unwrap().stop, stop, "{response}");
    }
    let bare = streamed(&[text("a"), json!({"type": "response.incomplete"})]).await.unwrap();
    assert_eq!(bare.stop, Stop::OutputLimit);
}

#[tokio::test]
async fn a_refusal_is_the_answers_text() {
    let refusal = |delta: &str| json!({"type": "response.refusal.delta", "item_id": "msg_1", "delta": delta});
    let done = json!({"type": "response.refusal.done", "item_id": "msg_1", "refusal": "I won't."});
    let answer = streamed(&[refusal("I "), refusal("won't."), done, completed()]).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.stop), ("I won't.", Stop::ContentFilter));
}

#[tokio::test]
async fn events_are_written_in_many_ways() {
    let (delta, end) = (text("a"), completed());
    let bodies = [
        format!("data:{delta}\n\ndata:{end}\n\n"),
        format!("data: {delta}\r\n\r\ndata: {end}\r\n\r\ndata: [DONE]\r\n\r\n"),
        format!("data: {delta}\n\ndata: {end}\n\ndata: [DONE]\n\ndata: behind the end\n\n"),
        format!("data: {delta}\n\ndata: {{\"type\":\"response.done\"}}\n\ndata: [DONE]\n\n"),
        format!(": hi\n\nevent: ping\ndata:\n\nevent: ping\ndata: {{\"type\":\"ping\"}}\n\ndata: {delta}\n\ndata: {end}\n\n"),
        format!("\u{FEFF}event: keepalive\ndata: ping\n\ndata: {delta}\n\nevent: keepalive\ndata: {{\"type\":\"keepalive\"}}\n\ndata: {end}\n\n"),
        format!("data: {}\n\ndata: {end}\n\n", delta.to_string().replace(':', ":\ndata: ")),
        format!("data: {{\"type\":\"response.queued\",\"item\":7,\"delta\":[]}}\n\ndata: {delta}\n\ndata: {end}\n\n"),
        "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\nevent: response.completed\ndata: {}\n\n".to_owned(),
        format!("data: {delta}\n\ndata: {end}\n\ndata: {CANARY}\n\n"),
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

#[tokio::test]
async fn text_that_is_told_again_is_not_doubled() {
    let item = |id: &str, text: &str| json!({"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]});
    let event = |kind: &str, id: &str, text: &str| json!({"type": format!("response.output_item.{kind}"), "output_index": 0, "item": item(id, text)});
    let delta = |id: &str, delta: &str| json!({"type": "response.output_text.delta", "output_index": 0, "item_id": id, "delta": delta});
    let last = json!({"type": "response.completed", "response": {"output": [item("z", "abc")]}});
    let cases = [
        vec![event("added", "a", ""), delta("a", "ab"), delta("a", "c"), event("done", "a", "abc")],
        vec![event("added", "a", ""), delta("b", "ab"), delta("c", "c"), event("done", "d", "abc")],
        vec![delta("a", "ab"), event("done", "a", "abc")],
        vec![delta("", "abc"), event("done", "", "other")],
        vec![event("done", "a", "abc")],
        vec![event("added", "a", "abc"), event("done", "a", "abc")],
        vec![],
    ];
    for mut events in cases {
        events.push(last.clone());
        let answer = streamed(&events).await.unwrap();
        assert_eq!(answer.parts, [AnswerPart::Text("abc".to_owned())], "{events:?}");
    }
}

#[tokio::test]
async fn items_come_in_their_order() {
    let call = json!({"type": "function_call", "call_id": "c", "name": "t", "arguments": "{}"});
    let events = [
        json!({"type": "response.output_item.done", "output_index": 1, "item": call}),
        json!({"type": "response.output_text.delta", "output_index": 0, "delta": "a"}),
        completed(),
    ];
    let answer = streamed(&events).await.unwrap();
    assert!(matches!(&answer.parts[..], [AnswerPart::Text(_), AnswerPart::Call(_)]), "{answer:?}");
}

#[tokio::test]
async fn calls_come_in_many_forms() {
    let answer = of_items(json!([
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "a", "arguments": {"x": [1, 2]}},
        {"type": "function_call", "id": "fc_2", "call_id": "c1", "name": "a", "arguments": null},
        {"type": "function_call", "id": "fc_3", "name": "b", "arguments": "{}"},
        {"type": "function_call", "name": "b"},
        {"type": "function_call", "name": "b"},
    ]))
    .await;
    assert_eq!(
        calls_with_any_id(&answer),
        [["a", "{\"x\":[1,2]}"], ["a", ""], ["b", "{}"], ["b", ""], ["b", ""]]
    );
    assert_eq!(calls(&answer)[0][0], "c1");
    assert_eq!(calls(&answer)[2][0], "fc_3");
}

#[tokio::test]
async fn calls_in_pieces() {
    let item = |kind: &str, index: Option<u64>, item: Value| json!({"type": format!("response.output_item.{kind}"), "output_index": index, "item": item});
    let call = |id: &str, arguments: &str| json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "t", "arguments": arguments});
    let delta = |index: Option<u64>, id: &str, delta: &str| json!({"type": "response.function_call_arguments.delta", "output_index": index, "item_id": id, "delta": delta});
    let whole = |index: Option<u64>, id: &str, arguments: &str| json!({"type": "response.function_call_arguments.done", "output_index": index, "item_id": id, "arguments": arguments});
    let (zero, one) = (Some(0), Some(1));
    let cases = [
        // Interleaved, and without their ends.
        vec![
            item("added", zero, call("a", "")),
            item("added", one, call("b", "")),
            delta(zero, "fc_a", "{\"x\""),
            delta(one, "fc_b", "{}"),
            delta(zero, "fc_a", ":1}"),
        ],
        // All numbered 0.
        vec![
            item("added", zero, call("a", "")),
            delta(zero, "fc_a", "{\"x\":1}"),
            item("added", zero, call("b", "")),
            delta(zero, "fc_b", "{}"),
            item("done", zero, call("a", "{\"x\":1}")),
            item("done", zero, call("b", "{}")),
        ],
        // All of the same id.
        vec![
            item(
                "done",
                None,
                json!({"type": "function_call", "id": "x", "call_id": "a", "name": "t", "arguments": "{\"x\":1}"}),
            ),
            item(
                "done",
                None,
                json!({"type": "function_call", "id": "x", "call_id": "b", "name": "t", "arguments": "{}"}),
            ),
        ],
        // With another id in each event.
        vec![
            item("added", zero, json!({"type": "function_call", "id": "x", "call_id": "a", "name": "t"})),
            delta(zero, "y", "{\"x\":"),
            item("done", zero, call("a", "{\"x\":1}")),
            item("done", one, call("b", "{}")),
        ],
        // By their numbers alone.
        vec![
            item("added", zero, json!({"type": "function_call", "call_id": "a", "name": "t"})),
            item("added", one, json!({"type": "function_call", "call_id": "b", "name": "t"})),
            delta(one, "", "{}"),
            whole(zero, "", "{\"x\":1}"),
        ],
        // Neither ids nor numbers.
        vec![
            item("added", None, json!({"type": "function_call", "call_id": "a", "name": "t"})),
            delta(None, "", "{\"x\":"),
            delta(None, "", "1}"),
            item(
                "done",
                None,
                json!({"type": "function_call", "call_id": "a", "name": "t", "arguments": "{\"x\":1}"}),
            ),
            item("done", None, call("b", "{}")),
        ],
        // Without their beginnings.
        vec![
            delta(zero, "fc_a", "{\"x\":"),
            item("done", zero, call("a", "{\"x\":1}")),
            whole(one, "fc_b", "{}"),
            item("done", one, call("b", "")),
        ],
    ];
    for mut events in cases {
        events.push(completed());
        let answer = streamed(&events).await.unwrap();
        assert_eq!(calls(&answer), [["a", "t", "{\"x\":1}"], ["b", "t", "{}"]], "{events:?}");
    }
}

#[tokio::test]
async fn reasoning_goes_back_if_it_can() {
    let summary = json!([{"type": "summary_text", "text": "s"}]);
    let answer = of_items(json!([
        {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "e", "status": null, "content": null},
        {"type": "reasoning", "id": "rs_2", "summary": summary},
        {"type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": "", "content": []},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "t"}], "status": "completed", "more": 1},
    ]));
    let expected = [
        json!({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "e"}),
        json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]}),
    ];
    assert_eq!(states(&answer.await), expected);
}

#[tokio::test]
async fn reasoning_that_is_not_done_does_not_go_back() {
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "half"});
    let added = json!({"type": "response.output_item.added", "output_index": 0, "item": item});
    let answer = streamed(&[added, text("a"), completed()]).await.unwrap();
    assert_eq!(answer.parts, [AnswerPart::Text("a".to_owned())]);
}

#[tokio::test]
async fn reasoning_is_passed_on() {
    let thought = |kind: &str, delta: &str| json!({"type": format!("response.{kind}.delta"), "delta": delta});
    let part = json!({"type": "response.reasoning_summary_part.added"});
    let events = [
        part.clone(),
        thought("reasoning_summary_text", "a"),
        part,
        thought("reasoning_text", "b"),
        thought("reasoning_text", ""),
        completed(),
    ];
    let pieces = pieces_of(&events).await;
    assert_eq!(pieces[0], Ok(Piece::Reasoning("a\n\nb".to_owned())));
    assert!(matches!(&pieces[1..], [Ok(Piece::Done(answer))] if answer.parts.is_empty()), "{pieces:?}");
}

#[tokio::test]
async fn reasoning_of_an_answer_that_does_not_come_in_pieces_is_passed_on() {
    let said = |text: &str| json!([{"type": "summary_text", "text": text}]);
    let message = json!({"type": "message", "content": "hi", "summary": said("of no reasoning")});
    for (items, shown) in [
        (json!([{"type": "reasoning", "id": "rs_1", "summary": said("a")}, message]), Some("a")),
        (
            json!([{"type": "reasoning", "summary": said("a"), "encrypted_content": "e"}, message,
                {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "b"}]}]),
            Some("a\n\nb"),
        ),
        (json!([{"type": "reasoning", "summary": []}, message]), None),
        (json!([{"type": "reasoning", "summary": [1]}, message]), None),
    ] {
        let body = json!({"status": "completed", "output": items}).to_string();
        let server = Loopback::answering(200, &[("content-type", "application/json")], &body).await;
        let mut pieces = all_pieces(&model(&server.base_url)).await;
        let answer = pieces.pop();
        assert!(matches!(&answer, Some(Ok(Piece::Done(answer))) if answer.text() == "hi"), "{answer:?}");
        let shown = shown.map(|text| Ok(Piece::Reasoning(text.to_owned())));
        let expected: Vec<_> = shown.into_iter().chain([Ok(Piece::Text("hi".to_owned()))]).collect();
        assert_eq!(pieces, expected, "{body}");
    }
}

#[tokio::test]
async fn usage_is_read_if_it_can_be() {
    let one = Usage { model_requests: 1, ..Usage::default() };
    let cases = [
        (json!(null), one),
        (json!("many"), one),
        (json!({"input_tokens": "3"}), one),
        (
            json!({"input_tokens": 3, "output_tokens": 4, "input_tokens_details": null}),
            Usage { input_tokens: 3, output_tokens: 4, total_tokens: 7, ..one },
        ),
        (
            json!({"input_tokens": -3, "output_tokens": 4.0, "total_tokens": -1, "input_tokens_details": {"cached_tokens": -2}}),
            Usage { output_tokens: 4, total_tokens: 4, ..one },
        ),
    ];
    for (usage, expected) in cases {
        let response = json!({"output": [], "usage": usage});
        assert_eq!(whole(&response.to_string()).await.unwrap().usage, expected, "{usage}");
        let end = json!({"type": "response.completed", "response": response});
        assert_eq!(streamed(&[end]).await.unwrap().usage, expected, "{usage}");
    }
}

#[tokio::test]
async fn what_only_the_last_event_tells_of_is_not_lost_and_nothing_is_told_twice() {
    let call = |id: &str, arguments: &str| json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "find", "arguments": arguments});
    let last = |items: Value| json!({"type": "response.completed", "response": {"status": "completed", "output": items}});
    let said =
        json!({"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Let me see."}]});

    let answer =
        streamed(&[text("Let me see."), last(json!([said, call("a", "{}"), call("b", "")]))]).await.unwrap();
    assert_eq!(
        (answer.text(), calls(&answer)),
        ("Let me see.".to_owned(), vec![["a", "find", "{}"], ["b", "find", ""]])
    );

    let added = json!({"type": "response.output_item.added", "output_index": 0, "item": call("a", "")});
    for events in [vec![added.clone()], vec![added.clone(), added]] {
        let events = [events, vec![last(json!([call("a", r#"{"x":1}"#)]))]].concat();
        assert_eq!(calls(&streamed(&events).await.unwrap()), [["a", "find", r#"{"x":1}"#]]);
    }
}
