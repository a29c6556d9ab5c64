//! What a registration lets callers bring and requires of them: refused alike by a run, a stream and a tool list, and told
//! by ExplainHeaders, before anything is asked of anybody.

use runwright::grpc::proto::{
    ExplainHeadersRequest, ExplainHeadersResponse, HeaderSet, ListMcpServersRequest, ListToolsRequest,
    RunOptions, RunRequest,
};
use tonic::{Code, Status};

use crate::support::{
    error::decode,
    headers,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, says},
    run_with,
    service::Service,
};

/// The value of every header that is refused; no answer may hold it.
const CANARY: &str = "canary-c09f52";

const NOT_ALLOWED: &str = "HEADER_NOT_ALLOWED";
const MISSING: &str = "REQUIRED_HEADER_MISSING";

/// A problem: its reason, server, header and field.
type Problem<'a> = (&'a str, &'a str, &'a str, &'a str);

/// What is brought: agent, `mcp_headers`, `per_run_mcp_headers`.
type Brought<'a> = (&'a str, HeaderSet, &'a [(&'a str, HeaderSet)]);

/// A service whose agents are named for the servers that they have:
/// `crm` lists what it takes, requires a credential and locks a header; `wiki` lists and requires nothing; `shut` takes
/// nothing; `open` has no rules.
struct World {
    model: ModelServer,
    servers: [(&'static str, McpServer); 4],
    service: Service,
}

impl World {
    async fn start() -> Self {
        let model = ModelServer::start(|_| async { says("done") }).await;
        let start = || McpServer::start(Era::Modern);
        let [crm, wiki, shut, open] = [start().await, start().await, start().await, start().await];
        let yaml = format!(
            r#"
models: {{ main: {{ provider: openai_chat, base_url: "{}", model: m-1 }} }}
mcp_servers:
  crm:
    url: "{}"
    headers: {{ X-Api-Version: "2", Authorization: Bearer default }}
    caller_headers: {{ allowed: [Authorization, X-User-Id, x-tenant], required: [AUTHORIZATION], locked: [x-api-version] }}
  wiki:
    url: "{}"
    caller_headers: {{ allowed: [authorization, x-tenant] }}
  shut: {{ url: "{}", headers: {{ X-Fixed: "1" }}, caller_headers: {{ allowed: [] }} }}
  open: {{ url: "{}" }}
agents:
  crm: {{ model: main, mcp_servers: [{{ name: crm, headers: {{ X-Agent: a }} }}] }}
  shut: {{ model: main, mcp_servers: [shut] }}
  open: {{ model: main, mcp_servers: [open] }}
  crm-wiki: {{ model: main, mcp_servers: [crm, wiki] }}
  crm-open: {{ model: main, mcp_servers: [crm, open] }}
  shut-wiki: {{ model: main, mcp_servers: [shut, wiki] }}
  agents-own: {{ model: main, mcp_servers: [{{ name: shut, headers: {{ X-Fixed: "2" }} }}] }}
"#,
            model.base_url(),
            crm.url(),
            wiki.url(),
            shut.url(),
            open.url()
        );
        let servers = [("crm", crm), ("wiki", wiki), ("shut", shut), ("open", open)];
        Self { service: Service::start(&yaml).await, model, servers }
    }

    /// A server by its name.
    fn server(&self, name: &str) -> &McpServer {
        &self.servers.iter().find(|(at, _)| *at == name).unwrap().1
    }

    /// What is brought is refused for these problems, whoever asks. Gives the texts that tell them.
    async fn refused(&self, (agent, all, own): Brought<'_>, expected: &[Problem<'_>]) -> Vec<String> {
        let request = request((agent, all, own));
        let kinds = |reason| expected.iter().any(|problem| problem.0 == reason);
        let reason = if kinds(NOT_ALLOWED) && kinds(MISSING) { "INVALID_REQUEST" } else { expected[0].0 };

        let (events, end) = self.service.events(request.clone()).await;
        assert!(events.is_empty());
        let unary = self.service.run(request.clone()).await.unwrap_err();
        let listing = self.service.catalog.clone().list_tools(list(&request)).await.unwrap_err();
        for status in [unary, end.unwrap_err(), listing] {
            self.check(&status, reason, expected);
        }

        let explained = self.explain(&request).await;
        let mut problems: Vec<_> =
            explained.problems.iter().map(|p| (&*p.reason, &*p.mcp_server, &*p.header, &*p.field)).collect();
        let mut sorted = expected.to_vec();
        problems.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(problems, sorted, "{request:?}");
        self.is_untouched();
        explained.problems.into_iter().map(|problem| problem.description).collect()
    }

    fn check(&self, status: &Status, reason: &str, expected: &[Problem<'_>]) {
        let decoded = decode(status);
        assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, reason), "{status:?}");
        assert_eq!(decoded.metadata["admitted"], "false");
        let violations = decoded.violations().iter();
        let mut violations: Vec<_> = violations.map(|v| (&*v.reason, &*v.field)).collect();
        let mut expected: Vec<_> = expected.iter().map(|(reason, _, _, field)| (*reason, *field)).collect();
        violations.sort_unstable();
        expected.sort_unstable();
        assert_eq!(violations, expected, "{status:?}");
        assert!(!format!("{status:?} {decoded:?}").contains(CANARY), "{status:?}");
    }

