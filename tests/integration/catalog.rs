//! The catalogue: what may be run, with what, and what would be sent; never a value.

use runwright::grpc::proto::{
    AppliedHeaders, AuthPhase, ExplainHeadersRequest, ExplainHeadersResponse, HeaderLayer, HeaderSet,
    ListAgentsRequest, ListMcpServersRequest, ListToolsRequest, McpServerTools, RunRequest,
};
use serde_json::json;
use tonic::Code;

use crate::support::{
    error::decode,
    headers,
    mcp_server::{Era, McpServer, unauthorized},
    run_with,
    service::Service,
};

/// What stands in URLs, values and instructions; no answer of the catalogue may hold it.
const CANARY: &str = "canary-77e1c0";

/// A service with agents `a0` to `a4`, which all have `crm` and `wiki`; `spare` nobody has.
async fn start(crm: &str, wiki: &str) -> Service {
    let agents: String = (0..5)
        .map(|n| format!("  a{n}: {{ description: \"number {n}\", instructions: {CANARY}, model: scripted, mcp_servers: [{{ name: wiki }}, {{ name: crm, tools: [whoami, listed], headers: {{ X-Agent: {CANARY}-a }} }}] }}\n"))
        .collect();
    let yaml = format!(
        r#"
models: {{ scripted: {{ provider: scripted, script: [{{ say: done }}] }} }}
mcp_servers:
  crm: {{ url: "{crm}?key={CANARY}", headers: {{ X-Service-Key: {CANARY}-s, x-api-version: "2" }} }}
  wiki: {{ url: "{wiki}" }}
  spare: {{ url: "https://mcp.example.com:8443/{CANARY}/mcp?key={CANARY}" }}
agents:
{agents}
"#
    );
    Service::start(&yaml).await
}

async fn tools(service: &Service, request: ListToolsRequest) -> Vec<McpServerTools> {
    let response = service.catalog.clone().list_tools(request).await.unwrap().into_inner();
    assert!(!format!("{response:?}").contains(CANARY), "{response:?}");
    response.servers
}

async fn explain(service: &Service, request: &RunRequest) -> ExplainHeadersResponse {
    let request = ExplainHeadersRequest {
        agent: request.agent.clone(),
        per_run_mcp_headers: request.per_run_mcp_headers.clone(),
        mcp_headers: request.mcp_headers.clone(),
    };
    let response = service.catalog.clone().explain_headers(request).await.unwrap().into_inner();
    assert!(!format!("{response:?}").contains(CANARY), "{response:?}");
    response
}

fn names(tools: &McpServerTools) -> Vec<&str> {
    tools.tools.iter().map(|tool| tool.name.as_str()).collect()
}

/// Name and layer of each header.
fn layers(applied: &AppliedHeaders) -> Vec<(&str, HeaderLayer)> {
    applied.headers.iter().map(|header| (header.name.as_str(), header.layer())).collect()
}

fn digest<'a>(applied: &'a AppliedHeaders, name: &str) -> &'a str {
    &applied.headers.iter().find(|header| header.name == name).unwrap().digest
}

#[tokio::test]
async fn agents_are_listed_page_by_page() {
    let service = start("http://127.0.0.1:9/mcp", "http://127.0.0.1:9/mcp").await;
    for size in [0, 1, 2, 5, 1000, i32::MAX] {
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListAgentsRequest { page_size: size, page_token };
            let page = service.catalog.clone().list_agents(request).await.unwrap().into_inner();
            assert!(!format!("{page:?}").contains(CANARY), "{page:?}");
            assert!(size == 0 || page.agents.len() <= usize::try_from(size).unwrap());
            seen.extend(page.agents);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let names: Vec<&str> = seen.iter().map(|agent| agent.name.as_str()).collect();
        assert_eq!(names, ["a0", "a1", "a2", "a3", "a4"], "{size}");
        let agent = &seen[3];
        assert_eq!((&*agent.description, &*agent.model), ("number 3", "scripted"));
        assert_eq!(agent.mcp_servers, ["wiki", "crm"]);
    }
    for (page_size, page_token, field) in [(-1, "", "page_size"), (1, "?", "page_token")] {
        let request = ListAgentsRequest { page_size, page_token: page_token.to_owned() };
        let status = service.catalog.clone().list_agents(request).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, "INVALID_REQUEST"));
        assert_eq!(decoded.fields(), [field]);
    }
}

