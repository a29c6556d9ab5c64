//! What the service adds to the time that a run takes.

use crate::{
    Mode, Outcome,
    bench::Bench,
    load::Work,
    pace::Latency,
    scene::{PLAIN, SLOW},
    usage,
};

const IDENTITIES: usize = 100;
/// How long a round is, in seconds.
const SECONDS: f64 = 4.0;

/// What some rounds took.
pub struct Delay {
    pub mode: Mode,
    /// Runs begun a second.
    pub rate: f64,
    pub floor: Vec<Latency>,
    /// The services by name, the one under test first.
    pub services: Vec<(&'static str, Vec<Latency>)>,
}

/// Runs with a tool that takes its time, at half the rate that the service manages on this machine beside its load.
pub fn measure(bench: &Bench, modes: &[Mode]) -> Outcome<Vec<Delay>> {
    let services = bench.services(4)?;
    let work =
        |scene, mode| Work { scene, mode, runs: bench.runs.max(2 * IDENTITIES), identities: IDENTITIES };
    let mut delays = Vec::new();
    for &mode in modes {
        for service in services.iter().rev() {
            bench.block_on(service.load.run(work(PLAIN, mode)))?;
            bench.block_on(service.load.run(Work { runs: 2 * IDENTITIES, ..work(SLOW, mode) }))?;
        }
        let (service, plain) = (&services[0], work(PLAIN, mode));
        let run = || bench.block_on(service.load.run(plain));
        let most = usage::measure(service.service.child.id(), plain.runs, run)?;
        let rate = 0.5 / most.wall.as_secs_f64();
        let of = services.iter().map(|service| (service.name, Vec::new())).collect();
        delays.push(Delay { mode, rate, floor: Vec::new(), services: of });
    }
    let mut floor = bench.floor()?;
    for _ in 0..bench.rounds {
        for Delay { mode, rate, floor: at_floor, services: of } in &mut delays {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
            let runs = (*rate * SECONDS) as usize;
            let order = format!("{} {} {runs} {rate}", SLOW.name, mode.name());
            at_floor.push(floor.ask(&order)?.parse()?);
            for (service, (_, rounds)) in services.iter().zip(of) {
                let paced = service.load.paced(Work { runs, ..work(SLOW, *mode) }, *rate);
                rounds.push(bench.block_on(paced)?);
            }
        }
    }
    Ok(delays)
}
