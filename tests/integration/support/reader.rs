//! A streamed run that a test reads event by event, whose headers it replaces, and whose calls it answers.

use runwright::grpc::proto::{
    CancelRunRequest, HeaderSet, InputAnswer, OnUnauthorized, PendingInput, RunEvent, RunOptions, RunRequest,
    RunResponse, SubmitRunInputRequest, UpdateRunHeadersRequest, UpdateRunHeadersResponse, run_event::Event,
};
use tonic::{Status, Streaming};

use super::{headers, service::Service, soon};

/// A streamed run that a test reads event by event.
pub struct Reader<'a> {
    pub service: &'a Service,
    stream: Streaming<RunEvent>,
    pub run_id: String,
    pub control_token: String,
}

impl<'a> Reader<'a> {
    pub async fn start(service: &'a Service, request: RunRequest) -> Self {
        let stream = service.agents.clone().run_streamed(request).await.unwrap().into_inner();
        let mut reader = Self { service, stream, run_id: String::new(), control_token: String::new() };
        let Some(Event::RunStarted(started)) = reader.next().await.unwrap() else { panic!() };
        reader.control_token = started.control_token;
        reader
    }

    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        let event = soon("an event", self.stream.message()).await?;
        Ok(event.and_then(|event| {
            self.run_id = event.run_id;
            event.event
        }))
    }

    /// Reads up to the next time that the run waits.
    pub async fn asked(&mut self) -> PendingInput {
        loop {
            match self.next().await.unwrap() {
                Some(
                    Event::CredentialsRequired(pending)
                    | Event::ApprovalRequired(pending)
                    | Event::ClientToolRequired(pending),
                ) => return pending,
                Some(Event::RunCompleted(_)) | None => panic!("the run has ended"),
                Some(_) => {}
            }
        }
    }

    pub async fn update(&self, request: UpdateRunHeadersRequest) -> Result<UpdateRunHeadersResponse, Status> {
        let (run_id, control_token) = (self.run_id.clone(), self.control_token.clone());
        let request = UpdateRunHeadersRequest { run_id, control_token, ..request };
        self.service.agents.clone().update_run_headers(request).await.map(tonic::Response::into_inner)
    }

    /// Brings a fresh token for `crm`.
    pub async fn bring(&self, token: &str) -> UpdateRunHeadersResponse {
        self.update(fresh("crm", bearer(token))).await.unwrap()
    }

    /// Answers calls that wait.
    pub async fn submit(&self, answers: impl Into<Vec<InputAnswer>>) -> Result<(), Status> {
        let (run_id, control_token) = (self.run_id.clone(), self.control_token.clone());
        let request = SubmitRunInputRequest { run_id, control_token, answers: answers.into() };
        self.service.agents.clone().submit_run_input(request).await.map(|_| ())
    }

    /// Ends the run.
    pub async fn cancel(&self) {
        let (run_id, control_token) = (self.run_id.clone(), self.control_token.clone());
        let request = CancelRunRequest { run_id, control_token, reason: String::new() };
        self.service.agents.clone().cancel_run(request).await.unwrap();
    }

    /// Reads to the end, where nothing more is asked.
    pub async fn end(mut self) -> Result<RunResponse, Status> {
        loop {
            match self.next().await? {
                Some(Event::RunCompleted(response)) => return Ok(response),
                Some(
                    Event::CredentialsRequired(pending)
                    | Event::ApprovalRequired(pending)
                    | Event::ClientToolRequired(pending),
                ) => panic!("{pending:?}"),
                Some(_) => {}
                None => panic!("no end"),
            }
        }
    }
}

pub fn bearer(token: &str) -> HeaderSet {
    headers([("authorization", &format!("Bearer {token}"))])
}

pub fn fresh(server: &str, set: HeaderSet) -> UpdateRunHeadersRequest {
    let per_run_mcp_headers = [(server.to_owned(), set)].into();
    UpdateRunHeadersRequest { per_run_mcp_headers, ..UpdateRunHeadersRequest::default() }
}

pub fn waiting(request: RunRequest) -> RunRequest {
    let options =
        RunOptions { on_unauthorized: OnUnauthorized::Wait.into(), ..request.options.unwrap_or_default() };
    RunRequest { options: Some(options), ..request }
}
