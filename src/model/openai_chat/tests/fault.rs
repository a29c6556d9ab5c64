use std::{future, io, time::Duration};

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::net::TcpListener;

use super::{model, pieces, streamed, whole};
use crate::{
    egress::{BodyError, SendError},
    model::{
        Error, Model, Outage, Piece, Prospect,
        asked::Asked,
        endpoint::MAX_ANSWER_BYTES,
        failure,
        loopback::{CANARY, Loopback, all_pieces, clean, endless, text_of},
    },
};

fn unavailable<T>(text: &str) -> Result<T, Error> {
    Err(failure::unavailable(text))
}

/// Asks for a whole answer and for a stream; both fail alike.
async fn refused(server: &Loopback) -> Error {
    let error = clean(model(&server.base_url).complete(Asked::saying("hi").request()).await).unwrap_err();
    assert_eq!(all_pieces(&model(&server.base_url)).await, [Err(error.clone())]);
    error
}

#[tokio::test]
async fn refusals() {
    let rejected = |status, code: Option<&str>| Error::rejected(status, code);
    let seven = Some(Duration::from_secs(7));
    let other = |status: u16| {
        let reason = format!("it answered with HTTP {status}");
        Error::Unavailable(Outage::new(reason, Prospect::Passing { retry_after: seven }))
    };
    let cases = [
        (401, Error::Unauthorized { status: 401 }),
        (403, Error::Unauthorized { status: 403 }),
        (400, rejected(400, Some("context_length_exceeded"))),
        (404, rejected(404, Some("context_length_exceeded"))),
        (408, other(408)),
        (409, other(409)),
        (413, rejected(413, Some("context_length_exceeded"))),
        (418, rejected(418, Some("context_length_exceeded"))),
        (422, rejected(422, Some("context_length_exceeded"))),
        (429, Error::limited(seven)),
        (500, other(500)),
        (503, other(503)),
        (529, other(529)),
    ];
    let body = format!(
        r#"{{"error":{{"message":"{CANARY}","code":"context_length_exceeded","param":"{CANARY}"}}}}"#
    );
    for (status, expected) in cases {
        let headers = [("retry-after", "7"), ("www-authenticate", CANARY), ("x-canary", CANARY)];
        let server = Loopback::answering(status, &headers, &body).await;
        assert_eq!(refused(&server).await, expected, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_whose_body_is_too_large_has_no_code() {
    let server =
        Loopback::start(|| future::ready(Response::builder().status(400).body(endless(CANARY)).unwrap()))
            .await;
    assert_eq!(refused(&server).await, Error::rejected(400, None));
}

#[tokio::test]
async fn a_rate_limit_without_a_time() {
    for junk in ["soon", CANARY] {
        let server = Loopback::answering(429, &[("retry-after", junk)], "").await;
        assert_eq!(refused(&server).await, Error::limited(None));
    }
}

#[tokio::test]
async fn a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/{CANARY}", listener.local_addr().unwrap());
    drop(listener);
    let answer = clean(model(&base_url).complete(Asked::saying("hi").request()).await);
    assert_eq!(answer, Err(failure::transport(SendError::Connect)));
    assert_eq!(answer.unwrap_err().to_string(), "the model is unavailable: no connection could be made");
    assert_eq!(all_pieces(&model(&base_url)).await, [Err(failure::transport(SendError::Connect))]);
}

#[tokio::test]
async fn a_connection_that_is_closed_before_it_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/{CANARY}", listener.local_addr().unwrap());
    let (model, asked) = (model(&base_url), Asked::saying("hi"));
    let accept_and_close = async { drop(listener.accept().await) };
    let (answer, ()) = tokio::join!(model.complete(asked.request()), accept_and_close);
    assert_eq!(clean(answer), Err(failure::transport(SendError::Broken)));
}

/// A server that breaks its connection after some bytes.
async fn breaking(content_type: &'static str, text: &'static str) -> Loopback {
    Loopback::start(move || {
        let bytes = stream::iter([Ok(text)]).chain(stream::once(async {
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
    let server = breaking("application/json", r#"{"choices":["#).await;
    let broken = failure::body(BodyError::Transport);
    assert_eq!(broken.to_string(), failure::cut().to_string());
    assert_eq!(refused(&server).await, broken);

    let server =
        breaking("text/event-stream", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n").await;
    let pieces = all_pieces(&model(&server.base_url)).await;
    assert_eq!(pieces, [Ok(Piece::Text("a".to_owned())), Err(broken)]);
}

#[tokio::test]
async fn a_connection_that_breaks_behind_the_answers_end_does_no_harm() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
    let pieces = all_pieces(&model(&breaking("text/event-stream", text).await.base_url)).await;
    assert_eq!(pieces.len(), 2);
    assert!(matches!(&pieces[1], Ok(Piece::Done(answer)) if answer.text() == "a"), "{pieces:?}");
}

#[tokio::test]
async fn a_stream_that_ends_too_early_was_cut() {
    let text = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#;
    let half = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"t","arguments":""}}]}}]}"#;
    for events in [&[][..], &[text], &["[DONE]"], &[text, "[DONE]"], &[half, "[DONE]"]] {
        assert_eq!(streamed(events).await, Err(failure::cut()), "{events:?}");
    }
}

