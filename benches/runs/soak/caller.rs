//! One caller: opens a run, hears the beginning of its answer, and then does what it plans to.

use runwright::grpc::proto::{CancelRunRequest, RunEvent, RunRequest};
use tokio::{sync::watch, time::sleep};
use tonic::{Code, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use super::{
    fate::{Fate, Plan},
    heard::Heard,
    line::Line,
};
use crate::Outcome;

/// After how many events a slow reader pauses.
const PAUSE_AFTER: usize = 8;

/// How a run ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its whole answer.
    Completed,
    Cancelled,
    Dropped,
    Cut,
}

/// A caller in its run.
pub struct Caller {
    line: Line,
    plan: Plan,
    events: Streaming<RunEvent>,
    heard: Heard,
}

impl Caller {
    /// Opens a run, and waits until the model has said something.
    pub async fn open(mut line: Line, plan: Plan, name: String, request: RunRequest) -> Outcome<Self> {
        let mut heard = Heard::nothing(name);
        let mut events = line.client.run_streamed(request).await?.into_inner();
        while heard.pieces() == 0 {
            let event = events.message().await?;
            heard.take(event.ok_or_else(|| heard.wrong("it ended before it began"))?)?;
        }
        Ok(Self { line, plan, events, heard })
    }

    /// Does what it plans to, once the others are there, too. The run's id, and how it ended.
    pub async fn leave(mut self, mut all_there: watch::Receiver<bool>) -> Outcome<(String, Ending)> {
        all_there.wait_for(|there| *there).await?;
        let ending = self.listen().await?;
        Ok((self.heard.run_id, ending))
    }

    async fn listen(&mut self) -> Outcome<Ending> {
        let (mut cancelled, mut events) = (None, 0);
        if self.plan.fate == Fate::ReadSlowly {
            sleep(self.plan.late).await;
        }
        loop {
            let leaves = self.heard.pieces() >= self.plan.after;
            match self.plan.fate {
                Fate::Drop if leaves => return Ok(Ending::Dropped),
                Fate::Cancel if leaves && cancelled.is_none() => cancelled = Some(self.cancel().await?),
                Fate::ReadSlowly if events % PAUSE_AFTER == 0 => sleep(self.plan.pause).await,
                _ => {}
            }
            events += 1;
            match self.events.message().await {
                Ok(Some(event)) => self.heard.take(event)?,
                Ok(None) if self.heard.completed => return Ok(Ending::Completed),
                Ok(None) => return Err(self.heard.wrong("it ended without an end")),
                Err(_) if self.plan.fate == Fate::Cut => return Ok(Ending::Cut),
                Err(status)
                    if cancelled == Some(true)
                        && is_cancelled(status.code(), &status.get_error_details()) =>
                {
                    return Ok(Ending::Cancelled);
                }
                Err(status) => return Err(self.heard.wrong(&format!("it failed: {status}"))),
            }
        }
    }

    /// Cancels the run. `false`: it was over.
    async fn cancel(&mut self) -> Outcome<bool> {
        let request = CancelRunRequest {
            run_id: self.heard.run_id.clone(),
            control_token: self.heard.control_token.clone(),
            reason: "soak".to_owned(),
        };
        if self.plan.is_attacked {
            let control_token = request.control_token.chars().rev().collect();
            let refused = self.line.client.cancel_run(CancelRunRequest { control_token, ..request.clone() });
            if refused.await.map_err(|status| status.code()).err() != Some(Code::NotFound) {
                return Err(self.heard.wrong("somebody else's token controls it"));
            }
        }
        match self.line.client.cancel_run(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(self.heard.wrong(&format!("it can't be cancelled: {status}"))),
        }
    }
}

fn is_cancelled(code: Code, details: &ErrorDetails) -> bool {
    let reason = details.error_info().map(|info| info.reason.as_str());
    code == Code::Aborted && reason == Some("RUN_CANCELLED")
}
