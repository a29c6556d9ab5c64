//! What a service holds at a moment.

use std::{fmt, thread, time::Duration};

use crate::{
    Outcome,
    service::Service,
    usage::{self, Memory},
};

/// How long a service has nothing to do before it is looked at: it keeps connections to upstreams for 4 s.
const QUIET: Duration = Duration::from_secs(6);

/// What a service holds.
#[derive(Clone, Copy)]
pub struct Footing {
    pub descriptors: usize,
    pub threads: usize,
    /// Runs that are live, and streams of runs that callers have open.
    pub live: f64,
    pub memory: Memory,
}

impl Footing {
    /// When nothing goes on any more.
    pub fn settled(service: &Service) -> Outcome<Self> {
        thread::sleep(QUIET);
        Self::of(service)
    }

    /// Now.
    pub fn of(service: &Service) -> Outcome<Self> {
        let live = service.metric("runwright_live_runs")? + service.metric("runwright_live_streams")?;
        let process = service.child.id();
        let (descriptors, threads) = (usage::descriptors(process)?, usage::threads(process)?);
        Ok(Self { descriptors, threads, live, memory: usage::memory(process)? })
    }

    /// Whether nothing is held that was not before. Of memory that is not asked: allocators keep it.
    pub fn is_no_worse_than(&self, before: &Self) -> bool {
        self.live <= before.live && self.descriptors <= before.descriptors && self.threads <= before.threads
    }
}

impl fmt::Display for Footing {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { descriptors, threads, live, .. } = self;
        write!(formatter, "at {descriptors} file descriptors, {threads} threads and {live} live runs")
    }
}
