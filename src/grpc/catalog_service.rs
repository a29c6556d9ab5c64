//! `runwright.v1.CatalogService`.

use http::HeaderName;
use tokio::time::Instant;
use tonic::Request;
use tracing::Instrument;

use super::{
    decode, encode, fit, metadata,
    page::page,
    proto::{self, catalog_service_server::CatalogService},
    rpc::Rpc,
    status::Reply,
};
use crate::{
    agent::Agent,
    credential,
    mcp::ServerConfig,
    metrics::Metrics,
    run::{Failure, Runner, ServerTools, plan},
};

/// How long `ListTools` may take, whatever its caller's deadline is.
const LIST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// The handlers of `CatalogService`.
pub struct CatalogHandlers(Runner);

impl CatalogHandlers {
    /// Handlers over a runner.
    pub fn new(runner: Runner) -> Self {
        Self(runner)
    }

    fn metrics(&self) -> &Metrics {
        self.0.metrics()
    }

    fn agents(&self, request: &proto::ListAgentsRequest) -> Result<proto::ListAgentsResponse, Failure> {
        let parts = self.0.parts();
        let agents = parts.agents.values().map(|agent| &**agent);
        let (agents, next_page_token) =
            page(agents, |agent| &agent.name, request.page_size, &request.page_token)?;
        Ok(proto::ListAgentsResponse { agents: agents.into_iter().map(agent).collect(), next_page_token })
    }

    fn servers(
        &self,
        request: &proto::ListMcpServersRequest,
    ) -> Result<proto::ListMcpServersResponse, Failure> {
        let parts = self.0.parts();
        let servers = parts.servers.iter();
        let (servers, next_page_token) =
            page(servers, |server| &server.name, request.page_size, &request.page_token)?;
        let mcp_servers = servers.into_iter().map(mcp_server).collect();
        Ok(proto::ListMcpServersResponse { mcp_servers, next_page_token })
    }

    fn explain(
        &self,
        request: proto::ExplainHeadersRequest,
    ) -> Result<proto::ExplainHeadersResponse, Failure> {
        let parts = self.0.parts();
        let agent = parts.agent(&request.agent)?;
        let requested = decode::headers(request.per_run_mcp_headers, request.mcp_headers, false);
        let (plan, violations) = plan(&agent, &parts.servers, &requested, 0);
        let applied =
            plan.iter().map(|(server, sent)| (server.clone(), credential::applied(sent, &parts.digest_key)));
        Ok(proto::ExplainHeadersResponse {
            applied_headers: encode::applied_headers(&applied.collect()),
            problems: encode::header_problems(&violations),
        })
    }

    async fn tools(
        &self,
        request: proto::ListToolsRequest,
        rpc: &Rpc,
        deadline: Instant,
    ) -> Result<proto::ListToolsResponse, Failure> {
        let parts = self.0.parts();
        let agent = parts.agent(&request.agent)?;
        decode::check_server_count("mcp_servers", &request.mcp_servers)?;
        let mut requested = decode::headers(request.per_run_mcp_headers, request.mcp_headers, false);
        requested.asked.clone_from(&request.mcp_servers);
        let (plan, mut violations) = plan(&agent, &parts.servers, &requested, 0);
        decode::check_servers("mcp_servers", &request.mcp_servers, &agent, &mut violations);
        if !violations.is_empty() {
            return Err(Failure::Invalid(violations));
        }
        let listed = parts.list_tools(&agent, plan, &request.mcp_servers, &rpc.correlation, deadline).await;
        let servers = listed.into_iter().map(|tools| server_tools(tools, &agent, request.include_schemas));
        let mut response = proto::ListToolsResponse { servers: servers.collect() };
        fit::tools(&mut response);
        Ok(response)
    }
}

#[tonic::async_trait]
impl CatalogService for CatalogHandlers {
    async fn list_agents(
        &self,
        request: Request<proto::ListAgentsRequest>,
    ) -> Reply<proto::ListAgentsResponse> {
        let rpc = Rpc::begin("runwright.v1.CatalogService/ListAgents", &request, self.metrics())?;
        let result = self.agents(request.get_ref());
        rpc.refuse_or(result)
    }

    async fn list_mcp_servers(
        &self,
        request: Request<proto::ListMcpServersRequest>,
    ) -> Reply<proto::ListMcpServersResponse> {
        let rpc = Rpc::begin("runwright.v1.CatalogService/ListMcpServers", &request, self.metrics())?;
        let result = self.servers(request.get_ref());
        rpc.refuse_or(result)
    }

    async fn list_tools(&self, request: Request<proto::ListToolsRequest>) -> Reply<proto::ListToolsResponse> {
        let rpc = Rpc::begin("runwright.v1.CatalogService/ListTools", &request, self.metrics())?;
        let own = Instant::now() + LIST_TIMEOUT;
        let deadline = metadata::deadline(request.extensions()).map_or(own, |callers| callers.work.min(own));
        let result =
            self.tools(request.into_inner(), &rpc, deadline).instrument(rpc.span().lines().clone()).await;
        rpc.refuse_or(result)
    }

    async fn explain_headers(
        &self,
        request: Request<proto::ExplainHeadersRequest>,
    ) -> Reply<proto::ExplainHeadersResponse> {
        let rpc = Rpc::begin("runwright.v1.CatalogService/ExplainHeaders", &request, self.metrics())?;
        let result = self.explain(request.into_inner());
        rpc.refuse_or(result)
    }
}

fn agent(agent: &Agent) -> proto::Agent {
    proto::Agent {
        name: agent.name.clone(),
        description: agent.description.clone(),
        model: agent.model.clone(),
        mcp_servers: agent.server_names().map(str::to_owned).collect(),
        models: agent.models().map(str::to_owned).collect(),
    }
}

fn mcp_server(server: &ServerConfig) -> proto::McpServer {
    let mut default_header_names: Vec<String> = server.headers.names().map(str::to_owned).collect();
    default_header_names.sort_unstable();
    let rules = &server.caller_headers;
    proto::McpServer {
        name: server.name.clone(),
        origin: server.origin(),
        default_header_names,
        allowed: texts(rules.allowed().unwrap_or_default()),
        required: texts(rules.required()),
        locked: texts(rules.locked()),
        any_allowed: rules.allowed().is_none(),
    }
}

fn texts(names: &[HeaderName]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn server_tools(listed: ServerTools, agent: &Agent, schemas: bool) -> proto::McpServerTools {
    let ServerTools { mcp_server, tools } = listed;
    let list = match tools {
        Ok(list) => list,
        Err(error) => return encode::tools_problem(mcp_server, error),
    };
    let allowed = agent.server(&mcp_server).and_then(|server| server.tools.as_ref());
    let tools = list.tools.iter().filter(|tool| allowed.is_none_or(|names| names.contains(&tool.name)));
    proto::McpServerTools {
        tools: tools.map(|tool| encode::tool(tool, schemas)).collect(),
        dropped_tools: list.dropped.iter().map(encode::dropped_tool).collect(),
        problem: None,
        mcp_server,
    }
}
