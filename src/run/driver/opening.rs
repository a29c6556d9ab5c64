//! Opening the MCP servers of a run, and listing their tools.

use std::{collections::HashMap, sync::Arc};

use futures_util::future;

use super::{Context, Work};
use crate::{
    agent::AgentServer,
    event::What,
    mcp::{self, Connection, Problem, ToolList},
    run::{Failure, authorization::Repeats, tools::Naming, unlisted},
};

impl Work {
    /// Opens the agent's servers, all at once, and lists their tools.
    pub(super) async fn open(&mut self, context: &Context) -> Result<(), Failure> {
        let agent = &context.request.agent;
        let naming = Naming::of(agent, !context.request.client_tools.is_empty());
        let listings = agent.mcp_servers.iter().filter_map(|server| {
            let connection = self.connections.get(&server.name)?;
            Some(async move { Ok((server, list(context, server, connection).await?)) })
        });
        for (server, listed) in future::try_join_all(listings).await? {
            match listed {
                Ok(list) => {
                    unlisted::tell(agent, server, &list);
                    self.tools.add(server, &list, naming, context.request.allowed_tools.as_ref());
                }
                Err(error) => {
                    let (mcp_server, reason) = (server.name.clone(), error.problem.to_string());
                    self.unavailable.push(error);
                    context.sink.emit(0, || What::McpServerUnavailable { mcp_server, reason }).await?;
                }
            }
        }
        self.tools.add_clients(&context.request.client_tools);
        context.request.tool_choice.check(&self.tools, &self.unavailable)
    }
}

/// Connects to the agent's servers; nothing is sent yet.
pub(super) fn connect(context: &Context) -> HashMap<String, Box<Connection>> {
    let request = &context.request;
    let outgoing = request.correlation.outgoing(&request.correlation.span);
    let connections = request.headers.by_server().iter().filter_map(|(name, headers)| {
        let (correlation, outgoing) = (request.correlation.clone(), outgoing.clone());
        let connection = context.runner.servers.connect(name, headers.clone(), correlation, outgoing)?;
        Some((name.clone(), Box::new(connection)))
    });
    connections.collect()
}

/// A server's tools. An optional server that has none to give says why; but a refused credential is always a failure.
async fn list(
    context: &Context,
    server: &AgentServer,
    connection: &Connection,
) -> Result<Result<Arc<ToolList>, mcp::Error>, Failure> {
    let mut repeats = Repeats::default();
    let listed = loop {
        let listed = connection.tools().await;
        if !repeats.again(context, connection, 0, listed.as_ref().err()).await? {
            break listed;
        }
    };
    match listed {
        Ok(list) => Ok(Ok(list)),
        Err(error) if !server.required && !matches!(error.problem, Problem::Unauthorized(..)) => {
            Ok(Err(error))
        }
        Err(error) => Err(Failure::Mcp(Box::new(error))),
    }
}
