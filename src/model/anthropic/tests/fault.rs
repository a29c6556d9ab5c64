use std::{future, io, time::Duration};

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{model, pieces, streamed, whole};
use crate::{
    egress::BodyError,
    model::{
        Error, Model, Outage, Piece, Prospect, Stop,
        asked::Asked,
        endpoint::MAX_ANSWER_BYTES,
        failure,
        loopback::{CANARY, Loopback, all_pieces, clean, endless},
    },
};

const TEXT: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;

fn rejected(status: u16, code: &str) -> Error {
    Error::rejected(status, Some(code))
}

/// Asks for a whole answer and for a stream; both fail alike.
async fn refused(server: &Loopback) -> Error {
    let error = clean(model(&server.base_url).complete(Asked::saying("hi").request()).await).unwrap_err();
    assert_eq!(all_pieces(&model(&server.base_url)).await, [Err(error.clone())]);
    error
}

fn error(kind: &str) -> String {
    format!(
        r#"{{"type":"error","error":{{"type":"{kind}","message":"{CANARY}"}},"request_id":"req_{CANARY}"}}"#
    )
}

#[tokio::test]
async fn refusals() {
    let retry_after = Some(Duration::from_secs(7));
    let other = |status: u16| {
        let text = format!("it answered with HTTP {status}");
        Error::Unavailable(Outage::new(text, Prospect::Passing { retry_after }))
    };
    let cases = [
        (400, "invalid_request_error", rejected(400, "invalid_request_error")),
        (401, "authentication_error", Error::Unauthorized { status: 401 }),
        (402, "billing_error", rejected(402, "billing_error")),
        (403, "permission_error", Error::Unauthorized { status: 403 }),
        (404, "not_found_error", rejected(404, "not_found_error")),
        (413, "request_too_large", rejected(413, "request_too_large")),
        (429, "rate_limit_error", Error::limited(retry_after)),
        (500, "api_error", other(500)),
        (504, "timeout_error", other(504)),
        (529, "overloaded_error", other(529)),
    ];
    for (status, kind, expected) in cases {
        let headers = [("retry-after", "7"), ("request-id", CANARY)];
        let server = Loopback::answering(status, &headers, &error(kind)).await;
        assert_eq!(refused(&server).await, expected, "{status}");
    }
}

#[tokio::test]
async fn an_error_in_the_place_of_an_answer() {
    let cases = [
        ("invalid_request_error", rejected(400, "invalid_request_error")),
        ("billing_error", rejected(402, "billing_error")),
        ("not_found_error", rejected(404, "not_found_error")),
        ("request_too_large", rejected(413, "request_too_large")),
        ("authentication_error", Error::Unauthorized { status: 401 }),
        ("permission_error", Error::Unauthorized { status: 403 }),
        ("rate_limit_error", Error::limited(None)),
        ("overloaded_error", failure::failing()),
        ("api_error", failure::failing()),
        ("timeout_error", failure::failing()),
        (CANARY, failure::reported()),
    ];
    for (kind, expected) in cases {
        let error = error(kind);
        assert_eq!(whole(&error).await, Err(expected.clone()), "{kind}");
        assert_eq!(streamed(&[&error]).await, Err(expected.clone()), "{kind}");
        assert_eq!(streamed(&[TEXT, END, &error]).await, Err(expected.clone()), "{kind}");
        assert_eq!(pieces(&format!("event: error\ndata: {error}\n\n")).await, [Err(expected)], "{kind}");
    }
    // Some imitations have no field for it.
    let bare = r#"{"type":"overloaded_error","message":"busy"}"#;
    assert_eq!(pieces(&format!("event: error\ndata: {bare}\n\n")).await, [Err(failure::failing())]);
    let coded = r#"{"type":"error","code":429}"#;
    assert_eq!(streamed(&[TEXT, END, coded]).await, Err(Error::limited(None)));
    for strange in [r#"{"type":"error"}"#, r#"{"type":"error","error":"text"}"#] {
        assert_eq!(streamed(&[strange]).await, Err(failure::reported()), "{strange}");
    }
    assert_eq!(pieces(&format!("event: error\ndata: {CANARY}\n\n")).await, [Err(failure::reported())]);
}

/// A server that breaks its connection after some bytes.
async fn breaking(content_type: &'static str, text: String) -> Loopback {
    Loopback::start(move || {
        let bytes = stream::iter([Ok(text.clone())]).chain(stream::once(async {
            tokio::task::yield_now().await;
            Err(io::Error::other("broken"))
        }));
        let response = Response::builder().header("content-type", content_type);
        future::ready(response.body(Body::from_stream(bytes)).unwrap())
    })
    .await
}

