use std::{future, io, time::Duration};

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{model, pieces, pieces_of, streamed, whole};
use crate::{
    egress::BodyError,
    model::{
        Error, Model, Outage, Piece, Prospect,
        asked::Asked,
        endpoint::MAX_ANSWER_BYTES,
        failure,
        loopback::{CANARY, Loopback, all_pieces, clean, endless, text_of},
    },
};

fn delta(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "delta": text})
}

fn rejected(code: &str) -> Error {
    Error::rejected(400, Some(code))
}

#[tokio::test]
async fn refusals() {
    let retry_after = Some(Duration::from_secs(7));
    let failing = Outage::new("it answered with HTTP 500", Prospect::Passing { retry_after });
    let cases = [
        (400, rejected("context_length_exceeded")),
        (401, Error::Unauthorized { status: 401 }),
        (403, Error::Unauthorized { status: 403 }),
        (429, Error::limited(retry_after)),
        (500, Error::Unavailable(failing)),
    ];
    let error = json!({"message": CANARY, "code": "context_length_exceeded", "param": CANARY});
    let body = json!({ "error": error }).to_string();
    for (status, expected) in cases {
        let server = Loopback::answering(status, &[("retry-after", "7")], &body).await;
        let model = model(&server.base_url);
        let answer = clean(model.complete(Asked::saying("hi").request()).await);
        assert_eq!(answer, Err(expected.clone()), "{status}");
        assert_eq!(all_pieces(&model).await, [Err(expected)], "{status}");
    }
}

#[tokio::test]
async fn answers_that_are_errors() {
    let cases = [
        (json!("rate_limit_exceeded"), Error::limited(None)),
        (json!("insufficient_quota"), Error::limited(None)),
        (json!("server_error"), failure::failing()),
        (json!("vector_store_timeout"), failure::reported()),
        (json!(CANARY), failure::reported()),
        (json!(null), failure::reported()),
        (json!(500), failure::failing()),
        (json!("429"), Error::limited(None)),
        (json!("invalid_api_key"), Error::Unauthorized { status: 401 }),
        (json!("context_length_exceeded"), rejected("context_length_exceeded")),
        (json!("invalid_prompt"), rejected("invalid_prompt")),
        (json!("bio_policy"), rejected("bio_policy")),
        (json!("cyber_policy"), rejected("cyber_policy")),
        (json!("misalignment_policy_violation"), rejected("misalignment_policy_violation")),
        (json!("data_residency_mismatch"), rejected("data_residency_mismatch")),
        (json!("image_too_large"), rejected("image_too_large")),
    ];
    for (code, expected) in cases {
        let error = json!({"code": code, "message": CANARY});
        let response = json!({"status": "failed", "error": error, "output": []});
        assert_eq!(whole(&response.to_string()).await, Err(expected.clone()), "{code}");
        assert_eq!(whole(&json!({ "error": error }).to_string()).await, Err(expected.clone()), "{code}");
        let events = [
            json!({"type": "response.failed", "response": response}),
            json!({"type": "error", "code": code, "message": CANARY, "param": null, "sequence_number": 1}),
            json!({"type": "error", "error": {"type": code, "message": CANARY}}),
            json!({"error": error}),
        ];
        for event in events {
            assert_eq!(streamed(&[delta("a"), event.clone()]).await, Err(expected.clone()), "{event}");
        }
    }
    let reported = || Err(failure::reported());
    for response in [json!({"status": "failed"}), json!({"status": "cancelled", "output": []})] {
        assert_eq!(whole(&response.to_string()).await, reported(), "{response}");
    }
    assert_eq!(streamed(&[json!({"type": "response.failed"})]).await, reported());
    assert_eq!(pieces(&format!("event: error\ndata: {CANARY}\n\n")).await, [Err(failure::reported())]);
}

#[tokio::test]
async fn what_can_not_be_read() {
    let deep = "[".repeat(100_000);
    for body in ["", "null", "{}", CANARY, r#"{"output":{}}"#, r#"{"output":["a"]}"#, &deep] {
        assert_eq!(whole(body).await, Err(failure::unreadable()), "{body:.80}");
    }
    let nameless = json!({"output": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]});
    assert_eq!(whole(&nameless.to_string()).await, Err(failure::unreadable()));
    let half = r#"{"type":"response.output_text.delta","delta":"\ud83d"}"#;
    for event in [CANARY, "null", "{", half, r#"{"type":"response.completed","response":1}"#, &deep] {
        assert_eq!(pieces(&format!("data: {event}\n\n")).await, [Err(failure::unreadable())], "{event:.80}");
    }
    assert_eq!(pieces(&format!("<html>{CANARY}</html>\n\n")).await, [Err(failure::cut())]);
}

