//! What a run costs: CPU time of the service, held against the floor.

use crate::{
    Mode, Outcome,
    bench::Bench,
    load::Work,
    scene::{ANTHROPIC, CALLS_8, CALLS_32, LARGE, PLAIN, RESPONSES, SESSION, Scene},
    usage::{self, Measured},
};

/// How often the floor does what the service does once: it is short, and CPU time is told in steps of 10 ms.
const LOOPS: usize = 4;

/// Kinds of runs, and how many callers there are, each with a token of its own.
const CASES: [(&Scene, usize); 9] = [
    (PLAIN, 1),
    (PLAIN, 1000),
    (PLAIN, 10_000),
    (SESSION, 100),
    (CALLS_8, 100),
    (CALLS_32, 100),
    (LARGE, 100),
    (RESPONSES, 100),
    (ANTHROPIC, 100),
];

/// What some rounds of one kind of run took.
pub struct Cost {
    pub mode: Mode,
    pub scene: &'static Scene,
    pub identities: usize,
    pub floor: Vec<Measured>,
    /// The services by name, the one under test first.
    pub services: Vec<(&'static str, Vec<Measured>)>,
}

/// Measures all kinds, round by round.
pub fn measure(bench: &Bench, modes: &[Mode]) -> Outcome<Vec<Cost>> {
    let services = bench.services_and_plain(4)?;
    let cases = modes.iter().flat_map(|&mode| CASES.map(|case| (mode, case)));
    let mut costs: Vec<Cost> = cases
        .filter(|(_, (scene, _))| bench.scenes.iter().any(|wanted| wanted.name == scene.name))
        .map(|(mode, (scene, identities))| Cost {
            mode,
            scene,
            identities,
            floor: Vec::new(),
            services: services.iter().map(|service| (service.name, Vec::new())).collect(),
        })
        .collect();
    // Each identity opens its client now, and the upstream sees what the floor is to repeat.
    for cost in &costs {
        for service in &services {
            let work = cost.work(bench);
            bench.block_on(service.load.run(Work { runs: work.runs.max(2 * work.identities), ..work }))?;
        }
    }
    let mut floor = bench.floor()?;
    for Cost { mode, scene, .. } in &costs {
        floor.ask(&format!("{} {} {}", scene.name, mode.name(), bench.runs / scene.weight))?;
    }
    for _ in 0..bench.rounds {
        for cost in &mut costs {
            let (work, loops) = (cost.work(bench), LOOPS * bench.runs / cost.scene.weight);
            let order = format!("{} {} {loops}", cost.scene.name, cost.mode.name());
            cost.floor.push(usage::measure(floor.id(), loops, || floor.ask(&order).map(drop))?);
            for (service, (_, rounds)) in services.iter().zip(&mut cost.services) {
                // Whose client dozes wakes it first: rounds may be further apart than callers.
                let awake = Work { runs: work.runs.min(work.identities), ..work };
                bench.block_on(service.load.run(awake))?;
                let run = || bench.block_on(service.load.run(work));
                rounds.push(usage::measure(service.service.child.id(), work.runs, run)?);
            }
        }
    }
    Ok(costs)
}

impl Cost {
    fn work(&self, bench: &Bench) -> Work {
        let runs = (bench.runs / self.scene.weight).max(1);
        Work { scene: self.scene, mode: self.mode, runs, identities: self.identities }
    }
}
