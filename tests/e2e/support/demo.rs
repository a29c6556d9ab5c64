//! `make demo SERVE=1`: the service and an MCP server, as somebody has them who tries a client.

use std::path::Path;

use tokio::process::Command;

use super::process::Process;

/// The demo, which exports its spans.
pub struct Demo {
    /// Where it takes gRPC.
    pub address: String,
    /// Ends with the test.
    _process: Process,
}

impl Demo {
    /// Starts it; spans go to this OTLP endpoint.
    pub async fn start(endpoint: &str) -> Self {
        // Cargo names the path of binaries alone; examples are beside them.
        let program = Path::new(env!("CARGO_BIN_EXE_runwright")).with_file_name("examples").join("demo");
        let mut command = Command::new(program);
        command.envs([("SERVE", "1"), ("LISTEN", "127.0.0.1:0"), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        let process = Process::start("the demo", command.env_remove("OPENAI_API_KEY"));
        let line = process.line("gRPC on ").await;
        let address = line.trim_start_matches("gRPC on ").split(',').next().unwrap().to_owned();
        Self { address, _process: process }
    }
}
