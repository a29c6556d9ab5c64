//! What a run waits for from its caller: the word that a tool may be called, or the output of a tool of the caller's own.
//!
//! Each waiting call is known by its own id, which is in the conversation. So nothing has to be kept for a run that ends
//! while it waits: a later one finds the same calls open at the conversation's end.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Failure, Violation, Violations, driver::Context};
use crate::{
    event::{PendingInput, Wanted, What},
    message::{Image, ToolCall},
};

/// How long before a run's end it stops to wait, so that it can still say what it waited for. A caller's own deadline leaves
/// time behind the run's for what follows, such as telling MCP servers.
const MARGIN: Duration = Duration::from_millis(100);

/// A caller's answer to a call that waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The tool may be called.
    Approved,
    /// The tool may not be called, and why; may be empty.
    Denied(String),
    /// What a tool of the caller's own gave back.
    Output {
        /// The result for the model.
        text: String,
        /// Its images.
        images: Vec<Image>,
        /// Whether the tool failed.
        is_error: bool,
    },
}

/// What kind of answer a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An approval.
    Approval,
    /// A tool's output.
    ClientTool,
}

/// The calls of a live run that wait, by their ids.
#[derive(Default)]
pub(super) struct Inputs(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    kind: Kind,
    answer: oneshot::Sender<Answer>,
}

/// Takes a call out of those that wait, whatever becomes of it.
struct Entry<'a> {
    inputs: &'a Inputs,
    call_id: &'a str,
}

impl Kind {
    /// The kind that a call waits for, by who runs its tool.
    pub fn of(call: &ToolCall) -> Self {
        let callers = call.tool.as_ref().is_some_and(|tool| tool.is_callers());
        if callers { Self::ClientTool } else { Self::Approval }
    }

    /// The name for metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::ClientTool => "client_tool",
        }
    }

    /// What is wrong with an answer of another kind.
    pub fn refusal(self, answer: &Answer) -> Option<&'static str> {
        match (self, answer) {
            (Self::Approval, Answer::Output { .. }) => {
                Some("an MCP server runs the tool: answer with `approval`")
            }
            (Self::ClientTool, Answer::Approved | Answer::Denied(_)) => {
                Some("the tool is the caller's own: answer with `tool_output`")
            }
            _ => None,
        }
    }
}

impl Inputs {
    /// Hands answers to the calls that wait for them. `others` is what is wrong with the request already; an answer that it
    /// is about is `None`.
    ///
    /// # Errors
    /// No call waits for one of them, or for its kind. None is handed on.
    pub(super) fn submit(
        &self,
        answers: Vec<(String, Option<Answer>)>,
        others: Violations,
    ) -> Result<(), Violations> {
        let mut waiting = self.0.lock();
        let mut violations = others;
        if answers.is_empty() && violations.is_empty() {
            violations.push(Violation::field("answers", "answer at least one input"));
        }
        for (at, (input_id, answer)) in answers.iter().enumerate() {
            let again = answers[..at].iter().any(|(before, _)| before == input_id);
            match waiting.get(input_id).filter(|_| !again) {
                None => violations.push(Violation::field(
                    format!("answers[{at}].input_id"),
                    "the run waits for no such input, or has its answer already",
                )),
                Some(waiting) => {
                    let refusal = answer.as_ref().and_then(|answer| waiting.kind.refusal(answer));
                    violations.extend(refusal.map(|why| Violation::field(format!("answers[{at}]"), why)));
                }
            }
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        for (input_id, answer) in answers {
            if let (Some(waiting), Some(answer)) = (waiting.remove(&input_id), answer) {
                // A run that ends at this moment does not need it any more.
                let _ = waiting.answer.send(answer);
            }
        }
        Ok(())
    }

    /// Whether a call waits.
    pub(super) fn are_waited_for(&self) -> bool {
        !self.0.lock().is_empty()
    }

    fn wait<'a>(&'a self, call_id: &'a str, kind: Kind) -> (Entry<'a>, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        self.0.lock().insert(call_id.to_owned(), Waiting { kind, answer });
        (Entry { inputs: self, call_id }, answered)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.inputs.0.lock().remove(self.call_id);
    }
}

impl Context {
    /// The caller's answer to a call, the one at this place among all of the run's: what came with the request, or else what a
    /// streamed run is told while it waits. `None`: there is none in time.
    pub(super) async fn answer_to(
        &self,
        call: &ToolCall,
        place: usize,
        turn: u32,
    ) -> Result<Option<Answer>, Failure> {
        if let Some(answer) = self.request.answers.get(&call.call_id) {
            return Ok(Some(answer.clone()));
        }
        let until = self.waits_until();
        if !self.sink.is_stream() || until <= Instant::now() {
            return Ok(None);
        }
        let kind = Kind::of(call);
        let (entry, mut answered) = self.inputs.wait(&call.call_id, kind);
        let waits = self.meter.wait(kind.as_str());
        let left = until.saturating_duration_since(Instant::now());
        let expire_time = SystemTime::now().checked_add(left);
        let asked_and_answered = async {
            self.sink.emit(turn, || What::InputRequired(pending(call.clone(), expire_time).into())).await?;
            if kind == Kind::ClientTool {
                // The caller may run it from here on.
                self.begun.note(place);
            }
            Ok((&mut answered).await.ok())
        };
        let closing = self.closing.cancelled();
        tokio::select! {
            biased;
            answer = timeout_at(until, asked_and_answered) => {
                if let Ok(answer) = answer {
                    if matches!(answer, Ok(Some(_))) {
                        waits.answered();
                    }
                    return answer;
                }
            }
            // The run would hold up this process, and another one can go on with it.
            () = closing => {}
        }
        // From here on no answer is taken; one that was taken at the last moment counts.
        drop(entry);
        let answer = answered.try_recv().ok();
        if answer.is_some() {
            waits.answered();
        }
        Ok(answer)
    }

    /// A short time keeps half of itself for the wait.
    fn waits_until(&self) -> Instant {
        let (now, deadline) = (Instant::now(), self.request.deadline);
        let margin = MARGIN.min(deadline.saturating_duration_since(now) / 2);
        let end = deadline.checked_sub(margin).unwrap_or(deadline);
        let asked = self.request.input_timeout.and_then(|timeout| now.checked_add(timeout));
        asked.map_or(end, |asked| asked.min(end))
    }
}

/// A call that waits for its caller.
pub(super) fn pending(call: ToolCall, expire_time: Option<SystemTime>) -> PendingInput {
    let input_id = call.call_id.clone();
    let wanted = match Kind::of(&call) {
        Kind::Approval => Wanted::Approval(call),
        Kind::ClientTool => Wanted::ClientTool(call),
    };
    PendingInput { input_id, expire_time, wanted }
}
