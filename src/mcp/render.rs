//! A tool's result as the model is shown it: text.

use rmcp::model::{CallToolResult, ContentBlock, CustomResult, ResourceContents, ServerResult};
use serde_json::Value;

use super::{RunHeaders, call::CallOutcome};

/// What a server's answer to `tools/call` comes to, without the secrets that the server was sent.
pub(super) fn outcome(result: ServerResult, sent: &RunHeaders) -> CallOutcome {
    match result {
        ServerResult::CallToolResult(result) => {
            let is_error = result.is_error.unwrap_or_default();
            CallOutcome::answered(sent.scrub(text(result, sent)), is_error)
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

/// All blocks, a line each; structured content where there is no block.
fn text(result: CallToolResult, sent: &RunHeaders) -> String {
    if result.content.is_empty() {
        let content = result.structured_content.map(|content| sent.scrub_json(content).to_string());
        return content.unwrap_or_default();
    }
    let mut blocks: Vec<String> = result.content.into_iter().map(block).collect();
    if blocks.len() == 1 { blocks.swap_remove(0) } else { blocks.join("\n") }
}

fn block(block: ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => placeholder("image", &image.mime_type, image.data.len()),
        ContentBlock::Audio(audio) => placeholder("audio", &audio.mime_type, audio.data.len()),
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text,
            ResourceContents::BlobResourceContents { mime_type, blob, .. } => {
                placeholder("resource", &mime_type.unwrap_or_default(), blob.len())
            }
            _ => UNKNOWN.to_owned(),
        },
        ContentBlock::ResourceLink(link) => format!("[resource {}: {}]", link.name, link.uri),
        _ => UNKNOWN.to_owned(),
    }
}

/// What stands for content of a kind that is not known here.
const UNKNOWN: &str = "[content of an unknown kind]";

/// What stands for content that is no text.
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
