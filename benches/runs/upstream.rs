//! What a run asks: a Chat Completions endpoint and a stateless MCP server of revision 2026-07-28, which answer at once
//! and cost little. They keep the first request of each kind, for the floor to repeat.

use std::{
    convert::Infallible,
    io::{self, Read},
    sync::{Arc, LazyLock, OnceLock},
    thread,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    response::Response,
    routing::{get, post},
    serve::ListenerExt,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::net::TcpListener;

use crate::{Mode, Outcome};

/// The one tool.
pub const TOOL: &str = "whoami";

/// The first request of each kind.
type Seen = Arc<[OnceLock<Sent>; KINDS]>;

const KINDS: usize = 5;
const TOOLS_CALL: usize = 4;

/// A request as it was sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sent {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Where a request to the model stands among the kinds.
fn model_request(mode: Mode, has_result: bool) -> usize {
    2 * usize::from(mode == Mode::Streamed) + usize::from(has_result)
}

/// Where the requests of a run stand among the kinds, in their order.
pub fn requests_of_a_run(mode: Mode) -> [usize; 3] {
    [model_request(mode, false), TOOLS_CALL, model_request(mode, true)]
}

/// The model's answer.
pub fn words() -> String {
    (1..=32).map(|n| format!("word{n:02}")).collect::<Vec<_>>().join(" ")
}

/// Serves until standard input ends; says the address on standard output.
pub async fn serve() -> Outcome<()> {
    let seen = Seen::default();
    let router = Router::new()
        .route("/v1/chat/completions", post(model))
        .route("/mcp", post(mcp))
        .route("/seen", get(all_seen))
        .with_state(seen);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

async fn all_seen(State(seen): State<Seen>) -> Result<Vec<u8>, String> {
    let seen: Vec<Option<&Sent>> = seen.iter().map(OnceLock::get).collect();
    serde_json::to_vec(&seen).map_err(|error| error.to_string())
}

async fn model(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> Response {
    let has = |part: &str| body.windows(part.len()).any(|window| window == part.as_bytes());
    let has_result = has(r#""role":"tool""#);
    let mode = if has(r#""stream":true"#) { Mode::Streamed } else { Mode::Unary };
    let kind = model_request(mode, has_result);
    keep(&seen, kind, "/v1/chat/completions", &headers, &body);
    let frames = ANSWERS[kind].iter().cloned().map(Ok::<_, Infallible>);
    match mode {
        Mode::Unary => answer("application/json", Body::from(ANSWERS[kind][0].clone())),
        Mode::Streamed => answer("text/event-stream", Body::from_stream(stream::iter(frames))),
    }
}

async fn mcp(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> Result<Response, String> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        method: &'a str,
    }
    let Request { id, method } = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // All of it would be taken for a secret.
    let caller = authorization.rsplit('-').next().unwrap_or_default();
    let result = match method {
        "tools/call" => {
            keep(&seen, TOOLS_CALL, "/mcp", &headers, &body);
            format!(
                r#"{{"resultType":"complete","content":[{{"type":"text","text":"{caller}"}}],"isError":false}}"#
            )
        }
        "tools/list" => json!({ "resultType": "complete", "tools": [{
            "name": TOOL,
            "description": "Says whose credential it sees.",
            "inputSchema": { "type": "object", "properties": { "loud": { "type": "boolean" } } },
        }] })
        .to_string(),
        "server/discover" => json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} },
            "ttlMs": 0,
            "cacheScope": "private",
        })
        .to_string(),
        _ => return Err(format!("unexpected: {method}")),
    };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    Ok(answer("application/json", Body::from(body)))
}

fn answer(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(content_type));
    response
}

fn keep(seen: &Seen, kind: usize, path: &str, headers: &HeaderMap, body: &Bytes) {
    seen[kind].get_or_init(|| Sent {
        path: path.to_owned(),
        headers: headers
            .iter()
            .filter(|(name, _)| !["host", "content-length"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(body).into_owned(),
    });
}

/// The model's answers by kind of request: a whole body, or events.
static ANSWERS: LazyLock<[Vec<Bytes>; 4]> = LazyLock::new(|| {
    let call = json!([{ "index": 0, "id": "call_1", "type": "function", "function": { "name": TOOL, "arguments": "{}" } }]);
    let whole = |message: serde_json::Value, reason: &str| {
        let choice = json!({ "index": 0, "message": message, "finish_reason": reason });
        vec![Bytes::from(completion("chat.completion", json!([choice]), true).to_string())]
    };
    let streamed = |deltas: Vec<serde_json::Value>, reason: &str| {
        let delta = |delta, reason| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
        let chunk = |choices, usage| completion("chat.completion.chunk", choices, usage).to_string();
        let mut events: Vec<String> =
            deltas.into_iter().map(|text| chunk(delta(text, None), false)).collect();
        events.push(chunk(delta(json!({}), Some(reason)), false));
        events.push(chunk(json!([]), true));
        events.push("[DONE]".to_owned());
        events.into_iter().map(|event| Bytes::from(format!("data: {event}\n\n"))).collect()
    };
    let words = words();
    let pieces = words.split_inclusive(' ').map(|word| json!({ "content": word }));
    [
        whole(json!({ "role": "assistant", "content": null, "tool_calls": call }), "tool_calls"),
        whole(json!({ "role": "assistant", "content": words }), "stop"),
        streamed(vec![json!({ "role": "assistant", "content": null, "tool_calls": call })], "tool_calls"),
        streamed(pieces.collect(), "stop"),
    ]
});

fn completion(object: &str, choices: serde_json::Value, with_usage: bool) -> serde_json::Value {
    let mut completion =
        json!({ "id": "chatcmpl-1", "object": object, "created": 1, "model": "bench", "choices": choices });
    if with_usage {
        completion["usage"] = json!({ "prompt_tokens": 40, "completion_tokens": 32, "total_tokens": 72 });
    }
    completion
}