#[tokio::test]
async fn a_connection_that_breaks() {
    let server = breaking("application/json", r#"{"content":["#.to_owned()).await;
    assert_eq!(refused(&server).await, failure::body(BodyError::Transport));

    let server = breaking("text/event-stream", format!("data: {TEXT}\n\n")).await;
    let pieces = all_pieces(&model(&server.base_url)).await;
    assert_eq!(pieces, [Ok(Piece::Text("a".to_owned())), Err(failure::body(BodyError::Transport))]);

    let server = breaking("text/event-stream", format!("data: {TEXT}\n\ndata: {END}\n\n")).await;
    let pieces = all_pieces(&model(&server.base_url)).await;
    assert!(matches!(&pieces[1..], [Ok(Piece::Done(answer))] if answer.text() == "a"), "{pieces:?}");
}

#[tokio::test]
async fn a_stream_that_ends_too_early_was_cut() {
    let begin = r#"{"type":"message_start","message":{"content":[],"stop_reason":null}}"#;
    for events in [&[][..], &[begin], &[begin, TEXT, r#"{"type":"content_block_stop","index":0}"#]] {
        assert_eq!(streamed(events).await, Err(failure::cut()), "{events:?}");
    }
}

#[tokio::test]
async fn a_call_that_was_not_told_to_its_end_is_not_made_without_arguments() {
    let call = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c","name":"t","input":{}}}"#;
    let half = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#;
    let other = r#"{"type":"content_block_stop","index":0}"#;
    let end = |reason: &str| json!({"type": "message_delta", "delta": {"stop_reason": reason}}).to_string();
    let (used, stop) = (end("tool_use"), r#"{"type":"message_stop"}"#);
    for events in [&[call, &used, stop][..], &[call, half, &used, stop], &[TEXT, call, other, stop]] {
        assert_eq!(streamed(events).await, Err(failure::cut()), "{events:?}");
    }
    // At the limit it was cut by the model, and no call is made.
    assert_eq!(streamed(&[call, half, &end("max_tokens"), stop]).await.unwrap().stop, Stop::OutputLimit);
}

#[tokio::test]
async fn what_can_not_be_read() {
    let deep = "[".repeat(100_000);
    let nameless = r#"{"content":[{"type":"tool_use","id":"c","input":{}}]}"#;
    let wrong = r#"{"content":[{"type":"text","text":1}]}"#;
    for body in ["", "null", "{}", CANARY, r#"{"content":{}}"#, r#"{"content":[1]}"#, wrong, nameless, &deep]
    {
        assert_eq!(whole(body).await, Err(failure::unreadable()), "{body:.80}");
    }
    let wrong = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":1}}"#;
    for event in [CANARY, "null", "{", r#"{"type":"message_delta","delta":1}"#, wrong, &deep] {
        assert_eq!(streamed(&[event]).await, Err(failure::unreadable()), "{event:.80}");
    }
    assert_eq!(pieces(&format!("<html>{CANARY}</html>\n\n")).await, [Err(failure::cut())]);
}

#[tokio::test]
async fn too_many_calls() {
    let calls = |count| {
        let call = r#"{"type":"tool_use","name":"t"}"#;
        format!(r#"{{"content":[{}]}}"#, vec![call; count].join(","))
    };
    assert_eq!(whole(&calls(128)).await.unwrap().calls().count(), 128);
    assert_eq!(whole(&calls(129)).await, Err(failure::too_many_calls()));
}

#[tokio::test]
async fn too_many_blocks() {
    let blocks =
        |count| format!(r#"{{"content":[{}],"stop_reason":"end_turn"}}"#, vec!["{}"; count].join(","));
    assert!(whole(&blocks(1024)).await.is_ok());
    assert_eq!(whole(&blocks(1025)).await, Err(failure::too_large()));
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let too_large = || Err(failure::too_large());
    let bodies = [("application/json", " "), ("text/event-stream", "data: x"), ("text/event-stream", ": x")];
    for (content_type, text) in bodies {
        let server = Loopback::start(move || {
            let response = Response::builder().header("content-type", content_type);
            future::ready(response.body(endless(text)).unwrap())
        })
        .await;
        assert_eq!(all_pieces(&model(&server.base_url)).await, [too_large()], "{text}");
    }
    let announced =
        Loopback::answering(200, &[("content-type", "application/json")], &" ".repeat(MAX_ANSWER_BYTES + 1))
            .await;
    let answer = model(&announced.base_url).complete(Asked::saying("hi").request()).await;
    assert_eq!(answer, Err(failure::too_large()));

    let x = "x".repeat(1_000_000);
    let kinds = [
        "text_delta\",\"text",
        "thinking_delta\",\"thinking",
        "signature_delta\",\"signature",
        "input_json_delta\",\"partial_json",
    ];
    let blocks = ["text", "thinking", "thinking", "tool_use"];
    for (delta, block) in kinds.iter().zip(blocks) {
        let start = format!(
            r#"data: {{"type":"content_block_start","index":0,"content_block":{{"type":"{block}"}}}}"#
        );
        let event =
            format!(r#"data: {{"type":"content_block_delta","index":0,"delta":{{"type":"{delta}":"{x}"}}}}"#);
        let pieces = pieces(&format!("{start}\n\n{}", (event + "\n\n").repeat(9))).await;
        assert_eq!(pieces.last(), Some(&too_large()), "{delta}");
    }
    // Blocks that say nothing take room, too.
    let unknown = format!(r#"data: {{"type":"content_block_start","content_block":{{"type":"{x}"}}}}"#);
    assert_eq!(pieces(&(unknown + "\n\n").repeat(9)).await, [too_large()]);
}
