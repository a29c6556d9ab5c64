//! What is said in a run, as its spans have it where its agent is configured so.
//!
//! The model is sent the caller's words as they are. On a span they are without the run's secrets, like all the rest.

use super::driver::Context;
use crate::{
    mcp::RunHeaders,
    message::{AssistantPart, Message},
    model::Endpoint,
    scrub::Scrubber,
    trace::{Span, content, names},
};

/// What takes a run's secrets out of what goes on its spans.
pub(super) struct Content<'a> {
    /// Of what it is to send now to servers, and of all that it sends and has sent to its model.
    planned: Vec<Scrubber>,
    /// Of what it has sent to any server.
    sent: Option<&'a RunHeaders>,
}

impl<'a> Content<'a> {
    /// What is needed for a span. `None`: it is not to hold any content.
    pub(super) fn of(context: &'a Context, span: &Span) -> Option<Self> {
        let request = &context.request;
        if !request.agent.trace_content || !span.is_kept() {
            return None;
        }
        let servers = request.headers.by_server().values();
        // Those too that were replaced: what the run has said before stands on later spans again.
        let sent = request.model_headers.sent().into_iter().map(|(_, set)| set);
        let of_model = sent.chain([request.model_headers.of(&request.model)]);
        let of_model =
            of_model.map(|set| Scrubber::new(set.headers().iter().map(|header| header.value.as_bytes())));
        let registered = context.model.endpoint().map(Endpoint::scrubber);
        let of_servers = servers.map(|headers| headers.planned_scrubber());
        let planned = of_servers.chain(of_model).chain(registered);
        let sent = request.headers.by_server().values().next();
        Some(Self { planned: planned.collect(), sent: sent.map(|headers| &**headers) })
    }

    /// What the model is asked.
    pub(super) fn asked(&self, span: &Span, instructions: &str, messages: &[Message]) {
        if !instructions.is_empty() {
            let told = content::instructions(instructions, &|text| self.scrub(text));
            span.record(names::GEN_AI_SYSTEM_INSTRUCTIONS, told);
        }
        let told = content::conversation(messages, &|text| self.scrub(text));
        span.record(names::GEN_AI_INPUT_MESSAGES, told);
    }

    /// What the model answers.
    pub(super) fn answered(&self, span: &Span, parts: &[AssistantPart], finish_reason: &str) {
        let told = content::answer(parts, finish_reason, &|text| self.scrub(text));
        span.record(names::GEN_AI_OUTPUT_MESSAGES, told);
    }

    /// A tool's arguments or its result.
    pub(super) fn text(&self, span: &Span, name: &'static str, text: &str) {
        span.record(name, content::text(text, &|text| self.scrub(text)));
    }

    fn scrub(&self, text: &str) -> String {
        let text =
            self.planned.iter().fold(text.to_owned(), |text, scrubber| scrubber.scrub(&text).into_owned());
        match self.sent {
            Some(sent) => sent.scrub(text),
            None => text,
        }
    }
}
