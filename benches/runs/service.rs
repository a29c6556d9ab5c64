//! The service under test: the real binary, with a configuration of its own.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    Outcome,
    child::Child,
    place::Place,
    scene::{SCENES, Scene},
};

/// The usual settings of a service.
pub const SETTINGS: Settings =
    Settings { server: "", sections: "telemetry: { logs: { format: json, filter: warn }, spans: true }" };

/// The file with the certificate of who signed the upstream's, beside the configuration.
const AUTHORITY: &str = "authority.pem";

/// How long the service may take to be ready, and to answer a probe beside all that it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a service is set to, in YAML, beside where it listens and what it runs.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Further entries of `server`, each with a comma before it.
    pub server: &'static str,
    /// Further sections.
    pub sections: &'static str,
}

/// A service that takes runs.
pub struct Service {
    pub child: Child,
    pub address: SocketAddr,
    admin: SocketAddr,
    /// From its start until it said that it is ready.
    pub took: Duration,
    _folder: TempDir,
}

impl Service {
    /// Starts the service with an agent, a model and an MCP server for each scene.
    pub fn start(program: &str, upstream: &Place, settings: Settings) -> Outcome<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let folder = tempfile::tempdir()?;
        upstream.write_authority(&folder.path().join(AUTHORITY))?;
        let path = folder.path().join("runwright.yaml");
        fs::write(&path, configuration(upstream, address, admin, settings))?;
        let config = path.to_str().ok_or("the temporary folder's path is no UTF-8")?;
        let began = Instant::now();
        let mut child = Child::start(program, &["serve", "--config", config])?;
        while !is_ready(admin) {
            if !child.is_alive() || began.elapsed() > PATIENCE {
                return Err("the service does not start".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { child, address, admin, took: began.elapsed(), _folder: folder })
    }

    /// A metric without labels, as `/metrics` tells it now.
    pub fn metric(&self, name: &str) -> Outcome<f64> {
        let mut page = String::new();
        ask(self.admin, "/metrics")?.read_to_string(&mut page)?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.ok_or_else(|| format!("there is no metric {name}"))?.parse()?)
    }
}

impl Drop for Service {
    /// Lets it end by itself: one that is built to tell what its code is used for does so then.
    fn drop(&mut self) {
        if self.child.is_alive() {
            // What does not end is killed.
            let _ = self.child.tell_to_end().and_then(|()| self.child.wait(PATIENCE));
        }
    }
}

fn configuration(upstream: &Place, address: SocketAddr, admin: SocketAddr, settings: Settings) -> String {
    let Settings { server, sections } = settings;
    let mut text = format!(
        "server: {{ listen: \"{address}\", admin_listen: \"{admin}\"{server} }}
{sections}
"
    );
    let mut section = |name: &str, entry: &dyn Fn(&Scene) -> String| {
        let _ = writeln!(text, "{name}:");
        for scene in SCENES {
            let _ = writeln!(text, "  {}: {}", scene.name, entry(scene));
        }
    };
    let tls = |scene: &Scene| {
        if scene.tls { format!(", tls: {{ ca: {{ file: {AUTHORITY} }} }}") } else { String::new() }
    };
    let base_url = |scene: &Scene| format!("{}/{}", upstream.base_url(scene), scene.name);
    section("models", &|scene| {
        let (provider, (_, path)) = (scene.provider.name(), scene.provider.path());
        let url = base_url(scene) + path;
        let tls = tls(scene);
        format!("{{ provider: {provider}, base_url: \"{url}\", model: bench, api_key: sk-bench{tls} }}")
    });
    section("mcp_servers", &|scene| {
        let (url, tls) = (base_url(scene) + "/mcp", tls(scene));
        format!("{{ url: \"{url}\", headers: {{ X-Api-Version: \"2\" }}{tls} }}")
    });
    section("agents", &|scene| {
        let name = scene.name;
        format!("{{ instructions: You are a helpful agent., model: {name}, mcp_servers: [{name}] }}")
    });
    text
}

/// Whether `/readyz` says so.
fn is_ready(admin: SocketAddr) -> bool {
    let answer = || {
        let mut answer = [0; 12];
        ask(admin, "/readyz")?.read_exact(&mut answer)?;
        io::Result::Ok(answer)
    };
    answer().is_ok_and(|answer| &answer == b"HTTP/1.1 200")
}

/// Asks for a page; what comes back is still to be read.
fn ask(admin: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(admin)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    Ok(connection)
}

/// An address that nobody listens on, as far as one can know.
fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
