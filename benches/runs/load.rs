//! Runs over gRPC. Each answer is checked: the 32 words, the tool calls that went well, and their results, which end
//! with the end of the run's own credential as the MCP server saw it.

use std::{net::SocketAddr, sync::Arc};

use runwright::grpc::proto::{
    self, HeaderSet, RunEvent, RunRequest, RunResponse, ToolCallStatus,
    agent_service_client::AgentServiceClient, part::Part, run_event::Event,
};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
};
use tonic::{
    IntoRequest, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    IN_FLIGHT, Mode, Outcome,
    pace::{self, Latency},
    scene::{HELD, Scene},
    upstream,
};

/// A connection to the service; clones share it.
pub type Client = AgentServiceClient<Channel>;

/// Runs that are opened at a time, where many stay open.
pub const OPENINGS: usize = 64;

/// Connections to the service.
pub struct Load(Arc<Vec<Client>>);

/// So many runs of a kind, one after the other in the name of so many callers.
#[derive(Clone, Copy)]
pub struct Work {
    pub scene: &'static Scene,
    pub mode: Mode,
    pub runs: usize,
    pub identities: usize,
}

/// Runs that the upstream holds open.
pub struct HeldRuns(JoinSet<Outcome<()>>);

impl Load {
    /// Connects.
    pub async fn connect(address: &SocketAddr, connections: usize) -> Outcome<Self> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
            clients.push(AgentServiceClient::new(channel));
        }
        Ok(Self(clients.into()))
    }

    /// Runs as fast as it goes.
    pub async fn run(&self, work: Work) -> Outcome<()> {
        let clients = self.0.clone();
        let one = move |number: usize| {
            let client = clients[number % clients.len()].clone();
            async move { one(client, work, number).await }
        };
        pace::closed(work.runs, IN_FLIGHT, one).await
    }

    /// Runs at a rate.
    pub async fn paced(&self, work: Work, rate: f64) -> Outcome<Latency> {
        pace::open(work.runs, rate, |number| one(self.client(number), work, number)).await
    }

    /// Opens runs that the upstream holds, and returns when all of them are in the middle of their answer.
    pub async fn hold(&self, runs: usize, identities: usize) -> Outcome<HeldRuns> {
        let openings = Arc::new(Semaphore::new(OPENINGS));
        let work = Work { scene: HELD, mode: Mode::Streamed, runs, identities };
        let (mut held, mut speaking) = (JoinSet::new(), Vec::new());
        for number in 0..runs {
            let (mut client, permit) = (self.client(number), openings.clone().acquire_owned().await?);
            let (speaks, spoke) = oneshot::channel();
            speaking.push(spoke);
            held.spawn(async move {
                let mut opened = Some((permit, speaks));
                let events = client.run_streamed(request(work, number)).await?.into_inner();
                let spoke = |event: &Event| {
                    if !matches!(event, Event::TextDelta(_)) {
                        return;
                    }
                    if let Some((_permit, speaks)) = opened.take() {
                        // Whether somebody waits for it makes no difference here.
                        let _ = speaks.send(());
                    }
                };
                check_streamed(events, work, number, spoke).await
            });
        }
        for spoke in speaking {
            if spoke.await.is_err() {
                let why = held.join_next().await.ok_or("a run was lost")?;
                return Err(why?.err().unwrap_or_else(|| "a run was not held".into()));
            }
        }
        Ok(HeldRuns(held))
    }

    /// One of the connections, each in its turn.
    pub fn client(&self, number: usize) -> Client {
        self.0[number % self.0.len()].clone()
    }
}

impl HeldRuns {
    /// Waits until the runs, which the upstream has released, are over.
    pub async fn end(mut self) -> Outcome<()> {
        while let Some(ended) = self.0.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn one(client: Client, work: Work, number: usize) -> Outcome<()> {
    asked(client, work, number, request(work, number), |_| ()).await
}

/// Asks, and checks the answer. `hears` is called with each event.
pub async fn asked(
    mut client: Client,
    work: Work,
    number: usize,
    request: impl IntoRequest<RunRequest>,
    hears: impl FnMut(&Event),
) -> Outcome<()> {
    match work.mode {
        Mode::Unary => check(&client.run(request).await?.into_inner(), work, number),
        Mode::Streamed => {
            let events = client.run_streamed(request).await?.into_inner();
            check_streamed(events, work, number, hears).await
        }
    }
}

/// What a run asks.
pub fn request(work: Work, number: usize) -> RunRequest {
    // As long as tokens are.
    let authorization = format!("Bearer {}-{}", "token".repeat(32), caller(work, number));
    let headers = [("Authorization".to_owned(), authorization)].into();
    let name = work.scene.name.to_owned();
    RunRequest {
        agent: name.clone(),
        input: "Who am I?".to_owned(),
        per_run_mcp_headers: [(name, HeaderSet { headers, remove: Vec::new() })].into(),
        ..RunRequest::default()
    }
}

/// In whose name it asks.
pub fn caller(work: Work, number: usize) -> String {
    format!("{:06}", number % work.identities)
}

/// Reads a stream to its end, as one that is dropped before is reset. `hears` is called with each event.
async fn check_streamed(
    mut events: Streaming<RunEvent>,
    work: Work,
    number: usize,
    mut hears: impl FnMut(&Event),
) -> Outcome<()> {
    let (mut text, mut completed) = (String::new(), None);
    while let Some(event) = events.message().await? {
        event.event.iter().for_each(&mut hears);
        match event.event {
            Some(Event::TextDelta(delta)) => text.push_str(&delta.text),
            Some(Event::RunCompleted(response)) => completed = Some(response),
            _ => {}
        }
    }
    match completed {
        Some(response) if text == upstream::words() => check(&response, work, number),
        _ => Err("a stream's text is wrong".into()),
    }
}

fn check(response: &RunResponse, work: Work, number: usize) -> Outcome<()> {
    let went_well = response.tool_calls.iter().filter(|call| call.status() == ToolCallStatus::Ok).count();
    let results = || response.new_messages.iter().flat_map(|message| &message.parts).filter_map(result);
    let caller = caller(work, number);
    let is_right = |result: &str| {
        result.ends_with(&caller) && result.len() + 100 > work.scene.result_bytes + caller.len()
    };
    let right = response.final_output == upstream::words()
        && went_well == work.scene.calls
        && results().count() == work.scene.calls
        && results().all(is_right);
    if right { Ok(()) } else { Err(format!("a run's answer is wrong: {}", work.scene.name).into()) }
}

fn result(part: &proto::Part) -> Option<&str> {
    match &part.part {
        Some(Part::ToolResult(result)) => Some(&result.text),
        _ => None,
    }
}
