//! Brings what is sent under the size that clients take; what is cut says so.

use std::collections::HashSet;

use prost::Message;

use super::proto::{self, part::Part};

/// The largest message that is sent, in bytes: clients take 4 MiB by default.
const MAX_MESSAGE_BYTES: usize = 3 * 1024 * 1024;
/// The most bytes of one text of an event.
const MAX_EVENT_TEXT_BYTES: usize = 1024 * 1024;
/// The most bytes of an answer's tools. It leaves room for the names of those that do not fit.
const MAX_TOOLS_BYTES: usize = 2 * 1024 * 1024;
/// The most bytes of an answer's dropped tools. It leaves room for the servers' names, and what is wrong with them.
const MAX_DROPPED_BYTES: usize = 512 * 1024;

/// Cuts a text that an event has beside others.
pub(super) fn event_text(text: &mut String) {
    cut(text, MAX_EVENT_TEXT_BYTES);
}

/// Names the tools that do not fit among those that are dropped, as far as there is room to name them.
pub(super) fn tools(response: &mut proto::ListToolsResponse) {
    let (mut for_tools, mut for_names) = (MAX_TOOLS_BYTES, MAX_DROPPED_BYTES);
    for server in &mut response.servers {
        let left_out = take_out(&mut server.tools, &mut for_tools);
        server.dropped_tools.extend(left_out.into_iter().map(|tool| proto::DroppedTool {
            name: tool.name.chars().take(128).collect(),
            reason: "the answer is too large for it; ask for fewer servers, or without schemas".to_owned(),
        }));
        if !take_out(&mut server.dropped_tools, &mut for_names).is_empty() {
            let reason = "there are more, and the answer is too large to name them".to_owned();
            server.dropped_tools.push(proto::DroppedTool { name: String::new(), reason });
        }
    }
}

/// Takes out the messages that there is no room for.
fn take_out<M: Message>(messages: &mut Vec<M>, room: &mut usize) -> Vec<M> {
    /// What a message takes beside its own bytes: its field's key and length.
    const OVERHEAD: usize = 8;
    let (kept, left_out) = messages.drain(..).partition(|message| {
        let bytes = message.encoded_len() + OVERHEAD;
        let fits = bytes <= *room;
        *room -= if fits { bytes } else { 0 };
        fits
    });
    *messages = kept;
    left_out
}

/// Which texts of a response may be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Results,
    /// And what else a caller does not need to go on: all but the arguments of the calls that wait for it.
    NotWaitedFor,
    All,
}

/// Brings a response under [`MAX_MESSAGE_BYTES`]: the images of tool results give way first, then their texts, then what
/// stands in it twice or cannot be cut, and then all long texts, last the arguments of calls that wait for the caller.
pub(super) fn response(response: &mut proto::RunResponse) {
    if response.encoded_len() <= MAX_MESSAGE_BYTES {
        return;
    }
    parts(response).for_each(leave_out_images);
    cut_texts(response, Texts::Results, &[256 * 1024, 64 * 1024, 16 * 1024, 4 * 1024, 1024]);
    if response.encoded_len() > MAX_MESSAGE_BYTES && !response.structured_output_json.is_empty() {
        "[left out: it is structured_output_json]".clone_into(&mut response.final_output);
    }
    if response.encoded_len() > MAX_MESSAGE_BYTES {
        for message in &mut response.new_messages {
            message.parts.retain(|part| !matches!(part.part, Some(Part::ProviderState(_) | Part::Image(_))));
        }
    }
    cut_texts(response, Texts::NotWaitedFor, &[256 * 1024, 16 * 1024, 1024, 64]);
    cut_texts(response, Texts::All, &[256 * 1024, 16 * 1024, 1024, 64]);
    if response.encoded_len() > MAX_MESSAGE_BYTES {
        response.structured_output_json.clear();
        "[left out: the answer is too large to be sent]".clone_into(&mut response.final_output);
    }
}

