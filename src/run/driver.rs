//! The driver of a run: it does what the state machine says, and all that the run starts ends with it.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future, stream::FuturesUnordered};
use tokio::{task::unconstrained, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Failure, Mode, Parts, RunRequest, Standing, audit,
    authorization::Waits,
    begun::{Begun, Sent},
    calls::{Calling, Ended},
    handle::Sink,
    inputs::{Inputs, pending},
    machine::{Beginning, Conclusion, Machine, Next, Step},
    record::{self, Stage, Times},
    stop::Stop,
    tools::ToolTable,
};
use crate::{
    agent::OnToolError,
    event::{FinishReason, Progress, Report, What},
    id::{ControlToken, RunId},
    mcp::{self, CallOutcome, Connection},
    message::{ToolCall, ToolCallRecord, ToolCallStatus, ToolRef},
    metrics,
    model::{Model, Spent},
    trace,
};

mod asking;
mod opening;

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
        // A run that panics has a record of its end, too, and its servers are told.
        let performed = AssertUnwindSafe(work.perform(&context)).catch_unwind();
        let request_id = &context.request.correlation.request_id;
        let mut performed = pin!(
            performed.map(|ended| ended.unwrap_or_else(|_| Err(Failure::incident("a panic", request_id))))
        );
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

/// A call as a failed run tells it: the tool may have acted if the call was sent and no answer came.
fn broken_off(call: &ToolCallRecord, sent: Option<&Sent>) -> ToolCallRecord {
    let is_callers = call.call.tool.as_ref().is_none_or(ToolRef::is_callers);
    let ended = sent.filter(|_| !is_callers).map(|sent| {
        let status = if sent.refused { ToolCallStatus::Error } else { ToolCallStatus::Unknown };
        (status, sent.at.elapsed())
    });
    ToolCallRecord { ended: call.ended.or(ended), ..call.clone() }
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
            connections: opening::connect(context),
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
        let is_shown = |call: &&ToolCall| {
            tools.find(call).is_some_and(|(spec, needs_approval)| needs_approval || spec.tool.is_callers())
        };
        let shown = calls.iter().filter(is_shown).map(|call| call.arguments_json.len()).sum();
        let calling = Calling { context, tools, connections, turn, first, shown };
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
        let begun = context.begun.calls();
        // Of a run that has failed it is asked what may have been done: not by a call that only waited.
        let failed = result.is_err();
        let tells =
            |(at, call): &(usize, &ToolCallRecord)| !failed || call.ended.is_some() || begun.contains_key(at);
        let calls = self.machine.calls().iter().enumerate().filter(tells);
        let calls = calls.map(|(at, call)| broken_off(call, begun.get(&at).filter(|_| failed)));
        let mut usage = self.machine.usage();
        usage.add(self.spent.take());
        let progress = Progress {
            usage,
            turns: self.machine.turns(),
            tool_calls: calls.collect(),
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
