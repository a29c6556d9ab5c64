//! A model that follows a script: for demonstrations and tests, with no provider.

use futures_util::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use serde_json::{Map, Value};
use tokio::task::yield_now;

use super::{Answer, AnswerPart, AskedCall, Error, Model, Piece, Request, Stop};
use crate::message::{AssistantPart, Message, ToolRef, Usage, UserPart};

mod template;
#[cfg(test)]
mod tests;

/// A script. Each turn of a run takes the next step; the last one repeats. A run that goes on after tool calls of an
/// earlier one, which waited for their caller, goes on in the script, too.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one.
    pub script: Vec<Step>,
}

/// One turn's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The tools that it asks for.
    pub calls: Vec<(ToolRef, Map<String, Value>)>,
    /// Its text; `{{ results.N.text }}` stands for the text of tool result number N since the
    /// user spoke, from 0. Empty: none.
    pub say: String,
}

/// A model that follows a script. Its answers do not fail; words count as tokens.
pub struct Scripted {
    script: Vec<Step>,
}

impl Scripted {
    /// The model; without a step it has nothing to say.
    pub fn new(config: Config) -> Self {
        Self { script: config.script }
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        let last = self.script.len().saturating_sub(1);
        let turn = usize::try_from(request.turn.saturating_sub(1)).unwrap_or(usize::MAX);
        let (exchange, earlier) = exchange(request);
        let Some(step) = self.script.get(turn.saturating_add(earlier).min(last)) else {
            return Answer::default();
        };
        let text = template::render(&step.say, exchange);
        let usage = usage(request, &text);
        let text = Some(text).filter(|text| !text.is_empty()).map(AnswerPart::Text);
        let calls = calls(step, request).map(AnswerPart::Call);
        Answer { parts: text.into_iter().chain(calls).collect(), stop: Stop::End, usage }
    }
}

impl Model for Scripted {
    fn provider(&self) -> &'static str {
        "scripted"
    }

    fn model(&self) -> &str {
        "scripted"
    }

    fn complete<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        future::ready(Ok(self.answer(&request))).boxed()
    }

    fn stream<'a>(&'a self, request: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        let answer = self.answer(&request);
        let text = answer.text();
        let words = text.split_inclusive(char::is_whitespace);
        let mut pieces: Vec<_> = words.map(|word| Ok(Piece::Text(word.to_owned()))).collect();
        pieces.push(Ok(Piece::Done(answer)));
        // One after the other, as a model would say them.
        stream::iter(pieces)
            .then(async |piece| {
                yield_now().await;
                piece
            })
            .boxed()
    }
}

/// The conversation since the user spoke before the run, or with it; and how many steps earlier runs took in it.
fn exchange<'a>(request: &Request<'a>) -> (&'a [Message], usize) {
    let messages = request.messages;
    let history = request.history.min(messages.len());
    let given = &messages[..messages.len().min(history + 1)];
    let begin = given.iter().rposition(|message| matches!(message, Message::User { .. })).unwrap_or(0);
    let earlier = messages[begin..].iter().take(history.saturating_sub(begin));
    let steps = earlier.filter(|message| matches!(message, Message::Assistant { .. })).count();
    (&messages[begin..], steps)
}

fn calls(step: &Step, request: &Request<'_>) -> impl Iterator<Item = AskedCall> {
    step.calls.iter().enumerate().map(|(index, (tool, arguments))| AskedCall {
        call_id: call_id(index, request),
        name: name(tool, request),
        arguments_json: Value::Object(arguments.clone()).to_string(),
    })
}

/// The call's turn and place, and a counter where an earlier run of the conversation has had these.
fn call_id(index: usize, request: &Request<'_>) -> String {
    let id = format!("call_{}_{index}", request.turn);
    if !request.has_call(&id) {
        return id;
    }
    let mut again = (2..).map(|count: u64| format!("{id}_{count}"));
    again.find(|id| !request.has_call(id)).unwrap_or(id)
}

/// The tool's name in this run; one that the run does not have gets the name that it would have.
fn name(tool: &ToolRef, request: &Request<'_>) -> String {
    if let Some(offered) = request.tools.iter().find(|offered| offered.tool == *tool) {
        return offered.name.clone();
    }
    let mut offered = request.tools.iter().peekable();
    let only_server = offered.peek().is_some()
        && offered.all(|other| other.tool.mcp_server == tool.mcp_server && other.name == other.tool.tool);
    if only_server || tool.is_callers() {
        tool.tool.clone()
    } else {
        format!("{}__{}", tool.mcp_server, tool.tool)
    }
}

fn usage(request: &Request<'_>, text: &str) -> Usage {
    let asked: i64 = request.messages.iter().map(message_words).sum();
    let (input, output) = (words(request.instructions) + asked, words(text));
    Usage {
        input_tokens: input,
        output_tokens: output,
        total_tokens: input + output,
        model_requests: 1,
        ..Usage::default()
    }
}

fn message_words(message: &Message) -> i64 {
    match message {
        Message::User { parts } => {
            parts.iter().map(|part| if let UserPart::Text(text) = part { words(text) } else { 0 }).sum()
        }
        Message::Assistant { parts } => {
            parts.iter().map(|part| if let AssistantPart::Text(text) = part { words(text) } else { 0 }).sum()
        }
        Message::Tool { results } => results.iter().map(|result| words(&result.text)).sum(),
    }
}

fn words(text: &str) -> i64 {
    i64::try_from(text.split_whitespace().count()).unwrap_or(i64::MAX)
}
