//! How the reloads of the configuration went, for those that tell of it.

use std::time::SystemTime;

use tokio::sync::watch;

/// How the reloads of this process went. Clones are the same.
#[derive(Clone)]
pub struct Reloads(watch::Sender<Standing>);

/// Which configuration is in force, and what came of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When the configuration that is in force was read.
    pub in_force_since: SystemTime,
    /// The one that was read last, if it is broken.
    pub broken: Option<Broken>,
    /// How many reloads there were whose configuration was good.
    pub succeeded: u64,
    /// How many reloads there were whose configuration was broken.
    pub failed: u64,
}

/// A configuration that is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// When it was read.
    pub at: SystemTime,
    /// How much is wrong with it. The log has each problem.
    pub problems: usize,
}

impl Reloads {
    /// None yet: the process's first configuration is in force.
    pub fn none() -> Self {
        let in_force_since = SystemTime::now();
        Self(watch::Sender::new(Standing { in_force_since, broken: None, succeeded: 0, failed: 0 }))
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        *self.0.borrow()
    }

    /// Waits until it stands as wanted.
    pub async fn reach(&self, wanted: impl FnMut(&Standing) -> bool) -> Standing {
        // The sender is here, so it can't be gone.
        self.0.subscribe().wait_for(wanted).await.map_or_else(|_| self.standing(), |standing| *standing)
    }

    /// Notes that a configuration was read and is in force.
    pub fn succeeded(&self) {
        self.0.send_modify(|standing| {
            standing.in_force_since = SystemTime::now();
            standing.broken = None;
            standing.succeeded += 1;
        });
    }

    /// Notes that a configuration was read, and is broken.
    pub fn failed(&self, problems: usize) {
        self.0.send_modify(|standing| {
            standing.broken = Some(Broken { at: SystemTime::now(), problems });
            standing.failed += 1;
        });
    }
}
