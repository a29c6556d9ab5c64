//! Clients that nobody uses for a while.
//!
//! An open rmcp client is a task and its channels, each with room for 32 messages of half a kilobyte from its start: some
//! 26 KiB, and with the task of rmcp's transport some 80. A server that gave it no session knows nothing of it. So a kept
//! client that is idle for [`DOZE_AFTER`] is closed, and what stays is what requests had to find out: the revision that the
//! server speaks, and its tools. The next run of the identity opens a client as usual, but that the backend answers
//! `server/discover`, or `initialize`, by itself from what is known: nothing is sent.
//!
//! What stays belongs to one identity, as the client did, and is given up when the client would have been.

use std::time::{Duration, Instant};

use rmcp::{
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, DiscoverResult, InitializeResult,
        ProtocolVersion, ServerCapabilities, ServerJsonRpcMessage, ServerResult, ToolsCapability,
    },
    transport::streamable_http_client::StreamableHttpPostResponse,
};

use super::{kept_tools::KeptTools, registration::Era};
use crate::{metrics::McpClient, trace::Place};

/// How long a client is idle before it is closed. The run that wakes it takes a third more CPU time than another, some
/// 0.1 ms, which callers who come more often need not pay.
pub(super) const DOZE_AFTER: Duration = Duration::from_secs(60);

/// What stays of an idle client.
pub(super) struct Dozing {
    /// The revision that its server speaks.
    pub(super) revision: ProtocolVersion,
    pub(super) tools: KeptTools,
    /// When the client was opened first.
    pub(super) opened: Instant,
    /// It counts as long as it is there.
    pub(super) meter: McpClient,
    /// Where in its trace that was.
    pub(super) opened_in: Place,
    /// When the last run gave it back.
    pub(super) idle_since: tokio::time::Instant,
}

impl Dozing {
    /// How its server is spoken to.
    pub(super) fn era(&self) -> Era {
        if self.revision >= ProtocolVersion::V_2026_07_28 { Era::Discover } else { Era::Initialize }
    }
}

/// What a server of a known revision answers to the start; `None`: the message is no part of the start.
pub(super) fn answer(
    revision: &ProtocolVersion,
    message: &ClientJsonRpcMessage,
) -> Option<StreamableHttpPostResponse> {
    let request = match message {
        ClientJsonRpcMessage::Request(request) => request,
        ClientJsonRpcMessage::Notification(notification) => {
            let started = matches!(notification.notification, ClientNotification::InitializedNotification(_));
            return started.then_some(StreamableHttpPostResponse::Accepted);
        }
        _ => return None,
    };
    // Nobody looks at what else it can do.
    let mut capabilities = ServerCapabilities::default();
    capabilities.tools = Some(ToolsCapability::default());
    let result = match request.request {
        ClientRequest::DiscoverRequest(_) => {
            ServerResult::DiscoverResult(DiscoverResult::new(vec![revision.clone()], capabilities))
        }
        ClientRequest::InitializeRequest(_) => {
            let mut result = InitializeResult::new(capabilities);
            result.protocol_version = revision.clone();
            ServerResult::InitializeResult(result)
        }
        _ => return None,
    };
    Some(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::response(result, request.id.clone()), None))
}