    /// What is brought has no problem, and a run with it goes through.
    async fn taken(&self, brought: Brought<'_>) -> ExplainHeadersResponse {
        let request = request(brought);
        let explained = self.explain(&request).await;
        assert!(explained.problems.is_empty(), "{explained:?}");
        self.is_untouched();
        let unary = self.service.run(request.clone()).await.unwrap();
        let streamed = self.service.run_streamed(request.clone()).await.unwrap();
        self.service.catalog.clone().list_tools(list(&request)).await.unwrap();
        assert_eq!(unary.applied_headers, explained.applied_headers);
        assert_eq!(streamed.applied_headers, explained.applied_headers);
        explained
    }

    async fn explain(&self, request: &RunRequest) -> ExplainHeadersResponse {
        let request = ExplainHeadersRequest {
            agent: request.agent.clone(),
            per_run_mcp_headers: request.per_run_mcp_headers.clone(),
            mcp_headers: request.mcp_headers.clone(),
        };
        let response = self.service.catalog.clone().explain_headers(request).await.unwrap().into_inner();
        assert!(!format!("{response:?}").contains(CANARY), "{response:?}");
        response
    }

    fn is_untouched(&self) {
        assert!(self.servers.iter().all(|(_, server)| server.seen().is_empty()), "an MCP server was asked");
        assert!(self.model.seen().is_empty(), "the model was asked");
    }
}

fn request((agent, all, own): Brought<'_>) -> RunRequest {
    let own = own.iter().map(|(server, set)| ((*server).to_owned(), set.clone()));
    RunRequest { mcp_headers: Some(all), per_run_mcp_headers: own.collect(), ..run_with(agent, []) }
}

fn list(request: &RunRequest) -> ListToolsRequest {
    ListToolsRequest {
        agent: request.agent.clone(),
        per_run_mcp_headers: request.per_run_mcp_headers.clone(),
        mcp_headers: request.mcp_headers.clone(),
        ..Default::default()
    }
}

fn none() -> HeaderSet {
    HeaderSet::default()
}

fn set(name: &str) -> HeaderSet {
    headers([(name, CANARY)])
}

fn remove(name: &str) -> HeaderSet {
    HeaderSet { remove: vec![name.to_owned()], ..HeaderSet::default() }
}

/// A set that has both.
fn and(one: HeaderSet, other: HeaderSet) -> HeaderSet {
    HeaderSet {
        headers: one.headers.into_iter().chain(other.headers).collect(),
        remove: [one.remove, other.remove].concat(),
    }
}

/// The credential that `crm` requires.
fn token() -> HeaderSet {
    set("authorization")
}

#[tokio::test]
async fn a_server_is_brought_only_what_it_allows() {
    let world = World::start().await;
    for (agent, server, name) in [
        ("crm", "crm", "x-other"),
        ("crm", "crm", "X-OTHER"),
        ("crm", "crm", "Cookie"),
        // Locked.
        ("crm", "crm", "X-Api-Version"),
        // The agent's own may be replaced only if it is allowed.
        ("crm", "crm", "x-agent"),
        ("crm-wiki", "wiki", "x-user-id"),
        ("shut", "shut", "authorization"),
        ("shut", "shut", "x-fixed"),
    ] {
        for (brought, part) in [(set(name), "headers"), (remove(name), "remove")] {
            let field = format!("per_run_mcp_headers[\"{server}\"].{part}[\"{name}\"]");
            let all = if agent == "crm" { token() } else { none() };
            let mut own = vec![(server, brought)];
            own.extend((agent == "crm-wiki").then(|| ("crm", token())));
            let told = world.refused((agent, all, &own), &[(NOT_ALLOWED, server, name, &field)]).await;
            assert!(told[0].contains(&format!("`{server}`")), "{told:?}");
        }
    }
}

