//! MCP servers: the requests to them, and their clients.

use std::{sync::Arc, time::Instant};

use opentelemetry::KeyValue;

use super::{ABORTED, Metrics, named::Spread};

/// One registered server. Clones share it.
#[derive(Clone)]
pub struct McpServer(Arc<Server>);

struct Server {
    metrics: Metrics,
    name: KeyValue,
    open: [KeyValue; 2],
    dozing: [KeyValue; 2],
    /// Requests that went well, by their methods.
    went_well: [Spread<f64>; 5],
}

/// What a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `server/discover`.
    Discover,
    /// `initialize`, with the notification that follows.
    Initialize,
    /// `tools/list`: a page.
    ListTools,
    /// `tools/call`.
    CallTool,
    /// Any other.
    Other,
}

/// How a client is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is open.
    Open,
    /// It is closed, and what it had found out is kept.
    Dozing,
}

/// A client that there is, until this is dropped.
pub struct McpClient {
    server: McpServer,
    state: State,
}

/// A request to a server, until it ends.
pub struct Operation<'a> {
    server: &'a McpServer,
    method: Method,
    began: Instant,
    ended: bool,
}

impl Metrics {
    /// A server, by its registered name.
    pub fn mcp_server(&self, name: &str) -> McpServer {
        let name = KeyValue::new("mcp_server", Arc::<str>::from(name));
        let open = [name.clone(), KeyValue::new("state", "open")];
        let dozing = [name.clone(), KeyValue::new("state", "dozing")];
        let went_well = Default::default();
        McpServer(Arc::new(Server { metrics: self.clone(), name, open, dozing, went_well }))
    }
}

impl McpServer {
    /// A request begins.
    pub fn operation(&self, method: Method) -> Operation<'_> {
        Operation { server: self, method, began: Instant::now(), ended: false }
    }

    /// A client was opened at the server.
    pub fn opened(&self) {
        self.0.metrics.0.instruments.mcp_clients_opened.add(1, std::slice::from_ref(&self.0.name));
    }

    /// A client that there is from now on.
    pub fn client(&self, state: State) -> McpClient {
        self.count(state, 1);
        McpClient { server: self.clone(), state }
    }

    /// A kept client was given up, and why: `idle`, `age`, `capacity` or `broken`.
    pub fn evicted(&self, reason: &'static str) {
        let attributes = [self.0.name.clone(), KeyValue::new("reason", reason)];
        self.0.metrics.0.instruments.mcp_clients_evicted.add(1, &attributes);
    }

    fn count(&self, state: State, more: i64) {
        let attributes = match state {
            State::Open => &self.0.open,
            State::Dozing => &self.0.dozing,
        };
        self.0.metrics.0.instruments.mcp_clients.add(more, attributes);
    }
}

impl McpClient {
    /// Its server.
    pub fn server(&self) -> &McpServer {
        &self.server
    }
}

impl Drop for McpClient {
    fn drop(&mut self) {
        self.server.count(self.state, -1);
    }
}

impl Method {
    /// MCP's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "server/discover",
            Self::Initialize => "initialize",
            Self::ListTools => "tools/list",
            Self::CallTool => "tools/call",
            Self::Other => "_OTHER",
        }
    }
}

impl Operation<'_> {
    /// The request has ended. `error` is of a closed list, and 401 counts by itself, too.
    pub fn end(mut self, error: Option<&'static str>) {
        self.record(error);
    }

    fn record(&mut self, error: Option<&'static str>) {
        self.ended = true;
        let Server { metrics, name, went_well, .. } = &*self.server.0;
        let of = &metrics.0.instruments;
        let method = || KeyValue::new("mcp.method.name", self.method.as_str());
        let took = self.began.elapsed().as_secs_f64();
        match error {
            Some(error) => {
                let attributes = [KeyValue::new("error.type", error), method(), name.clone()];
                of.mcp_duration.record(took, &attributes);
            }
            None => {
                went_well[self.method as usize].record(&of.mcp_duration, took, || [method(), name.clone()]);
            }
        }
        if error == Some("401") {
            of.mcp_unauthorized.add(1, std::slice::from_ref(name));
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.record(Some(ABORTED));
        }
    }
}
