//! The service as a process of its own: for what is the process's, such as its end.

use std::{fs, process::Stdio};

use runwright::grpc::proto::agent_service_client::AgentServiceClient;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
};
use tonic::transport::{Channel, Endpoint};

use super::soon;

/// A running service. It is killed when it is dropped.
pub struct Process {
    pub agents: AgentServiceClient<Channel>,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
    _folder: TempDir,
}

impl Process {
    /// Starts the service with a configuration, on this number of worker threads, and waits until it takes runs.
    pub async fn start(yaml: &str, workers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runwright.yaml");
        let server = "server: { listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }\n";
        fs::write(&path, format!("{server}{yaml}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_runwright"));
        command.arg("serve").arg("--config").arg(path);
        command.env("TOKIO_WORKER_THREADS", workers.to_string());
        let mut child = command.kill_on_drop(true).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = watch::channel(Vec::new());
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                sender.send_modify(|lines| lines.push(line));
            }
        });
        let started = line(&lines, "The service takes runs").await;
        let started: Value = serde_json::from_str(&started).unwrap();
        let url = format!("http://{}", started["listen"].as_str().unwrap());
        let agents = AgentServiceClient::new(Endpoint::from_shared(url).unwrap().connect().await.unwrap());
        Self { agents, child, lines, _folder: folder }
    }

    /// Waits for a line with this text, and gives it.
    pub async fn line(&self, text: &str) -> String {
        line(&self.lines, text).await
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Sends SIGTERM, and waits for the end. All lines that it wrote.
    pub async fn terminated(mut self) -> Vec<String> {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let status = soon("the process's end", self.child.wait()).await.unwrap();
        // Its output is read to the end, then.
        while self.lines.changed().await.is_ok() {}
        let lines = self.lines();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        lines
    }
}

async fn line(lines: &watch::Receiver<Vec<String>>, text: &str) -> String {
    let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
    let mut changing = lines.clone();
    let come = async { changing.wait_for(|lines| find(lines).is_some()).await.map(|_| ()) };
    soon(text, come).await.unwrap();
    find(&lines.borrow()).unwrap()
}
