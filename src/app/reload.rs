//! Reloads: how another configuration comes into force while runs are live.
//!
//! It is read and checked whole, away from the runs. If it is broken, nothing changes. If it is good, all that is made of it
//! is made before the first thing changes, so nothing can fail halfway: then requests that begin find the new parts, and
//! those that began before go on with theirs.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{Error, fixed::Fixed, parts_after};
use crate::{
    config::{Config, Loader, Problem, Revisions},
    reload::Reloads,
    run::{Parts, Runner},
    telemetry,
};

/// The most problems of a broken configuration that are logged.
const MAX_LOGGED: usize = 100;

/// Why the configuration may have to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody said so, as with SIGHUP.
    Told,
    /// It is time to look at the files.
    Look,
}

/// What a service reloads with.
pub struct Reloading {
    /// Reads the configuration.
    pub loader: Arc<Loader>,
    /// When to do so. One that comes while the configuration is read has it read again. No more of them: no more reloads.
    pub triggers: BoxStream<'static, Trigger>,
    /// The filter of the logs; `None`: it is not this service's to change.
    pub filter: Option<telemetry::Filter>,
}

/// What is in force.
pub(super) struct InForce {
    pub(super) runner: Runner,
    pub(super) reloads: Reloads,
    pub(super) fixed: Arc<Fixed>,
    pub(super) revisions: Revisions,
    /// The directives of the logs' filter.
    pub(super) filter: String,
}

/// What is made of a configuration, to be in force.
struct Made {
    parts: Arc<Parts>,
    revisions: Revisions,
    filter: String,
    /// The keys that need a restart.
    differing: Vec<&'static str>,
}

/// Why a configuration does not come into force.
enum Refusal {
    /// It is broken.
    Broken(Vec<Problem>),
    /// The service can't be made of it.
    Unusable(Error),
    /// The filter of the logs can't be set.
    Filter(telemetry::Error),
    /// To read it broke off.
    Aborted,
}

/// Reloads the configuration as often as there is reason to.
pub(super) async fn reload(reloading: Reloading, mut in_force: InForce) {
    let Reloading { loader, mut triggers, filter } = reloading;
    // The problems that were told last.
    let mut told = Vec::new();
    while let Some(trigger) = triggers.next().await {
        if in_force.runner.is_closed() {
            if trigger == Trigger::Told {
                info!("The configuration is not reloaded: the process is shutting down");
            }
            continue;
        }
        let Some(made) = in_force.make(&loader, trigger).await else { continue };
        if in_force.runner.is_closed() {
            continue;
        }
        let taken = match made {
            Ok(made) => in_force.take(made, filter.as_ref()).await,
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = taken else {
            told.clear();
            continue;
        };
        let problems = refusal.problems();
        // Whoever saves a file several times is not told the same each time.
        let is_known = trigger == Trigger::Look && !problems.is_empty() && problems == told;
        in_force.reloads.failed(problems.len().max(1));
        in_force.runner.metrics().config_reloaded(false);
        if !is_known {
            refusal.log();
        }
        told = problems.to_vec();
    }
}

impl InForce {
    /// Reads the configuration, if there is need to, and makes of it what may be run. Nothing has changed yet.
    async fn make(&self, loader: &Arc<Loader>, trigger: Trigger) -> Option<Result<Made, Refusal>> {
        let (loader, before) = (loader.clone(), self.runner.parts());
        let (fixed, known) = (self.fixed.clone(), self.revisions.clone());
        // Files are read, those of certificates included.
        let making = spawn_blocking(move || {
            let loaded = match trigger {
                Trigger::Told => loader.load(),
                Trigger::Look => loader.load_changed()?,
            };
            Some(loaded.map_err(Refusal::Broken).and_then(|config| Made::of(config, &before, &known, &fixed)))
        });
        making.await.unwrap_or(Some(Err(Refusal::Aborted)))
    }

    /// Brings what was made into force.
    async fn take(&mut self, made: Made, filter: Option<&telemetry::Filter>) -> Result<(), Refusal> {
        // To set it costs something, even if it is the same.
        if let Some(filter) = filter.filter(|_| made.filter != self.filter) {
            filter.set(&made.filter).map_err(Refusal::Filter)?;
        }
        let Made { parts, revisions, filter, differing } = made;
        (self.revisions, self.filter) = (revisions, filter);
        let (agents, models) = (parts.agents.len(), parts.models.len());
        let mcp_servers = parts.servers.iter().count();
        let max_runs = parts.limits.max_concurrent_runs;
        let before = self.runner.replace(parts.clone());
        // Thousands of clients may have to be closed, for which runs are not to wait. It can't fail.
        let _ = spawn_blocking(move || parts.servers.take_over(&before.servers)).await;
        self.reloads.succeeded();
        self.runner.metrics().config_reloaded(true);
        self.runner.metrics().limited_to(max_runs);
        info!(agents, models, mcp_servers, "The configuration was reloaded");
        if !differing.is_empty() {
            let keys = differing.join(", ");
            warn!(keys, "Some of the configuration is in force only after a restart");
        }
        Ok(())
    }
}

impl Made {
    fn of(config: Config, before: &Parts, known: &Revisions, fixed: &Fixed) -> Result<Self, Refusal> {
        let differing = fixed.differing(&Fixed::of(&config));
        let (revisions, filter) = (config.revisions.clone(), config.telemetry.filter.clone());
        let parts = parts_after(before, config, known, fixed).map_err(Refusal::Unusable)?;
        Ok(Self { parts: Arc::new(parts), revisions, filter, differing })
    }
}

impl Refusal {
    fn problems(&self) -> &[Problem] {
        match self {
            Self::Broken(problems) => problems,
            Self::Unusable(_) | Self::Filter(_) | Self::Aborted => &[],
        }
    }

    /// One line for each problem, and one for what became of the reload.
    fn log(&self) {
        for problem in self.problems().iter().take(MAX_LOGGED) {
            let place = format!("{}:{}:{}", problem.file.display(), problem.line, problem.column);
            error!(place, key = problem.path, problem = problem.message, "The configuration is broken");
        }
        let why = match self {
            Self::Broken(problems) => format!("problems: {}", problems.len()),
            Self::Unusable(error) => error.to_string(),
            Self::Filter(error) => error.to_string(),
            Self::Aborted => "to read it broke off".to_owned(),
        };
        error!(why, "The configuration was not reloaded: the one before stays in force");
    }
}