#[tokio::test]
async fn what_goes_to_all_servers_must_be_allowed_by_each() {
    let world = World::start().await;
    let token = [("crm", token())];
    for (agent, own, server, name) in [
        ("crm-wiki", &token[..], "wiki", "X-User-Id"),
        ("crm-open", &token, "crm", "x-other"),
        ("crm-open", &token, "crm", "x-api-version"),
        ("shut-wiki", &[], "shut", "x-tenant"),
        ("shut", &[], "shut", "x-tenant"),
        // A credential is no other case where a server does not allow it.
        ("shut-wiki", &[], "shut", "Authorization"),
    ] {
        for (all, part) in [(set(name), "headers"), (remove(name), "remove")] {
            let field = format!("mcp_headers.{part}[\"{name}\"]");
            let told = world.refused((agent, all, own), &[(NOT_ALLOWED, server, name, &field)]).await;
            assert!(told[0].contains(&format!("`{server}`")), "{told:?}");
            let several = agent.contains('-');
            assert_eq!(told[0].contains("per_run_mcp_headers"), several, "{told:?}");
        }
    }
    // Each server that does not take it is named.
    let field = "mcp_headers.headers[\"x-other\"]";
    let expected = [(NOT_ALLOWED, "crm", "x-other", field), (NOT_ALLOWED, "wiki", "x-other", field)];
    world.refused(("crm-wiki", set("x-other"), &token), &expected).await;
}

#[tokio::test]
async fn a_credential_goes_to_all_servers_only_if_each_names_it() {
    let world = World::start().await;
    let field = "mcp_headers.headers[\"Authorization\"]";
    // `open` takes anything, and does not name it. What is refused is not missing, too.
    let brought = ("crm-open", set("Authorization"), &[][..]);
    let told = world.refused(brought, &[(NOT_ALLOWED, "", "Authorization", field)]).await;
    assert!(told[0].contains("per_run_mcp_headers"), "{told:?}");

    let explained = world.taken(("crm-wiki", set("Authorization"), &[])).await;
    for server in ["crm", "wiki"] {
        assert!(world.server(server).seen().iter().all(|seen| seen.header("authorization") == CANARY));
        assert!(
            explained.applied_headers[server].headers.iter().any(|header| header.name == "authorization")
        );
    }
}

#[tokio::test]
async fn a_required_header_comes_from_the_caller() {
    let field = "per_run_mcp_headers[\"crm\"].headers[\"authorization\"]";
    let missing = [(MISSING, "crm", "authorization", field)];
    let world = World::start().await;
    for (all, own) in [
        // The registration's default does not do.
        (none(), vec![]),
        (set("x-tenant"), vec![("crm", set("x-user-id"))]),
        // Neither does what is taken away, nor another server's.
        (remove("authorization"), vec![]),
        (none(), vec![("crm", remove("Authorization"))]),
        (none(), vec![("wiki", token())]),
        (token(), vec![("crm", remove("authorization"))]),
    ] {
        let told = world.refused(("crm-wiki", all, &own), &missing).await;
        assert!(told[0].contains("`crm`"), "{told:?}");
    }
    for (agent, all, own) in [
        ("crm", token(), vec![]),
        ("crm", set("Authorization"), vec![]),
        ("crm-wiki", none(), vec![("crm", set("AUTHORIZATION"))]),
        ("crm-open", none(), vec![("crm", token())]),
        ("crm", remove("authorization"), vec![("crm", token())]),
        ("crm-wiki", token(), vec![("wiki", remove("authorization"))]),
    ] {
        let world = World::start().await;
        world.taken((agent, all, &own)).await;
        let seen = world.server("crm").seen();
        assert!(!seen.is_empty() && seen.iter().all(|seen| seen.header("authorization") == CANARY));
    }
}

