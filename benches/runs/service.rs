//! The service under test: the real binary, with a configuration of its own.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Outcome, child::Child, scene::SCENES};

/// The usual settings of a service.
pub const SETTINGS: &str = "telemetry: { logs: { format: json, filter: warn }, spans: true }";

/// A service that takes runs.
pub struct Service {
    pub child: Child,
    pub address: SocketAddr,
    /// From its start until it said that it is ready.
    pub took: Duration,
    _folder: TempDir,
}

impl Service {
    /// Starts the service with an agent, a model and an MCP server for each scene, and with `settings`: YAML beside those.
    pub fn start(program: &str, upstream: &str, settings: &str) -> Outcome<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("runwright.yaml");
        fs::write(&path, configuration(upstream, address, admin, settings))?;
        let config = path.to_str().ok_or("the temporary folder's path is no UTF-8")?;
        let began = Instant::now();
        let mut child = Child::start(program, &["serve", "--config", config])?;
        while !is_ready(admin) {
            if !child.is_alive() || began.elapsed() > Duration::from_secs(10) {
                return Err("the service does not start".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { child, address, took: began.elapsed(), _folder: folder })
    }
}

fn configuration(upstream: &str, address: SocketAddr, admin: SocketAddr, settings: &str) -> String {
    let mut text = format!(
        "server: {{ listen: \"{address}\", admin_listen: \"{admin}\" }}
{settings}
"
    );
    let mut section = |name: &str, entry: &dyn Fn(&str) -> String| {
        let _ = writeln!(text, "{name}:");
        for scene in SCENES {
            let _ = writeln!(text, "  {}: {}", scene.name, entry(scene.name));
        }
    };
    section("models", &|name| {
        format!(
            "{{ provider: openai_chat, base_url: \"{upstream}/{name}/v1\", model: bench, api_key: sk-bench }}"
        )
    });
    section("mcp_servers", &|name| {
        format!("{{ url: \"{upstream}/{name}/mcp\", headers: {{ X-Api-Version: \"2\" }} }}")
    });
    section("agents", &|name| {
        format!("{{ instructions: You are a helpful agent., model: {name}, mcp_servers: [{name}] }}")
    });
    text
}

/// Whether `/readyz` says so.
fn is_ready(admin: SocketAddr) -> bool {
    let answer = || {
        let mut connection = TcpStream::connect(admin)?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    answer().is_ok_and(|answer| &answer == b"HTTP/1.1 200")
}

/// An address that nobody listens on, as far as one can know.
fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
