//! The driver of a run: it does what the state machine says, and all that the run starts ends with it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use tokio::time::sleep_until;
use tracing::Span;

use super::{
    Error, Failure, RunRequest, Standing, audit,
    authorization::{Repeats, Waits},
    handle::Sink,
    machine::{Machine, Next, Step},
    record,
    runner::Parts,
    stop::Stop,
    tools::{self, Naming, ToolTable},
};
use crate::{
    agent::AgentServer,
    event::{FinishReason, MAX_DELTA_BYTES, MAX_RESULT_BYTES, Progress, Report, What},
    id::{ControlToken, RunId},
    mcp::{CallOutcome, Connection, Problem, ToolList},
    message::{ToolCall, ToolCallRecord, ToolCallStatus},
    model::{Answer, Model, Piece, Request},
    trace,
};

/// What a run has to work with.
pub(super) struct Context {
    pub(super) run_id: RunId,
    pub(super) request: RunRequest,
    pub(super) model: Arc<dyn Model>,
    pub(super) sink: Sink,
    pub(super) stop: Arc<Stop>,
    pub(super) runner: Arc<Parts>,
    /// Of a streamed run.
    pub(super) control_token: Option<ControlToken>,
    /// What it waits for.
    pub(super) waits: Waits,
}

/// What a run has come to have.
struct Work {
    machine: Machine,
    tools: ToolTable,
    connections: HashMap<String, Connection>,
    unavailable: Vec<String>,
}

/// Performs a run, from its first event to its end. The current span is the run's.
pub(super) async fn drive(mut context: Context) -> Result<Report, Error> {
    if !context.request.labels.is_empty() {
        Span::current().record("runwright.labels", tracing::field::debug(&context.request.labels));
    }
    let began = Instant::now();
    let mut work = Work::new(&mut context);
    let result = tokio::select! {
        biased;
        cause = context.stop.stopped() => Err(cause),
        failure = overdue(&context) => Err(failure),
        result = work.perform(&context) => result,
    };
    let until = farewell_until(&result, context.request.report_by);
    // What was under way is dropped by now. The servers are told, and sessions deleted, before anybody hears of it.
    future::join_all(work.connections.drain().map(|(_, connection)| connection.close(until))).await;
    let result = work.conclude(&context, result);
    record::end(&context.request, context.run_id, &result, began.elapsed());
    audit::record(&context.request, context.run_id, &context.runner.digest_key);
    result
}

/// Waits until the run's time is over.
async fn overdue(context: &Context) -> Failure {
    sleep_until(context.request.deadline).await;
    context.waits.overdue()
}

/// How long the servers may take to hear the end: not so long that the report comes too late for its reader.
fn farewell_until<T>(
    result: &Result<T, Failure>,
    report_by: Option<tokio::time::Instant>,
) -> tokio::time::Instant {
    const USUAL: Duration = Duration::from_secs(1);
    /// Less than the process allows itself for ending the runs that are left.
    const SHUTTING_DOWN: Duration = Duration::from_millis(400);
    let allowed = if matches!(result, Err(Failure::ShuttingDown)) { SHUTTING_DOWN } else { USUAL };
    let until = tokio::time::Instant::now() + allowed;
    report_by.map_or(until, |report_by| report_by.min(until))
}

impl Work {
    fn new(context: &mut Context) -> Self {
        let request = &mut context.request;
        let history = std::mem::take(&mut request.history);
        Self {
            machine: Machine::new(history, request.input.take(), request.max_turns),
            tools: ToolTable::default(),
            connections: connect(context),
            unavailable: Vec::new(),
        }
    }

    async fn perform(&mut self, context: &Context) -> Result<FinishReason, Failure> {
        if let Some(control_token) = context.control_token.clone() {
            let started = || What::Started {
                request_id: context.request.correlation.request_id.clone(),
                control_token,
                instance: context.runner.instance.clone(),
            };
            context.sink.emit(0, started).await?;
        }
        self.open(context).await?;
        let mut next = self.machine.step(Step::Opened);
        loop {
            next = match next {
                Next::Ask => self.ask(context).await?,
                Next::Call(calls) => self.call(context, calls).await?,
                // All calls of a turn are waited for in `call`.
                Next::Wait => {
                    return Err(Failure::incident(
                        "a run waits for nothing",
                        &context.request.correlation.request_id,
                    ));
                }
                Next::Finish(reason) => return Ok(reason),
            }
        }
    }

