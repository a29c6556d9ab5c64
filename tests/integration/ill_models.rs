//! Providers that misbehave in any way, by chance and yet the same in each run of the test. Whatever they do, a run ends
//! well or with a failure of its model, and nothing that they wrote is told.
//!
//! A failure that passes is waited for in real time, half a second at first: so many runs are under way at once.

use std::{collections::BTreeSet, ops::Range};

use futures_util::{StreamExt, stream};
use runwright::grpc::proto::{FinishReason, RunEvent, RunRequest, RunResponse, run_event::Event};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::{
    PATIENCE,
    error::decode,
    leak::{Sinks, assert_no_leak, canary},
    logs,
    mcp_server::{Era, McpServer},
    no_run_left, run_with,
    service::{Service, asking_config},
};

mod fault;
mod mangle;
mod reply;
mod server;
mod speech;

use server::{IllModel, SEED, Told};
use speech::Api;

/// Each is a run of every API, whole and streamed. Every fault has its turn in the first request and behind a tool call.
const SEEDS: Range<u64> = 0..108;
/// Runs that are under way at once.
const AT_ONCE: usize = 25;
/// All that a model's failure is told as.
const REASONS: [&str; 4] =
    ["MODEL_REJECTED", "MODEL_UNAUTHORIZED", "MODEL_RATE_LIMITED", "MODEL_UNAVAILABLE"];

#[tokio::test]
async fn chat_completions_whole() {
    endure(Api::Chat, false).await;
}

#[tokio::test]
async fn chat_completions_streamed() {
    endure(Api::Chat, true).await;
}

#[tokio::test]
async fn responses_whole() {
    endure(Api::Responses, false).await;
}

#[tokio::test]
async fn responses_streamed() {
    endure(Api::Responses, true).await;
}

#[tokio::test]
async fn messages_whole() {
    endure(Api::Messages, false).await;
}

#[tokio::test]
async fn messages_streamed() {
    endure(Api::Messages, true).await;
}

/// A run that ended.
struct Ended {
    seed: u64,
    events: Vec<RunEvent>,
    end: Result<RunResponse, Status>,
}

async fn endure(api: Api, streamed: bool) {
    let (logs, _guard) = logs::catch();
    let canary = canary("ill");
    let model = IllModel::start(api, &canary).await;
    let tools = McpServer::start(Era::Modern).await;
    let config = asking_config(&format!("http://{}", model.address), &[("crm", &tools.url())]);
    let service = Service::start(&config.replace("openai_chat", api.provider())).await;
    let runs =
        stream::iter(SEEDS).map(|seed| run(&service, &model, seed, streamed)).buffer_unordered(AT_ONCE);
    let ended: Vec<Ended> = runs.collect().await;
    let mut sinks = Sinks::default();
    let mut wrong = model.wrong();
    for run in &ended {
        let told = model.told(run.seed);
        let complaints = run.complaints(streamed, &told);
        wrong.extend(complaints.into_iter().map(|what| format!("seed {}: {what} (told {told:?})", run.seed)));
        if let Err(status) = &run.end {
            sinks.add_status(&format!("the status of seed {}", run.seed), status);
        }
    }
    assert!(wrong.is_empty(), "{api:?}, streamed: {streamed}\n{}", wrong.join("\n"));
    assert_no_leak(&canary, sinks.add("the logs", logs.text()));
    no_run_left(&service).await;
    assert_all_met(&ended, &logs.text());
}

/// Fails unless the runs met all that may become of one.
fn assert_all_met(ended: &[Ended], logs: &str) {
    let met: BTreeSet<String> = ended.iter().map(Ended::outcome).collect();
    let all = REASONS.into_iter().chain(["Stop"]).map(str::to_owned);
    assert!(all.clone().all(|outcome| met.contains(&outcome)), "{met:?}");
    assert!(logs.contains("asked again"));
}

async fn run(service: &Service, model: &IllModel, seed: u64, streamed: bool) -> Ended {
    let request = RunRequest { input: format!("{SEED}{seed}"), ..run_with("a", []) };
    let hangs = || format!("seed {seed} ends (told {:?})", model.told(seed));
    if !streamed {
        let end = timeout(PATIENCE, service.run(request)).await.unwrap_or_else(|_| panic!("{}", hangs()));
        return Ended { seed, events: Vec::new(), end };
    }
    let (events, end) =
        timeout(PATIENCE, service.events(request)).await.unwrap_or_else(|_| panic!("{}", hangs()));
    let response = events.last().and_then(|event| match &event.event {
        Some(Event::RunCompleted(response)) => Some(response.clone()),
        _ => None,
    });
    Ended { seed, events, end: end.map(|()| response.unwrap_or_default()) }
}

