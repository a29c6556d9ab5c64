//! A configuration that is broken changes nothing, and it is told: in the log, at `/readyz`, and to whoever counts.

use std::fs;

use runwright::app::Trigger;

use crate::support::{
    gate::Gate,
    logs,
    mcp_server::{Era, McpServer},
    reader::Reader,
    reloading::Reloading,
    run_as, run_with,
    service::whoami_config,
    soon,
};

/// Two mistakes, and a value that may be a secret.
fn broken(yaml: &str) -> String {
    yaml.replace("a: { model: scripted", "a: { model: CANARY-model, max_turns: CANARY-turns")
}

/// How many lines have a text.
fn lines_with(logs: &logs::Logs, text: &str) -> usize {
    logs.text().lines().filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_is_told() {
    let (logs, _guard) = logs::catch();
    let crm = McpServer::start(Era::Stateless).await;
    let yaml = whoami_config(&crm.url());
    let reloading = Reloading::start(&yaml).await;
    assert_eq!(reloading.readyz().await, (200, "ok\n".to_owned()));
    reloading.service.run(run_as("a", "alice")).await.unwrap();

    reloading.write(&broken(&yaml).replace("{ url", "{ tools_ttl: 1m, url"));
    let standing = reloading.told().await;
    assert_eq!((standing.succeeded, standing.failed, standing.broken.unwrap().problems), (0, 1, 2));
    let opened = crm.seen().iter().filter(|seen| seen.method() == "initialize").count();
    assert_eq!(reloading.service.run(run_as("a", "alice")).await.unwrap().final_output, "Bearer alice");
    let opened_now = crm.seen().iter().filter(|seen| seen.method() == "initialize").count();
    assert_eq!(opened_now, opened, "the registration did not change either");

    let (status, text) = reloading.readyz().await;
    assert_eq!(status, 200, "it takes runs");
    assert!(text.starts_with("ok\nthe configuration of ") && text.contains("problems: 2;"), "{text}");
    let text = logs.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("The configuration is broken")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("agents.a.model") && lines[0].contains("runwright.yaml:"), "{lines:?}");
    assert!(lines[1].contains("agents.a.max_turns") && lines[1].contains("whole number"), "{lines:?}");
    assert_eq!(lines_with(&logs, "the one before stays in force"), 1);
    assert!(!logs.text().contains("CANARY"));

    reloading.reload(&yaml).await;
    assert_eq!(reloading.readyz().await, (200, "ok\n".to_owned()));
    assert_eq!(lines_with(&logs, "The configuration was reloaded"), 1);
}

#[tokio::test]
async fn what_is_broken_in_the_same_way_is_told_once_unless_somebody_asks() {
    let (logs, _guard) = logs::catch();
    let yaml = whoami_config("http://127.0.0.1:9/mcp");
    let reloading = Reloading::start(&yaml).await;
    let told = || lines_with(&logs, "the one before stays in force");
    for (failed, content) in [(1, broken(&yaml)), (2, format!("{}# saved again\n", broken(&yaml)))] {
        reloading.write(&content);
        reloading.trigger(Trigger::Look);
        reloading.trigger(Trigger::Look);
        soon("a reload", reloading.service.reloads.reach(|standing| standing.failed == failed)).await;
        assert_eq!(told(), 1);
    }
    // What has not changed is not read.
    reloading.trigger(Trigger::Look);
    reloading.trigger(Trigger::Look);
    let standing = reloading.told().await;
    assert_eq!((standing.failed, told()), (3, 2));
    reloading.write(&yaml.replace("a: { model: scripted", "a: { model: other"));
    reloading.trigger(Trigger::Look);
    reloading.trigger(Trigger::Look);
    soon("a reload", reloading.service.reloads.reach(|standing| standing.failed == 4)).await;
    assert_eq!(told(), 3, "another problem");
}

