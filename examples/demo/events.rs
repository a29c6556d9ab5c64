//! A streamed run's events, each a line; the pieces of a text share one.

use runwright::grpc::proto::{TurnCompleted, run_event::Event};

use crate::{paint, render};

/// The events so far.
#[derive(Default)]
pub struct Events {
    /// How many pieces the text that is being shown has so far.
    pieces: u32,
}

impl Events {
    /// An event, as it is shown behind those before it.
    pub fn render(&mut self, sequence: i32, event: &Event) -> String {
        let is_text = matches!(event, Event::TextDelta(_));
        let (name, text) = describe(event);
        let head = paint::label(&format!("#{sequence:<3} {name:<20}"));
        if is_text {
            self.pieces += 1;
            let head = if self.pieces == 1 { format!("   {head} ") } else { String::new() };
            return head + &paint::good(&text);
        }
        let ended = match std::mem::take(&mut self.pieces) {
            0 => String::new(),
            pieces => paint::label(&format!("  (pieces: {pieces})")) + "\n",
        };
        format!("{ended}   {head} {text}\n")
    }
}

/// An event's name and what it says.
fn describe(event: &Event) -> (&'static str, String) {
    match event {
        Event::RunStarted(started) => ("run_started", format!("on {}", started.instance)),
        Event::TurnStarted(_) => ("turn_started", "the model is asked".to_owned()),
        Event::TextDelta(delta) => ("text_delta", delta.text.clone()),
        Event::ToolCallStarted(call) => ("tool_call_started", render::tool_name(call)),
        Event::ToolCallCompleted(completed) => {
            let call = completed.tool_call.as_ref().map(render::tool_call).unwrap_or_default();
            ("tool_call_completed", format!("{call} {}", completed.result_text))
        }
        Event::McpServerUnavailable(server) => {
            ("mcp_server_unavailable", format!("{}: {}", server.mcp_server, server.reason))
        }
        Event::CredentialsRequired(pending) => ("credentials_required", render::pending_input(pending)),
        Event::ApprovalRequired(pending) => ("approval_required", render::pending_input(pending)),
        Event::ClientToolRequired(pending) => ("client_tool_required", render::pending_input(pending)),
        Event::ReasoningDelta(delta) => ("reasoning_delta", delta.text.clone()),
        Event::ToolCallProgress(progress) => {
            let total = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
            ("tool_call_progress", format!("{}{total} {}", progress.progress, progress.message))
        }
        Event::TurnCompleted(TurnCompleted { usage }) => {
            let tokens = usage.map_or(0, |usage| usage.total_tokens);
            ("turn_completed", format!("{tokens} tokens"))
        }
        Event::Heartbeat(_) => ("heartbeat", String::new()),
        Event::RunCompleted(response) => ("run_completed", render::end(response)),
    }
}