/// Cuts texts, all at the first of these lengths that is short enough, or at the last: each text is cut once, so that its
/// mark says how much it lacks.
fn cut_texts(response: &mut proto::RunResponse, which: Texts, lengths: &[usize]) {
    /// More than the mark of a cut takes.
    const MARK: usize = 64;
    let too_many = response.encoded_len().saturating_sub(MAX_MESSAGE_BYTES);
    if too_many == 0 {
        return;
    }
    let mut texts = texts(response, which);
    let saved = |max: usize| texts.iter().map(|text| text.len().saturating_sub(max + MARK)).sum::<usize>();
    let enough = lengths.iter().find(|max| saved(**max) >= too_many);
    if let Some(max) = enough.or(lengths.last()) {
        texts.iter_mut().filter(|text| text.len() > max + MARK).for_each(|text| cut(text, *max));
    }
}

fn parts(response: &mut proto::RunResponse) -> impl Iterator<Item = &mut Part> {
    let parts = response.new_messages.iter_mut().flat_map(|message| &mut message.parts);
    parts.filter_map(|part| part.part.as_mut())
}

fn leave_out_images(part: &mut Part) {
    if let Part::ToolResult(result) = part
        && !result.images.is_empty()
    {
        // In front, where it stands whatever is cut off.
        result.text.insert_str(0, &format!("[images left out: {}] ", result.images.len()));
        result.images.clear();
    }
}

/// The texts of a response that may be cut.
fn texts(response: &mut proto::RunResponse, which: Texts) -> Vec<&mut String> {
    let proto::RunResponse { new_messages, tool_calls, pending, final_output, .. } = response;
    let (others, all) = (which != Texts::Results, which == Texts::All);
    let waiting: Vec<_> = pending.iter_mut().filter_map(waiting_call).collect();
    let ids: HashSet<_> = waiting.iter().map(|call| call.call_id.clone()).collect();
    let mut texts = Vec::new();
    for part in new_messages.iter_mut().flat_map(|message| &mut message.parts) {
        match &mut part.part {
            Some(Part::ToolResult(result)) => texts.push(&mut result.text),
            Some(Part::Text(text)) if others => texts.push(text),
            Some(Part::ToolCall(call)) if all || others && !ids.contains(&call.call_id) => {
                texts.push(&mut call.arguments_json);
            }
            _ => {}
        }
    }
    if others {
        texts.extend(tool_calls.iter_mut().map(|call| &mut call.arguments_json));
        texts.push(final_output);
    }
    if all {
        texts.extend(waiting.into_iter().map(|call| &mut call.arguments_json));
    }
    texts
}

