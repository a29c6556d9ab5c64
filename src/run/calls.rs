//! A run's tool calls: what becomes of one, from what the model asked for to what it is shown.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    slice,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant as TokioInstant, sleep_until},
};

use super::{
    Answer, Failure, ToolChoice, arguments, authorization::Repeats, content::Content, driver::Context,
    tools::ToolTable,
};
use crate::{
    event::{MAX_RESULT_BYTES, ToolProgress, What},
    mcp::{CallOutcome, Connection},
    message::{ToolCall, ToolCallRecord, ToolCallStatus, ToolRef},
    schema::Schema,
    tool::Arguments,
    trace::{self, OpenSpan, Span, names},
};

/// The least time between two events of a call's progress: of what comes faster, the newest is passed on.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The most bytes of arguments that a caller is asked about: it must see all of what it approves, or runs.
const MAX_SHOWN_BYTES: usize = 512 * 1024;
/// The same of all calls of a turn: they stand twice in an answer.
const MAX_SHOWN_IN_TURN_BYTES: usize = 1024 * 1024;

/// What the span of a call is named after whose tool is none of the run's.
const UNKNOWN_TOOL: &str = "unknown";
/// What `error.type` says of a tool that gave an error.
const TOOL_ERROR: &str = "tool_error";

/// A call that nobody has to wait for any more.
pub(super) struct Ended {
    /// Its place among the turn's calls.
    pub(super) at: usize,
    /// What it came to, and after how long; `None`: it waits for its caller, and the run does not.
    pub(super) outcome: Option<(CallOutcome, Duration)>,
    /// The tool, if it was called and failed.
    pub(super) failed: Option<ToolRef>,
}

impl Ended {
    fn awaiting(at: usize) -> Self {
        Self { at, outcome: None, failed: None }
    }
}

/// Who runs a tool.
enum Way<'a> {
    /// Nobody: the model is told why.
    None(String),
    /// The caller.
    Caller,
    /// An MCP server.
    Server { connection: &'a Connection, tool: &'a str, arguments: Arguments, needs_approval: bool },
}

/// What an MCP server is asked.
#[derive(Clone, Copy)]
struct Request<'a> {
    /// The call's place among all of the run's.
    place: usize,
    call_id: &'a str,
    tool: &'a str,
    arguments: &'a Arguments,
}

/// What calls are made with.
#[derive(Clone, Copy)]
pub(super) struct Calling<'a> {
    pub(super) context: &'a Context,
    pub(super) tools: &'a ToolTable,
    pub(super) connections: &'a HashMap<String, Box<Connection>>,
    pub(super) turn: u32,
    /// How many calls the run had before those of this turn.
    pub(super) first: usize,
    /// How many bytes of arguments the caller is to see in this turn.
    pub(super) shown: usize,
}

impl<'a> Calling<'a> {
    /// Makes a call, and tells the run's reader of it. The one at this place among the turn's calls.
    pub(super) async fn execute(self, at: usize, call: ToolCall) -> Result<Ended, Failure> {
        // A name that is no tool's is the model's own words.
        let name = if call.tool.is_some() { &call.name } else { UNKNOWN_TOOL };
        let span = trace::execute_tool(name, &call.call_id, &self.context.request.correlation);
        let content = Content::of(self.context, &span);
        if let Some(content) = &content {
            content.text(&span, names::GEN_AI_TOOL_CALL_ARGUMENTS, &call.arguments_json);
        }
        // To hold arguments against a schema may take long; the run's own end and other runs come between. As many times as
        // there are calls before it, so that a turn's calls begin in their order: of several that yield, tokio wakes the last
        // first.
        for _ in 0..at {
            yield_now().await;
        }
        let mut began = Instant::now();
        let (mut asked, mut below) = (None, false);
        let place = self.first + at;
        let outcome = match self.way(&call, self.schema(&call).await) {
            Way::None(why) => {
                self.started(&call).await?;
                self.note_refused(&call);
                CallOutcome::refused(why)
            }
            Way::Caller => match self.ask_caller(&call, place).await? {
                Some(outcome) => {
                    asked.clone_from(&call.tool);
                    self.context.meter.caller_tool(outcome.status.as_str());
                    outcome
                }
                None => return Ok(awaiting(at, span)),
            },
            Way::Server { connection, tool, arguments, needs_approval } => {
                // A denial holds, too, where nobody would have asked any more.
                let asks = needs_approval || self.context.request.answers.contains_key(&call.call_id);
                let word = if asks { self.approval(&call, place).await? } else { Some(Ok(())) };
                let Some(word) = word else { return Ok(awaiting(at, span)) };
                // How long the caller took is not the tool's time.
                began = Instant::now();
                self.started(&call).await?;
                match word {
                    Ok(()) => {
                        asked.clone_from(&call.tool);
                        let request = Request { place, call_id: &call.call_id, tool, arguments: &arguments };
                        let metered = self.context.meter.tool_call(connection.mcp_server(), tool);
                        let called = self.call_server(connection, request, &span).await;
                        metered.end(called.as_ref().map_or("error", |outcome| outcome.status.as_str()));
                        match called {
                            Ok(outcome) => {
                                below = true;
                                outcome
                            }
                            Err(failure) => return Err(failed(span, failure)),
                        }
                    }
                    Err(why) => {
                        self.note_refused(&call);
                        CallOutcome::refused(why)
                    }
                }
            }
        };
        if let Some(content) = &content {
            content.text(&span, names::GEN_AI_TOOL_CALL_RESULT, &outcome.text);
        }
        match outcome.status {
            ToolCallStatus::Ok => span.end(),
            _ if below => span.end_failed_by_child(TOOL_ERROR),
            _ => span.end_failed(TOOL_ERROR),
        }
        let duration = began.elapsed();
        let max_bytes = self.context.request.bounds.max_tool_result_bytes.min(MAX_RESULT_BYTES);
        let completed = || completed(call, &outcome, duration, max_bytes);
        self.context.sink.emit(self.turn, completed).await?;
        let failed = asked.filter(|_| outcome.status != ToolCallStatus::Ok);
        Ok(Ended { at, outcome: Some((outcome, duration)), failed })
    }

