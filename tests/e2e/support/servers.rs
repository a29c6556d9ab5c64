//! The MCP servers, and what is to be known of them.

use std::{net::TcpListener, path::Path};

use serde_json::{Value, json};
use tokio::process::Command;

use super::process::Process;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a server lets the client do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 2026-07-28: no handshake, no session. Lists are good for one run (`ttlMs: 0`).
    Modern,
    /// A handshake, but no session. Lists do not say how long they are good.
    Handshake,
    /// A handshake and a session.
    Session,
}

/// A tool of a server: its name and arguments, and what stands in its result.
pub struct Tool {
    pub name: &'static str,
    pub arguments: Value,
    pub result: &'static str,
}

/// An MCP server that can be started.
#[allow(non_camel_case_types, reason = "tests are named after them")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The reference server, from npm.
    everything,
    /// The TypeScript SDK, version 2.
    typescript_modern,
    typescript_handshake,
    /// The Python SDK, version 2. The guarded one refuses the tokens of all but Ada, and so does the bound one, whose
    /// sessions belong to the token that opened them.
    python_modern,
    python_stateless,
    python_stateful,
    python_guarded,
    python_bound,
}

pub use Server::{
    everything, python_bound, python_guarded, python_modern, python_stateful, python_stateless,
    typescript_handshake, typescript_modern,
};

/// A server that runs.
pub struct Started {
    pub kind: Server,
    pub port: u16,
    pub process: Process,
}

impl Server {
    pub fn way(self) -> Way {
        match self {
            typescript_modern | python_modern | python_guarded => Way::Modern,
            typescript_handshake | python_stateless => Way::Handshake,
            everything | python_stateful | python_bound => Way::Session,
        }
    }

    /// A tool that answers; where the server can, with whom it saw: without a header, `nobody`.
    pub fn answering(self) -> Tool {
        match self {
            everything => {
                Tool { name: "echo", arguments: json!({ "message": "hello" }), result: "Echo: hello" }
            }
            _ => Tool { name: "whoami", arguments: json!({}), result: "nobody" },
        }
    }

    /// A tool that fails.
    pub fn failing(self) -> Tool {
        match self {
            everything => Tool {
                name: "get-resource-reference",
                // It fits the schema, so that the tool itself refuses it.
                arguments: json!({ "resourceId": -1 }),
                result: "Must be a finite positive integer",
            },
            _ => Tool { name: "fail", arguments: json!({}), result: "out of order" },
        }
    }

    /// A tool that takes longer than any test; ours until they are released.
    pub fn slow(self) -> Tool {
        match self {
            everything => Tool {
                name: "trigger-long-running-operation",
                arguments: json!({ "duration": 600, "steps": 1 }),
                result: "completed",
            },
            _ => Tool { name: "slow", arguments: json!({}), result: "slow is done" },
        }
    }

    fn command(self, port: u16) -> Command {
        let (program, script, mode) = match self {
            everything => {
                let script = ".tools/npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
                ("node", script, "streamableHttp")
            }
            typescript_modern => ("node", TYPESCRIPT, "modern"),
            typescript_handshake => ("node", TYPESCRIPT, "handshake"),
            python_modern => (".tools/python/bin/python", PYTHON, "modern"),
            python_stateless => (".tools/python/bin/python", PYTHON, "stateless"),
            python_stateful => (".tools/python/bin/python", PYTHON, "stateful"),
            python_guarded => (".tools/python/bin/python", PYTHON, "guarded"),
            python_bound => (".tools/python/bin/python", PYTHON, "bound"),
        };
        let inside = |path: &str| Path::new(ROOT).join(path);
        let program = if program == "node" { program.into() } else { inside(program) };
        let mut command = Command::new(program);
        command.arg(inside(script)).arg(mode).env("PORT", port.to_string());
        command
    }
}

const TYPESCRIPT: &str = "tests/e2e/servers/typescript/server.mjs";
const PYTHON: &str = "tests/e2e/servers/python/server.py";

impl Started {
    pub async fn start(kind: Server) -> Self {
        // Only `everything` must be told a port.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Process::start("the MCP server", &mut kind.command(free));
        let line = process.line("listening ").await;
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect(&line);
        Self { kind, port, process }
    }

    /// Lets the slow tool of a server of ours end. Tokens that a guarded one has seen expire.
    pub async fn release(&self) {
        let url = format!("http://127.0.0.1:{}/release", self.port);
        reqwest::Client::new().post(url).send().await.unwrap();
    }
}
