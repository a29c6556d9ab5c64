//! Puts the service together. The only file that names concrete types of all layers.

use std::{collections::BTreeMap, future, sync::Arc};

use futures_util::Stream;
use thiserror::Error;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    config::{Config, Revisions},
    egress::{self, Egress},
    headers::DigestKey,
    mcp::Servers,
    metrics::Metrics,
    model::{
        self, Model, Retrying, anthropic::Anthropic, openai_chat::OpenAiChat,
        openai_responses::OpenAiResponses, scripted::Scripted,
    },
    reload::Reloads,
    run::{Parts, Runner, Schemas},
    server::{self, Listeners},
    telemetry::{Meters, MetersError},
};
use fixed::Fixed;
use reload::InForce;

mod fixed;
mod reload;

pub use reload::{Reloading, Trigger};

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
    /// There can be no metrics.
    #[error(transparent)]
    Meters(#[from] MetersError),
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
    in_force: InForce,
    reloading: Option<Reloading>,
    meters: Meters,
}

impl App {
    /// Puts the service together from a configuration.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn new(config: Config) -> Result<Self, Error> {
        Self::named(config, instance(), Meters::of_page()?)
    }

    /// The same, with the [name](instance) of this process, and what it is measured with.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn named(config: Config, instance: String, meters: Meters) -> Result<Self, Error> {
        let egress = &*config.egress;
        let fixed = Fixed::of(&config);
        let digest_key = match &fixed.digest_key {
            Some(key) => DigestKey::from_secret(key.as_bytes()),
            None => DigestKey::generate()?,
        };
        let metrics = Metrics::new(&meters.meter(), config.limits.max_concurrent_runs);
        let servers = Servers::new(
            config.mcp_servers.into_values(),
            config.kept_clients,
            config.limits.max_concurrent_runs,
            // Identities are this process's own, whatever key its digests are shown with.
            DigestKey::generate()?,
            egress,
            &metrics,
        )?;
        let runner = Runner::new(Parts {
            agents: config.agents.into_iter().map(|(name, agent)| (name, Arc::new(agent))).collect(),
            models: models(config.models, egress, |_| None)?,
            servers,
            schemas: Arc::new(Schemas::default()),
            limits: config.limits,
            digest_key,
            instance,
            metrics,
        });
        let (revisions, filter) = (config.revisions, config.telemetry.filter);
        let in_force =
            InForce { runner, reloads: Reloads::none(), fixed: Arc::new(fixed), revisions, filter };
        Ok(Self { server: config.server, in_force, reloading: None, meters })
    }

    /// The same, which reloads its configuration.
    pub fn reloading(self, reloading: Reloading) -> Self {
        Self { reloading: Some(reloading), ..self }
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
        let Self { server, in_force, reloading, meters } = self;
        let (runner, reloads) = (in_force.runner.clone(), in_force.reloads.clone());
        let reload = async {
            if let Some(reloading) = reloading {
                reload::reload(reloading, in_force).await;
            }
            future::pending().await
        };
        tokio::select! {
            result = server::serve(&server, listeners, runner.clone(), reloads, meters, signals) => Ok(result?),
            () = runner.parts().servers.sweep() => future::pending().await,
            never = reload => never,
        }
    }

    /// What runs agents.
    pub fn runner(&self) -> &Runner {
        &self.in_force.runner
    }

    /// How reloads went.
    pub fn reloads(&self) -> &Reloads {
        &self.in_force.reloads
    }
}

/// What may be run after a reload. Models and servers that are configured as `before` are the same ones.
fn parts_after(before: &Parts, config: Config, known: &Revisions, fixed: &Fixed) -> Result<Parts, Error> {
    let Config { mut limits, kept_clients, models: configs, mcp_servers, agents, revisions, egress, .. } =
        config;
    limits.max_request_bytes = fixed.max_request_bytes;
    let same_model =
        |name: &str| before.models.get(name).filter(|_| revisions.same_model(known, name)).cloned();
    let same_server = |name: &str| revisions.same_mcp_server(known, name);
    let max_runs = limits.max_concurrent_runs;
    Ok(Parts {
        agents: agents.into_iter().map(|(name, agent)| (name, Arc::new(agent))).collect(),
        models: models(configs, &egress, same_model)?,
        servers: before.servers.after(
            mcp_servers.into_values(),
            same_server,
            kept_clients,
            max_runs,
            &egress,
        )?,
        schemas: before.schemas.clone(),
        limits,
        digest_key: before.digest_key.clone(),
        instance: before.instance.clone(),
        metrics: before.metrics.clone(),
    })
}

/// The configured models; `known` has those that are there already.
fn models(
    configs: BTreeMap<String, model::Config>,
    egress: &Egress,
    known: impl Fn(&str) -> Option<Arc<dyn Model>>,
) -> Result<BTreeMap<String, Arc<dyn Model>>, Error> {
    let models = configs.into_iter().map(|(name, config)| {
        if let Some(model) = known(&name) {
            return Ok((name, model));
        }
        let model: Arc<dyn Model> = match config {
            model::Config::OpenAiChat(config) => {
                let client = config.client(egress)?;
                Arc::new(Retrying(OpenAiChat::new(config, client)?))
            }
            model::Config::OpenAiResponses(config) => {
                let client = config.client(egress)?;
                Arc::new(Retrying(OpenAiResponses::new(config, client)?))
            }
            model::Config::Anthropic(config) => {
                let client = config.client(egress)?;
                Arc::new(Retrying(Anthropic::new(config, client)?))
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