    /// What the arguments of a call are to fit, compiled, if the run has its tool.
    async fn schema(self, call: &ToolCall) -> Option<Schema> {
        let (spec, _) = self.tools.find(call)?;
        let schemas = &self.context.runner.schemas;
        let schema = spec.compiled.clone().unwrap_or_else(|| schemas.of(&spec.input_schema));
        schemas.compile(slice::from_ref(&schema)).await;
        schemas.tell_unchecked(&spec.tool, &schema);
        Some(schema)
    }

    /// Counts a call that reaches nobody. The name of a caller's own tool is the caller's.
    fn note_refused(self, call: &ToolCall) {
        let tool = call.tool.as_ref().filter(|tool| !tool.is_callers());
        self.context.meter.refused_call(tool.map(|tool| (tool.mcp_server.as_str(), tool.tool.as_str())));
    }

    /// What is to be done with a call. A tool that the run does not offer, or arguments that do not fit, reach nobody.
    fn way(self, call: &ToolCall, schema: Option<Schema>) -> Way<'a> {
        if let Some(answer @ Answer::Denied(_)) = self.context.request.answers.get(&call.call_id)
            && let Some(why) = denial(answer)
        {
            return Way::None(why);
        }
        let Some(((spec, needs_approval), schema)) = self.tools.find(call).zip(schema) else {
            return Way::None(format!("There is no tool `{}`.", call.name));
        };
        if spec.tool.is_callers() && self.context.request.answers.contains_key(&call.call_id) {
            // The caller has run it, whatever its schema says by now.
            return Way::Caller;
        }
        let arguments = match arguments::read(&call.arguments_json) {
            Ok(arguments) => arguments,
            Err(why) => return Way::None(why.to_owned()),
        };
        if self.context.request.tool_choice == ToolChoice::None && self.turn > 0 {
            return Way::None("No tool may be called in this run.".to_owned());
        }
        let problems = arguments::problems(&schema, &arguments.value);
        if !problems.is_empty() {
            return Way::None(format!("The arguments do not fit the tool's schema: {}", problems.join("; ")));
        }
        let is_shown = needs_approval || spec.tool.is_callers();
        if is_shown && call.arguments_json.len() > MAX_SHOWN_BYTES {
            return Way::None(
                "The arguments are too large to be shown to the caller; there are at most 512 KiB."
                    .to_owned(),
            );
        }
        if is_shown && self.shown > MAX_SHOWN_IN_TURN_BYTES {
            return Way::None(
                "The arguments of all calls are too large to be shown to the caller; there are at most 1 MiB at once."
                    .to_owned(),
            );
        }
        if spec.tool.is_callers() {
            return Way::Caller;
        }
        match self.connections.get(&spec.tool.mcp_server) {
            Some(connection) => Way::Server { connection, tool: &spec.tool.tool, arguments, needs_approval },
            None => Way::None(format!("There is no tool `{}`.", call.name)),
        }
    }

    /// Waits for the caller's word. `None`: there is none in time; else that the tool may be called, or why it may not.
    async fn approval(self, call: &ToolCall, place: usize) -> Result<Option<Result<(), String>>, Failure> {
        let answer = self.context.answer_to(call, place, self.turn).await?;
        Ok(answer.map(|answer| denial(&answer).map_or(Ok(()), Err)))
    }

    /// Has the caller run a tool of its own.
    async fn ask_caller(self, call: &ToolCall, place: usize) -> Result<Option<CallOutcome>, Failure> {
        let answer = self.context.answer_to(call, place, self.turn).await?;
        let Some(Answer::Output { text, images, is_error }) = answer else { return Ok(None) };
        self.started(call).await?;
        Ok(Some(CallOutcome::given(text, images, is_error)))
    }

    async fn call_server(
        self,
        connection: &Connection,
        request: Request<'_>,
        span: &Span,
    ) -> Result<CallOutcome, Failure> {
        let Request { place, call_id, tool, arguments } = request;
        let begun = &self.context.begun;
        let sends = || begun.note(place);
        let mut was_sent = false;
        let listens = self.context.sink.is_stream();
        let (tell, mut told) = listens.then(|| watch::channel(ToolProgress::default())).unzip();
        let mut repeats = Repeats::default();
        loop {
            // Given pinned, so that what waits for it does not hold it twice.
            let called = pin!(connection.call(tool, arguments, span, tell.as_ref(), &sends));
            let called = self.with_progress(called, &mut told, call_id).await?;
            was_sent |= called.as_ref().is_ok_and(CallOutcome::may_have_arrived);
            if !was_sent && called.is_ok() {
                begun.take_back(place);
            }
            let refusal = called.as_ref().map_or_else(Some, |outcome| outcome.refusal.as_deref());
            if refusal.is_some() {
                begun.note_refused(place);
            }
            if repeats.again(self.context, connection, self.turn, refusal).await? {
                continue;
            }
            return called.map_err(|error| Failure::Mcp(Box::new(error)));
        }
    }

    /// Waits for a call, and passes on its progress meanwhile.
    async fn with_progress<T>(
        self,
        mut call: Pin<&mut impl Future<Output = T>>,
        told: &mut Option<watch::Receiver<ToolProgress>>,
        call_id: &str,
    ) -> Result<T, Failure> {
        let Some(told) = told else { return Ok(call.await) };
        let mut not_before = TokioInstant::now();
        loop {
            let news = async {
                told.changed().await.ok()?;
                sleep_until(not_before).await;
                Some(told.borrow_and_update().clone())
            };
            tokio::select! {
                biased;
                ended = &mut call => return Ok(ended),
                Some(progress) = news => {
                    let (call_id, progress) = (call_id.to_owned(), progress.into());
                    self.context.sink.emit(self.turn, || What::ToolCallProgress { call_id, progress }).await?;
                    not_before = TokioInstant::now() + PROGRESS_EVERY;
                }
            }
        }
    }

    async fn started(self, call: &ToolCall) -> Result<(), Failure> {
        let started = || What::ToolCallStarted(ToolCallRecord { call: call.clone(), ended: None }.into());
        self.context.sink.emit(self.turn, started).await
    }
}

