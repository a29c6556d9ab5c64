//! The service, in this process: its configuration with the ports of the day, its start and its end.

use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use futures_util::{Stream, stream};
use runwright::{
    app::{self, App},
    config::{self, Config},
    model, telemetry,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use url::Url;

use crate::{Fallible, spans::Spans};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/config.yaml");
const KEY: &str = "OPENAI_API_KEY";
/// Where to serve others instead of the configured address.
const LISTEN: &str = "LISTEN";
const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The running service.
pub struct Service {
    /// Where it takes gRPC.
    pub address: SocketAddr,
    /// The model that its agents ask, in words.
    pub model: String,
    /// Whether that model only follows the script.
    pub scripted: bool,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), app::Error>>,
}

impl Service {
    /// Starts the service with the shop at `shop`; where the environment or else the configuration says if it is to `serve`
    /// others, else on a free port.
    pub async fn start(mut config: Config, shop: &Url, spans: &Spans, serve: bool) -> Fallible<Self> {
        config.mcp_servers.get_mut("shop").ok_or("the configuration has no `shop`")?.url = shop.clone();
        config.server.admin_listen = FREE_PORT;
        config.server.listen = if serve { listen(config.server.listen)? } else { FREE_PORT };
        let real_model = env::var_os(KEY).is_some().then(|| choose_real_model(&mut config)).transpose()?;
        let spans = config.telemetry.spans.then(|| spans.of_service());
        let subscriber = telemetry::subscriber(&config.telemetry, io::stderr, spans)?;
        tracing::subscriber::set_global_default(subscriber)?;

        let app = App::new(config)?;
        let listeners = app.listen().await?;
        let address = listeners.grpc.local_addr()?;
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(app.serve(listeners, signal(shutdown.clone())));
        let scripted = real_model.is_none();
        let model = real_model.unwrap_or_else(|| "scripted".to_owned());
        Ok(Self { address, model, scripted, shutdown, serving })
    }

    /// A connection such as a backend would have; it is made with the first call.
    pub fn channel(&self) -> Fallible<Channel> {
        Ok(Endpoint::from_shared(format!("http://{}", self.address))?.connect_lazy())
    }

    /// Ends the service as SIGTERM would.
    pub async fn stop(self) -> Fallible<()> {
        self.shutdown.cancel();
        Ok(self.serving.await??)
    }
}

/// The one signal of a token.
fn signal(shutdown: CancellationToken) -> impl Stream<Item = ()> + Unpin {
    Box::pin(stream::once(shutdown.cancelled_owned()))
}

/// The configuration as it stands in its file.
pub fn load() -> Fallible<Config> {
    // The scripted model needs no key, but the configuration names one.
    let environment = |name: &str| env::var(name).ok().or_else(|| (name == KEY).then(|| "unused".to_owned()));
    config::load(Path::new(CONFIG), &environment).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n").into()
    })
}

/// The address that the environment names, or else the configured one.
fn listen(configured: SocketAddr) -> Fallible<SocketAddr> {
    let Ok(address) = env::var(LISTEN) else { return Ok(configured) };
    address.parse().map_err(|error| format!("{LISTEN}: {error}").into())
}

/// Has the agents ask the model that the environment names; tells which.
fn choose_real_model(config: &mut Config) -> Fallible<String> {
    let Some(model::Config::OpenAiChat(openai)) = config.models.get_mut("openai") else {
        return Err("the configuration has no model `openai`".into());
    };
    if let Ok(url) = env::var("OPENAI_BASE_URL") {
        openai.base_url = Url::parse(&url).map_err(|error| format!("OPENAI_BASE_URL: {error}"))?;
    }
    if let Ok(model) = env::var("OPENAI_MODEL") {
        openai.model = model;
    }
    let told = format!("{} of {}", openai.model, openai.base_url.origin().ascii_serialization());
    config.agents.values_mut().for_each(|agent| agent.model = "openai".into());
    Ok(told)
}
