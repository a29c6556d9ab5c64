//! The MCP servers: stateless ones of revision 2026-07-28, and one of 2025-11-25 that gives sessions.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION},
    response::Response,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::sleep;

use super::{Kind, Stage, TOOL, response};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Prose: what large results are made of.
const PROSE: &str = "It was the best of times, it was the worst of times, it was the age of wisdom; ";

#[derive(Deserialize)]
struct Request<'a> {
    /// Notifications have none.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
}

pub(super) async fn answer(
    State(stage): State<Stage>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, String> {
    let request: Request = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let keep = |kind| stage.keep(kind, "POST", "/mcp", &headers, &body);
    let result = match request.method {
        "tools/call" => {
            keep(Kind::Call);
            if !stage.scene.delay.is_zero() {
                sleep(stage.scene.delay).await;
            }
            called(&stage, &headers)
        }
        "tools/list" => {
            keep(Kind::List);
            listed()
        }
        "server/discover" if !stage.scene.sessions => discovered(),
        "server/discover" => return Ok(refused(&request)),
        "initialize" => {
            keep(Kind::Initialize);
            initialized()
        }
        "notifications/initialized" => {
            keep(Kind::Initialized);
            return Ok(status(StatusCode::ACCEPTED));
        }
        method => return Err(format!("unexpected: {method}")),
    };
    let id = request.id.map_or("null", RawValue::get);
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let mut response = response("application/json", Body::from(body));
    if request.method == "initialize" {
        response.headers_mut().insert(SESSION_ID, HeaderValue::from_static("session-of-a-run"));
    }
    Ok(response)
}

pub(super) async fn delete(State(stage): State<Stage>, headers: HeaderMap, body: Bytes) -> StatusCode {
    stage.keep(Kind::Delete, "DELETE", "/mcp", &headers, &body);
    StatusCode::OK
}

fn called(stage: &Stage, headers: &HeaderMap) -> String {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // All of it would be taken for a secret.
    let caller = authorization.rsplit('-').next().unwrap_or_default();
    let prose = PROSE.repeat(stage.scene.result_bytes / PROSE.len());
    format!(
        r#"{{"resultType":"complete","content":[{{"type":"text","text":"{prose}{caller}"}}],"isError":false}}"#
    )
}

fn listed() -> String {
    let schema = json!({ "type": "object", "properties": { "loud": { "type": "boolean" } } });
    let tool =
        json!({ "name": TOOL, "description": "Says whose credential it sees.", "inputSchema": schema });
    json!({ "resultType": "complete", "tools": [tool] }).to_string()
}

fn discovered() -> String {
    json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": {} },
        "ttlMs": 0,
        "cacheScope": "private",
    })
    .to_string()
}

fn initialized() -> String {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "bench", "version": "1" },
    })
    .to_string()
}

fn refused(request: &Request) -> Response {
    let id = request.id.map_or("null", RawValue::get);
    let error = r#"{"code":-32601,"message":"Method not found"}"#;
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    response("application/json", Body::from(body))
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