#[tokio::test]
async fn what_can_not_be_read() {
    let deep = "[".repeat(100_000);
    for body in ["", "null", "{}", CANARY, r#"{"choices":[]}"#, r#"{"choices":{}}"#, &deep] {
        assert_eq!(whole(body).await, Err(failure::unreadable()), "{body:.80}");
    }
    let nameless = r#"{"choices":[{"message":{"tool_calls":[{"id":"c","function":{"arguments":"{}"}}]}}]}"#;
    assert_eq!(whole(nameless).await, Err(failure::unreadable()));
    for event in [CANARY, "null", "{", r#"{"choices":1}"#, &deep] {
        assert_eq!(streamed(&[event]).await, Err(failure::unreadable()), "{event:.80}");
    }
    assert_eq!(pieces(&format!("<html>{CANARY}</html>\n\n")).await, [Err(failure::cut())]);
}

#[tokio::test]
async fn an_error_in_the_place_of_an_answer() {
    let rejected = |code| Error::rejected(400, Some(code));
    let cases = [
        (json!({"code": 429}), Error::limited(None)),
        (json!({"code": "429", "type": "throttling_error"}), Error::limited(None)),
        (json!({"code": 502, "metadata": {"provider_name": CANARY}}), failure::failing()),
        (json!({"type": "overloaded_error"}), failure::failing()),
        (json!({"type": "server_error", "code": null}), failure::failing()),
        (json!({"code": 401}), Error::Unauthorized { status: 401 }),
        (json!({"type": "BadRequestError", "code": 400}), rejected("bad_request_error")),
        (json!({"code": "context_length_exceeded"}), rejected("context_length_exceeded")),
        (json!({"code": CANARY}), failure::reported()),
        (json!({}), failure::reported()),
    ];
    let text = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    for (mut error, expected) in cases {
        error["message"] = CANARY.into();
        let expected = Err(expected);
        let alone = json!({ "error": error }).to_string();
        assert_eq!(whole(&alone).await, expected, "{error}");
        assert_eq!(streamed(&[&alone]).await, expected, "{error}");
        assert_eq!(streamed(&[text, &alone]).await, expected, "{error}");
        let within =
            json!({"choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": error}]});
        assert_eq!(whole(&within.to_string()).await, expected, "{error}");
        assert_eq!(streamed(&[text, &within.to_string()]).await, expected, "{error}");
        for data in [&alone, &error.to_string()] {
            let event = format!("event: error\ndata: {data}\n\n");
            let expected = expected.clone().map(Piece::Done);
            assert_eq!(pieces(&event).await, [expected], "{error}");
        }
    }
    assert_eq!(pieces(&format!("event: error\ndata: {CANARY}\n\n")).await, [Err(failure::reported())]);
}

#[tokio::test]
async fn an_answer_that_ends_by_a_failure_is_none() {
    for reason in ["error", "insufficient_system_resource", "network_error"] {
        let choice = |field: &str| {
            json!({"choices": [{field: {"content": "half"}, "finish_reason": reason}]}).to_string()
        };
        assert_eq!(whole(&choice("message")).await, Err(failure::failing()), "{reason}");
        assert_eq!(streamed(&[&choice("delta")]).await, Err(failure::failing()), "{reason}");
    }
}

#[tokio::test]
async fn too_many_calls() {
    let calls = |count| {
        let call = r#"{"function":{"name":"t"}}"#;
        format!(r#"{{"choices":[{{"message":{{"tool_calls":[{}]}}}}]}}"#, vec![call; count].join(","))
    };
    assert_eq!(whole(&calls(128)).await.unwrap().calls().count(), 128);
    assert_eq!(whole(&calls(129)).await, unavailable("it asks for more than 128 tools at once"));
}

#[tokio::test]
async fn small_things_without_number_are_not_kept() {
    // Each `{}` takes three bytes of an answer, and some hundred of memory where it is kept.
    let many = |count: usize| vec!["{}"; count].join(",");
    let filled = MAX_ANSWER_BYTES / 3 - 100;
    for field in ["message", "delta"] {
        let calls = |count| format!(r#"{{"choices":[{{"{field}":{{"tool_calls":[{}]}}}}]}}"#, many(count));
        assert_eq!(whole(&calls(filled)).await, Err(failure::too_many_calls()), "{field}");
        assert_eq!(streamed(&[&calls(129)]).await, Err(failure::too_many_calls()), "{field}");
        assert_eq!(whole(&calls(128)).await.unwrap().calls().count(), 0, "{field}");
    }
    let first = r#"{"message":{"content":"a"},"finish_reason":"stop"}"#;
    for others in [many(filled), format!(r#""{CANARY}",[1]"#)] {
        let answer = whole(&format!(r#"{{"choices":[{first},{others}]}}"#)).await.unwrap();
        assert_eq!(answer.text(), "a", "and the others are not looked at");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let too_large = || Err(failure::too_large());
    let json = ("content-type", "application/json");
    let bodies = [("application/json", " "), ("text/event-stream", "data: x"), ("text/event-stream", ": x")];
    for (content_type, text) in bodies {
        let server = Loopback::start(move || {
            let response = Response::builder().header("content-type", content_type);
            future::ready(response.body(endless(text)).unwrap())
        })
        .await;
        assert_eq!(all_pieces(&model(&server.base_url)).await, [too_large()], "{text}");
    }
    let announced = Loopback::answering(200, &[json], &" ".repeat(MAX_ANSWER_BYTES + 1)).await;
    let answer = model(&announced.base_url).complete(Asked::saying("hi").request()).await;
    assert_eq!(answer, Err(failure::too_large()));

    let event =
        format!(r#"data: {{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(1_000_000)) + "\n\n";
    let mut pieces = pieces(&event.repeat(9)).await;
    assert_eq!(pieces.pop(), Some(too_large()));
    assert_eq!(text_of(&pieces).len(), 8_000_000, "what can be had comes before the error");
}
