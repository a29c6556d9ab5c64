//! Brings what is sent under the size that clients take; what is cut says so.

use prost::Message;

use super::proto;

/// The largest message that is sent, in bytes: clients take 4 MiB by default.
const MAX_MESSAGE_BYTES: usize = 3 * 1024 * 1024;
/// The most bytes of one text of an event.
const MAX_EVENT_TEXT_BYTES: usize = 1024 * 1024;
/// The most bytes of an answer's tools. It leaves room for the names of those that do not fit.
const MAX_TOOLS_BYTES: usize = 2 * 1024 * 1024;

/// Cuts a text that an event has beside others.
pub(super) fn event_text(text: &mut String) {
    cut(text, MAX_EVENT_TEXT_BYTES);
}

/// Names the tools that do not fit among those that are dropped.
pub(super) fn tools(response: &mut proto::ListToolsResponse) {
    /// What a tool takes beside its own bytes: its field's key and length.
    const OVERHEAD: usize = 8;
    let mut room = MAX_TOOLS_BYTES;
    for server in &mut response.servers {
        let (kept, left_out): (Vec<_>, Vec<_>) = server.tools.drain(..).partition(|tool| {
            let bytes = tool.encoded_len() + OVERHEAD;
            let fits = bytes <= room;
            room -= if fits { bytes } else { 0 };
            fits
        });
        server.tools = kept;
        server.dropped_tools.extend(left_out.into_iter().map(|tool| proto::DroppedTool {
            name: tool.name.chars().take(128).collect(),
            reason: "the answer is too large for it; ask for fewer servers, or without schemas".to_owned(),
        }));
    }
}

/// Brings a response under [`MAX_MESSAGE_BYTES`]: tool results give way first, then all long texts.
pub(super) fn response(response: &mut proto::RunResponse) {
    for kib in [256, 64, 16, 4, 1] {
        if response.encoded_len() <= MAX_MESSAGE_BYTES {
            return;
        }
        for text in texts(response, false) {
            cut(text, kib * 1024);
        }
    }
    for kib in [256, 16, 1] {
        if response.encoded_len() <= MAX_MESSAGE_BYTES {
            return;
        }
        for text in texts(response, true) {
            cut(text, kib * 1024);
        }
    }
}

/// The texts of a response that may be cut: the tool results, or all.
fn texts(response: &mut proto::RunResponse, all: bool) -> Vec<&mut String> {
    use proto::part::Part;
    let mut texts = Vec::new();
    for part in response.new_messages.iter_mut().flat_map(|message| &mut message.parts) {
        match &mut part.part {
            Some(Part::ToolResult(result)) => texts.push(&mut result.text),
            Some(Part::Text(text)) if all => texts.push(text),
            Some(Part::ToolCall(call)) if all => texts.push(&mut call.arguments_json),
            _ => {}
        }
    }
    if all {
        texts.extend(response.tool_calls.iter_mut().map(|call| &mut call.arguments_json));
        texts.push(&mut response.final_output);
    }
    texts
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let kept = text.floor_char_boundary(max);
        let left_out = text.len() - kept;
        text.truncate(kept);
        text.push_str(&format!(" [cut: {left_out} bytes left out]"));
    }
}