#[tokio::test]
async fn servers_are_listed_by_origin_without_a_path_a_query_or_a_value() {
    let service = start("http://127.0.0.1:9/mcp", "http://127.0.0.1:9/mcp").await;
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListMcpServersRequest { page_size: 2, page_token };
        let page = service.catalog.clone().list_mcp_servers(request).await.unwrap().into_inner();
        assert!(!format!("{page:?}").contains(CANARY), "{page:?}");
        seen.extend(page.mcp_servers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let names: Vec<&str> = seen.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["crm", "spare", "wiki"]);
    assert_eq!(seen[0].origin, "http://127.0.0.1:9");
    assert_eq!(seen[1].origin, "https://mcp.example.com:8443");
    assert_eq!(seen[0].default_header_names, ["x-api-version", "x-service-key"]);
    assert!(seen[1].default_header_names.is_empty());
}

#[tokio::test]
async fn tools_are_listed_as_a_run_would_have_them() {
    let crm = McpServer::with_hook(Era::Modern, |seen| async move {
        let schema = json!({ "type": "object", "properties": { "z": {}, "a": { "maximum": 12345678901234567890_u64 } } });
        let tools = json!([
            { "name": "listed", "description": "Lists.", "inputSchema": schema },
            { "name": "hidden", "inputSchema": { "type": "object" } },
            { "name": "broken" },
        ]);
        (seen.method() == "tools/list").then(|| seen.result(json!({ "resultType": "complete", "tools": tools })))
    })
    .await;
    let wiki = McpServer::start(Era::Stateful).await;
    let service = start(&crm.url(), &wiki.url()).await;
    let request = || ListToolsRequest {
        agent: "a0".into(),
        per_run_mcp_headers: [("crm".into(), headers([("x-user", "7")]))].into(),
        ..Default::default()
    };
    let servers = tools(&service, request()).await;
    let order: Vec<&str> = servers.iter().map(|server| server.mcp_server.as_str()).collect();
    assert_eq!(order, ["wiki", "crm"], "the agent's order");
    assert_eq!((names(&servers[0]), names(&servers[1])), (vec!["whoami", "fail"], vec!["listed"]));
    assert_eq!((&*servers[1].tools[0].description, &*servers[1].tools[0].input_schema_json), ("Lists.", ""));
    assert_eq!(servers[1].dropped_tools[0].name, "broken");
    assert!(crm.seen().iter().all(|seen| seen.header("x-user") == "7"));
    assert!(wiki.seen().iter().all(|seen| seen.header("x-user").is_empty()));
    assert_eq!(wiki.methods().last().unwrap(), "DELETE", "its session does not stay");

    wiki.forget();
    let mut one = request();
    (one.mcp_servers, one.include_schemas) = (vec!["crm".into()], true);
    let servers = tools(&service, one).await;
    assert_eq!(servers.len(), 1);
    assert_eq!(
        servers[0].tools[0].input_schema_json,
        r#"{"type":"object","properties":{"z":{},"a":{"maximum":12345678901234567890}}}"#
    );
    assert!(wiki.seen().is_empty());

    let mut unknown = request();
    unknown.mcp_servers = vec!["crm".into(), "spare".into()];
    let status = service.catalog.clone().list_tools(unknown).await.unwrap_err();
    assert_eq!(decode(&status).fields(), ["mcp_servers[1]"]);
}

