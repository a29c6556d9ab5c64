//! What may be run, as it is configured: the catalogue that a request is held against, and what its run works with.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future;
use tokio::time::{Instant, timeout_at};

use super::{Failure, Limits, Plan, Schemas, unlisted};
use crate::{
    agent::Agent,
    headers::DigestKey,
    mcp::{self, Connection, RunHeaders, SentOfRun, Servers, ToolList},
    metrics::Metrics,
    model::Model,
    trace::Correlation,
};

/// How long after its deadline a listing may still tell servers of its end.
const FAREWELL: Duration = Duration::from_millis(150);

/// What a runner is made of. Names in it are resolved. It never changes: a reload makes another, and a request, and the run
/// that comes of it, goes on with the one that it began with.
pub struct Parts {
    /// The agents, by name.
    pub agents: BTreeMap<String, Arc<Agent>>,
    /// Their models, by configured name.
    pub models: BTreeMap<String, Arc<dyn Model>>,
    /// Their MCP servers.
    pub servers: Servers,
    /// The schemas of tools' arguments.
    pub schemas: Arc<Schemas>,
    /// Bounds on runs.
    pub limits: Limits,
    /// The key of the digests of header values.
    pub digest_key: DigestKey,
    /// The name of this process.
    pub instance: String,
    /// What is counted and measured.
    pub metrics: Metrics,
}

/// A server's tools for a caller, or why there are none.
pub struct ServerTools {
    /// The server's registered name.
    pub mcp_server: String,
    /// All that the server lists; which of them the agent may use is another matter.
    pub tools: Result<Arc<ToolList>, mcp::Error>,
}

impl Parts {
    /// An agent, by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn agent(&self, name: &str) -> Result<Arc<Agent>, Failure> {
        let agent = self.agents.get(name).cloned();
        agent.ok_or_else(|| Failure::AgentNotFound(name.chars().take(64).collect()))
    }

    /// Asks some of an agent's servers for their tools, with a caller's headers. A server that has not answered by the
    /// deadline counts as unavailable; the others' answers stand.
    pub async fn list_tools(
        &self,
        agent: &Agent,
        plan: Plan,
        only: &[String],
        correlation: &Correlation,
        deadline: Instant,
    ) -> Vec<ServerTools> {
        let wanted = agent.mcp_servers.iter().filter(|s| only.is_empty() || only.contains(&s.name));
        let (mut plan, of_run) = (plan, SentOfRun::default());
        let listings = wanted.filter_map(|server| {
            let outgoing = correlation.outgoing(&correlation.span);
            let headers = Arc::new(RunHeaders::new(plan.remove(&server.name)?, of_run.clone()));
            let connection = self.servers.connect(&server.name, headers, correlation.clone(), outgoing)?;
            Some(async move {
                let listed = timeout_at(deadline, list(&connection)).await;
                let tools = listed.unwrap_or_else(|_| Err(mcp::Error::late(&server.name)));
                if let Ok(list) = &tools {
                    unlisted::tell(agent, server, list);
                }
                connection.close(deadline + FAREWELL).await;
                ServerTools { mcp_server: server.name.clone(), tools }
            })
        });
        future::join_all(listings).await
    }
}

/// A server's tools. Where it refuses a registered credential that has another value by now, it is asked once more.
async fn list(connection: &Connection) -> Result<Arc<ToolList>, mcp::Error> {
    match connection.tools().await {
        Err(refused) if refused.is_refusal() && connection.renew(&refused).await? => connection.tools().await,
        listed => listed,
    }
}
