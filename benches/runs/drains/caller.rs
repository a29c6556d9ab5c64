//! One call, and what its caller is told.

use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::load::{self, Client, Work, request};

/// A call that is over.
pub struct Call {
    /// The `x-request-id` that it had.
    pub id: String,
    pub end: End,
}

/// What a caller was told at last.
#[derive(Debug)]
pub enum End {
    /// The whole answer, and the right one.
    Completed,
    /// That the service ends, and that the run had been accepted.
    ShutDown,
    /// That the service ends, and that nothing ran.
    Refused,
    /// Nothing of a run: there was no connection, or it was over.
    Unreached,
    /// What it should not have been.
    Wrong(String),
}

/// Makes a call.
pub async fn make(client: Client, work: Work, number: usize, id: String) -> Call {
    let mut request = Request::new(request(work, number));
    // Our own ids are fit to be sent.
    let _ = id.parse().map(|id| request.metadata_mut().insert("x-request-id", id));
    let mut has_begun = false;
    let end = match load::asked(client, work, number, request, |_| has_begun = true).await {
        Ok(()) => End::Completed,
        Err(error) => End::of(error.as_ref(), has_begun),
    };
    Call { id, end }
}

impl End {
    #[allow(clippy::disallowed_types, reason = "reads one")]
    fn of(error: &(dyn std::error::Error + 'static), has_begun: bool) -> Self {
        let wrong = || Self::Wrong(format!("{error}; it had begun: {has_begun}"));
        let Some(status) = error.downcast_ref::<tonic::Status>() else { return wrong() };
        let Some(info) = status.get_details_error_info() else {
            return if has_begun { wrong() } else { Self::Unreached };
        };
        let admitted = info.metadata.get("admitted").map(String::as_str);
        match (&*info.reason, admitted, status.code()) {
            ("SHUTTING_DOWN", Some("true"), Code::Aborted | Code::Unavailable) => Self::ShutDown,
            ("SHUTTING_DOWN", Some("false"), Code::Unavailable) if !has_begun => Self::Refused,
            _ => wrong(),
        }
    }
}