/// The pieces of a server that breaks its connection after some bytes.
async fn breaking(content_type: &'static str, text: String) -> Vec<Result<Piece, Error>> {
    let server = Loopback::start(move || {
        let bytes = stream::iter([Ok(text.clone())]).chain(stream::once(async {
            tokio::task::yield_now().await;
            Err(io::Error::other("broken"))
        }));
        let response = Response::builder().header("content-type", content_type);
        future::ready(response.body(Body::from_stream(bytes)).unwrap())
    })
    .await;
    all_pieces(&model(&server.base_url)).await
}

#[tokio::test]
async fn what_ends_too_early_was_cut() {
    let call = json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "t", "arguments": ""});
    let begun = json!({"type": "response.output_item.added", "output_index": 0, "item": call});
    for events in [&[][..], &[delta("a")], &[begun]] {
        assert_eq!(streamed(events).await, Err(failure::cut()), "{events:?}");
        let events = events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
        let last = pieces(&(events + "data: [DONE]\n\n")).await.pop();
        assert_eq!(last, Some(Err(failure::cut())), "[DONE]");
    }
    assert_eq!(
        breaking("application/json", r#"{"output":["#.to_owned()).await,
        [Err(failure::body(BodyError::Transport))]
    );
    let event = format!("data: {}\n\n", delta("a"));
    let pieces = breaking("text/event-stream", event).await;
    assert_eq!(pieces.last(), Some(&Err(failure::body(BodyError::Transport))));
}

#[tokio::test]
async fn too_many() {
    let call = |index| json!({"type": "function_call", "call_id": format!("c{index}"), "name": "t"});
    let calls = |count| json!({"output": (0..count).map(call).collect::<Vec<_>>()}).to_string();
    assert_eq!(whole(&calls(128)).await.unwrap().calls().count(), 128);
    assert_eq!(whole(&calls(129)).await, Err(failure::too_many_calls()));
    let added = |index| json!({"type": "response.output_item.added", "output_index": index, "item": {"type": "message"}});
    let items: Vec<_> = (0..1025).map(added).collect();
    assert_eq!(streamed(&items).await, Err(failure::too_large()));
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    for (content_type, text) in [("application/json", " "), ("text/event-stream", "data: x")] {
        let server = Loopback::start(move || {
            let response = Response::builder().header("content-type", content_type);
            future::ready(response.body(endless(text)).unwrap())
        })
        .await;
        assert_eq!(all_pieces(&model(&server.base_url)).await, [Err(failure::too_large())], "{text}");
    }
    assert_eq!(whole(&" ".repeat(MAX_ANSWER_BYTES + 1)).await, Err(failure::too_large()));

    let long = "x".repeat(1_000_000);
    let mut pieces = pieces_of(&vec![delta(&long); 9]).await;
    assert_eq!(pieces.pop(), Some(Err(failure::too_large())));
    assert_eq!(text_of(&pieces).len(), 8_000_000, "what can be had comes before the error");
    let arguments = json!({"type": "response.function_call_arguments.delta", "delta": long});
    assert_eq!(streamed(&vec![arguments; 9]).await, Err(failure::too_large()));
    let thought = |index| {
        let item = json!({"type": "reasoning", "id": format!("rs_{index}"), "encrypted_content": long});
        json!({"type": "response.output_item.done", "output_index": index, "item": item})
    };
    assert_eq!(streamed(&(0..9).map(thought).collect::<Vec<_>>()).await, Err(failure::too_large()));
    let told_again = json!({"type": "response.output_item.done", "output_index": 0,
        "item": {"type": "function_call", "call_id": "c", "name": "t", "arguments": long}});
    let mut events = vec![told_again; 9];
    events.push(json!({"type": "response.completed"}));
    assert_eq!(streamed(&events).await.unwrap().calls().count(), 1, "what is told again takes no room");
}

#[tokio::test]
async fn an_answer_that_ended_lacks_nothing() {
    let output = json!([{"type": "message", "content": [{"type": "output_text", "text": "a"}]}]);
    let end = json!({"type": "response.completed", "response": {"output": output}});
    let pieces = breaking("text/event-stream", format!("data: {end}\n\n")).await;
    assert_eq!(pieces[0], Ok(Piece::Text("a".to_owned())));
    assert!(matches!(&pieces[1..], [Ok(Piece::Done(_))]), "{pieces:?}");
}
