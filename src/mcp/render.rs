//! A tool's result as the model is shown it: text, and images.

use base64::{Engine, engine::general_purpose::STANDARD};
use rmcp::model::{CallToolResult, ContentBlock, CustomResult, ResourceContents, ServerResult};
use serde_json::Value;

use super::{RunHeaders, call::CallOutcome};
use crate::message::{Image, ImageSource};

#[cfg(test)]
mod tests;

/// The most images of a result that the model is shown.
const MAX_IMAGES: usize = 16;

/// What a server's answer to `tools/call` comes to, without the secrets that the server was sent.
pub(super) fn outcome(result: ServerResult, sent: &RunHeaders) -> CallOutcome {
    match result {
        ServerResult::CallToolResult(result) => {
            let is_error = result.is_error.unwrap_or_default();
            let mut images = Vec::new();
            let text = sent.scrub(text(result, sent, &mut images));
            CallOutcome { images, ..CallOutcome::answered(text, is_error) }
        }
        ServerResult::CustomResult(CustomResult(result)) => odd(&sent.scrub_json(result)),
        ServerResult::CreateTaskResult(_) => {
            CallOutcome::answered("The tool answers with a task, which is not supported.".to_owned(), true)
        }
        ServerResult::InputRequiredResult(_) => {
            CallOutcome::answered("The tool asked for more input again and again.".to_owned(), true)
        }
        _ => CallOutcome::answered("The tool's answer is no tool result.".to_owned(), true),
    }
}

/// All blocks, a line each, with a mark for each image; structured content where there is no block.
fn text(result: CallToolResult, sent: &RunHeaders, images: &mut Vec<Image>) -> String {
    if result.content.is_empty() {
        let content = result.structured_content.map(|content| sent.scrub_json(content).to_string());
        return content.unwrap_or_default();
    }
    let blocks = result.content.into_iter().map(|content| block(content, sent, images));
    let mut blocks: Vec<String> = blocks.collect();
    if blocks.len() == 1 { blocks.swap_remove(0) } else { blocks.join("\n") }
}

fn block(block: ContentBlock, sent: &RunHeaders, images: &mut Vec<Image>) -> String {
    let mut blob = |kind, mime_type: &str, base64: &str| {
        let image = if images.len() < MAX_IMAGES { image(mime_type, base64, sent) } else { None };
        let Some(image) = image else { return placeholder(kind, mime_type, base64.len()) };
        let mark = format!("[image {}: {}]", images.len() + 1, image.media_type);
        images.push(image);
        mark
    };
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => blob("image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => placeholder("audio", &audio.mime_type, audio.data.len()),
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text,
            ResourceContents::BlobResourceContents { mime_type, blob: data, .. } => {
                blob("resource", &mime_type.unwrap_or_default(), &data)
            }
            _ => UNKNOWN.to_owned(),
        },
        ContentBlock::ResourceLink(link) => format!("[resource {}: {}]", link.name, link.uri),
        _ => UNKNOWN.to_owned(),
    }
}

/// An image, if it is one of those that models are shown. One that holds a secret is not: nothing can be taken out of it.
fn image(mime_type: &str, base64: &str, sent: &RunHeaders) -> Option<Image> {
    let media_type = Image::MEDIA_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(mime_type))?;
    let data = STANDARD.decode(base64).ok().filter(|data| !data.is_empty())?;
    if sent.finds(base64) || sent.finds(&data) {
        return None;
    }
    Some(Image { media_type: media_type.to_owned(), source: ImageSource::Base64(base64.into()) })
}

/// What stands for content of a kind that is not known here.
const UNKNOWN: &str = "[content of an unknown kind]";

/// What stands for content that the model is not shown.
fn placeholder(kind: &str, mime_type: &str, base64_bytes: usize) -> String {
    format!("[{kind} {mime_type}, {} bytes]", base64_bytes / 4 * 3)
}

/// A result that is not quite one of MCP's: the text that can be found in it, or all of it.
fn odd(result: &Value) -> CallOutcome {
    let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or_default();
    let blocks = result.get("content").and_then(Value::as_array);
    let texts: Vec<&str> =
        blocks.into_iter().flatten().filter_map(|block| block.get("text")?.as_str()).collect();
    let text = if texts.is_empty() { result.to_string() } else { texts.join("\n") };
    CallOutcome::answered(text, is_error)
}
