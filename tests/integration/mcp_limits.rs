//! Answers that are too much: refused by their size or their time, whatever they are made of.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode},
};
use futures_util::{Stream, StreamExt, stream};
use runwright::grpc::proto::ToolCallStatus;
use tonic::Code;

use crate::support::{
    error::decode,
    mcp_server::{Era, Seen, raw},
    scene::{answering, call_against, reason, run_against},
};

const SMALL: &str = "max_body_bytes: 64KiB, ";
const JSON: &str = "application/json";
const STREAM: &str = "text/event-stream";

/// How many chunks of an endless body are sent before the client hangs up.
#[derive(Clone, Default)]
struct Sent(Arc<AtomicUsize>);

impl Sent {
    /// A beginning, and then the same chunk without end: no length is announced.
    fn endless(&self, begin: String, chunk: &'static str) -> Body {
        let count = self.0.clone();
        let chunks = stream::repeat(()).map(move |()| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))
        });
        Body::from_stream(stream::iter([Ok(Bytes::from(begin))]).chain(chunks))
    }
}

/// Empty arrays: small on the wire, large in memory.
const ARRAYS: &str =
    "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],";

fn begin(seen: &Seen) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[],"structuredContent":[[],"#, seen.body["id"])
}

#[tokio::test]
async fn an_answer_over_the_bound_is_refused_before_it_is_read() {
    for (kind, event) in [(JSON, ""), (STREAM, "data: ")] {
        let sent = Sent::default();
        let count = sent.clone();
        let server = answering(Era::Modern, move |seen| {
            let body = || count.endless(format!("{event}{}", begin(seen)), ARRAYS);
            (seen.method() == "tools/call").then(|| raw(StatusCode::OK, kind, body()))
        })
        .await;
        let (call, text) = call_against(&server, SMALL).await;
        assert_eq!(call.status(), ToolCallStatus::Unknown, "{kind}");
        assert!(text.contains("over 65536 bytes"), "{kind}: {text}");
        // What the sockets hold is sent, too; but no more.
        let bytes = sent.0.load(Ordering::SeqCst) * ARRAYS.len();
        assert!(bytes < 16 * 1024 * 1024, "{kind}: {bytes} bytes were taken");
    }
}

#[tokio::test]
async fn a_whole_answer_of_ten_mebibytes_is_refused_by_default() {
    let (begin, end) =
        (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""#, r#""}]}}"#);
    for announced in [false, true] {
        let server = answering(Era::Modern, move |seen| {
            let text = format!("{begin}{}{end}", "x".repeat(10 * 1024 * 1024));
            let body = if announced {
                Body::from(text)
            } else {
                Body::from_stream(stream::iter([Ok::<_, std::io::Error>(text)]))
            };
            (seen.method() == "tools/call").then(|| raw(StatusCode::OK, JSON, body))
        })
        .await;
        let (call, text) = call_against(&server, "").await;
        assert_eq!(call.status(), ToolCallStatus::Unknown);
        assert!(text.contains("over 2097152 bytes"), "{text}");
    }
}

#[tokio::test]
async fn the_bound_holds_for_the_start_and_the_list_too() {
    for method in ["server/discover", "initialize", "tools/list"] {
        for kind in [JSON, STREAM] {
            let sent = Sent::default();
            let server = answering(Era::Stateless, move |seen| {
                let line = if kind == JSON { "" } else { "data: " };
                let body = || sent.endless(format!("{line}{}", begin(seen)), ARRAYS);
                (seen.method() == method).then(|| raw(StatusCode::OK, kind, body()))
            })
            .await;
            let status = run_against(&server, SMALL).await.unwrap_err();
            assert_eq!(reason(&status), (Code::FailedPrecondition, "MCP_PROTOCOL_ERROR".into()), "{method}");
            assert!(status.message().contains("65536"), "{method} {kind}: {}", status.message());
        }
    }
}

#[tokio::test]
async fn many_lines_of_one_event_count_together_and_many_events_do_not() {
    let event_of = |lines: usize| format!("{}\n", "data: 0123456789\n".repeat(lines));
    let too_large = event_of(8000);
    let server = answering(Era::Modern, move |seen| {
        (seen.method() == "tools/call").then(|| raw(StatusCode::OK, STREAM, too_large.clone()))
    })
    .await;
    assert!(call_against(&server, SMALL).await.1.contains("over 65536 bytes"));

    let many = event_of(1).repeat(8000);
    let server = answering(Era::Modern, move |seen| {
        let answer = format!(
            "data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"content\":[]}}}}\n\n",
            seen.body["id"]
        );
        (seen.method() == "tools/call").then(|| raw(StatusCode::OK, STREAM, format!("{many}{answer}")))
    })
    .await;
    assert_eq!(call_against(&server, SMALL).await.0.status(), ToolCallStatus::Ok);
}

#[tokio::test]
async fn json_of_any_depth_is_refused_or_read_and_never_a_crash() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    for nested in [deep("[", "]"), deep("{\"a\":", "}")] {
        for kind in [JSON, STREAM] {
            let nested = nested.clone();
            let server = answering(Era::Modern, move |seen| {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[],"structuredContent":{nested}}}}}"#,
                    seen.body["id"]
                );
                let body = if kind == JSON { body } else { format!("data: {body}\n\n") };
                (seen.method() == "tools/call").then(|| raw(StatusCode::OK, kind, body))
            })
            .await;
            let (call, _) = call_against(&server, "").await;
            assert_eq!(call.status(), ToolCallStatus::Unknown, "{kind}");
        }
    }
}

