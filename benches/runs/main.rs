//! What a run costs: the service's CPU time for one run, held against a floor.
//!
//! A run is three requests: the model asks for one tool, the tool is called over MCP, the model answers with 32 words.
//! The floor is a loop over one `reqwest` client that sends those three requests and nothing else; it repeats, byte for
//! byte, what the upstream saw the service send. Service and floor are measured in turn, each in a process of its own,
//! against the same upstream on the loopback, with the same number of runs in flight. What counts is CPU time (user and
//! system) of the measured process: on a machine that does other things, too, wall time says little.
//!
//! `BENCH_RUNS` and `BENCH_ROUNDS` set how much is measured; an argument, `unary` or `streamed`, what.
//! `BENCH_BASELINE` names another build of the service, to be measured in the same rounds. A run whose answer is wrong fails the benchmark.

mod child;
mod floor;
mod load;
mod report;
mod service;
mod upstream;

use std::{env, error::Error};

use child::Child;
use load::Load;
use report::Report;
use service::Service;

/// The process that is measured should not differ from the service by its allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A benchmark that can't go on says why.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs in flight at a time.
const IN_FLIGHT: usize = 8;
/// How many callers, each with a token of its own, the service is measured with.
const IDENTITIES: [usize; 3] = [1, 1000, 10_000];

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// `Run`, and whole answers of the model.
    Unary,
    /// `RunStreamed`, and streamed answers of the model.
    Streamed,
}

impl Mode {
    const ALL: [Self; 2] = [Self::Unary, Self::Streamed];

    fn named(name: &str) -> Outcome<Self> {
        let mode = Self::ALL.into_iter().find(|mode| mode.name() == name);
        mode.ok_or_else(|| format!("{name} is neither unary nor streamed").into())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Streamed => "streamed",
        }
    }
}

fn main() -> Outcome<()> {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream"] => runtime.block_on(upstream::serve()),
        ["floor", base_url] => runtime.block_on(floor::obey(base_url)),
        [] => measure(&runtime, &Mode::ALL),
        [mode] => measure(&runtime, &[Mode::named(mode)?]),
        _ => Err("give no argument, or one: unary or streamed".into()),
    }
}

fn measure(runtime: &tokio::runtime::Runtime, modes: &[Mode]) -> Outcome<()> {
    let runs = number("BENCH_RUNS", 4000)?;
    let rounds = number("BENCH_ROUNDS", 5)?;
    let mut upstream = Child::ourselves(&["upstream"])?;
    let base_url = format!("http://{}", upstream.line()?);
    let mut services = vec![("service", Service::start(env!("CARGO_BIN_EXE_runwright"), &base_url)?)];
    if let Ok(baseline) = env::var("BENCH_BASELINE") {
        services.push(("baseline", Service::start(&baseline, &base_url)?));
    }
    let services: Vec<_> = services
        .into_iter()
        .map(|(name, service)| Ok((name, runtime.block_on(Load::connect(&service.address))?, service)))
        .collect::<Outcome<_>>()?;

    // Each identity opens its client now, and the upstream sees what the floor is to repeat.
    for (&mode, identities) in modes.iter().flat_map(|mode| IDENTITIES.map(|identities| (mode, identities))) {
        for (_, load, _) in &services {
            runtime.block_on(load.run(mode, runs.max(2 * identities), identities))?;
        }
    }
    let mut floor = Child::ourselves(&["floor", &base_url])?;
    for &mode in modes {
        floor.ask(&format!("{} {runs}", mode.name()))?;
    }

    let mut report = Report::default();
    for &mode in (0..rounds).flat_map(|_| modes) {
        // A loop of the floor is short, and CPU time is told in steps of 10 ms.
        let loops = 4 * runs;
        let order = format!("{} {loops}", mode.name());
        report.add(mode, "floor".to_owned(), child::measure(floor.id(), loops, || floor.ask(&order))?);
        for identities in IDENTITIES {
            for (name, load, service) in &services {
                let run = || runtime.block_on(load.run(mode, runs, identities));
                let what = format!("{name}, identities: {identities}");
                report.add(mode, what, child::measure(service.child.id(), runs, run)?);
            }
        }
    }
    print!("{report}");
    Ok(())
}

fn number(variable: &str, default: usize) -> Outcome<usize> {
    match env::var(variable) {
        Ok(text) => Ok(text.parse().map_err(|_| format!("{variable} is no number"))?),
        Err(_) => Ok(default),
    }
}
