//! What is the matter with a model that gives no answer, and what may come of asking it again.

use std::{fmt, time::Duration};

use super::Error;

/// Why a model is unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    reason: String,
    prospect: Prospect,
}

/// What may come of asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// The same.
    Lasting,
    /// Perhaps an answer.
    Passing {
        /// When the provider may be asked again, as far as it said so.
        retry_after: Option<Duration>,
    },
}

impl Outage {
    /// What would be the same again; the reason is in words of ours.
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self::new(reason, Prospect::Lasting)
    }

    pub(super) fn new(reason: impl Into<String>, prospect: Prospect) -> Self {
        Self { reason: reason.into(), prospect }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error {
    /// What may come of asking again. It is what OpenAI's and Anthropic's own clients take it for: connections that fail,
    /// 408 (the provider did not wait for the request), 409 (something is locked), 429 and all from 500 on may pass, unless
    /// the provider says otherwise. A refused key is the same again, whatever is said.
    pub fn prospect(&self) -> Prospect {
        match self {
            Self::Unauthorized { .. } | Self::RateLimited { lasting: true, .. } => Prospect::Lasting,
            Self::RateLimited { retry_after, lasting: false } => {
                Prospect::Passing { retry_after: *retry_after }
            }
            Self::Rejected { prospect, .. } => *prospect,
            Self::Unavailable(outage) => outage.prospect,
        }
    }

    /// A refusal with this status, of which the provider says nothing more than what it is.
    pub(super) fn rejected(status: u16, code: Option<&str>) -> Self {
        Self::Rejected { status, code: code.map(str::to_owned), prospect: Prospect::Lasting }
    }

    /// A limited rate, of which the provider says nothing more.
    pub(super) fn limited(retry_after: Option<Duration>) -> Self {
        Self::RateLimited { retry_after, lasting: false }
    }
}