#[tokio::test]
async fn endless_keepalives_end_with_the_calls_time() {
    let server = answering(Era::Modern, |seen| {
        (seen.method() == "tools/call").then(|| {
            let body = Body::from_stream(keepalives());
            raw(StatusCode::OK, STREAM, body)
        })
    })
    .await;
    let (call, text) = call_against(&server, &format!("{SMALL}timeouts: {{ call: 500ms }}, ")).await;
    assert_eq!(call.status(), ToolCallStatus::Unknown);
    assert!(text.contains("500ms"), "{text}");
}

/// Comments without end, far more of them than one event may have bytes.
fn keepalives() -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::repeat(()).map(|()| Ok(Bytes::from(": still here\n".repeat(1000))))
}

#[tokio::test]
async fn a_huge_challenge_is_no_challenge_and_breaks_nothing() {
    let huge = |parameter: &str| format!("Bearer {parameter}=\"{}\", scope=\"ok\"", "x".repeat(8 * 1024));
    for parameter in ["error", "resource_metadata", "realm"] {
        let challenge = huge(parameter);
        let server = answering(Era::Modern, move |_| {
            let answer = Response::builder().status(StatusCode::UNAUTHORIZED);
            Some(answer.header("www-authenticate", &challenge).body(Body::empty()).unwrap())
        })
        .await;
        let status = run_against(&server, "").await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!(decoded.reason, "MCP_UNAUTHORIZED");
        assert!(decoded.encoded_bytes <= 4096, "{}", decoded.encoded_bytes);
        let challenge = decoded.challenge.unwrap();
        assert_eq!((challenge.error.as_str(), challenge.scope.as_str()), ("", "ok"), "{parameter}");
        assert_eq!(challenge.resource_metadata, "");
    }
}

#[tokio::test]
async fn headers_without_end_are_no_answer() {
    let server = answering(Era::Modern, |seen| {
        let mut answer = raw(StatusCode::OK, JSON, "{}");
        for number in 0..2000 {
            let name = format!("x-{number}").parse::<axum::http::HeaderName>().unwrap();
            answer.headers_mut().insert(name, "x".repeat(500).parse().unwrap());
        }
        (seen.method() == "tools/call").then_some(answer)
    })
    .await;
    assert_eq!(call_against(&server, "").await.0.status(), ToolCallStatus::Unknown);
}
