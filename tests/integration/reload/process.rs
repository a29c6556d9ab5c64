//! The process itself: it reloads on SIGHUP, and when its files change.

use std::{fs, path::Path, process::Stdio};

use runwright::grpc::proto::{ListAgentsRequest, catalog_service_client::CatalogServiceClient};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use tonic::transport::Endpoint;

use crate::support::{service::with_addresses, soon};

/// The process, and its log.
struct Process {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runwright"));
        command.arg("serve").arg("--config").arg(config).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next line of the log with this message.
    async fn logs(&mut self, message: &str) -> Value {
        soon(message, async {
            loop {
                let line = self.log.next_line().await.unwrap().unwrap();
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["message"] == message {
                    return line;
                }
            }
        })
        .await
    }

    async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }
}

fn yaml(agent: &str) -> String {
    let model = "models: { m: { provider: scripted, script: [{ say: hi }] } }";
    with_addresses(&format!("{model}\nagents: {{ {agent}: {{ model: m }} }}\n"))
}

#[tokio::test]
async fn a_process_reloads_when_it_is_told_and_when_its_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runwright.yaml");
    fs::write(&file, yaml("one")).unwrap();
    let mut process = Process::start(&file);
    let started = process.logs("The service takes runs").await;
    let address = format!("http://{}", started["listen"].as_str().unwrap());
    let mut catalog =
        CatalogServiceClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
    let mut agents = async || {
        let listed = catalog.list_agents(ListAgentsRequest::default()).await.unwrap().into_inner();
        listed.agents.into_iter().map(|agent| agent.name).collect::<Vec<_>>()
    };
    assert_eq!(agents().await, ["one"]);

    // Nothing has changed.
    process.signal("HUP").await;
    process.logs("The configuration was reloaded").await;
    fs::write(&file, yaml("second")).unwrap();
    process.logs("The configuration was reloaded").await;
    assert_eq!(agents().await, ["second"]);
    fs::write(&file, "agents: 1").unwrap();
    process.logs("The configuration was not reloaded: the one before stays in force").await;
    assert_eq!(agents().await, ["second"]);

    process.signal("TERM").await;
    process.logs("The service has ended").await;
    assert!(soon("the process's end", process.child.wait()).await.unwrap().success());
}
