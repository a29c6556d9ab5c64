use rmcp::model::{JsonRpcMessage, JsonRpcResponse, ServerJsonRpcMessage};
use serde_json::json;

use super::*;
use crate::{
    credential::Planned,
    mcp::{SentOfRun, SentSet},
};

/// "an image".
const DATA: &str = "YW4gaW1hZ2U=";

/// What a server's result comes to, for a run that sent nothing secret.
fn rendered(result: Value) -> CallOutcome {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "result": result });
    let message: ServerJsonRpcMessage = serde_json::from_value(message).unwrap();
    let JsonRpcMessage::Response(JsonRpcResponse { result, .. }) = message else { panic!("{message:?}") };
    let sent = RunHeaders::new(Planned::default(), SentOfRun::default());
    sent.note_sent(&SentSet::empty().into());
    outcome(result, &sent)
}

fn png(data: &str) -> Value {
    json!({ "type": "image", "mimeType": "image/png", "data": data })
}

fn resource(mime_type: &str, blob: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": "file:///a", "mimeType": mime_type, "blob": blob } })
}

fn image(media_type: &str) -> Image {
    Image { media_type: media_type.into(), source: ImageSource::Base64(DATA.into()) }
}

#[test]
fn images_are_shown_and_the_text_tells_where_they_stand() {
    let outcome = rendered(json!({ "content": [
        { "type": "text", "text": "before" },
        { "type": "image", "mimeType": "image/jpeg", "data": DATA },
        { "type": "text", "text": "between" },
        resource("image/webp", DATA),
        { "type": "image", "mimeType": "Image/GIF", "data": DATA },
        png(DATA),
    ] }));
    let text = "before\n[image 1: image/jpeg]\nbetween\n[image 2: image/webp]\n[image 3: image/gif]\n[image 4: image/png]";
    assert_eq!(outcome.text, text);
    assert_eq!(outcome.images, ["image/jpeg", "image/webp", "image/gif", "image/png"].map(image));
}

#[test]
fn a_failure_may_have_an_image_and_nothing_else() {
    let outcome = rendered(json!({ "content": [png(DATA)], "isError": true }));
    assert_eq!(outcome.status, crate::message::ToolCallStatus::Error);
    assert_eq!((outcome.text.as_str(), outcome.images.len()), ("[image 1: image/png]", 1));
}

#[test]
fn what_is_no_image_that_models_take_is_a_placeholder() {
    let cases = [
        (
            json!({ "type": "image", "mimeType": "image/svg+xml", "data": DATA }),
            "[image image/svg+xml, 9 bytes]",
        ),
        (json!({ "type": "audio", "mimeType": "image/png", "data": DATA }), "[audio image/png, 9 bytes]"),
        (resource("application/pdf", DATA), "[resource application/pdf, 9 bytes]"),
        (png(""), "[image image/png, 0 bytes]"),
        (png("no Base64"), "[image image/png, 6 bytes]"),
        (png("YW4gaW1hZ2U"), "[image image/png, 6 bytes]"),
        (png("YW4g\naW1h"), "[image image/png, 6 bytes]"),
        (resource("image/png", "_-_-"), "[resource image/png, 3 bytes]"),
    ];
    for (block, placeholder) in cases {
        let outcome = rendered(json!({ "content": [block] }));
        assert_eq!((outcome.text.as_str(), outcome.images), (placeholder, Vec::new()));
    }
}

#[test]
fn at_most_sixteen_images_are_shown() {
    let outcome = rendered(json!({ "content": vec![png(DATA); 18] }));
    assert_eq!(outcome.images.len(), 16);
    let lines: Vec<&str> = outcome.text.lines().collect();
    assert_eq!(
        lines[15..],
        ["[image 16: image/png]", "[image image/png, 9 bytes]", "[image image/png, 9 bytes]"]
    );
}

#[test]
fn what_is_no_image_takes_no_number() {
    let outcome = rendered(json!({ "content": [png("no Base64"), png(DATA)] }));
    assert_eq!(outcome.text, "[image image/png, 6 bytes]\n[image 1: image/png]");
}