#[tokio::test]
async fn all_problems_come_at_once() {
    let world = World::start().await;
    let own = [
        ("crm", and(set("x-other"), and(set("x-user-id"), remove("x-api-version")))),
        ("wiki", set("x-user-id")),
    ];
    let expected = [
        (NOT_ALLOWED, "wiki", "X-User-Id", "mcp_headers.headers[\"X-User-Id\"]"),
        (NOT_ALLOWED, "crm", "x-other", "per_run_mcp_headers[\"crm\"].headers[\"x-other\"]"),
        (NOT_ALLOWED, "crm", "x-api-version", "per_run_mcp_headers[\"crm\"].remove[\"x-api-version\"]"),
        (NOT_ALLOWED, "wiki", "x-user-id", "per_run_mcp_headers[\"wiki\"].headers[\"x-user-id\"]"),
        (MISSING, "crm", "authorization", "per_run_mcp_headers[\"crm\"].headers[\"authorization\"]"),
    ];
    let all = and(set("X-User-Id"), set("x-tenant"));
    world.refused(("crm-wiki", all.clone(), &own), &expected).await;

    // What has no problem is shown as it would be sent.
    let explained = world.explain(&request(("crm-wiki", all, &own))).await;
    let names = |server: &str| -> Vec<String> {
        explained.applied_headers[server].headers.iter().map(|header| header.name.clone()).collect()
    };
    assert_eq!(names("crm"), ["authorization", "x-api-version", "x-tenant", "x-user-id"]);
    assert_eq!(names("wiki"), ["x-tenant"]);
    assert!(explained.applied_headers["crm"].removed.is_empty());
}

#[tokio::test]
async fn a_required_header_with_a_bad_value_is_wrong_and_not_missing() {
    let world = World::start().await;
    for (all, own, field) in [
        (none(), headers([("Authorization", "")]), "per_run_mcp_headers[\"crm\"].headers[\"Authorization\"]"),
        (headers([("authorization", " x")]), none(), "mcp_headers.headers[\"authorization\"]"),
    ] {
        let status = world.service.run(request(("crm", all, &[("crm", own)]))).await.unwrap_err();
        world.check(&status, "INVALID_REQUEST", &[("INVALID_REQUEST", "", "", field)]);
    }
    world.is_untouched();
}

#[tokio::test]
async fn what_is_configured_and_other_agents_servers_are_not_bound() {
    let world = World::start().await;
    world.taken(("agents-own", none(), &[])).await;
    assert!(world.server("shut").seen().iter().all(|seen| seen.header("x-fixed") == "2"));

    // Without rules anything goes, a locked server's names included.
    let world = World::start().await;
    let own = [("open", and(set("x-api-version"), remove("x-fixed")))];
    world.taken(("open", set("authorization"), &own)).await;

    let options = Some(RunOptions { ignore_unused_headers: true, ..Default::default() });
    let ignored = request(("open", none(), &[("shut", set("x-any")), ("open", set("x-any"))]));
    world.service.run(RunRequest { options, ..ignored }).await.unwrap();
    assert!(world.server("shut").seen().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_asked_for_its_tools_requires_nothing() {
    let world = World::start().await;
    let filtered = |servers: &[&str]| ListToolsRequest {
        agent: "crm-wiki".to_owned(),
        mcp_servers: servers.iter().map(|&server| server.to_owned()).collect(),
        ..Default::default()
    };
    for servers in [&["crm"][..], &["wiki", "crm"]] {
        let status = world.service.catalog.clone().list_tools(filtered(servers)).await.unwrap_err();
        assert_eq!(decode(&status).reason, MISSING, "{servers:?}");
    }
    world.is_untouched();
    let listed = world.service.catalog.clone().list_tools(filtered(&["wiki"])).await.unwrap().into_inner();
    assert_eq!(listed.servers.len(), 1);
    assert!(world.server("crm").seen().is_empty() && !world.server("wiki").seen().is_empty());
}

#[tokio::test]
async fn the_rules_are_listed() {
    let world = World::start().await;
    let servers = world.service.catalog.clone().list_mcp_servers(ListMcpServersRequest::default()).await;
    let servers = servers.unwrap().into_inner().mcp_servers;
    let rules: Vec<_> = servers
        .iter()
        .map(|s| (&*s.name, s.any_allowed, s.allowed.join(" "), s.required.join(" "), s.locked.join(" ")))
        .collect();
    let no = String::new;
    let allowed = "authorization x-tenant x-user-id".to_owned();
    let expected = [
        ("crm", false, allowed, "authorization".to_owned(), "x-api-version".to_owned()),
        ("open", true, no(), no(), no()),
        ("shut", false, no(), no(), no()),
        ("wiki", false, "authorization x-tenant".to_owned(), no(), no()),
    ];
    assert_eq!(rules, expected);
}
