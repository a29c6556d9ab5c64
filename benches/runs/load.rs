//! Runs over gRPC. Each answer is checked: the 32 words, one tool call that went well, and its result, which is the
//! end of the run's own credential as the MCP server saw it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use runwright::grpc::proto::{
    self, HeaderSet, RunRequest, RunResponse, ToolCallStatus, agent_service_client::AgentServiceClient,
    part::Part, run_event::Event,
};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::{IN_FLIGHT, Mode, Outcome, upstream};

const CONNECTIONS: usize = 4;

/// Connections to the service.
pub struct Load(Vec<AgentServiceClient<Channel>>);

impl Load {
    /// Connects.
    pub async fn connect(address: &SocketAddr) -> Outcome<Self> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
            clients.push(AgentServiceClient::new(channel));
        }
        Ok(Self(clients))
    }

    /// Runs so many runs, one after the other in the name of so many callers.
    pub async fn run(&self, mode: Mode, runs: usize, identities: usize) -> Outcome<()> {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for client in self.0.iter().cycle().take(IN_FLIGHT) {
            let (mut client, begun) = (client.clone(), begun.clone());
            workers.spawn(async move {
                let words = upstream::words();
                loop {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return Outcome::Ok(());
                    }
                    let caller = format!("{:06}", number % identities);
                    check(&one(&mut client, mode, &caller, &words).await?, &caller, &words)?;
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn one(
    client: &mut AgentServiceClient<Channel>,
    mode: Mode,
    caller: &str,
    words: &str,
) -> Outcome<RunResponse> {
    // As long as tokens are.
    let authorization = format!("Bearer {}-{caller}", "token".repeat(32));
    let headers = [("Authorization".to_owned(), authorization)].into();
    let request = RunRequest {
        agent: "bench".to_owned(),
        input: "Who am I?".to_owned(),
        per_run_mcp_headers: [("bench".to_owned(), HeaderSet { headers, remove: Vec::new() })].into(),
        ..RunRequest::default()
    };
    if mode == Mode::Unary {
        return Ok(client.run(request).await?.into_inner());
    }
    let mut events = client.run_streamed(request).await?.into_inner();
    let (mut text, mut completed) = (String::new(), None);
    // To its end: a stream that is dropped before is reset.
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::TextDelta(delta)) => text.push_str(&delta.text),
            Some(Event::RunCompleted(response)) => completed = Some(response),
            _ => {}
        }
    }
    completed.filter(|_| text == words).ok_or_else(|| "a stream's text is wrong".into())
}

fn check(response: &RunResponse, caller: &str, words: &str) -> Outcome<()> {
    let calls_are_right = matches!(&response.tool_calls[..], [call] if call.status() == ToolCallStatus::Ok);
    let results = response.new_messages.iter().flat_map(|message| &message.parts).filter_map(result);
    if response.final_output == words && calls_are_right && results.eq([caller]) {
        return Ok(());
    }
    Err(format!("a run's answer is wrong: {response:?}").into())
}

fn result(part: &proto::Part) -> Option<&str> {
    match &part.part {
        Some(Part::ToolResult(result)) => Some(&result.text),
        _ => None,
    }
}
