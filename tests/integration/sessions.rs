//! How long an open client lives: for its identity where the server keeps no session, for the run where it does.

use crate::support::{
    mcp_server::{Era, McpServer},
    run_as, run_with,
    service::{Service, whoami_config},
};

#[tokio::test]
async fn a_second_run_of_an_identity_on_a_stateless_server_opens_nothing() {
    for (era, opening) in [
        (Era::Modern, vec!["server/discover"]),
        (Era::Stateless, vec!["server/discover", "initialize", "notifications/initialized"]),
    ] {
        let server = McpServer::start(era).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        service.run(run_as("a", "alice")).await.unwrap();
        assert_eq!(server.methods(), [&opening[..], &["tools/list", "tools/call"]].concat(), "{era:?}");

        server.forget();
        service.run(run_as("a", "alice")).await.unwrap();
        assert_eq!(server.methods(), ["tools/call"], "{era:?}: the second run");

        server.forget();
        service.run(run_as("a", "bob")).await.unwrap();
        assert_eq!(server.methods().last().unwrap(), "tools/call");
        assert!(
            server.methods().contains(&"tools/list".to_owned()),
            "{era:?}: another identity lists for itself"
        );
    }
}

#[tokio::test]
async fn a_session_is_its_runs_own_and_deleted_before_the_run_ends() {
    let server = McpServer::start(Era::Stateful).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    for run in 0..3 {
        server.forget();
        service.run(run_as("a", "alice")).await.unwrap();
        let seen = server.seen();
        let deleted = seen.last().unwrap();
        assert_eq!(
            (deleted.http.as_str(), deleted.header("mcp-session-id")),
            ("DELETE", &*format!("session-{run}"))
        );
        assert_eq!(deleted.header("authorization"), "Bearer alice");
        assert_eq!(server.methods().iter().filter(|method| *method == "initialize").count(), 1);
    }
}

#[tokio::test]
async fn a_run_scope_closes_and_an_identity_scope_keeps_whatever_the_server_does() {
    let server = McpServer::start(Era::Modern).await;
    let yaml = whoami_config(&server.url()).replace("crm: { url", "crm: { session_scope: run, url");
    let service = Service::start(&yaml).await;
    for _ in 0..2 {
        server.forget();
        service.run(run_with("a", [])).await.unwrap();
        assert_eq!(server.methods(), ["server/discover", "tools/list", "tools/call"]);
    }

    let server = McpServer::start(Era::Stateful).await;
    let yaml = whoami_config(&server.url()).replace("crm: { url", "crm: { session_scope: identity, url");
    let service = Service::start(&yaml).await;
    service.run(run_with("a", [])).await.unwrap();
    server.forget();
    service.run(run_with("a", [])).await.unwrap();
    assert_eq!(server.methods(), ["tools/call"]);
    assert_eq!(server.seen()[0].header("mcp-session-id"), "session-0");
}
