//! What the model is shown of a tool's answer.

use axum::http::StatusCode;
use runwright::grpc::proto::ToolCallStatus::{self, Error, Ok as Fine};
use serde_json::{Value, json};

use crate::support::{
    mcp_server::{Era, json_response, raw},
    scene::{answering, call_against},
};

/// A call whose result is this.
async fn result(result: Value) -> (ToolCallStatus, String) {
    let server = answering(Era::Modern, move |seen| {
        (seen.method() == "tools/call").then(|| seen.result(result.clone()))
    })
    .await;
    let (call, text) = call_against(&server, "").await;
    (call.status(), text)
}

fn content(blocks: Value) -> Value {
    json!({ "resultType": "complete", "content": blocks })
}

#[tokio::test]
async fn text_is_shown_as_it_is_and_blocks_a_line_each() {
    assert_eq!(result(content(json!([{ "type": "text", "text": "a\nb" }]))).await, (Fine, "a\nb".into()));
    let two = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
    assert_eq!(result(content(two)).await, (Fine, "a\nb".into()));
    assert_eq!(result(content(json!([]))).await, (Fine, String::new()));
}

#[tokio::test]
async fn what_is_no_text_has_a_placeholder() {
    let embedded = |resource: Value| json!([{ "type": "resource", "resource": resource }]);
    let cases = [
        (
            json!([{ "type": "image", "mimeType": "image/tiff", "data": "AAAA" }]),
            "[image image/tiff, 3 bytes]",
        ),
        (
            json!([{ "type": "audio", "mimeType": "audio/wav", "data": "AAAAAAAA" }]),
            "[audio audio/wav, 6 bytes]",
        ),
        (embedded(json!({ "uri": "x:1", "mimeType": "a/b", "blob": "AAAA" })), "[resource a/b, 3 bytes]"),
        (embedded(json!({ "uri": "x:1", "text": "its text" })), "its text"),
        (
            json!([{ "type": "resource_link", "uri": "https://x.example/1", "name": "n" }]),
            "[resource n: https://x.example/1]",
        ),
    ];
    for (blocks, expected) in cases {
        assert_eq!(result(content(blocks)).await, (Fine, expected.to_owned()));
    }
}

#[tokio::test]
async fn structured_content_is_shown_where_there_is_nothing_else() {
    let structured =
        json!({ "resultType": "complete", "content": [], "structuredContent": { "b": 1, "a": [2.0] } });
    assert_eq!(result(structured).await, (Fine, r#"{"b":1,"a":[2.0]}"#.into()));
    let both = json!({ "content": [{ "type": "text", "text": "words" }], "structuredContent": { "a": 1 } });
    assert_eq!(result(both).await, (Fine, "words".into()));
}

#[tokio::test]
async fn a_tools_own_failure_is_told_as_one() {
    let failed = json!({ "content": [{ "type": "text", "text": "no such customer" }], "isError": true });
    assert_eq!(result(failed).await, (Error, "no such customer".into()));
}

#[tokio::test]
async fn an_odd_result_is_shown_as_far_as_it_can_be() {
    let odd_block =
        json!({ "content": [{ "type": "hologram", "x": 1 }, { "type": "text", "text": "words" }] });
    assert_eq!(result(odd_block).await, (Fine, "words".into()));
    let odd_error = json!({ "content": [{ "type": "hologram", "text": "words" }], "isError": true });
    assert_eq!(result(odd_error).await, (Error, "words".into()));
    assert_eq!(result(json!({ "rows": [1, 2] })).await, (Fine, r#"{"rows":[1,2]}"#.into()));
    let (status, _) = result(json!({ "tools": [] })).await;
    assert_eq!(status, Error, "another method's result is none of a tool's");
}

#[tokio::test]
async fn an_id_may_come_back_as_a_string_and_a_content_type_with_parameters() {
    let server = answering(Era::Modern, |seen| {
        let id = seen.body["id"].to_string();
        let result = content(json!([{ "type": "text", "text": "words" }]));
        (seen.method() == "tools/call")
            .then(|| json_response(&json!({ "jsonrpc": "2.0", "id": id, "result": result })))
    })
    .await;
    assert_eq!(call_against(&server, "").await.1, "words");
    let server = answering(Era::Modern, |seen| {
        let body = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": content(json!([{ "type": "text", "text": "words" }])) });
        (seen.method() == "tools/call").then(|| raw(StatusCode::OK, "Application/JSON;charset=UTF-8", body.to_string()))
    })
    .await;
    assert_eq!(call_against(&server, "").await.1, "words");
}
