//! The driver of a run: it does what the state machine says, and all that the run starts ends with it.

use std::{
    collections::HashMap,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future, stream::FuturesUnordered};
use tokio::{task::unconstrained, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Failure, Mode, Parts, RunRequest, Standing, audit,
    authorization::{Repeats, Waits},
    begun::Begun,
    calls::{Calling, Ended},
    content::Content,
    handle::Sink,
    inputs::{Inputs, pending},
    machine::{Beginning, Conclusion, Machine, Next, Step},
    record::{self, Stage, Times},
    stop::Stop,
    tools::{Naming, ToolTable},
    unlisted,
};
use crate::{
    agent::{AgentServer, OnToolError},
    event::{FinishReason, MAX_DELTA_BYTES, Progress, Report, What},
    id::{ControlToken, RunId},
    mcp::{self, CallOutcome, Connection, Problem, ToolList},
    message::{AssistantPart, ToolCall, ToolCallRecord},
    metrics::{self, ModelRequest},
    model::{self, Answer, AnswerPart, Endpoint, Model, Outage, Piece, Request, Spent},
    trace::{self, Span},
};

/// What a run has to work with.
pub(super) struct Context {
    pub(super) run_id: RunId,
    /// What the run is measured with.
    pub(super) meter: metrics::Run,
    pub(super) request: RunRequest,
    pub(super) model: Arc<dyn Model>,
    pub(super) sink: Sink,
    pub(super) stop: Arc<Stop>,
    pub(super) runner: Arc<Parts>,
    /// Of a streamed run.
    pub(super) control_token: Option<ControlToken>,
    /// The refusals that it waits about.
    pub(super) waits: Waits,
    /// The calls that wait for its caller.
    pub(super) inputs: Arc<Inputs>,
    /// The calls that have begun.
    pub(super) begun: Begun,
    /// Cancelled when this process is to end, and waits for its runs.
    pub(super) closing: CancellationToken,
}

impl Context {
    /// Whether the run says what happens in it.
    pub(super) fn mode(&self) -> Mode {
        if self.sink.is_stream() { Mode::Streamed } else { Mode::Unary }
    }
}

/// What a run has come to have.
struct Work {
    machine: Machine,
    tools: ToolTable,
    /// What was consumed for the turn that is not over.
    spent: Spent,
    connections: HashMap<String, Box<Connection>>,
    /// Why optional servers can't be used.
    unavailable: Vec<mcp::Error>,
    times: Times,
}

/// Performs a run, from its first event to its end. Its context is boxed, since it would stand in each future that it goes
/// through, and a run may be open for long.
pub(super) async fn drive(mut context: Box<Context>) -> Result<Report, Error> {
    trace::label(&context.request.correlation.span, &context.request.labels);
    let began = Instant::now();
    let mut work = Work::new(&mut context);
    let result = {
        let mut performed = pin!(work.perform(&context));
        tokio::select! {
            biased;
            cause = context.stop.stopped() => Err(cause),
            failure = overdue(&context) => last_word(&context, performed).unwrap_or(Err(failure)),
            result = &mut performed => result,
        }
    };
    let until = farewell_until(&result, context.request.report_by);
    // What was under way is dropped by now. The servers are told, and sessions deleted, before anybody hears of it.
    future::join_all(work.connections.drain().map(|(_, connection)| connection.close(until))).await;
    let times = work.times.ended(began.elapsed());
    let unavailable: Vec<_> = work.unavailable.iter().map(|error| error.mcp_server.clone()).collect();
    let result = work.conclude(&context, result);
    record::end(&context, &result, times, &unavailable);
    audit::record(&context.request, context.run_id, &context.runner.digest_key);
    result
}

/// Waits until the run's time is over.
async fn overdue(context: &Context) -> Failure {
    sleep_until(context.request.deadline).await;
    context.waits.overdue()
}