#[tokio::test]
async fn a_server_whose_tools_can_not_be_listed_has_a_problem_and_the_others_have_tools() {
    let crm = McpServer::with_hook(Era::Modern, |seen| async move {
        let challenge = format!(r#"Bearer error="invalid_token", scope="{CANARY}-t""#);
        (seen.method() == "tools/list").then(|| unauthorized(&challenge))
    })
    .await;
    let wiki = McpServer::start(Era::Modern).await;
    let service = start(&crm.url(), &wiki.url()).await;
    let request = ListToolsRequest {
        agent: "a0".into(),
        per_run_mcp_headers: [("crm".into(), headers([("authorization", &*format!("Bearer {CANARY}-t"))]))]
            .into(),
        ..Default::default()
    };
    let servers = tools(&service, request).await;
    assert_eq!(names(&servers[0]), ["whoami", "fail"]);
    let problem = servers[1].problem.as_ref().unwrap();
    let challenge = problem.auth_challenge.as_ref().unwrap();
    assert_eq!((&*problem.reason, &*challenge.error), ("MCP_UNAUTHORIZED", "invalid_token"));
    assert_eq!(
        (challenge.phase(), challenge.credential_layer()),
        (AuthPhase::Listing, HeaderLayer::RunServer)
    );
    assert!(servers[1].tools.is_empty());

    let down = start("http://127.0.0.1:9/mcp", &wiki.url()).await;
    let servers = tools(&down, ListToolsRequest { agent: "a0".into(), ..Default::default() }).await;
    assert_eq!(servers[1].problem.as_ref().unwrap().reason, "MCP_UNAVAILABLE");
}

#[tokio::test]
async fn headers_are_explained_as_a_run_applies_them() {
    let (crm, wiki) = (McpServer::start(Era::Modern).await, McpServer::start(Era::Modern).await);
    let service = start(&crm.url(), &wiki.url()).await;
    let same = format!("{CANARY}-same");
    let mut request = run_with(
        "a0",
        [
            ("crm", headers([("Authorization", &*same), ("x-agent", "mine")])),
            ("wiki", headers([("authorization", &*same), ("x-other", &*same)])),
        ],
    );
    request.mcp_headers =
        Some(HeaderSet { remove: vec!["X-Api-Version".into()], ..headers([("x-tenant", "7")]) });
    let explained = explain(&service, &request).await;
    assert!(explained.problems.is_empty());
    assert!(crm.seen().is_empty() && wiki.seen().is_empty(), "nothing is sent");
    let (to_crm, to_wiki) = (&explained.applied_headers["crm"], &explained.applied_headers["wiki"]);
    use HeaderLayer::{Run, RunServer, Server};
    assert_eq!(
        layers(to_crm),
        [("authorization", RunServer), ("x-agent", RunServer), ("x-service-key", Server), ("x-tenant", Run),]
    );
    assert_eq!(to_crm.removed, ["x-api-version"]);
    assert_eq!(layers(to_wiki), [("authorization", RunServer), ("x-other", RunServer), ("x-tenant", Run)]);
    assert!(to_wiki.removed.is_empty());

    // Equal for equal values of a name, and for nothing else.
    assert_eq!(digest(to_crm, "authorization"), digest(to_wiki, "authorization"));
    assert_ne!(digest(to_wiki, "authorization"), digest(to_wiki, "x-other"));
    let other =
        explain(&service, &run_with("a1", [("crm", headers([("authorization", "Bearer else")]))])).await;
    let other = &other.applied_headers["crm"];
    assert_ne!(digest(to_crm, "authorization"), digest(other, "authorization"));
    assert_eq!(digest(to_crm, "x-service-key"), digest(other, "x-service-key"));
    assert_eq!(layers(other)[1], ("x-agent", HeaderLayer::Agent));
    assert!(digest(other, "authorization").chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(digest(other, "authorization").len(), 16);

    let response = service.run(request.clone()).await.unwrap();
    assert_eq!(response.applied_headers, explained.applied_headers);
    assert!(!format!("{response:?}").contains(CANARY));
    // The key is each process's own.
    let elsewhere = explain(&start(&crm.url(), &wiki.url()).await, &request).await;
    assert_ne!(elsewhere.applied_headers["crm"], explained.applied_headers["crm"]);
}

#[tokio::test]
async fn bad_headers_are_an_answer_and_no_error() {
    let service = start("http://127.0.0.1:9/mcp", "http://127.0.0.1:9/mcp").await;
    let mut request = run_with(
        "a0",
        [
            ("crm", headers([("Host", CANARY), ("x-good", "1"), ("x-empty", "")])),
            ("nobody", headers([("x-a", CANARY)])),
            ("spare", headers([("x-a", CANARY)])),
        ],
    );
    request.mcp_headers = Some(headers([("Authorization", CANARY), ("x-also-good", "1")]));
    let explained = explain(&service, &request).await;
    let mut problems: Vec<_> =
        explained.problems.iter().map(|p| (&*p.mcp_server, &*p.header, &*p.reason, &*p.field)).collect();
    problems.sort_unstable();
    assert_eq!(
        problems,
        [
            ("", "Authorization", "HEADER_NOT_ALLOWED", "mcp_headers.headers[\"Authorization\"]"),
            ("crm", "Host", "INVALID_REQUEST", "per_run_mcp_headers[\"crm\"].headers[\"Host\"]"),
            ("crm", "x-empty", "INVALID_REQUEST", "per_run_mcp_headers[\"crm\"].headers[\"x-empty\"]"),
            ("nobody", "", "UNKNOWN_MCP_SERVER", "per_run_mcp_headers[\"nobody\"]"),
            ("spare", "", "UNKNOWN_MCP_SERVER", "per_run_mcp_headers[\"spare\"]"),
        ]
    );
    let sent: Vec<&str> = layers(&explained.applied_headers["crm"]).iter().map(|(name, _)| *name).collect();
    assert_eq!(sent, ["x-agent", "x-also-good", "x-api-version", "x-good", "x-service-key"]);

    let status = service.catalog.clone().explain_headers(ExplainHeadersRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), &*decode(&status).reason), (Code::NotFound, "AGENT_NOT_FOUND"));
}

