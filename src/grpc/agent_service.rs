//! `runwright.v1.AgentService`.

use std::pin::Pin;

use futures_util::Stream;
use tonic::Request;
use tracing::Instrument;

use super::{
    decode::{self, Schemas},
    encode, metadata,
    proto::{self, agent_service_server::AgentService},
    rpc::Rpc,
    status::{Item, Reply},
    stream,
};
use crate::{
    metrics::Metrics,
    run::{Error, Mode, Run, Runner},
    trace::Correlation,
};

/// The handlers of `AgentService`.
pub struct AgentHandlers(Runner);

impl AgentHandlers {
    /// Handlers over a runner.
    pub fn new(runner: Runner) -> Self {
        Self(runner)
    }

    fn metrics(&self) -> &Metrics {
        self.0.metrics()
    }

    /// Starts a run. Its place is taken first: who is refused for there is none waits for nothing that a request takes.
    async fn start(
        &self,
        request: Request<proto::RunRequest>,
        correlation: Correlation,
        mode: Mode,
    ) -> Result<Run, Error> {
        let refuse = |failure| Error::refused(correlation.request_id.clone(), failure);
        let deadline = metadata::deadline(request.extensions());
        let mut request = request.into_inner();
        let parts = self.0.parts();
        let agent = parts.agent(&request.agent).map_err(refuse)?;
        // Before the rest of the request is read: that takes time, and a schema in it more than a refusal may.
        let place = self.0.admit(&parts, &agent).map_err(refuse)?;
        let schemas = Schemas::take(&mut request);
        parts.schemas.compile(&schemas.all()).await;
        let request = decode::run_request(request, schemas, agent, &parts, correlation, deadline)?;
        self.0.start(place, parts, request, mode)
    }
}

#[tonic::async_trait]
impl AgentService for AgentHandlers {
    type RunStreamedStream = Pin<Box<dyn Stream<Item = Item<proto::RunEvent>> + Send>>;

    async fn run(&self, request: Request<proto::RunRequest>) -> Reply<proto::RunResponse> {
        let rpc = Rpc::begin("runwright.v1.AgentService/Run", &request, self.metrics())?;
        let work = async {
            let mut run = self.start(request, rpc.correlation.clone(), Mode::Unary).await?;
            run.outcome().await.map(encode::report)
        };
        let result = work.instrument(rpc.span().lines().clone()).await;
        rpc.end(result)
    }

    async fn run_streamed(&self, request: Request<proto::RunRequest>) -> Reply<Self::RunStreamedStream> {
        let mut rpc = Rpc::begin("runwright.v1.AgentService/RunStreamed", &request, self.metrics())?;
        let starting = self.start(request, rpc.correlation.clone(), Mode::Streamed);
        let run = starting.instrument(rpc.span().lines().clone()).await;
        let live = || self.metrics().stream();
        let events = run.map(|run| stream::events(run, rpc.hand_on(), live(), rpc.take_call()));
        rpc.begin_stream(events.map(|events| Box::pin(events) as Self::RunStreamedStream))
    }

    async fn cancel_run(&self, request: Request<proto::CancelRunRequest>) -> Reply<proto::CancelRunResponse> {
        let rpc = Rpc::begin("runwright.v1.AgentService/CancelRun", &request, self.metrics())?;
        let proto::CancelRunRequest { run_id, control_token, reason } = request.into_inner();
        let reason = reason.chars().take(256).collect();
        let result = self.0.cancel(&run_id, &control_token, reason);
        rpc.refuse_or(result.map(|()| proto::CancelRunResponse {}))
    }

    async fn update_run_headers(
        &self,
        request: Request<proto::UpdateRunHeadersRequest>,
    ) -> Reply<proto::UpdateRunHeadersResponse> {
        let rpc = Rpc::begin("runwright.v1.AgentService/UpdateRunHeaders", &request, self.metrics())?;
        let mut request = request.into_inner();
        let replacement = decode::replacement(&mut request);
        let applied = self.0.update_headers(&request.run_id, &request.control_token, replacement);
        rpc.refuse_or(applied.map(|applied| proto::UpdateRunHeadersResponse {
            applied_headers: encode::applied_headers(&applied),
        }))
    }

    async fn submit_run_input(
        &self,
        request: Request<proto::SubmitRunInputRequest>,
    ) -> Reply<proto::SubmitRunInputResponse> {
        let rpc = Rpc::begin("runwright.v1.AgentService/SubmitRunInput", &request, self.metrics())?;
        let proto::SubmitRunInputRequest { run_id, control_token, answers } = request.into_inner();
        let (answers, violations) = decode::submitted(answers);
        let submitted = self.0.submit_input(&run_id, &control_token, answers, violations);
        rpc.refuse_or(submitted.map(|()| proto::SubmitRunInputResponse {}))
    }
}