/// What a run comes to whose time is over, but whose waits for its caller had ended before: a busy process may get to both at
/// once.
fn last_word<T>(context: &Context, performed: impl Future<Output = T>) -> Option<T> {
    // Else the run would be given more than its time.
    let waits = context.inputs.are_waited_for();
    waits.then(|| unconstrained(performed).now_or_never()).flatten()
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
        let beginning = Beginning {
            history: std::mem::take(&mut request.history),
            open: std::mem::take(&mut request.open),
            input: request.input.take(),
            bounds: request.bounds,
            output: request.output.take(),
        };
        Self {
            machine: Machine::new(beginning),
            tools: ToolTable::default(),
            spent: Spent::default(),
            connections: connect(context),
            unavailable: Vec::new(),
            times: Times::default(),
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
        self.times.begin(Stage::Opening);
        self.open(context).await?;
        self.times.end_stage();
        let mut next = self.machine.step(Step::Opened);
        loop {
            self.tell_refused(context).await?;
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
                Next::Invalid(misfits) => return Err(Failure::OutputInvalid { misfits }),
            }
        }
    }

    /// Opens the agent's servers, all at once, and lists their tools.
    async fn open(&mut self, context: &Context) -> Result<(), Failure> {
        let agent = &context.request.agent;
        let naming = Naming::of(agent, !context.request.client_tools.is_empty());
        let listings = agent.mcp_servers.iter().filter_map(|server| {
            let connection = self.connections.get(&server.name)?;
            Some(async move { Ok((server, list(context, server, connection).await?)) })
        });
        for (server, listed) in future::try_join_all(listings).await? {
            match listed {
                Ok(list) => {
                    unlisted::tell(agent, server, &list);
                    self.tools.add(server, &list, naming, context.request.allowed_tools.as_ref());
                }
                Err(error) => {
                    let (mcp_server, reason) = (server.name.clone(), error.problem.to_string());
                    self.unavailable.push(error);
                    context.sink.emit(0, || What::McpServerUnavailable { mcp_server, reason }).await?;
                }
            }
        }
        self.tools.add_clients(&context.request.client_tools);
        context.request.tool_choice.check(&self.tools, &self.unavailable)
    }

    /// Whether the model has asked for nothing yet: a run that goes on with open calls had its first turn before.
    fn is_first_turn(&self) -> bool {
        self.machine.turn() == 1 && self.machine.calls().is_empty()
    }

    /// Asks the model for the next turn.
    async fn ask(&mut self, context: &Context) -> Result<Next, Failure> {
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
        let part = |part| match part {
            AnswerPart::Text(text) => AssistantPart::Text(text),
            AnswerPart::Call(asked) => AssistantPart::Call(self.tools.resolve(asked)),
            AnswerPart::State(state) => AssistantPart::State(state),
        };
        let parts: Vec<_> = answer.parts.into_iter().map(part).collect();
        if let Some(content) = &content {
            content.answered(&span, &parts, finish_reason);
        }
        span.end();
        Ok(self.machine.step(Step::Answered { parts, stop: answer.stop, usage: self.spent.take() }))
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

    /// Tells the run's reader of the calls that the machine has answered without making them.
    async fn tell_refused(&mut self, context: &Context) -> Result<(), Failure> {
        let turn = self.machine.turn();
        for (record, why) in self.machine.take_refused() {
            let tool = record.call.tool.as_ref().filter(|tool| !tool.is_callers());
            context.meter.refused_call(tool.map(|tool| (tool.mcp_server.as_str(), tool.tool.as_str())));
            if !context.sink.is_stream() {
                continue;
            }
            let started = ToolCallRecord { call: record.call.clone(), ended: None };
            context.sink.emit(turn, || What::ToolCallStarted(started.into())).await?;
            let completed = || What::ToolCallCompleted {
                call: record.into(),
                result_text: why.to_owned(),
                truncated: false,
            };
            context.sink.emit(turn, completed).await?;
        }
        Ok(())
    }

    /// Makes a turn's calls, all at once.
    async fn call(&mut self, context: &Context, calls: Vec<ToolCall>) -> Result<Next, Failure> {
        let Self { machine, tools, connections, .. } = self;
        let (turn, first) = (machine.turn(), machine.calls_before_turn());
        let calling = Calling { context, tools, connections, turn, first };
        let calls = calls.into_iter().enumerate();
        // Boxed, since they are large and are moved on their way.
        let calls = calls.map(|(at, call)| Box::pin(calling.execute(at, call)));
        let mut under_way: FuturesUnordered<_> = calls.collect();
        let mut next = Next::Wait;
        while let Some(ended) = under_way.next().await {
            let Ended { at, outcome, failed } = ended?;
            next = machine.step(match outcome {
                Some((CallOutcome { status, text, images, .. }, duration)) => {
                    Step::Called { at, status, text, images, duration }
                }
                None => Step::Awaiting { at },
            });
            if let Some(tool) = failed.filter(|_| context.request.agent.on_tool_error == OnToolError::FailRun)
            {
                return Err(Failure::ToolFailed(tool));
            }
        }
        Ok(next)
    }

    fn conclude(self, context: &Context, result: Result<FinishReason, Failure>) -> Result<Report, Error> {
        let request = &context.request;
        let begun = context.begun.places();
        // Of a run that has failed it is asked what may have been done: not by a call that only waited.
        let failed = result.is_err();
        let tells =
            |(at, call): &(usize, &ToolCallRecord)| !failed || call.ended.is_some() || begun.contains(at);
        let calls = self.machine.calls().iter().enumerate().filter(tells);
        let mut usage = self.machine.usage();
        usage.add(self.spent.take());
        let progress = Progress {
            usage,
            turns: self.machine.turns(),
            tool_calls: calls.map(|(_, call)| call.clone()).collect(),
            begun: begun.len(),
            applied_headers: request.headers.sent_last(&context.runner.digest_key),
        };
        let request_id = request.correlation.request_id.clone();
        match result {
            Ok(finish_reason) => {
                let pending =
                    self.machine.awaiting().iter().map(|call| pending(call.clone(), None)).collect();
                let Conclusion { final_output, structured_output, new_messages } = self.machine.conclude();
                Ok(Report {
                    run_id: context.run_id,
                    request_id,
                    agent: request.agent.name.clone(),
                    model: request.model.clone(),
                    final_output,
                    finish_reason,
                    structured_output,
                    pending,
                    progress,
                    new_messages,
                    unavailable_mcp_servers: self
                        .unavailable
                        .into_iter()
                        .map(|error| error.mcp_server)
                        .collect(),
                })
            }
            Err(failure) => {
                let standing = Standing::Admitted { run_id: context.run_id, progress: Box::new(progress) };
                Err(Error { request_id, failure, standing })
            }
        }
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

/// Connects to the agent's servers; nothing is sent yet.
fn connect(context: &Context) -> HashMap<String, Box<Connection>> {
    let request = &context.request;
    let outgoing = request.correlation.outgoing(&request.correlation.span);
    let connections = request.headers.by_server().iter().filter_map(|(name, headers)| {
        let (correlation, outgoing) = (request.correlation.clone(), outgoing.clone());
        let connection = context.runner.servers.connect(name, headers.clone(), correlation, outgoing)?;
        Some((name.clone(), Box::new(connection)))
    });
    connections.collect()
}

/// A server's tools. An optional server that has none to give says why; but a refused credential is always a failure.
async fn list(
    context: &Context,
    server: &AgentServer,
    connection: &Connection,
) -> Result<Result<Arc<ToolList>, mcp::Error>, Failure> {
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
            Ok(Err(error))
        }
        Err(error) => Err(Failure::Mcp(Box::new(error))),
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
