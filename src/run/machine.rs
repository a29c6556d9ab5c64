//! The run loop as a state machine that does no I/O: a step goes in, what to do next comes out.
//!
//! The driver performs what it is told and brings back each step: the model's answer, each call's end. A journal of those
//! steps would be enough to rebuild the machine.

use std::time::Duration;

use super::{Bounds, output};
use crate::{
    event::FinishReason,
    message::{
        AssistantPart, Image, Message, ToolCall, ToolCallRecord, ToolCallStatus, ToolResult, Usage,
        sort_results,
    },
    model::{MAX_CALLS, Stop},
    schema::Schema,
};

/// The most bytes of tool results in a run, images included; what goes beyond is cut.
const MAX_RESULT_BYTES: usize = 32 * 1024 * 1024;

/// Where a run stands.
pub(super) struct Machine {
    messages: Vec<Message>,
    history: usize,
    /// The calls at the end of the history that have no result.
    open: Vec<ToolCall>,
    bounds: Bounds,
    output: Option<Schema>,
    turn: u32,
    turns: u32,
    usage: Usage,
    calls: Vec<ToolCallRecord>,
    /// What has become of the turn's calls, in their order.
    outcomes: Vec<Outcome>,
    /// The calls that wait for their caller when the run ends.
    awaiting: Vec<ToolCall>,
    /// The results that went into the last message of the history, beside those that it had.
    resumed: Vec<ToolResult>,
    /// The calls that were answered without being made, by their places among all, with why; those that were told are out.
    refused: Vec<(usize, &'static str)>,
    result_bytes: usize,
    final_output: String,
    structured_output: Option<String>,
    /// Whether the model was asked to mend its answer.
    repaired: bool,
}

/// What has become of a call.
enum Outcome {
    /// It is under way.
    Open,
    /// It waits for its caller, and the run does not.
    Awaiting,
    Ended(ToolResult),
}

/// What a run begins with.
pub(super) struct Beginning {
    /// The conversation before the input.
    pub(super) history: Vec<Message>,
    /// The calls at its end that have no result.
    pub(super) open: Vec<ToolCall>,
    /// The user's newest message, if there is one.
    pub(super) input: Option<String>,
    pub(super) bounds: Bounds,
    /// What the final answer is to fit.
    pub(super) output: Option<Schema>,
}

/// What has happened.
pub(super) enum Step {
    /// The run's tools are known.
    Opened,
    /// The model has answered.
    Answered {
        parts: Vec<AssistantPart>,
        /// What its texts come to: those that were said on the way left out.
        text: String,
        stop: Stop,
        usage: Usage,
    },
    /// A call of the turn has ended.
    Called {
        /// Its place among the turn's calls.
        at: usize,
        status: ToolCallStatus,
        text: String,
        images: Vec<Image>,
        duration: Duration,
    },
    /// A call of the turn waits for its caller, and the run does not.
    Awaiting {
        /// Its place among the turn's calls.
        at: usize,
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
    /// The run has failed: its answer does not fit the schema, in these places.
    Invalid(Vec<String>),
}

/// What a run has come to.
pub(super) struct Conclusion {
    /// The model's last text, without what was said on the way to it.
    pub(super) final_output: String,
    /// The answer as JSON, where it was to fit a schema.
    pub(super) structured_output: Option<String>,
    /// The messages that the run added.
    pub(super) new_messages: Vec<Message>,
}

impl Machine {
    /// A run that has not begun.
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning { history: mut messages, open, input, bounds, output } = beginning;
        let history = messages.len();
        messages.extend(input.map(Message::user));
        Self {
            messages,
            history,
            open,
            bounds,
            output,
            turn: 0,
            turns: 0,
            usage: Usage::default(),
            calls: Vec::new(),
            outcomes: Vec::new(),
            awaiting: Vec::new(),
            resumed: Vec::new(),
            refused: Vec::new(),
            result_bytes: 0,
            final_output: String::new(),
            structured_output: None,
            repaired: false,
        }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, step: Step) -> Next {
        match step {
            Step::Opened => match std::mem::take(&mut self.open) {
                open if open.is_empty() => self.ask(),
                open => self.begin(open),
            },
            Step::Answered { parts, text, stop, usage } => {
                self.usage.add(usage);
                self.final_output = text;
                self.answered(parts, stop)
            }
            Step::Called { at, status, text, images, duration } => {
                self.called(at, status, text, images, duration);
                self.go_on()
            }
            Step::Awaiting { at } => {
                self.outcomes[at] = Outcome::Awaiting;
                self.go_on()
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

    /// How many calls there were before those of this turn.
    pub(super) fn calls_before_turn(&self) -> usize {
        self.calls.len() - self.outcomes.len()
    }

    /// The calls that were answered without being made since this was asked last, and the answers.
    pub(super) fn take_refused(&mut self) -> Vec<(ToolCallRecord, &'static str)> {
        let refused = std::mem::take(&mut self.refused);
        refused.into_iter().map(|(at, why)| (self.calls[at].clone(), why)).collect()
    }

    /// The calls that wait for their caller.
    pub(super) fn awaiting(&self) -> &[ToolCall] {
        &self.awaiting
    }

    /// What the run has come to.
    pub(super) fn conclude(mut self) -> Conclusion {
        let resumed = Some(self.resumed).filter(|results| !results.is_empty());
        let resumed = resumed.map(|results| Message::Tool { results });
        Conclusion {
            final_output: self.final_output,
            structured_output: self.structured_output,
            new_messages: resumed.into_iter().chain(self.messages.split_off(self.history)).collect(),
        }
    }

    fn ask(&mut self) -> Next {
        self.turn += 1;
        Next::Ask
    }

    fn answered(&mut self, mut parts: Vec<AssistantPart>, stop: Stop) -> Next {
        self.turns += 1;
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
        match cut {
            Some(reason) => Next::Finish(reason),
            None if calls.is_empty() => self.finish(),
            None => self.begin(calls),
        }
    }

    /// Ends the run with an answer, if it fits; else the model may mend it once.
    fn finish(&mut self) -> Next {
        let Some(schema) = &self.output else { return Next::Finish(FinishReason::Stop) };
        match output::check(schema, &self.final_output) {
            Ok(json) => {
                self.structured_output = Some(json);
                Next::Finish(FinishReason::Stop)
            }
            Err(problem) if !self.repaired && self.spent().is_none() => {
                self.repaired = true;
                self.messages.push(Message::user(output::repair(&problem)));
                self.ask()
            }
            Err(_) => Next::Invalid(output::misfits(schema, &self.final_output)),
        }
    }

    /// The bound that keeps the run from asking the model again.
    fn spent(&self) -> Option<FinishReason> {
        if self.turn >= self.bounds.max_turns {
            return Some(FinishReason::TurnLimit);
        }
        let tokens = self.bounds.max_total_tokens.is_some_and(|most| self.usage.total_tokens >= most);
        tokens.then_some(FinishReason::RunTokenLimit)
    }

    fn begin(&mut self, calls: Vec<ToolCall>) -> Next {
        self.outcomes = calls.iter().map(|_| Outcome::Open).collect();
        self.calls.extend(calls.iter().map(|call| ToolCallRecord { call: call.clone(), ended: None }));
        let most =
            self.bounds.max_tool_calls.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let too_many = (self.calls.len() > most).then_some(FinishReason::ToolCallLimit);
        if let Some(reason) = self.spent().or(too_many) {
            // Answered all the same, so that the conversation can go on in another run.
            self.refuse(0, not_run(reason));
            self.push_results();
            return Next::Finish(reason);
        }
        self.refuse(MAX_CALLS, "The tool was not run: an answer may ask for at most 128 calls.");
        Next::Call(calls.into_iter().take(MAX_CALLS).collect())
    }

    /// What comes after a call: the next turn, when there is a result for each.
    fn go_on(&mut self) -> Next {
        if self.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Open)) {
            return Next::Wait;
        }
        self.push_results();
        if self.awaiting.is_empty() { self.ask() } else { Next::Finish(FinishReason::AwaitingInput) }
    }

    /// Answers the turn's calls from a place on without making them.
    fn refuse(&mut self, from: usize, why: &'static str) {
        let first = self.calls_before_turn();
        for at in from..self.outcomes.len() {
            self.refused.push((first + at, why));
            self.called(at, ToolCallStatus::Error, why.to_owned(), Vec::new(), Duration::ZERO);
        }
    }

    fn called(
        &mut self,
        at: usize,
        status: ToolCallStatus,
        text: String,
        mut images: Vec<Image>,
        duration: Duration,
    ) {
        let first = self.calls_before_turn();
        let left = MAX_RESULT_BYTES.saturating_sub(self.result_bytes);
        let mut text = cut(text, self.bounds.max_tool_result_bytes.min(left));
        self.result_bytes += text.len();
        let given = images.len();
        images.retain(|image| {
            let fits = self.result_bytes + image.bytes() <= MAX_RESULT_BYTES;
            self.result_bytes += if fits { image.bytes() } else { 0 };
            fits
        });
        if images.len() < given {
            text.push_str(&format!(" [images left out: {}]", given - images.len()));
        }
        let record = &mut self.calls[first + at];
        record.ended = Some((status, duration));
        let call_id = record.call.call_id.clone();
        let is_error = status != ToolCallStatus::Ok;
        self.outcomes[at] = Outcome::Ended(ToolResult { call_id, text, images, is_error });
    }

    /// Adds the turn's results to the conversation; calls that wait stay open in it.
    fn push_results(&mut self) {
        let outcomes = std::mem::take(&mut self.outcomes);
        let turn = &self.calls[self.calls.len() - outcomes.len()..];
        let mut results = Vec::with_capacity(outcomes.len());
        for (record, outcome) in turn.iter().zip(outcomes) {
            match outcome {
                Outcome::Ended(result) => results.push(result),
                Outcome::Awaiting => self.awaiting.push(record.call.clone()),
                Outcome::Open => {}
            }
        }
        if results.is_empty() {
            return;
        }
        // Providers want the results of a turn in one message.
        if let Some(Message::Tool { results: before }) = self.messages.last_mut() {
            self.resumed.clone_from(&results);
            before.extend(results);
            sort_results(&mut self.messages);
        } else {
            self.messages.push(Message::Tool { results });
        }
    }
}

fn not_run(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::RunTokenLimit => "The tool was not run: the run has reached its token limit.",
        FinishReason::ToolCallLimit => "The tool was not run: the run has reached its limit of tool calls.",
        _ => "The tool was not run: the run has reached its turn limit.",
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
