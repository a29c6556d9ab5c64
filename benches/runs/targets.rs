//! What the service is meant to keep to, and whether it does.

use std::time::Duration;

use crate::{
    Mode,
    attacks::{Harm, PLAIN_P99, SLOW_P99},
    costs::Cost,
    drains::{Drains, Kind},
    footprint::{self, Growth},
    latency::Delay,
    page::Results,
    scene::PLAIN,
    statistics::{median, micros, millis},
    usage::Memory,
};

/// A target, and what was measured.
pub struct Target {
    pub what: String,
    pub target: &'static str,
    pub measured: String,
    pub met: bool,
}

/// All targets for which something was measured.
pub fn targets(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for mode in Mode::ALL {
        targets.extend(cost(results, mode));
        targets.extend(flatness(results, mode));
    }
    targets.extend(results.delays.iter().filter_map(added));
    targets.extend(results.clients.first().into_iter().flat_map(|clients| {
        let kept = |what: &str, memory| {
            let each = clients.each(memory, footprint::CLIENTS) / 1024.0;
            target(what, "at most 64 KiB", each <= 64.0, format!("{each:.0} KiB"))
        };
        let open = kept("memory of an open client", clients.after);
        [open].into_iter().chain(clients.idle.map(|idle| kept("memory of a kept client that dozes", idle)))
    }));
    targets.extend(results.held.first().map(|held| {
        let all = held.after.pss / f64::from(1 << 20);
        let what = "memory of the service with 10,000 streamed runs of 100 identities open";
        target(what, "at most 400 MiB", all <= 400.0, format!("{all:.0} MiB"))
    }));
    targets.extend(results.sieges.first().into_iter().flat_map(|siege| &siege.harms).map(harm));
    targets.extend(results.drains.first().into_iter().flat_map(ends));
    targets.extend(results.starts.first().map(|(_, took)| {
        let took = median(took.iter().copied().map(millis));
        target("from start to ready", "under 100 ms", took < 100.0, format!("{took:.0} ms"))
    }));
    targets
}

fn target(what: impl Into<String>, target: &'static str, met: bool, measured: String) -> Target {
    Target { what: what.into(), target, measured, met }
}

fn plain(results: &Results, mode: Mode, identities: usize) -> Option<&Cost> {
    let is_it =
        |cost: &&Cost| cost.scene.name == PLAIN.name && cost.mode == mode && cost.identities == identities;
    results.costs.iter().find(is_it)
}

fn cost(results: &Results, mode: Mode) -> Option<Target> {
    let ratio = plain(results, mode, 1)?.ratio(0);
    let what = format!("CPU of a {} run, against the floor", mode.name());
    Some(target(what, "at most 2 ×", ratio <= 2.0, format!("{ratio:.2} ×")))
}

fn flatness(results: &Results, mode: Mode) -> Option<Target> {
    let ratio = plain(results, mode, 10_000)?.middle(0) / plain(results, mode, 1)?.middle(0);
    let what = format!("CPU of a {} run for 10,000 identities, against that for one", mode.name());
    Some(target(what, "flat: at most 1.1 ×", ratio <= 1.1, format!("{ratio:.2} ×")))
}

fn added(delay: &Delay) -> Option<Target> {
    let (_, p99) = delay.added(&delay.services.first()?.1);
    let what = format!("latency added to a {} run at half load, p99", delay.mode.name());
    Some(target(what, "under 2 ms", p99 < 2.0, format!("{p99:.2} ms")))
}

fn harm(harm: &Harm) -> Target {
    // The worse of both kinds of good runs.
    let ratio = harm.ratio(SLOW_P99).max(harm.ratio(PLAIN_P99));
    let what = format!("p99 of others' runs beside {}, against without", harm.kind.title());
    target(what, "at most 2 ×", ratio <= 2.0, format!("{ratio:.2} ×"))
}

fn ends(drains: &Drains) -> Vec<Target> {
    let times = drains.rounds.len();
    let accepted: usize = drains.rounds.iter().map(|drain| drain.completed + drain.ended).sum();
    // The measurement fails where one is.
    let lost = format!("none of {accepted}");
    let lost =
        target(format!("accepted runs lost in {times} ends by SIGTERM under load"), "none", true, lost);
    let took = Kind::ALL.into_iter().filter_map(|kind| {
        let (longest, most) = (drains.longest(kind)?, kind.drain_timeout());
        let what = format!("from SIGTERM to exit with `drain_timeout` {} s, the longest", most.as_secs());
        let met = longest <= most + Duration::from_secs(1);
        Some(target(what, "at most 1 s more", met, format!("{:.2} s", longest.as_secs_f64())))
    });
    [lost].into_iter().chain(took).collect()
}

impl Cost {
    /// Microseconds of CPU a run of a service.
    pub fn middle(&self, service: usize) -> f64 {
        self.services
            .get(service)
            .map_or(f64::NAN, |(_, rounds)| median(rounds.iter().map(|round| micros(round.cpu))))
    }

    /// Microseconds of CPU a run of the floor.
    pub fn floor(&self) -> f64 {
        median(self.floor.iter().map(|round| micros(round.cpu)))
    }

    /// The service's CPU time in floors.
    pub fn ratio(&self, service: usize) -> f64 {
        self.middle(service) / self.floor()
    }
}

impl Delay {
    /// What a service adds to the floor, in milliseconds: to the middle run, and to the 99th of a hundred. Each round is
    /// held against the floor's of the same round.
    pub fn added(&self, rounds: &[crate::pace::Latency]) -> (f64, f64) {
        let pairs = || rounds.iter().zip(&self.floor);
        (
            median(pairs().map(|(service, floor)| millis(service.p50) - millis(floor.p50))),
            median(pairs().map(|(service, floor)| millis(service.p99) - millis(floor.p99))),
        )
    }
}

impl Growth {
    /// Bytes that each of so many added.
    #[allow(clippy::cast_precision_loss, reason = "there are few")]
    pub fn each(&self, now: Memory, count: usize) -> f64 {
        (now.pss - self.before.pss) / count as f64
    }
}
