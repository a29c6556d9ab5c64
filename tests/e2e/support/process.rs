//! A child process, its lines, and its end.

use std::process::{ExitStatus, Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

use super::within;

/// A child process. It is killed when it is dropped; until then its standard input is open, and brings nothing.
pub struct Process {
    name: &'static str,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Process {
    /// Starts a program; what it prints is kept.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let command = command.kill_on_drop(true).stdin(Stdio::piped());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
                panic!("{name} can't be started ({error}); does `make e2e` run this?")
            });
        let (sender, lines) = watch::channel(Vec::new());
        keep_lines(child.stdout.take().unwrap(), sender.clone());
        keep_lines(child.stderr.take().unwrap(), sender);
        Self { name, child, lines }
    }

    /// The first line that holds a text, when it has come.
    pub async fn line(&self, text: &str) -> String {
        let mut lines = self.lines.clone();
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let come = async {
            // No line comes any more when the process has ended.
            let _ = lines.wait_for(|lines| find(lines).is_some()).await;
            find(&self.lines.borrow())
        };
        let found = within(&format!("{}: a line with `{text}`", self.name), come).await;
        found.unwrap_or_else(|| panic!("{} ended without `{text}`:\n{}", self.name, self.output()))
    }

    /// All lines so far.
    pub fn output(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) {
        let id = self.child.id().expect("it runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        within(self.name, self.child.wait()).await.unwrap()
    }
}

fn keep_lines(output: impl AsyncRead + Unpin + Send + 'static, sender: watch::Sender<Vec<String>>) {
    tokio::spawn(async move {
        let mut output = BufReader::new(output).lines();
        while let Ok(Some(line)) = output.next_line().await {
            sender.send_modify(|lines| lines.push(line));
        }
    });
}