    /// Opens the agent's servers, all at once, and lists their tools.
    async fn open(&mut self, context: &Context) -> Result<(), Failure> {
        let agent = &context.request.agent;
        let naming = Naming { single_server: agent.mcp_servers.len() == 1 };
        let listings = agent.mcp_servers.iter().filter_map(|server| {
            let connection = self.connections.get(&server.name)?;
            Some(async move { Ok((server, list(context, server, connection).await?)) })
        });
        for (server, listed) in future::try_join_all(listings).await? {
            match listed {
                Ok(list) => self.tools.add(server, &list, naming, context.request.allowed_tools.as_ref()),
                Err(reason) => {
                    let mcp_server = server.name.clone();
                    self.unavailable.push(mcp_server.clone());
                    context.sink.emit(0, || What::McpServerUnavailable { mcp_server, reason }).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks the model for the next turn.
    async fn ask(&mut self, context: &Context) -> Result<Next, Failure> {
        let turn = self.machine.turn();
        context.sink.emit(turn, || What::TurnStarted).await?;
        let model = &*context.model;
        let span = trace::chat(model.model(), model.provider(), &context.request.correlation);
        let answer = self.answer(context, turn, &span).await;
        let answer = answer.inspect_err(|failure| {
            span.record("error.type", failure.reason());
        })?;
        let usage = answer.usage;
        span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        span.record("gen_ai.usage.output_tokens", usage.output_tokens);
        context.sink.emit(turn, || What::TurnCompleted(usage)).await?;
        let calls = answer.calls.into_iter().map(|asked| self.tools.resolve(asked)).collect();
        Ok(self.machine.step(Step::Answered { text: answer.text, calls, stop: answer.stop, usage }))
    }

    async fn answer(&self, context: &Context, turn: u32, span: &Span) -> Result<Answer, Failure> {
        let outgoing = context.request.correlation.outgoing(span);
        let request = Request {
            instructions: &context.request.agent.instructions,
            messages: self.machine.messages(),
            history: self.machine.history(),
            turn,
            tools: self.tools.specs(),
            outgoing: &outgoing,
        };
        let failure = |error| Failure::Model { model: context.request.agent.model.clone(), error };
        if !context.sink.is_stream() {
            return context.model.complete(request).await.map_err(failure);
        }
        let mut pieces = context.model.stream(request);
        while let Some(piece) = pieces.next().await {
            match piece.map_err(failure)? {
                Piece::Text(text) => tell(&context.sink, turn, text).await?,
                Piece::Done(answer) => return Ok(answer),
            }
        }
        Err(failure(crate::model::Error::Unavailable("the answer was cut".to_owned())))
    }

    /// Makes a turn's calls, all at once.
    async fn call(&mut self, context: &Context, calls: Vec<ToolCall>) -> Result<Next, Failure> {
        let turn = self.machine.turn();
        let mut under_way = FuturesUnordered::new();
        for (at, call) in calls.into_iter().enumerate() {
            let record = ToolCallRecord { call, ended: None };
            context.sink.emit(turn, || What::ToolCallStarted(record.clone().into())).await?;
            under_way.push(execute(context, &self.connections, turn, at, record.call));
        }
        let mut next = Next::Wait;
        while let Some(ended) = under_way.next().await {
            let Ended { at, call, outcome, duration } = ended?;
            let CallOutcome { status, text, .. } = outcome;
            let completed = || completed(call, status, duration, &text);
            context.sink.emit(turn, completed).await?;
            next = self.machine.step(Step::Called { at, status, text, duration });
        }
        Ok(next)
    }

    fn conclude(self, context: &Context, result: Result<FinishReason, Failure>) -> Result<Report, Error> {
        let request = &context.request;
        let progress = Progress {
            usage: self.machine.usage(),
            turns: self.machine.turns(),
            tool_calls: self.machine.calls().to_vec(),
            applied_headers: request.headers.sent_last(&context.runner.digest_key),
        };
        let request_id = request.correlation.request_id.clone();
        match result {
            Ok(finish_reason) => {
                let (final_output, new_messages) = self.machine.into_result();
                Ok(Report {
                    run_id: context.run_id,
                    request_id,
                    agent: request.agent.name.clone(),
                    final_output,
                    finish_reason,
                    progress,
                    new_messages,
                    unavailable_mcp_servers: self.unavailable,
                })
            }
            Err(failure) => {
                let standing = Standing::Admitted { run_id: context.run_id, progress: Box::new(progress) };
                Err(Error { request_id, failure, standing })
            }
        }
    }
}

/// A call that has ended.
struct Ended {
    at: usize,
    call: ToolCall,
    outcome: CallOutcome,
    duration: Duration,
}

/// Connects to the agent's servers; nothing is sent yet.
fn connect(context: &Context) -> HashMap<String, Connection> {
    let request = &context.request;
    let outgoing = request.correlation.outgoing(&Span::current());
    let connections = request.headers.by_server().iter().filter_map(|(name, headers)| {
        let (correlation, outgoing) = (request.correlation.clone(), outgoing.clone());
        let connection = context.runner.servers.connect(name, headers.clone(), correlation, outgoing)?;
        Some((name.clone(), connection))
    });
    connections.collect()
}

/// A server's tools. An optional server that has none to give says why; but a refused credential is always a failure.
async fn list(
    context: &Context,
    server: &AgentServer,
    connection: &Connection,
) -> Result<Result<Arc<ToolList>, String>, Failure> {
    let mut repeats = Repeats::default();
    let listed = loop {
        let listed = connection.tools().await;
        if !repeats.again(context, connection, 0, listed.as_ref().err()).await? {
            break listed;
        }
    };
    match listed {
        Ok(list) => Ok(Ok(list)),
        Err(error) if !server.required && !matches!(error.problem, Problem::Unauthorized(..)) => {
            Ok(Err(error.problem.to_string()))
        }
        Err(error) => Err(Failure::Mcp(Box::new(error))),
    }
}

async fn execute(
    context: &Context,
    connections: &HashMap<String, Connection>,
    turn: u32,
    at: usize,
    call: ToolCall,
) -> Result<Ended, Failure> {
    let began = Instant::now();
    let span = trace::execute_tool(&call.name, &call.call_id, &context.request.correlation);
    let outcome = call_tool(context, connections, turn, &call, &span).await?;
    if outcome.status != ToolCallStatus::Ok {
        span.record("error.type", "tool_error");
    }
    Ok(Ended { at, call, outcome, duration: began.elapsed() })
}

/// Calls a tool; one that the run does not have, or arguments that are none, never reach a server.
async fn call_tool(
    context: &Context,
    connections: &HashMap<String, Connection>,
    turn: u32,
    call: &ToolCall,
    span: &Span,
) -> Result<CallOutcome, Failure> {
    let connection = call.tool.as_ref().and_then(|tool| Some((tool, connections.get(&tool.mcp_server)?)));
    let Some((tool, connection)) = connection else {
        return Ok(CallOutcome::refused(format!("There is no tool `{}`.", call.name)));
    };
    let Some(arguments) = tools::arguments(&call.arguments_json) else {
        return Ok(CallOutcome::refused("The arguments are no JSON object.".to_owned()));
    };
    let mut repeats = Repeats::default();
    loop {
        let called = connection.call(&tool.tool, &arguments, span).await;
        let refusal = called.as_ref().map_or_else(Some, |outcome| outcome.refusal.as_deref());
        if !repeats.again(context, connection, turn, refusal).await? {
            return called.map_err(|error| Failure::Mcp(Box::new(error)));
        }
    }
}

/// Passes on a piece of the model's text, which a server that does not stream gives all at once.
async fn tell(sink: &Sink, turn: u32, text: String) -> Result<(), Failure> {
    if text.len() <= MAX_DELTA_BYTES {
        return sink.emit(turn, || What::TextDelta(text)).await;
    }
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(MAX_DELTA_BYTES));
        sink.emit(turn, || What::TextDelta(part.to_owned())).await?;
        rest = after;
    }
    Ok(())
}

fn completed(call: ToolCall, status: ToolCallStatus, duration: Duration, text: &str) -> What {
    let truncated = text.len() > MAX_RESULT_BYTES;
    let kept = text.floor_char_boundary(MAX_RESULT_BYTES);
    What::ToolCallCompleted {
        call: Box::new(ToolCallRecord { call, ended: Some((status, duration)) }),
        result_text: text[..kept].to_owned(),
        truncated,
    }
}
