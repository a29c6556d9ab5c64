//! A run outlives its token: what is done when a server refuses the run's credential.
//!
//! A request that is refused is sent again if there are other headers by now: the caller replaced them meanwhile, or a
//! registered source has given another value. Else, where the refused credential is the caller's and the caller said so
//! ([`OnUnauthorized::Wait`]), the run asks for fresh headers and waits, and the request is sent again once. Several
//! requests that one server refuses at once ask once. Waiting ends with the run's time.

use std::{collections::HashMap, time::SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Failure, driver::Context};
use crate::{
    event::{AuthChallenge, PendingInput, Wanted, What},
    headers::Layer,
    mcp::{self, Connection},
};

/// What a run does when a server refuses the caller's credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnauthorized {
    /// It fails.
    #[default]
    Fail,
    /// A streamed run asks its caller for fresh headers, and waits for them.
    Wait,
}

/// What a run waits for.
#[derive(Default)]
pub(super) struct Waits(Mutex<State>);

#[derive(Default)]
struct State {
    /// The newest revision of each server's headers that the caller was asked to replace.
    asked: HashMap<String, u64>,
    /// The refusals that are waited about.
    open: Vec<mcp::Error>,
}

impl Waits {
    /// What a run fails with whose time is over.
    pub(super) fn overdue(&self) -> Failure {
        let refusal = self.0.lock().open.first().cloned();
        refusal.map_or(Failure::Timeout, |refusal| Failure::CredentialsTimeout(Box::new(refusal)))
    }

    /// Begins to wait. Whether the caller is to be asked: nobody did yet.
    fn begin(&self, refusal: &mcp::Error) -> bool {
        let mut state = self.0.lock();
        state.open.push(refusal.clone());
        state.asked.insert(refusal.mcp_server.clone(), refusal.revision) != Some(refusal.revision)
    }

    fn end(&self, refusal: &mcp::Error) {
        let mut state = self.0.lock();
        let same =
            |open: &mcp::Error| (&open.mcp_server, open.revision) == (&refusal.mcp_server, refusal.revision);
        state.open.retain(|open| !same(open));
    }
}

/// What was done already so that a request that is refused may be sent again.
#[derive(Default)]
pub(super) struct Repeats {
    renewed: bool,
    waited: bool,
}

impl Repeats {
    /// Whether a request that came to `refused` is to be sent again: there are other headers, perhaps after a wait.
    pub(super) async fn again(
        &mut self,
        context: &Context,
        connection: &Connection,
        turn: u32,
        refused: Option<&mcp::Error>,
    ) -> Result<bool, Failure> {
        let Some(refused) = refused.filter(|refused| refused.is_refusal()) else { return Ok(false) };
        if connection.headers().is_replaced_since(refused.revision) {
            return Ok(true);
        }
        if !self.renewed && connection.renew(refused).await.map_err(|error| Failure::Mcp(Box::new(error)))? {
            self.renewed = true;
            return Ok(true);
        }
        if self.waited || !context.may_wait(refused) {
            return Ok(false);
        }
        self.waited = true;
        context.wait_for_headers(connection, turn, refused).await?;
        Ok(true)
    }
}

impl Context {
    fn may_wait(&self, refused: &mcp::Error) -> bool {
        self.request.on_unauthorized == OnUnauthorized::Wait
            && self.sink.is_stream()
            && matches!(refused.refused_layer(), Some(Layer::Run | Layer::RunServer))
    }

    async fn wait_for_headers(
        &self,
        connection: &Connection,
        turn: u32,
        refused: &mcp::Error,
    ) -> Result<(), Failure> {
        let asks = self.waits.begin(refused);
        if let Some(challenge) = refused.challenge().filter(|_| asks) {
            self.sink.emit(turn, || What::InputRequired(self.pending(challenge).into())).await?;
        }
        let waits = self.meter.wait("credentials");
        connection.headers().replaced_since(refused.revision).await;
        waits.answered();
        self.waits.end(refused);
        Ok(())
    }

    fn pending(&self, challenge: AuthChallenge) -> PendingInput {
        let left = self.request.deadline.saturating_duration_since(Instant::now());
        PendingInput {
            input_id: Uuid::new_v4().to_string(),
            expire_time: Some(SystemTime::now() + left),
            wanted: Wanted::Credentials(challenge),
        }
    }
}
