//! What a service holds at a moment.

use std::{thread, time::Duration};

use crate::{
    Outcome,
    service::Service,
    usage::{self, Memory},
};

/// How long a service has nothing to do before it is looked at: it keeps connections to upstreams for 4 s,
/// and looks for those that are older every 4 s.
const QUIET: Duration = Duration::from_secs(9);
/// Threads that there may be more than before. One looks at the configuration's files each second, and one makes pages of
/// metrics. If both were ever at work at once, they take turns from then on, and none is idle for the 10 s after which it
/// would go.
pub const IDLE_THREADS: usize = 1;

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

    /// Now. The metrics are asked for last, which takes a descriptor and a thread.
    pub fn of(service: &Service) -> Outcome<Self> {
        let process = service.child.id();
        let (descriptors, threads) = (usage::descriptors(process)?, usage::threads(process)?);
        Ok(Self { descriptors, threads, live: live(service)?, memory: usage::memory(process)? })
    }

    /// The same, once nothing is held that was not before. Of memory that is not asked, for allocators keep it. Until then,
    /// what there is too much of.
    pub fn as_before(service: &Service, before: &Self) -> Outcome<Result<Self, String>> {
        let process = service.child.id();
        let has = (usage::descriptors(process)?, usage::threads(process)?);
        let had = (before.descriptors, before.threads);
        if has.0 > had.0 || has.1 > had.1 + IDLE_THREADS {
            return Ok(Err(format!("of file descriptors and threads there were {had:?}, and are {has:?}")));
        }
        let now = Self::of(service)?;
        Ok(if now.live > before.live {
            Err(format!("{} runs and streams are live", now.live))
        } else {
            Ok(now)
        })
    }
}

/// Runs that are live, and streams of runs that callers have open.
pub fn live(service: &Service) -> Outcome<f64> {
    Ok(service.metric("runwright_live_runs")? + service.metric("runwright_live_streams")?)
}
