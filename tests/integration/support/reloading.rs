//! A service whose configuration a test changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use runwright::{app::Trigger, reload::Standing, telemetry};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use super::{
    service::{Service, with_addresses},
    soon,
};

/// A service, and the file of its configuration.
pub struct Reloading {
    pub service: Service,
    pub file: PathBuf,
    trigger: mpsc::UnboundedSender<Trigger>,
    _folder: TempDir,
}

impl Reloading {
    /// Starts a service that is told when to reload.
    pub async fn start(yaml: &str) -> Self {
        Self::logging(yaml, None).await
    }

    /// The same, and the filter of the logs is the service's to change.
    pub async fn logging(yaml: &str, filter: Option<telemetry::Filter>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runwright.yaml");
        fs::write(&file, with_addresses(yaml)).unwrap();
        let (service, trigger) = Service::start_reloading(&file, filter).await;
        Self { service, file, trigger, _folder: folder }
    }

    /// The same with a folder that is there, whatever is in it.
    pub async fn of_folder(folder: TempDir, path: &Path) -> Self {
        let (service, trigger) = Service::start_reloading(path, None).await;
        Self { service, file: path.to_owned(), trigger, _folder: folder }
    }

    /// Changes the configuration. Nobody is told.
    pub fn write(&self, yaml: &str) {
        fs::write(&self.file, with_addresses(yaml)).unwrap();
    }

    /// Triggers a reload, which may not come to one.
    pub fn trigger(&self, trigger: Trigger) {
        self.trigger.send(trigger).unwrap();
    }

    /// Reloads what is written.
    pub async fn told(&self) -> Standing {
        let read = |standing: &Standing| standing.succeeded + standing.failed;
        let before = read(&self.service.reloads.standing());
        self.trigger(Trigger::Told);
        let reached = self.service.reloads.reach(|standing| read(standing) > before);
        soon("a reload", reached).await
    }

    /// Changes the configuration to a good one, and has it reloaded.
    pub async fn reload(&self, yaml: &str) {
        self.write(yaml);
        let standing = self.told().await;
        assert!(standing.broken.is_none(), "{standing:?}");
    }

    /// What `/readyz` answers: its status and its text.
    pub async fn readyz(&self) -> (u16, String) {
        let mut socket = TcpStream::connect(self.service.admin).await.unwrap();
        let request = "GET /readyz HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("a probe's answer", socket.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}
