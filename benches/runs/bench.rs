//! What measurements need: the upstream, the services, and how much is to be measured.

use std::{env, str::FromStr};

use tokio::runtime::Runtime;

use crate::{
    Outcome,
    attacks::Kind,
    child::Child,
    load::Load,
    place::Place,
    scene::{SCENES, Scene},
    service::{SETTINGS, Service, Settings},
};

/// What measurements need.
pub struct Bench {
    runtime: Runtime,
    _upstream: Child,
    place: Place,
    /// The services' programs by name, the one under test first.
    pub programs: Vec<(&'static str, String)>,
    /// Cargo's own build, where all of another one is measured.
    plain: Option<String>,
    /// Runs of the plainest kind a round.
    pub runs: usize,
    pub rounds: usize,
    /// How often a service is told to end under load.
    pub drains: usize,
    /// The kinds of attackers that are measured.
    pub attacks: Vec<Kind>,
    /// The kinds of runs whose costs are measured.
    pub scenes: Vec<&'static Scene>,
    /// What random numbers begin with.
    pub seed: u64,
    /// Whether it is the usual amount.
    pub whole: bool,
}

/// A service that is measured, and connections to it.
pub struct Subject {
    pub name: &'static str,
    pub service: Service,
    pub load: Load,
}

impl Bench {
    /// Starts the upstream.
    pub fn new(runtime: Runtime) -> Outcome<Self> {
        let mut upstream = Child::ourselves(&["upstream"])?;
        let place = serde_json::from_str(&upstream.line()?)?;
        let own = env!("CARGO_BIN_EXE_runwright").to_owned();
        let other = env::var("BENCH_SERVICE").ok();
        let plain_too = other.is_some().then(|| own.clone());
        let mut programs = vec![("service", other.unwrap_or(own))];
        programs.extend(env::var("BENCH_BASELINE").ok().map(|baseline| ("baseline", baseline)));
        let (runs, rounds) = (number("BENCH_RUNS")?, number("BENCH_ROUNDS")?);
        let seed = number("BENCH_SEED")?.unwrap_or(1);
        let attacks = some_of("BENCH_ATTACKS", Kind::named)?;
        let scenes = some_of("BENCH_SCENES", |name| Ok(Scene::named(name)?.1))?;
        let is_usual = runs.is_none() && rounds.is_none() && attacks.is_none() && scenes.is_none();
        let whole = is_usual && programs.len() == 1;
        let plain = plain_too.filter(|_| whole);
        let attacks = attacks.unwrap_or_else(|| Kind::ALL.into());
        let scenes = scenes.unwrap_or_else(|| SCENES.into());
        let drains = rounds.unwrap_or(50);
        let (runs, rounds) = (runs.unwrap_or(4000), rounds.unwrap_or(5));
        Ok(Self {
            runtime,
            _upstream: upstream,
            place,
            programs,
            plain,
            runs,
            rounds,
            drains,
            attacks,
            scenes,
            seed,
            whole,
        })
    }

    /// Waits for something.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Starts a program with the upstream that there is.
    pub fn start(&self, program: &str) -> Outcome<Service> {
        self.start_with(program, SETTINGS)
    }

    /// Starts a program with settings of its own.
    pub fn start_with(&self, program: &str, settings: Settings) -> Outcome<Service> {
        Service::start(program, &self.place, settings)
    }

    /// Starts a service, and connects to it.
    pub fn service(&self, name: &'static str, connections: usize) -> Outcome<Subject> {
        let program = self.programs.iter().find(|(known, _)| *known == name).ok_or("no such service")?;
        self.subject(name, &program.1, connections)
    }

    /// Starts all services, and connects to them.
    pub fn services(&self, connections: usize) -> Outcome<Vec<Subject>> {
        self.programs.iter().map(|(name, _)| self.service(name, connections)).collect()
    }

    /// The same, and Cargo's own build where all of another one is measured.
    pub fn services_and_plain(&self, connections: usize) -> Outcome<Vec<Subject>> {
        let mut services = self.services(connections)?;
        if let Some(plain) = &self.plain {
            services.push(self.subject("plain build", plain, connections)?);
        }
        Ok(services)
    }

    fn subject(&self, name: &'static str, program: &str, connections: usize) -> Outcome<Subject> {
        let service = self.start(program)?;
        let load = self.block_on(Load::connect(&service.address, connections))?;
        Ok(Subject { name, service, load })
    }

    /// Starts the floor, which repeats what the upstream has seen by now.
    pub fn floor(&self) -> Outcome<Child> {
        Child::ourselves(&["floor", &serde_json::to_string(&self.place)?])
    }

    /// Lets the runs that the upstream holds go on, or holds the next ones.
    pub fn release(&self, now: bool) -> Outcome<()> {
        self.block_on(self.post_release(now))
    }

    /// The same for those that wait already.
    pub async fn post_release(&self, now: bool) -> Outcome<()> {
        #[allow(clippy::disallowed_methods, reason = "to the upstream")]
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.post(format!("{}/release/{now}", self.place.plain_url())).send().await?.error_for_status()?;
        Ok(())
    }
}

/// Those that a variable names, with commas between.
fn some_of<T>(variable: &str, named: impl Fn(&str) -> Outcome<T>) -> Outcome<Option<Vec<T>>> {
    env::var(variable).ok().map(|names| names.split(',').map(named).collect()).transpose()
}

fn number<N: FromStr>(variable: &str) -> Outcome<Option<N>> {
    let Ok(text) = env::var(variable) else { return Ok(None) };
    Ok(Some(text.parse().map_err(|_| format!("{variable} is no number"))?))
}
