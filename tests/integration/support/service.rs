//! The service under test: the whole of it, in this process, on ports of its own.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use futures_util::{StreamExt, stream};
use runwright::{
    app::{App, Reloading, Trigger},
    config::{Config, Loader},
    grpc::proto::{
        RunEvent, RunRequest, RunResponse, agent_service_client::AgentServiceClient,
        catalog_service_client::CatalogServiceClient, run_event::Event,
    },
    reload::Reloads,
    telemetry,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// A running service. It ends when it is dropped.
pub struct Service {
    pub agents: AgentServiceClient<Channel>,
    pub catalog: CatalogServiceClient<Channel>,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    pub channel: Channel,
    pub runner: runwright::run::Runner,
    pub reloads: Reloads,
    stop: mpsc::UnboundedSender<()>,
    serving: JoinHandle<()>,
}

/// A configuration with one scripted agent `a`, which calls `whoami` on server `crm` and says what it got.
pub fn whoami_config(mcp_url: &str) -> String {
    format!(
        r#"
models:
  scripted:
    provider: scripted
    script:
      - call: [{{ mcp_server: crm, tool: whoami, arguments: {{}} }}]
      - say: "{{{{ results.0.text }}}}"
mcp_servers:
  crm: {{ url: "{mcp_url}" }}
agents:
  a: {{ model: scripted, mcp_servers: [{{ name: crm }}] }}
"#
    )
}

/// A configuration with one agent `a`, which asks the model at `model_url` and has these MCP servers, by name.
pub fn asking_config(model_url: &str, servers: &[(&str, &str)]) -> String {
    let registered: String =
        servers.iter().map(|(name, url)| format!("  {name}: {{ url: \"{url}\" }}\n")).collect();
    let used: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
    format!(
        r#"
models:
  main: {{ provider: openai_chat, base_url: "{model_url}", model: m-1 }}
mcp_servers:
{registered}
agents:
  a: {{ model: main, mcp_servers: [{}] }}
"#,
        used.join(", ")
    )
}

/// A configuration whose addresses are chosen by the system, unless it has addresses.
pub fn with_addresses(yaml: &str) -> String {
    let server = if yaml.contains("\nserver:") {
        ""
    } else {
        "server: { listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }\n"
    };
    format!("{server}{yaml}")
}

fn loaded(loader: &Loader) -> Config {
    loader.load().unwrap_or_else(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", problems.join("\n"))
    })
}

async fn plainly(grpc: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap()
}

impl Service {
    /// Starts the service with a configuration; its addresses are chosen by the system.
    pub async fn start(yaml: &str) -> Self {
        Self::reached(yaml, plainly).await
    }

    /// The same, for clients that reach it in another way.
    pub async fn reached(yaml: &str, reach: impl AsyncFnOnce(SocketAddr) -> Channel) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runwright.yaml");
        fs::write(&path, with_addresses(yaml)).unwrap();
        let loader = Loader::new(path, |_| None);
        Self::serve(App::new(loaded(&loader)).unwrap(), reach).await
    }

    /// Starts the service with the configuration at a path, which it reloads when the sender says so; `filter` is that of the
    /// logs.
    pub async fn start_reloading(
        path: &Path,
        filter: Option<telemetry::Filter>,
    ) -> (Self, mpsc::UnboundedSender<Trigger>) {
        let loader = Arc::new(Loader::new(path.to_owned(), |_| None));
        let (trigger, mut triggers) = mpsc::unbounded_channel();
        let triggers = stream::poll_fn(move |cx| triggers.poll_recv(cx)).boxed();
        let app = App::new(loaded(&loader)).unwrap().reloading(Reloading { loader, triggers, filter });
        (Self::serve(app, plainly).await, trigger)
    }

    async fn serve(app: App, reach: impl AsyncFnOnce(SocketAddr) -> Channel) -> Self {
        let listeners = app.listen().await.unwrap();
        let grpc = listeners.grpc.local_addr().unwrap();
        let admin = listeners.admin.local_addr().unwrap();
        let (runner, reloads) = (app.runner().clone(), app.reloads().clone());
        let (stop, mut told) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            // A dropped sender stops it, too.
            let signals = stream::poll_fn(|cx| told.poll_recv(cx)).chain(stream::iter([()]));
            app.serve(listeners, signals).await.unwrap();
        });
        let channel = reach(grpc).await;
        Self {
            agents: AgentServiceClient::new(channel.clone()),
            catalog: CatalogServiceClient::new(channel.clone()),
            grpc,
            admin,
            channel,
            runner,
            reloads,
            stop,
            serving,
        }
    }

    /// A run, unary.
    pub async fn run(&self, request: RunRequest) -> Result<RunResponse, Status> {
        self.agents.clone().run(request).await.map(tonic::Response::into_inner)
    }

    /// A run, streamed, to its end: all events, and the status of a failure.
    pub async fn events(&self, request: RunRequest) -> (Vec<RunEvent>, Result<(), Status>) {
        let mut events = Vec::new();
        let mut stream = match self.agents.clone().run_streamed(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return (events, Err(status)),
        };
        loop {
            match stream.message().await {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, Ok(())),
                Err(status) => return (events, Err(status)),
            }
        }
    }

    /// A run, streamed, that ends well.
    pub async fn run_streamed(&self, request: RunRequest) -> Result<RunResponse, Status> {
        let (mut events, end) = self.events(request).await;
        end?;
        match events.pop().and_then(|event| event.event) {
            Some(Event::RunCompleted(response)) => Ok(response),
            other => panic!("a stream that ends with OK ends with run_completed, not {other:?}"),
        }
    }

    /// Begins the shutdown, as a signal does; a second time, ends what is live.
    pub fn stop(&self) {
        self.stop.send(()).unwrap();
    }

    /// Waits until the service has ended.
    pub async fn ended(self) {
        let Self { serving, .. } = self;
        super::soon("the service's end", serving).await.unwrap();
    }
}
