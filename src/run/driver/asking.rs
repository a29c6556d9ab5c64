//! Asking the model of a run for its next turn.

use futures_util::StreamExt;

use super::{Context, Work};
use crate::{
    event::{MAX_DELTA_BYTES, What},
    message::AssistantPart,
    metrics::ModelRequest,
    model::{self, Answer, AnswerPart, Endpoint, Outage, Piece, Request},
    run::{
        Failure,
        content::Content,
        handle::Sink,
        machine::{Next, Step},
        record::{self, Stage},
    },
    trace::{self, Span},
};

impl Work {
    /// Whether the model has asked for nothing yet: a run that goes on with open calls had its first turn before.
    fn is_first_turn(&self) -> bool {
        self.machine.turn() == 1 && self.machine.calls().is_empty()
    }

    /// Asks the model for the next turn.
    pub(super) async fn ask(&mut self, context: &Context) -> Result<Next, Failure> {
        let turn = self.machine.turn();
        context.sink.emit(turn, || What::TurnStarted).await?;
        let span = trace::chat(&chat(context, turn), &context.request.correlation);
        let content = Content::of(context, &span);
        if let Some(content) = &content {
            content.asked(&span, &context.request.instructions, self.machine.messages());
        }
        self.times.begin(Stage::Asking);
        let asked = context.meter.model_request(context.model.provider(), context.model.model());
        let answer = match self.answer(context, turn, &span, &asked).await {
            Ok(answer) => answer,
            Err(failure) => {
                // Where it is not the model that failed, its request was broken off.
                if let Failure::Model { error, .. } = &failure {
                    asked.failed(failure.reason());
                    record::model_failed(span, failure.reason(), error);
                }
                return Err(failure);
            }
        };
        asked.answered(record::tokens(&answer.usage));
        self.times.end_stage();
        self.spent.add(answer.usage);
        let (usage, finish_reason) = (self.spent.so_far(), record::finish_reason(&answer));
        trace::chat_answered(&span, finish_reason, &usage);
        context.sink.emit(turn, || What::TurnCompleted(usage)).await?;
        let text = answer.conclusion();
        let part = |part| match part {
            AnswerPart::Text(text) | AnswerPart::Aside(text) => AssistantPart::Text(text),
            AnswerPart::Call(asked) => AssistantPart::Call(self.tools.resolve(asked)),
            AnswerPart::State(state) => AssistantPart::State(state),
        };
        let parts: Vec<_> = answer.parts.into_iter().map(part).collect();
        if let Some(content) = &content {
            content.answered(&span, &parts, finish_reason);
        }
        span.end();
        Ok(self.machine.step(Step::Answered { parts, text, stop: answer.stop, usage: self.spent.take() }))
    }

    async fn answer(
        &self,
        context: &Context,
        turn: u32,
        span: &Span,
        asked: &ModelRequest,
    ) -> Result<Answer, Failure> {
        let outgoing = context.request.correlation.outgoing(span);
        let request = Request {
            instructions: &context.request.instructions,
            messages: self.machine.messages(),
            history: self.machine.history(),
            turn,
            tools: self.tools.specs(),
            tool_choice: context.request.tool_choice.in_turn(self.is_first_turn(), &self.tools),
            settings: &context.request.settings,
            headers: &context.request.model_headers.send(&context.request.model),
            outgoing: &outgoing,
            deadline: context.request.deadline,
            spent: &self.spent,
        };
        let failure = |error| Failure::Model { model: context.request.model.clone(), error };
        if !context.sink.is_stream() {
            return context.model.complete(request).await.map_err(failure);
        }
        let mut pieces = context.model.stream(request);
        let mut silent = true;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failure)?;
            if !matches!(piece, Piece::Done(_)) && std::mem::take(&mut silent) {
                asked.first_chunk();
            }
            match piece {
                Piece::Text(text) => tell(&context.sink, turn, text, What::TextDelta).await?,
                Piece::Reasoning(text) => tell(&context.sink, turn, text, What::ReasoningDelta).await?,
                Piece::Done(answer) => return Ok(answer),
            }
        }
        Err(failure(model::Error::Unavailable(Outage::lasting("the answer was cut"))))
    }
}

/// What is asked in a turn, for its span.
fn chat(context: &Context, turn: u32) -> trace::Chat<'_> {
    let model = &*context.model;
    trace::Chat {
        model: model.model(),
        provider: model.provider(),
        server: model.endpoint().map(Endpoint::uri),
        turn,
        streamed: context.sink.is_stream(),
        settings: &context.request.settings,
    }
}

/// Passes on a piece of what the model says, which a server that does not stream gives all at once.
async fn tell(sink: &Sink, turn: u32, text: String, what: fn(String) -> What) -> Result<(), Failure> {
    if text.len() <= MAX_DELTA_BYTES {
        return sink.emit(turn, || what(text)).await;
    }
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(MAX_DELTA_BYTES));
        sink.emit(turn, || what(part.to_owned())).await?;
        rest = after;
    }
    Ok(())
}
