//! Clients that mean ill, or have gone, beside those that mean well.
//!
//! Good clients make runs at an even rate, far less than the service manages. How long those take is measured in turn: with
//! nobody else there, and beside clients of each [kind](Kind), which are a process of their own, bounded in what they do a
//! second, so that it is the service that is measured, and not what two processes take from each other. A good client's run
//! that fails, or whose answer is wrong, fails the benchmark.
//!
//! At last all kinds attack at once and then fall silent, with all their sockets open: the service has to rid itself of them,
//! and to come back to what it was.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::try_join;

use crate::{
    Mode, Outcome,
    bench::Bench,
    child::Child,
    load::{Load, Work},
    log::Log,
    pace::Latency,
    scene::{PLAIN, SLOW, Scene},
    service::{SETTINGS, Service},
    statistics::{median, millis},
    usage,
};

mod attacker;
mod flood;
mod footing;
mod kind;
mod squat;
mod wire;

pub use attacker::{Tally, obey};
pub use footing::{Footing, IDLE_THREADS};
pub use kind::Kind;

/// Good runs that begin a second, of each of two kinds: with a tool that takes its time, and with one that takes none.
pub const RATE: f64 = 300.0;
/// How long a window is, in seconds.
pub const SECONDS: f64 = 3.0;
const IDENTITIES: usize = 100;
const CONNECTIONS: usize = 4;
/// Runs of each kind before anything is measured.
const WARMING: usize = 600;
/// How long the runs of clients that have gone may take to end.
const CALM_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the service may take to get rid of all: a reader is given up after 30 s, a client that is silent after 40 s, and
/// connections to upstreams that nobody uses are closed after 4 s.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(90);

/// What came of a service.
pub struct Siege {
    pub name: &'static str,
    pub harms: Vec<Harm>,
    pub before: Footing,
    /// With all attackers there.
    pub amid: Footing,
    pub after: Footing,
    /// From the attackers' silence until all but the memory was as before.
    pub recovery: Duration,
    /// Good runs when all was over.
    pub last: Window,
}

/// What one kind of attackers did to others, round by round.
pub struct Harm {
    pub kind: Kind,
    pub rounds: Vec<Round>,
}

/// Two windows, one after the other.
pub struct Round {
    pub without: Window,
    pub with: Window,
    /// What the attackers did in the second.
    pub tally: Tally,
}

/// Good runs of a while.
pub struct Window {
    /// Those with a tool of 20 ms.
    pub slow: Latency,
    /// Those with a tool that answers at once.
    pub plain: Latency,
    /// What the service took, and the attackers, in cores.
    pub service: f64,
    pub attacker: f64,
}

/// A service under attack, and who is there.
struct Scenery<'a> {
    bench: &'a Bench,
    service: Service,
    load: Load,
    attacker: Child,
}

/// Has each service attacked.
pub fn measure(bench: &Bench) -> Outcome<Vec<Siege>> {
    bench.programs.iter().map(|(name, program)| besiege(bench, name, program)).collect()
}

fn besiege(bench: &Bench, name: &'static str, program: &str) -> Outcome<Siege> {
    let mut service = bench.start_with(program, SETTINGS)?;
    let log = Log::read(service.child.take_output()?);
    let load = bench.block_on(Load::connect(&service.address, CONNECTIONS))?;
    let attacker = Child::ourselves(&["attacker", &service.address.to_string()])?;
    let mut scenery = Scenery { bench, service, load, attacker };
    // Slow readers are to be told a long answer.
    bench.release(true)?;
    for scene in [SLOW, PLAIN] {
        bench.block_on(scenery.load.run(work(scene, WARMING)))?;
    }
    let before = Footing::settled(&scenery.service)?;
    let mut harms: Vec<Harm> = bench.attacks.iter().map(|&kind| Harm { kind, rounds: Vec::new() }).collect();
    for _ in 0..bench.rounds {
        for Harm { kind, rounds } in &mut harms {
            rounds.push(scenery.round(*kind)?);
        }
    }
    let (amid, after, recovery) = scenery.outlast(&before)?;
    let last = scenery.window()?;
    scenery.service.child.terminate()?;
    log.end()?;
    Ok(Siege { name, harms, before, amid, after, recovery, last })
}

impl Scenery<'_> {
    fn round(&mut self, kind: Kind) -> Outcome<Round> {
        let without = self.window()?;
        self.attacker.ask(&format!("begin {}", kind.name()))?;
        let with = self.window()?;
        let tally: Tally = self.attacker.ask("stop")?.parse()?;
        if tally.actions == 0 {
            return Err(format!("{} did nothing", kind.name()).into());
        }
        self.calm_down()?;
        Ok(Round { without, with, tally })
    }

    /// Has all attack at once and fall silent, and waits until the service is what it was before: with all of them, and
    /// then, and how long it took.
    fn outlast(&mut self, before: &Footing) -> Outcome<(Footing, Footing, Duration)> {
        for kind in Kind::ALL {
            self.attacker.ask(&format!("begin {}", kind.name()))?;
        }
        self.window()?;
        let amid = Footing::of(&self.service)?;
        self.attacker.ask("freeze")?;
        let began = Instant::now();
        loop {
            match Footing::as_before(&self.service, before)? {
                Ok(after) => return Ok((amid, after, began.elapsed())),
                Err(why) if began.elapsed() > RECOVERY_TIMEOUT => {
                    return Err(format!("the service does not get rid of attackers: {why}").into());
                }
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until no run is live: its caller has gone.
    fn calm_down(&self) -> Outcome<()> {
        let began = Instant::now();
        while footing::live(&self.service)? > 0.0 {
            if began.elapsed() > CALM_TIMEOUT {
                return Err("runs are live whose callers have gone".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn window(&self) -> Outcome<Window> {
        let processes = [self.service.child.id(), self.attacker.id()];
        let cpu = || Outcome::Ok((usage::cpu_time(processes[0])?, usage::cpu_time(processes[1])?));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred")]
        let runs = (RATE * SECONDS) as usize;
        let (began, before) = (Instant::now(), cpu()?);
        let paced = |scene| self.load.paced(work(scene, runs), RATE);
        let (slow, plain) = self.bench.block_on(async { try_join!(paced(SLOW), paced(PLAIN)) })?;
        let (took, after) = (began.elapsed().as_secs_f64(), cpu()?);
        let cores = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / took;
        Ok(Window { slow, plain, service: cores(before.0, after.0), attacker: cores(before.1, after.1) })
    }
}

fn work(scene: &'static Scene, runs: usize) -> Work {
    Work { scene, mode: Mode::Unary, runs, identities: IDENTITIES }
}

/// What of a window counts: its p99, in milliseconds.
pub type Slowest = fn(&Window) -> f64;
/// Of runs with a tool of 20 ms.
pub const SLOW_P99: Slowest = |window| millis(window.slow.p99);
/// Of runs with a tool that answers at once.
pub const PLAIN_P99: Slowest = |window| millis(window.plain.p99);

impl Harm {
    /// How many times as long it took beside the attackers: the middle of the rounds.
    pub fn ratio(&self, slowest: Slowest) -> f64 {
        median(self.ratios(slowest))
    }

    /// The same for each round.
    pub fn ratios(&self, slowest: Slowest) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |round| slowest(&round.with) / slowest(&round.without))
    }
}
