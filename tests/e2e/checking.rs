//! `check` and a failed start, as a process.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    process::Process,
    service::{runwright, write_config},
};

/// Runs a command to its end.
async fn run(command: &str, config: &Value) -> (Option<i32>, Process, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = write_config(&folder, config);
    let mut process = Process::start("the command", runwright(command).arg(file));
    let code = process.ended().await.code();
    (code, process, folder)
}

/// The least that can be served.
fn good() -> Value {
    json!({
        "models": { "m": { "provider": "scripted", "script": [{ "say": "hi" }] } },
        "agents": { "a": { "model": "m" } },
    })
}

#[tokio::test]
async fn every_problem_of_a_config_is_placed() {
    let config = json!({
        "modles": {},
        "mcp_servers": { "crm": { "url": "http://crm.example.com/mcp" } },
    });
    let (code, process, folder) = run("check", &config).await;
    assert_eq!(code, Some(64));
    let file = folder.path().join("runwright.yaml");
    process.line(&format!("{}:2:3: modles: ", file.display())).await;
    process.line(&format!("{}:5:14: mcp_servers.crm.url: ", file.display())).await;
}

#[tokio::test]
async fn a_good_config_is_good() {
    let (code, process, _folder) = run("check", &good()).await;
    assert_eq!(code, Some(0), "{}", process.output());
}

#[tokio::test]
async fn an_address_in_use_fails_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = good();
    config["server"] = json!({ "listen": taken.local_addr().unwrap().to_string() });
    let (code, process, _folder) = run("serve", &config).await;
    assert_eq!(code, Some(1), "{}", process.output());
}
