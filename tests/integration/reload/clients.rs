//! What becomes of open clients, and of tokens, when the registration that they belong to changes, or does not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::get};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::net::TcpListener;

use crate::support::{
    gate::Gate,
    mcp_server::{Era, McpServer},
    no_run_left,
    reader::Reader,
    reloading::Reloading,
    run_as, run_with,
    scene::crm_config,
};

fn count(server: &McpServer, method: &str) -> usize {
    server.methods().iter().filter(|seen| *seen == method).count()
}

#[tokio::test]
async fn an_unchanged_registration_keeps_its_client_and_a_changed_one_opens_another() {
    let crm = McpServer::start(Era::Stateless).await;
    let headers = "headers: { x-one: '1', x-two: '2' }, ";
    let yaml = crm_config(&crm.url(), &format!("{headers}tools_ttl: 5m, "));
    let reloading = Reloading::start(&yaml).await;
    let run = async || {
        reloading.service.run(run_as("a", "alice")).await.unwrap();
        count(&crm, "initialize")
    };
    let kept = || reloading.service.runner.parts().servers.kept_clients();
    let opened = run().await;

    // The order of keys means nothing, nor do comments, nor what else is configured.
    let same = crm_config(&crm.url(), &format!("tools_ttl: 5m, {headers}"))
        .replace("a: { model", "a: { description: other, model");
    reloading.reload(&format!("# a comment\n{same}limits: {{ max_concurrent_runs: 9999 }}\n")).await;
    assert_eq!((kept(), run().await), (1, opened));

    for changed in ["x-one: '3'", "x-one: { value: '3' }", "X-One: '3', x-three: '3'"] {
        let opened = count(&crm, "initialize");
        reloading.reload(&yaml.replace("x-one: '1'", changed)).await;
        assert_eq!(kept(), 0, "{changed}: nobody uses the old one");
        assert_eq!((run().await, kept()), (opened + 1, 1), "{changed}");
    }
    let opened = count(&crm, "initialize");
    let last = yaml.replace("tools_ttl: 5m", "timeouts: { call: 5s }");
    reloading.reload(&last).await;
    assert_eq!(run().await, opened + 1, "whatever it is that changes");
    // An open client was told how many requests it may have under way.
    reloading.reload(&last).await;
    assert_eq!(kept(), 1);
    reloading.reload(&format!("{last}limits: {{ max_concurrent_runs: 20000 }}\n")).await;
    assert_eq!(kept(), 0);
}

#[tokio::test]
async fn the_client_of_a_changed_registration_is_closed_with_the_last_run_that_uses_it() {
    let gate = Gate::closed();
    let crm = McpServer::slow(Era::Stateful, &gate).await;
    let scope = "session_scope: identity, ";
    let reloading = Reloading::start(&crm_config(&crm.url(), scope)).await;
    let first = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(1).await;
    let second = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(2).await;
    assert_eq!(count(&crm, "initialize"), 1, "both use it");

    reloading.reload(&crm_config(&crm.url(), &format!("{scope}tools_ttl: 1m, "))).await;
    first.cancel().await;
    first.end().await.unwrap_err();
    assert_eq!(count(&crm, "DELETE"), 0, "another run uses it");
    second.cancel().await;
    second.end().await.unwrap_err();
    let ended = crm.wait_for("the end of its session", |seen| seen.http == "DELETE").await;
    assert_eq!(ended.header("mcp-session-id"), "session-0");
    assert_eq!(ended.header("authorization"), "Bearer alice");

    gate.open();
    for _ in 0..2 {
        reloading.service.run(run_as("a", "alice")).await.unwrap();
    }
    let last = crm.seen().into_iter().rev().find(|seen| seen.method() == "tools/call").unwrap();
    assert_eq!((last.header("mcp-session-id"), count(&crm, "DELETE")), ("session-1", 1), "it is kept");
}

#[tokio::test]
async fn a_client_that_a_live_run_opens_of_a_changed_registration_is_not_kept() {
    let gate = Gate::closed();
    let crm = {
        let gate = gate.clone();
        McpServer::with_hook(Era::Stateful, move |seen| {
            let gate = gate.clone();
            async move {
                if seen.method() == "initialize" {
                    gate.pass().await;
                }
                None
            }
        })
        .await
    };
    let scope = "session_scope: identity, ";
    let reloading = Reloading::start(&crm_config(&crm.url(), scope)).await;
    let live = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(1).await;
    reloading.reload(&crm_config(&crm.url(), &format!("{scope}tools_ttl: 1m, "))).await;
    gate.open();
    assert_eq!(live.end().await.unwrap().final_output, "Bearer alice");
    no_run_left(&reloading.service).await;
    assert_eq!(reloading.service.runner.parts().servers.kept_clients(), 0);
    crm.wait_for("the end of its session", |seen| seen.http == "DELETE").await;
}

#[tokio::test]
async fn fewer_clients_are_kept_when_fewer_may_be() {
    let crm = McpServer::start(Era::Modern).await;
    let yaml = crm_config(&crm.url(), "");
    let reloading = Reloading::start(&yaml).await;
    for caller in ["alice", "bob", "carol"] {
        reloading.service.run(run_as("a", caller)).await.unwrap();
    }
    let kept = || reloading.service.runner.parts().servers.kept_clients();
    assert_eq!(kept(), 3);
    reloading.reload(&format!("{yaml}kept_clients: {{ max: 1 }}\n")).await;
    assert_eq!(kept(), 1);
    let opened = count(&crm, "server/discover");
    reloading.service.run(run_as("a", "carol")).await.unwrap();
    assert_eq!((count(&crm, "server/discover"), kept()), (opened, 1), "the one that was used last");
    reloading.service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(kept(), 1);
}

/// An issuer of identity tokens that counts them.
async fn metadata_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let issued = Arc::new(AtomicUsize::new(0));
    let counted = issued.clone();
    // In the year 2096.
    let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":4000000000}"#);
    let token = move || {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        std::future::ready(format!("token-{number}.{claims}.signature"))
    };
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let router = Router::new().route(path, get(token));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (host, issued)
}

#[tokio::test]
async fn a_source_of_tokens_that_is_the_same_keeps_its_token() {
    let crm = McpServer::start(Era::Modern).await;
    let (host, issued) = metadata_server().await;
    let source = |audience: &str| {
        format!(
            "{{ google_id_token: {{ audience: {audience}, metadata_host: '{host}' }}, prefix: 'Bearer ' }}"
        )
    };
    let (server, agent) = (source("server"), source("agent"));
    let registered = format!("headers: {{ authorization: {server} }}, ");
    let of_agent = format!("{{ name: crm, headers: {{ x-token: {agent} }} }}");
    let yaml = crm_config(&crm.url(), &registered).replace("{ name: crm }", &of_agent);
    let reloading = Reloading::start(&yaml).await;
    let run = async || {
        reloading.service.run(run_with("a", [])).await.unwrap();
        issued.load(Ordering::SeqCst)
    };
    assert_eq!(run().await, 2);

    // A changed registration and a changed agent, but the sources are the same.
    let changed = yaml
        .replace("crm: { headers", "crm: { tools_ttl: 1m, headers")
        .replace("a: { model", "a: { max_turns: 7, model");
    reloading.reload(&changed).await;
    assert_eq!(run().await, 2);
    reloading.reload(&changed.replace("audience: agent", "audience: other")).await;
    assert_eq!(run().await, 3, "another source has no token yet");
}
