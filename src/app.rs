//! Puts the service together. The only file that names concrete types of all layers.

use std::{collections::BTreeMap, future, sync::Arc};

use futures_util::Stream;
use thiserror::Error;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    config::Config,
    credential::Source,
    egress::{self, Egress, Profile},
    headers::DigestKey,
    mcp::Servers,
    model::{
        self, Model, Retrying, anthropic::Anthropic, openai_chat::OpenAiChat,
        openai_responses::OpenAiResponses, scripted::Scripted,
    },
    run::{Parts, Runner, Schemas},
    server::{self, Listeners},
};

/// Why the service does not start, or does not go on.
#[derive(Debug, Error)]
pub enum Error {
    /// An address can't be listened on.
    #[error("{what} can't listen on {address}: {error}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// There is no HTTP client for a configured URL.
    #[error("there is no HTTP client: {0}")]
    Egress(#[from] egress::Error),
    /// There are no random bits.
    #[error("the operating system gives no random bits: {0}")]
    Random(#[from] getrandom::Error),
    /// A server failed.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// Signals can't be waited for.
    #[error("signals can't be waited for: {0}")]
    Signals(#[source] std::io::Error),
}

/// The service, put together and not started.
pub struct App {
    server: server::Config,
    runner: Runner,
}

impl App {
    /// Puts the service together from a configuration.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn new(config: Config) -> Result<Self, Error> {
        Self::named(config, instance())
    }

    /// The same, with the [name](instance) of this process.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn named(config: Config, instance: String) -> Result<Self, Error> {
        let egress = &*config.egress;
        let digest_key = match config.server.digest_key.as_ref().and_then(Source::ready) {
            Some(key) => DigestKey::from_secret(key.as_bytes()),
            None => DigestKey::generate()?,
        };
        let servers = Servers::new(
            config.mcp_servers.into_values(),
            config.kept_clients,
            config.limits.max_concurrent_runs,
            // Identities are this process's own, whatever key its digests are shown with.
            DigestKey::generate()?,
            egress,
        )?;
        let runner = Runner::new(Parts {
            agents: config.agents.into_iter().map(|(name, agent)| (name, Arc::new(agent))).collect(),
            models: models(config.models, egress)?,
            servers,
            schemas: Schemas::default(),
            limits: config.limits,
            digest_key,
            instance,
        });
        Ok(Self { server: config.server, runner })
    }

    /// Binds the configured addresses.
    ///
    /// # Errors
    /// One of them can't be listened on.
    pub async fn listen(&self) -> Result<Listeners, Error> {
        let bind = async |what, address| {
            TcpListener::bind(address).await.map_err(|error| Error::Listen { what, address, error })
        };
        let grpc = bind("server.listen", self.server.listen).await?;
        let admin = bind("server.admin_listen", self.server.admin_listen).await?;
        Ok(Listeners { grpc, admin })
    }

    /// Serves until the first of the `signals`, and then for as long as live runs take; another one ends those at once.
    ///
    /// # Errors
    /// A server fails.
    pub async fn serve(
        self,
        listeners: Listeners,
        signals: impl Stream<Item = ()> + Unpin,
    ) -> Result<(), Error> {
        let Self { server, runner } = self;
        tokio::select! {
            result = server::serve(&server, listeners, runner.clone(), signals) => Ok(result?),
            () = runner.parts().servers.sweep() => future::pending().await,
        }
    }

    /// What runs agents.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }
}

fn models(
    configs: BTreeMap<String, model::Config>,
    egress: &Egress,
) -> Result<BTreeMap<String, Arc<dyn Model>>, Error> {
    let profile = Profile { connect_timeout: model::CONNECT_TIMEOUT };
    let models = configs.into_iter().map(|(name, config)| {
        let model: Arc<dyn Model> = match config {
            model::Config::OpenAiChat(config) => {
                Arc::new(Retrying(OpenAiChat::new(config, egress.client(profile)?)?))
            }
            model::Config::OpenAiResponses(config) => {
                Arc::new(Retrying(OpenAiResponses::new(config, egress.client(profile)?)?))
            }
            model::Config::Anthropic(config) => {
                Arc::new(Retrying(Anthropic::new(config, egress.client(profile)?)?))
            }
            model::Config::Scripted(config) => Arc::new(Scripted::new(config)),
        };
        Ok((name, model))
    });
    models.collect()
}

/// The name of this process: the host's, which in Kubernetes is the pod's, and something of its own.
pub fn instance() -> String {
    let host = gethostname::gethostname();
    let own = Uuid::new_v4().simple().to_string();
    format!("{}-{}", host.to_string_lossy(), &own[..8])
}
