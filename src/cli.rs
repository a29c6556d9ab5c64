//! The command line.

use std::{env, path::PathBuf, process::ExitCode, sync::Arc, task::Poll, time::Duration};

use clap::{Args, Parser, Subcommand};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tracing::{error, info};

use crate::{
    app::{self, App, Error, Reloading, Trigger},
    config::{Config, Loader},
    telemetry::{self, Surroundings, Telemetry},
};
use healthcheck::Healthcheck;

mod healthcheck;
mod workers;

/// The configuration is wrong (`EX_USAGE` of sysexits.h).
const EXIT_CONFIG: u8 = 64;
/// The service did not start, or failed.
const EXIT_FAILED: u8 = 1;

/// How often the files of the configuration are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the threads that serve look for memory that others have freed.
const COLLECT_EVERY: Duration = Duration::from_secs(2);

/// Executes LLM agents over gRPC; every run carries its caller's own MCP headers.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the configured agents.
    Serve(Source),
    /// Check a configuration and print every problem.
    Check(Source),
    /// Ask a running service whether it serves, for probes: 0 if it does, else 1 and why not.
    Healthcheck(Box<Healthcheck>),
}

#[derive(Args)]
struct Source {
    /// The configuration: a YAML file, or a folder of them.
    #[arg(long, value_name = "PATH")]
    config: PathBuf,
}

/// Runs the command line, and says what the process exits with.
///
/// `collect` is called now and then by each thread that serves, when it has nothing else to do: the allocator may look what
/// others have freed of the thread's memory.
pub fn run(collect: fn()) -> ExitCode {
    match Cli::parse().command {
        Command::Serve(source) => {
            let loader = loader(source);
            match load(&loader) {
                Ok(config) => serve(config, loader, collect),
                Err(code) => code,
            }
        }
        Command::Check(source) => match load(&loader(source)) {
            Ok(config) => check(&config),
            Err(code) => code,
        },
        Command::Healthcheck(arguments) => healthcheck::healthcheck(*arguments),
    }
}

fn loader(source: Source) -> Loader {
    Loader::new(source.config, |name| env::var(name).ok())
}

fn load(loader: &Loader) -> Result<Config, ExitCode> {
    loader.load().map_err(|problems| {
        for problem in &problems {
            eprintln!("{problem}");
        }
        ExitCode::from(EXIT_CONFIG)
    })
}

fn check(config: &Config) -> ExitCode {
    println!(
        "The configuration is valid: {} agents, {} models, {} MCP servers.",
        config.agents.len(),
        config.models.len(),
        config.mcp_servers.len()
    );
    ExitCode::SUCCESS
}

fn serve(config: Config, loader: Loader, collect: fn()) -> ExitCode {
    let runtime = match workers::start(config.server.worker_threads, COLLECT_EVERY, collect) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the async runtime can't be started: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let instance = app::instance();
    let surroundings =
        Surroundings { instance: &instance, egress: &config.egress, runtime: runtime.handle() };
    let telemetry = match telemetry::install(&config.telemetry, &surroundings) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let served = runtime.block_on(serve_until_signal(config, loader, instance, &telemetry));
    // From here, which is no thread of the runtime's, and while that still works.
    telemetry.shutdown();
    // Whatever connection is still open ends with the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => {
            info!("The service has ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!(%error, "The service failed");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn serve_until_signal(
    config: Config,
    loader: Loader,
    instance: String,
    telemetry: &Telemetry,
) -> Result<(), Error> {
    let hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let (loader, triggers) = (Arc::new(loader), triggers(hangup));
    let reloading = Reloading { loader, triggers, filter: Some(telemetry.filter()) };
    let app = App::named(config, instance, telemetry.meters())?.reloading(reloading);
    let listeners = app.listen().await?;
    info!(
        listen = listeners.grpc.local_addr().ok().map(|address| address.to_string()),
        admin_listen = listeners.admin.local_addr().ok().map(|address| address.to_string()),
        version = env!("CARGO_PKG_VERSION"),
        "The service takes runs"
    );
    let signals = stream::poll_fn(|cx| {
        let told = terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready();
        if told { Poll::Ready(Some(())) } else { Poll::Pending }
    });
    app.serve(listeners, signals).await
}

/// When the configuration is read again: on SIGHUP at once, and where its files have changed.
fn triggers(mut hangup: Signal) -> BoxStream<'static, Trigger> {
    let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::poll_fn(move |cx| {
        if let Poll::Ready(told) = hangup.poll_recv(cx) {
            return Poll::Ready(told.map(|()| Trigger::Told));
        }
        looks.poll_tick(cx).map(|_| Some(Trigger::Look))
    })
    .boxed()
}
