//! What a caller has heard of its run, held against what only that run may say.

use runwright::grpc::proto::{RunEvent, RunResponse, ToolCallStatus, part::Part, run_event::Event};

use crate::{Outcome, upstream};

/// What was heard of a run.
pub struct Heard {
    caller: String,
    speech: String,
    /// Bytes of the speech.
    bytes: usize,
    sequence: i32,
    pub run_id: String,
    pub control_token: String,
    pub completed: bool,
}

impl Heard {
    /// Nothing yet of a caller's run.
    pub fn nothing(caller: String) -> Self {
        let speech = upstream::speech(&caller);
        let (run_id, control_token) = (String::new(), String::new());
        Self { caller, speech, bytes: 0, sequence: 0, run_id, control_token, completed: false }
    }

    /// How many pieces of the answer were heard.
    pub fn pieces(&self) -> usize {
        self.bytes * upstream::PIECES / self.speech.len()
    }

    /// Takes an event, which must be the run's own and the next one.
    pub fn take(&mut self, event: RunEvent) -> Outcome<()> {
        if self.run_id.is_empty() {
            self.run_id.clone_from(&event.run_id);
        }
        self.sequence += 1;
        if event.run_id != self.run_id || event.sequence != self.sequence {
            return Err(self.wrong("an event is another run's, or out of order"));
        }
        let right = match event.event {
            Some(Event::RunStarted(started)) => {
                self.control_token = started.control_token;
                true
            }
            Some(Event::TextDelta(delta)) => {
                let is_next = self.speech[self.bytes..].starts_with(&delta.text);
                self.bytes += delta.text.len();
                is_next
            }
            Some(Event::ToolCallCompleted(call)) => call.result_text == self.caller,
            Some(Event::RunCompleted(response)) => {
                self.completed = true;
                self.is_right(&response)
            }
            _ => true,
        };
        if right { Ok(()) } else { Err(self.wrong("an event says what this run does not")) }
    }

    /// Something that must not be.
    pub fn wrong(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("the run {} of caller {}: {what}", self.run_id, self.caller).into()
    }

    fn is_right(&self, response: &RunResponse) -> bool {
        let parts = response.new_messages.iter().flat_map(|message| &message.parts);
        let mut results = parts.filter_map(|part| match &part.part {
            Some(Part::ToolResult(result)) => Some(&result.text),
            _ => None,
        });
        response.run_id == self.run_id
            && self.bytes == self.speech.len()
            && response.final_output == self.speech
            && results.next() == Some(&self.caller)
            && results.next().is_none()
            && response.tool_calls.iter().all(|call| call.status() == ToolCallStatus::Ok)
    }
}
