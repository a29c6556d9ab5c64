//! The progress of a tool call: what its server tells while it works.
//!
//! A server may tell it of a request that carries a token, and of no other (MCP, "Progress"). rmcp puts a token into each
//! request; where nobody listens it is taken out again before the request is sent. What is told stands in the event
//! stream of the call's own answer, and is taken out of that before rmcp sees it, for rmcp starts a task for each
//! notification. There it is known whose answer it is, so that of the runs that share a client none hears of another's
//! call: what has another token than the call's own goes nowhere.
//!
//! The newest is all that waits for its reader. So a flood takes no memory, and no more time than reading it does.

use std::{
    borrow::Cow,
    sync::{Arc, Weak},
};

use memchr::memmem;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions, JsonRpcRequest, ProgressToken, RequestMetaObject,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::RunHeaders;
use crate::event::ToolProgress;

/// The most bytes of a message about progress.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Who listens to a call's progress. It is one of the extensions of the call's request.
#[derive(Clone)]
pub(super) struct Listener {
    told: watch::Sender<ToolProgress>,
    /// They end with the run: a kept client may hold an answer that broke off for longer, and with it this.
    headers: Weak<RunHeaders>,
}

/// The progress that an answer may tell.
pub(super) struct Expected {
    token: String,
    listener: Listener,
}

impl Listener {
    /// A listener of a run.
    pub(super) fn new(told: watch::Sender<ToolProgress>, headers: &Arc<RunHeaders>) -> Self {
        Self { told, headers: Arc::downgrade(headers) }
    }
}

impl Expected {
    /// What the answer to a request may tell; `None`: nobody listens.
    pub(super) fn of(request: &JsonRpcRequest<ClientRequest>) -> Option<Self> {
        let extensions = request.request.extensions();
        let listener = extensions.get::<Listener>()?.clone();
        let ProgressToken(token) = match extensions.get::<RequestMetaObject>() {
            Some(meta) => meta.get_progress_token()?,
            // The request does not pass rmcp.
            None => extensions.get::<ProgressToken>()?.clone(),
        };
        Some(Self { token: token.to_string(), listener })
    }

    fn tell(&self, params: &str) {
        // Numbers that `f64` has not are refused here.
        let Ok(Params { progress_token, progress, total, message }) = serde_json::from_str(params) else {
            return;
        };
        // Some servers give a number back as a string.
        if progress_token.0.to_string() != self.token || self.listener.told.is_closed() {
            return;
        }
        let Some(headers) = self.listener.headers.upgrade() else { return };
        if [Some(progress), total].into_iter().flatten().any(|number| headers.finds(number.to_string())) {
            return;
        }
        // First whole, then cut: of a secret that was cut, the rest would not be found.
        let message = cut(headers.scrub(message.unwrap_or_default()));
        self.listener.told.send_replace(ToolProgress { progress, total, message });
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    progress_token: ProgressToken,
    progress: f64,
    total: Option<f64>,
    message: Option<String>,
}

/// Takes the token out of a request to whose progress nobody listens.
pub(super) fn withhold_token(message: &mut ClientJsonRpcMessage) {
    let ClientJsonRpcMessage::Request(request) = message else { return };
    let extensions = request.request.extensions_mut();
    if extensions.get::<Listener>().is_some() {
        return;
    }
    if let Some(meta) = extensions.get_mut::<RequestMetaObject>() {
        meta.remove("progressToken");
    }
}

/// Whether an event is a notification of progress. If it is what is expected, the listener is told.
pub(super) fn take(event: &str, expected: Option<&Expected>) -> bool {
    // Most events are answers, which may be large.
    if memmem::find(event.as_bytes(), b"progress").is_none() {
        return false;
    }
    let Ok(Message { method, params }) = serde_json::from_str(event) else { return false };
    if method != "notifications/progress" {
        return false;
    }
    if let (Some(expected), Some(params)) = (expected, params) {
        expected.tell(params.get());
    }
    true
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.shrink_to_fit();
    }
    message
}