/// The call that something pending is about.
fn waiting_call(pending: &mut proto::PendingInput) -> Option<&mut proto::ToolCall> {
    use proto::pending_input::Input;
    match &mut pending.input {
        Some(Input::Approval(call) | Input::ClientTool(call)) => Some(call),
        _ => None,
    }
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let kept = text.floor_char_boundary(max);
        let left_out = text.len() - kept;
        text.truncate(kept);
        text.push_str(&format!(" [cut: {left_out} bytes left out]"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: usize, images: &[usize]) -> proto::Part {
        let image = |bytes: &usize| proto::Image {
            media_type: "image/png".into(),
            source: Some(proto::image::Source::Data(vec![7; *bytes])),
        };
        let result = proto::ToolResult {
            call_id: "c".into(),
            text: "x".repeat(text),
            images: images.iter().map(image).collect(),
            is_error: false,
        };
        proto::Part { part: Some(Part::ToolResult(result)) }
    }

    fn of(parts: Vec<proto::Part>) -> proto::RunResponse {
        let messages = vec![proto::Message { role: proto::MessageRole::Tool.into(), parts }];
        proto::RunResponse { new_messages: messages, ..proto::RunResponse::default() }
    }

    fn results(response: &proto::RunResponse) -> Vec<(&str, usize)> {
        let parts = response.new_messages.iter().flat_map(|message| &message.parts);
        parts
            .filter_map(|part| match &part.part {
                Some(Part::ToolResult(result)) => Some((&*result.text, result.images.len())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn images_of_results_stay_where_they_fit_and_else_go_with_a_mark() {
        const MIB: usize = 1024 * 1024;
        let mut fits = of(vec![result(10, &[MIB, MIB])]);
        let before = fits.clone();
        response(&mut fits);
        assert_eq!(fits, before);

        let mut large = of(vec![result(3, &[2 * MIB, MIB]), result(5, &[]), result(2 * MIB, &[1])]);
        response(&mut large);
        assert!(large.encoded_len() <= MAX_MESSAGE_BYTES);
        let results = results(&large);
        assert_eq!(results[..2], [("[images left out: 2] xxx", 0), ("xxxxx", 0)]);
        assert!(results[2].0.starts_with("[images left out: 1] xxx") && results[2].1 == 0);
        assert_eq!(results[2].0.len(), 2 * MIB + 21, "a text that fits now stays whole");
    }

    #[test]
    fn a_text_that_is_cut_says_how_much_it_lacks_and_which_images() {
        const MIB: usize = 1024 * 1024;
        let mut large = of(vec![result(2 * MIB, &[1]), result(2 * MIB, &[])]);
        response(&mut large);
        assert!(large.encoded_len() <= MAX_MESSAGE_BYTES);
        for (text, mark) in
            [(0, "[images left out: 1] "), (1, "")].map(|(at, mark)| (results(&large)[at].0, mark))
        {
            let kept = text.find(" [cut: ").unwrap();
            let left_out = 2 * MIB + mark.len() - kept;
            assert!(text.starts_with(&format!("{mark}xxx")), "{}", &text[..40]);
            assert_eq!(text[kept..], format!(" [cut: {left_out} bytes left out]"));
        }
    }

    #[test]
    fn a_response_of_very_many_calls_stays_within_its_size() {
        let mut large = of((0..4000).map(|_| result(1200, &[])).collect());
        let call = |n: usize| proto::ToolCall {
            call_id: n.to_string(),
            arguments_json: "x".repeat(900),
            ..proto::ToolCall::default()
        };
        large.tool_calls = (0..4000).map(call).collect();
        response(&mut large);
        assert!(large.encoded_len() <= MAX_MESSAGE_BYTES, "{}", large.encoded_len());
    }

    #[test]
    fn the_arguments_of_calls_that_wait_stay_whole_where_the_rest_can_give_way() {
        let call = |id: &str| proto::ToolCall {
            call_id: id.into(),
            arguments_json: "x".repeat(700 * 1024),
            ..proto::ToolCall::default()
        };
        let part = |call| proto::Part { part: Some(Part::ToolCall(call)) };
        let mut large = of(vec![part(call("made")), part(call("waits"))]);
        large.tool_calls = vec![call("made"), call("waits")];
        let input = Some(proto::pending_input::Input::Approval(call("waits")));
        large.pending = vec![proto::PendingInput { input, ..proto::PendingInput::default() }];
        response(&mut large);
        assert!(large.encoded_len() <= MAX_MESSAGE_BYTES);
        let lengths: Vec<_> = parts(&mut large)
            .map(|part| if let Part::ToolCall(call) = part { call.arguments_json.len() } else { 0 })
            .collect();
        assert!(lengths[0] < 700 * 1024 && lengths[1] == 700 * 1024, "{lengths:?}");
        let waiting = waiting_call(&mut large.pending[0]).unwrap();
        assert_eq!(waiting.arguments_json.len(), 700 * 1024);
    }

    #[test]
    fn a_list_with_many_dropped_tools_of_many_servers_stays_within_its_size() {
        let named = |number| format!("{number}-{}", "ü".repeat(120));
        let server = |number: usize| proto::McpServerTools {
            mcp_server: format!("server-{number}"),
            tools: (0..500)
                .map(|tool| proto::Tool {
                    name: named(tool),
                    description: "x".repeat(1000),
                    ..proto::Tool::default()
                })
                .collect(),
            dropped_tools: vec![proto::DroppedTool { name: named(0), reason: "r".repeat(60) }; 256],
            problem: None,
        };
        let mut response = proto::ListToolsResponse { servers: (0..50).map(server).collect() };
        tools(&mut response);
        assert!(response.encoded_len() <= MAX_MESSAGE_BYTES, "{}", response.encoded_len());
        assert_eq!(response.servers[0].tools.len(), 500);
        assert_eq!(response.servers[0].dropped_tools.len(), 256);
        for server in &response.servers[10..] {
            let last = server.dropped_tools.last().unwrap();
            assert!(last.reason.contains("more"), "{}: what is not named is told", server.mcp_server);
        }
    }
}
