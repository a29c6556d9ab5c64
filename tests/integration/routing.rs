//! Whose headers go where: each run's own, to the servers they are for, and nowhere else.

use std::sync::Arc;

use futures_util::future;
use runwright::grpc::proto::RunRequest;
use tokio::sync::Barrier;

use crate::support::{
    headers,
    mcp_server::{Era, McpServer},
    run_as, run_with,
    scene::answering,
    service::{Service, whoami_config},
};

const ERAS: [Era; 3] = [Era::Modern, Era::Stateless, Era::Stateful];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_concurrent_runs_each_carry_their_own_token() {
    for era in ERAS {
        // Equal prefixes of 20 characters: nothing may go by the beginning of a token. What comes back is its end: all of it
        // would be taken for a secret.
        const PREFIX: &str = "a-common-prefix-of-20-";
        let server = answering(era, |seen| {
            let token = seen.header("authorization").trim_start_matches("Bearer ");
            (seen.method() == "tools/call").then(|| seen.tool_text(token.trim_start_matches(PREFIX)))
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        for streamed in [false, true] {
            let ends: Vec<String> = (0..200).map(|n| format!("{streamed}-{n}")).collect();
            let runs = ends.iter().map(|end| run(&service, run_as("a", &format!("{PREFIX}{end}")), streamed));
            for (answer, end) in future::join_all(runs).await.iter().zip(&ends) {
                assert_eq!(answer, end, "{era:?}");
            }
            // No request of a session, of an opening or of a farewell had another's header.
            every_session_has_one_token(&server);
            assert_eq!(
                run(&service, run_with("a", []), streamed).await,
                "",
                "{era:?}: a run without headers"
            );
        }
    }
}

#[tokio::test]
async fn two_hundred_runs_of_one_identity_on_a_slow_tool_go_side_by_side() {
    for era in ERAS {
        let all = Arc::new(Barrier::new(200));
        let server = McpServer::with_hook(era, move |seen| {
            let all = all.clone();
            async move {
                // No call is answered before all 200 are there.
                if seen.method() == "tools/call" {
                    all.wait().await;
                }
                None
            }
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let runs = (0..200).map(|_| service.run(run_with("a", [])));
        let runs = crate::support::soon("200 calls at once", future::join_all(runs)).await;
        assert!(runs.iter().all(Result::is_ok), "{era:?}");
    }
}

#[tokio::test]
async fn every_combination_of_layers_is_replaced_and_never_joined() {
    // Bits: server, agent, mcp_headers, per_run_mcp_headers.
    for present in 0..16u8 {
        let layer = |bit: u8| present & (1 << bit) != 0;
        let server = McpServer::start(Era::Modern).await;
        let registered = if layer(0) { "headers: { X-Layer: server }, " } else { "" };
        let agents = if layer(1) { "headers: { x-LAYER: agent }, " } else { "" };
        let yaml = whoami_config(&server.url())
            .replace("crm: { url", &format!("crm: {{ {registered}url"))
            .replace("{ name: crm", &format!("{{ {agents}name: crm"));
        let service = Service::start(&yaml).await;
        let mut request = run_with("a", []);
        if layer(2) {
            request.mcp_headers = Some(headers([("X-layer", "run")]));
        }
        if layer(3) {
            request.per_run_mcp_headers.insert("crm".into(), headers([("x-layer", "run_server")]));
        }
        for streamed in [false, true] {
            run(&service, request.clone(), streamed).await;
        }
        let highest = ["server", "agent", "run", "run_server"];
        let expected: Vec<&str> =
            (0..4).rev().filter(|&bit| layer(bit)).map(|bit| highest[bit as usize]).take(1).collect();
        for seen in server.seen() {
            let sent: Vec<&str> =
                seen.headers.get_all("x-layer").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(sent, expected, "{present:04b} {}", seen.method());
        }
        assert!(!server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_removed_header_is_not_sent_and_others_are() {
    let server = McpServer::start(Era::Modern).await;
    let yaml = whoami_config(&server.url())
        .replace("crm: { url", "crm: { headers: { X-Gone: a, X-Kept: b, X-Back: c }, url");
    let service = Service::start(&yaml).await;
    let mut request = run_with("a", [("crm", headers([("x-back", "d")]))]);
    request.mcp_headers = Some(runwright::grpc::proto::HeaderSet {
        remove: vec!["X-GONE".into(), "x-back".into(), "x-never-there".into()],
        ..Default::default()
    });
    let response = service.run(request).await.unwrap();
    for seen in server.seen() {
        assert_eq!([seen.header("x-gone"), seen.header("x-kept"), seen.header("x-back")], ["", "b", "d"]);
    }
    let applied = &response.applied_headers["crm"];
    assert_eq!(applied.removed, ["x-gone"]);
    let names: Vec<&str> = applied.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["x-back", "x-kept"]);
}

#[tokio::test]
async fn a_server_never_sees_another_servers_headers_nor_the_callers_metadata() {
    let (crm, wiki) = (McpServer::start(Era::Modern).await, McpServer::start(Era::Stateful).await);
    let yaml = format!(
        r#"
models: {{ scripted: {{ provider: scripted, script: [
  {{ call: [{{ mcp_server: crm, tool: whoami, arguments: {{}} }}, {{ mcp_server: wiki, tool: whoami, arguments: {{}} }}] }},
  {{ say: "{{{{ results.0.text }}}} {{{{ results.1.text }}}}" }} ] }} }}
mcp_servers: {{ crm: {{ url: "{}" }}, wiki: {{ url: "{}" }} }}
agents: {{ a: {{ model: scripted, mcp_servers: [crm, wiki] }} }}
"#,
        crm.url(),
        wiki.url()
    );
    let service = Service::start(&yaml).await;
    let sets = [
        ("crm", headers([("authorization", "Bearer to-crm"), ("x-crm", "1")])),
        ("wiki", headers([("authorization", "Bearer to-wiki"), ("x-wiki", "1")])),
    ];
    let mut request = tonic::Request::new(run_with("a", sets));
    request.metadata_mut().insert("authorization", "Bearer for-runwright".parse().unwrap());
    request.metadata_mut().insert("x-metadata", "secret".parse().unwrap());
    let response = service.agents.clone().run(request).await.unwrap().into_inner();
    assert_eq!(response.final_output, "Bearer to-crm Bearer to-wiki");
    for (server, own, others) in [(&crm, "Bearer to-crm", "x-wiki"), (&wiki, "Bearer to-wiki", "x-crm")] {
        for seen in server.seen() {
            assert_eq!(
                (seen.header("authorization"), seen.header(others), seen.header("x-metadata")),
                (own, "", "")
            );
        }
    }
}

async fn run(service: &Service, request: RunRequest, streamed: bool) -> String {
    let response = if streamed { service.run_streamed(request).await } else { service.run(request).await };
    response.unwrap().final_output
}

fn every_session_has_one_token(server: &McpServer) {
    let mut tokens = std::collections::HashMap::new();
    for seen in server.seen() {
        let session = seen.header("mcp-session-id").to_owned();
        if !session.is_empty() {
            let token = seen.header("authorization").to_owned();
            let first = tokens.entry(session).or_insert_with(|| token.clone());
            assert_eq!(*first, token, "{} {}", seen.http, seen.method());
        }
    }
}