/// What the model is told of a call that its caller does not approve.
fn denial(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Approved => None,
        Answer::Denied(reason) if !reason.is_empty() => Some(format!("The call was not approved: {reason}")),
        Answer::Denied(_) | Answer::Output { .. } => Some("The call was not approved.".to_owned()),
    }
}

/// A call that waits for its caller, and the run does not: that is no failure.
fn awaiting(at: usize, span: OpenSpan) -> Ended {
    span.record(names::AWAITS_INPUT, true);
    span.end();
    Ended::awaiting(at)
}

/// A call that ends its run. The request's own span says why, unless the run came to another end.
fn failed(span: OpenSpan, failure: Failure) -> Failure {
    if let Failure::Mcp(_) = failure {
        span.end_failed_by_child(failure.reason());
    }
    failure
}

/// What a stream is told of a call's end; of the result no more than the model is shown.
fn completed(call: ToolCall, outcome: &CallOutcome, duration: Duration, max_bytes: usize) -> What {
    let kept = outcome.text.floor_char_boundary(max_bytes);
    What::ToolCallCompleted {
        call: ToolCallRecord { call, ended: Some((outcome.status, duration)) }.into(),
        result_text: outcome.text[..kept].to_owned(),
        truncated: kept < outcome.text.len(),
    }
}