#[tokio::test]
async fn a_file_that_comes_later_mends_what_named_it() {
    let yaml = whoami_config("http://127.0.0.1:9/mcp");
    let reloading = Reloading::start(&yaml).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let named = format!("crm: {{ headers: {{ X-Key: {{ file: {key:?} }} }}, url");
    reloading.write(&yaml.replace("crm: { url", &named));
    reloading.trigger(Trigger::Look);
    reloading.trigger(Trigger::Look);
    soon("a failed reload", reloading.service.reloads.reach(|standing| standing.failed == 1)).await;
    fs::write(&key, "a-registered-key").unwrap();
    reloading.trigger(Trigger::Look);
    reloading.trigger(Trigger::Look);
    soon("a reload", reloading.service.reloads.reach(|standing| standing.succeeded == 1)).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let (logs, _guard) = logs::catch();
    let section = "\nserver: { listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0";
    let yaml = |more: &str| format!("{section}{more}{}", whoami_config("http://127.0.0.1:9/mcp"));
    let reloading = Reloading::start(&yaml(" }")).await;
    let changed = yaml(", digest_key: 0123456789abcdef, drain_timeout: 1m }")
        .replace("{ listen: 127.0.0.1:0,", "{ listen: 127.0.0.1:1,")
        .replace("a: { model", "b: { model");
    let more = "telemetry: { spans: false, logs: { format: pretty }, sampling: 0.5, resource: { team: blue }, \
                otlp: { endpoint: 'http://127.0.0.1:9' } }\nlimits: { max_request_bytes: 1MiB }\n";
    reloading.reload(&format!("{changed}{more}")).await;
    let text = logs.text();
    let told = text.lines().find(|line| line.contains("only after a restart")).unwrap();
    let keys = "server.listen, server.digest_key, limits.max_request_bytes, telemetry.logs.format, telemetry.spans, \
                telemetry.sampling, telemetry.resource, telemetry.otlp";
    assert!(told.contains(&format!("\"{keys}\"")), "{told}");
    assert!(!text.contains("0123456789abcdef"));
    let parts = reloading.service.runner.parts();
    assert!(parts.agents.contains_key("b"));
    assert_eq!(parts.limits.drain_timeout.as_secs(), 60);

    reloading.reload(&yaml(" }")).await;
    assert_eq!(lines_with(&logs, "only after a restart"), 1, "all is as it was at the start");
}

#[tokio::test]
async fn the_filter_of_the_logs_changes() {
    let (logs, filter, _guard) = logs::catch_filtered("error");
    let yaml = |filter: &str| {
        let yaml = whoami_config("http://127.0.0.1:9/mcp").replace("mcp_servers: [{ name: crm }]", "");
        let yaml = yaml.replace("      - call: [{ mcp_server: crm, tool: whoami, arguments: {} }]\n", "");
        let yaml = yaml.replace("{{ results.0.text }}", "hi");
        format!("{yaml}telemetry: {{ logs: {{ filter: '{filter}' }} }}\n")
    };
    let reloading = Reloading::logging(&yaml("error"), Some(filter)).await;
    let run = async || {
        let before = logs.text().len();
        reloading.service.run(run_with("a", [])).await.unwrap();
        logs.text()[before..].to_owned()
    };
    assert_eq!(run().await, "");
    reloading.reload(&yaml("info")).await;
    let lines = run().await;
    assert!(lines.contains("\"level\":\"INFO\"") && lines.contains("runwright::run"), "{lines}");

    // What libraries write of themselves can't be asked for.
    reloading.reload(&yaml("trace")).await;
    let lines = run().await;
    assert!(lines.lines().count() >= 1);
    let logged = logs.text();
    assert!(logged.lines().all(|line| line.contains("\"target\":\"runwright")), "{logged}");

    reloading.write(&yaml("no such=filter=at all"));
    assert_eq!(reloading.told().await.failed, 1);
    reloading.reload(&yaml("off")).await;
    assert_eq!(run().await, "");
}

#[tokio::test]
async fn a_service_that_shuts_down_reloads_nothing() {
    let (logs, _guard) = logs::catch();
    let gate = Gate::closed();
    let crm = McpServer::slow(Era::Modern, &gate).await;
    let yaml = whoami_config(&crm.url());
    let reloading = Reloading::start(&yaml).await;
    let live = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(1).await;
    reloading.service.stop();
    let closed = async {
        while !reloading.service.runner.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    soon("the shutdown", closed).await;
    reloading.write(&yaml.replace("a: { model", "b: { model"));
    reloading.trigger(Trigger::Told);
    let told = async {
        while lines_with(&logs, "The configuration is not reloaded") == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the line", told).await;
    assert_eq!(reloading.service.reloads.standing().succeeded, 0);
    assert!(reloading.service.runner.parts().agents.contains_key("a"));
    gate.open();
    live.end().await.unwrap();
}
