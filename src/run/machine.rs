//! The run loop as a state machine that does no I/O: a step goes in, what to do next comes out.
//!
//! The driver performs what it is told and brings back each step: the model's answer, each call's end. A journal of those
//! steps would be enough to rebuild the machine.

use std::time::Duration;

use crate::{
    event::FinishReason,
    message::{AssistantPart, Message, ToolCall, ToolCallRecord, ToolCallStatus, ToolResult, Usage},
    model::Stop,
};

/// The most tool calls of one answer that are made.
const MAX_CALLS_A_TURN: usize = 128;
/// The most bytes of tool results in a run; what goes beyond is cut.
const MAX_RESULT_BYTES: usize = 32 * 1024 * 1024;

/// Where a run stands.
pub(super) struct Machine {
    messages: Vec<Message>,
    history: usize,
    turn: u32,
    max_turns: u32,
    turns: u32,
    usage: Usage,
    calls: Vec<ToolCallRecord>,
    /// The results of the turn's calls that have come, in the calls' order.
    results: Vec<Option<ToolResult>>,
    result_bytes: usize,
    final_output: String,
}

/// What has happened.
pub(super) enum Step {
    /// The run's tools are known.
    Opened,
    /// The model has answered.
    Answered { parts: Vec<AssistantPart>, stop: Stop, usage: Usage },
    /// A call of the turn has ended.
    Called {
        /// Its place among the turn's calls.
        at: usize,
        status: ToolCallStatus,
        text: String,
        duration: Duration,
    },
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Ask the model.
    Ask,
    /// Make these calls, all at once; their places are their indices.
    Call(Vec<ToolCall>),
    /// Wait for the other calls.
    Wait,
    /// The run is over.
    Finish(FinishReason),
}

impl Machine {
    /// A run that goes on from `history` with `input`, the user's newest message, if there is one.
    pub(super) fn new(history: Vec<Message>, input: Option<String>, max_turns: u32) -> Self {
        let mut messages = history;
        let history = messages.len();
        messages.extend(input.map(Message::user));
        Self {
            messages,
            history,
            turn: 0,
            max_turns,
            turns: 0,
            usage: Usage::default(),
            calls: Vec::new(),
            results: Vec::new(),
            result_bytes: 0,
            final_output: String::new(),
        }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, step: Step) -> Next {
        match step {
            Step::Opened => self.ask(),
            Step::Answered { parts, stop, usage } => {
                self.usage.add(usage);
                self.answered(parts, stop)
            }
            Step::Called { at, status, text, duration } => {
                self.called(at, status, text, duration);
                if self.results.iter().any(Option::is_none) {
                    return Next::Wait;
                }
                self.push_results();
                self.ask()
            }
        }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How many of the messages came with the request, without its input.
    pub(super) fn history(&self) -> usize {
        self.history
    }

    /// The turn, from 1; 0: the model has not been asked.
    pub(super) fn turn(&self) -> u32 {
        self.turn
    }

    /// The number of answers.
    pub(super) fn turns(&self) -> u32 {
        self.turns
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// The run's calls so far, in the model's order.
    pub(super) fn calls(&self) -> &[ToolCallRecord] {
        &self.calls
    }

    /// The model's last text, and the messages that the run added.
    pub(super) fn into_result(mut self) -> (String, Vec<Message>) {
        (self.final_output, self.messages.split_off(self.history))
    }

    fn ask(&mut self) -> Next {
        self.turn += 1;
        Next::Ask
    }

    fn answered(&mut self, mut parts: Vec<AssistantPart>, stop: Stop) -> Next {
        self.turns += 1;
        let texts = parts.iter().map(|part| if let AssistantPart::Text(text) = part { text } else { "" });
        self.final_output = texts.collect();
        let cut = match stop {
            Stop::End => None,
            Stop::OutputLimit => Some(FinishReason::OutputTokenLimit),
            Stop::ContentFilter => Some(FinishReason::ContentFilter),
        };
        // The arguments of a cut answer may be cut, too: its calls are not made.
        if cut.is_some() {
            parts.retain(|part| !matches!(part, AssistantPart::Call(_)));
        }
        let message = Message::Assistant { parts };
        let calls: Vec<_> = message.calls().cloned().collect();
        if !(self.final_output.is_empty() && calls.is_empty()) {
            self.messages.push(message);
        }
        if calls.is_empty() {
            return Next::Finish(cut.unwrap_or(FinishReason::Stop));
        }
        self.begin(calls)
    }

    fn begin(&mut self, calls: Vec<ToolCall>) -> Next {
        self.results = calls.iter().map(|_| None).collect();
        self.calls.extend(calls.iter().map(|call| ToolCallRecord { call: call.clone(), ended: None }));
        if self.turn >= self.max_turns {
            // Answered all the same, so that the conversation can go on in another run.
            self.refuse(0, "The tool was not run: the run has reached its turn limit.");
            self.push_results();
            return Next::Finish(FinishReason::TurnLimit);
        }
        self.refuse(MAX_CALLS_A_TURN, "The tool was not run: an answer may ask for at most 128 calls.");
        Next::Call(calls.into_iter().take(MAX_CALLS_A_TURN).collect())
    }

    /// Answers the turn's calls from a place on without making them.
    fn refuse(&mut self, from: usize, why: &str) {
        for at in from..self.results.len() {
            self.called(at, ToolCallStatus::Error, why.to_owned(), Duration::ZERO);
        }
    }

    fn called(&mut self, at: usize, status: ToolCallStatus, text: String, duration: Duration) {
        let first = self.calls.len() - self.results.len();
        let text = cut(text, MAX_RESULT_BYTES.saturating_sub(self.result_bytes));
        self.result_bytes += text.len();
        let record = &mut self.calls[first + at];
        record.ended = Some((status, duration));
        let call_id = record.call.call_id.clone();
        self.results[at] =
            Some(ToolResult { call_id, text, images: Vec::new(), is_error: status != ToolCallStatus::Ok });
    }

    fn push_results(&mut self) {
        let results = std::mem::take(&mut self.results).into_iter().flatten().collect();
        self.messages.push(Message::Tool { results });
    }
}

/// The text, or as much of it as fits into `max` bytes, with a mark.
fn cut(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let kept = text.floor_char_boundary(max);
    format!("{} [cut: {} bytes left out]", &text[..kept], text.len() - kept)
}

#[cfg(test)]
mod tests;
