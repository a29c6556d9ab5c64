//! The service under test: the real binary, with a configuration of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Outcome, child::Child};

/// A service that takes runs.
pub struct Service {
    pub child: Child,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Service {
    /// Starts the service with one agent over the upstream's model and MCP server.
    pub fn start(program: &str, upstream: &str) -> Outcome<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("runwright.yaml");
        fs::write(&path, configuration(upstream, address, admin))?;
        let config = path.to_str().ok_or("the temporary folder's path is no UTF-8")?;
        let mut child = Child::start(program, &["serve", "--config", config])?;
        let began = Instant::now();
        while TcpStream::connect(admin).is_err() {
            if !child.is_alive() || began.elapsed() > Duration::from_secs(10) {
                return Err("the service does not start".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { child, address, _folder: folder })
    }
}

fn configuration(upstream: &str, address: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "server: {{ listen: \"{address}\", admin_listen: \"{admin}\" }}
models:
  bench: {{ provider: openai_chat, base_url: \"{upstream}/v1\", model: bench, api_key: sk-bench }}
mcp_servers:
  bench: {{ url: \"{upstream}/mcp\", headers: {{ X-Api-Version: \"2\" }} }}
agents:
  bench:
    instructions: You are a helpful agent.
    model: bench
    mcp_servers: [bench]
telemetry: {{ logs: {{ format: json, filter: warn }}, spans: true }}
"
    )
}

/// An address that nobody listens on, as far as one can know.
fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