#[tokio::test]
async fn a_server_that_is_late_is_a_problem_of_its_own() {
    let late = McpServer::with_hook(Era::Modern, async |_| std::future::pending().await).await;
    let wiki = McpServer::start(Era::Modern).await;
    let service = start(&late.url(), &wiki.url()).await;
    let mut request = tonic::Request::new(ListToolsRequest { agent: "a0".into(), ..Default::default() });
    request.set_timeout(std::time::Duration::from_millis(600));
    let servers = service.catalog.clone().list_tools(request).await.unwrap().into_inner().servers;
    let problems: Vec<_> =
        servers.iter().map(|server| server.problem.as_ref().map_or("", |problem| &problem.reason)).collect();
    assert_eq!(problems, ["", "MCP_UNAVAILABLE"], "the answers of the others stand");
}

#[tokio::test]
async fn servers_to_ask_for_tools_are_named_in_bounded_number() {
    let crm = McpServer::start(Era::Modern).await;
    let service = start(&crm.url(), &crm.url()).await;
    let asking = |name: &str, count: usize| ListToolsRequest {
        agent: "a0".into(),
        mcp_servers: vec![name.to_owned(); count],
        ..Default::default()
    };
    for (name, count) in [("crm", 257), ("", 1_000_000)] {
        let status = service.catalog.clone().list_tools(asking(name, count)).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, "INVALID_REQUEST"));
        assert_eq!(decoded.fields(), ["mcp_servers"], "{name}");
        assert!(crm.seen().is_empty());
    }
    let servers = tools(&service, asking("crm", 256)).await;
    assert_eq!(servers.len(), 1, "each is asked once");
}