impl Ended {
    fn outcome(&self) -> String {
        match &self.end {
            Ok(response) => format!("{:?}", response.finish_reason()),
            Err(status) => decode(status).reason,
        }
    }

    /// What is not as it must be.
    fn complaints(&self, streamed: bool, told: &[Told]) -> Vec<String> {
        let mut wrong = match &self.end {
            Ok(response) => answer_complaints(response, told.last()),
            Err(status) => status_complaints(status),
        };
        let usage = match &self.end {
            Ok(response) => response.usage,
            Err(status) => decode(status).progress.and_then(|progress| progress.usage),
        };
        let requests = usage.unwrap_or_default().model_requests;
        // There may be more: one that is written as the provider closes its connection does not arrive.
        if usize::try_from(requests).is_ok_and(|requests| requests < told.len()) {
            wrong.push(format!("{requests} requests are told of"));
        }
        if streamed {
            wrong.extend(self.event_complaints());
        }
        wrong
    }

    fn event_complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let sequences = self.events.iter().map(|event| event.sequence);
        if !sequences.eq((1..).take(self.events.len())) {
            wrong.push("a gap between events".to_owned());
        }
        let in_turns = self.events.iter().map(|event| event.turn).filter(|turn| *turn > 0);
        if !in_turns.is_sorted() {
            wrong.push("turns out of order".to_owned());
        }
        let completed =
            self.events.iter().filter(|event| matches!(event.event, Some(Event::RunCompleted(_))));
        if completed.count() != usize::from(self.end.is_ok()) {
            wrong.push(format!("a stream that ended with {:?} and {:?}", self.end, self.events.last()));
        }
        if !matches!(self.events.first().and_then(|event| event.event.as_ref()), Some(Event::RunStarted(_))) {
            wrong.push("no beginning".to_owned());
        }
        wrong.extend(self.text_complaint());
        wrong
    }

    /// The last turn's deltas are the answer.
    fn text_complaint(&self) -> Option<String> {
        let response = self.end.as_ref().ok()?;
        let deltas = self.events.iter().filter(|event| event.turn == response.turns);
        let deltas = deltas.filter_map(|event| match &event.event {
            Some(Event::TextDelta(delta)) => Some(delta.text.as_str()),
            _ => None,
        });
        let told: String = deltas.collect();
        (told != response.final_output)
            .then(|| format!("the deltas {told:?} and the answer {:?}", response.final_output))
    }
}

fn answer_complaints(response: &RunResponse, last: Option<&Told>) -> Vec<String> {
    let mut wrong = Vec::new();
    let cut = |told: &&Told| told.lacks_an_end_at_most() && told.text != response.final_output;
    if last.filter(cut).is_some() {
        wrong.push(format!("another answer than was given: {:?}", response.final_output));
    }
    if response.finish_reason() == FinishReason::Unspecified {
        wrong.push(format!("no finish reason: {response:?}"));
    }
    let usage = response.usage.unwrap_or_default();
    let counts = [
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cached_input_tokens,
        usage.reasoning_tokens,
    ];
    if counts.iter().any(|count| *count < 0) || usage.model_requests < response.turns {
        wrong.push(format!("a strange usage: {usage:?}"));
    }
    wrong
}

fn status_complaints(status: &Status) -> Vec<String> {
    let decoded = decode(status);
    let mut wrong = Vec::new();
    if !REASONS.contains(&&*decoded.reason) {
        wrong.push(format!("{}: {status:?}", decoded.reason));
    }
    let called = decoded.metadata["tool_calls_started"] != "0";
    let code = match (&*decoded.reason, called) {
        ("MODEL_REJECTED" | "MODEL_UNAUTHORIZED", _) => Code::FailedPrecondition,
        (_, true) => Code::Aborted,
        (_, false) => Code::Unavailable,
    };
    if status.code() != code {
        wrong.push(format!("{code} was to be: {status:?}"));
    }
    wrong
}
