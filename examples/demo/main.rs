//! `make demo`: shows, over real gRPC, that each run acts with its own caller's headers.
//!
//! An MCP server ([`shop`]) that answers by whose token it is shown, the service itself ([`service`]), and a backend that
//! calls it ([`steps`], [`show`]), all in one process and on loopback. It fails if any answer is not the expected one.
//!
//! `SERVE=1` serves until Ctrl-C, for one's own grpcurl; `LISTEN=127.0.0.1:0` takes another address than the configured one.
//! With `OPENAI_API_KEY` (and `OPENAI_BASE_URL`, `OPENAI_MODEL`) a real model answers. With `OTEL_EXPORTER_OTLP_ENDPOINT` the
//! service and the MCP server export their spans there.

use std::{env, error::Error, process::ExitCode};

use runwright::config::Config;
use service::Service;
use show::Show;
use spans::Spans;
use tokio::task::spawn_blocking;

mod calls;
mod events;
mod failure;
mod paint;
mod render;
mod service;
mod shop;
mod show;
mod spans;
mod steps;

/// What ends the demo early, in words for people.
type Fallible<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("\n{}", paint::bad(&format!("The demo failed: {error}")));
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Fallible<()> {
    let serve = env::var_os("SERVE").is_some_and(|value| value == "1");
    let mut config = service::load()?;
    let spans = Spans::start(&mut config)?;
    let shown = demonstrate(config, &spans, serve).await;
    // Not on a thread that sends them.
    spawn_blocking(|| spans.shutdown()).await?;
    shown
}

async fn demonstrate(config: Config, spans: &Spans, serve: bool) -> Fallible<()> {
    let (shop, executed) = shop::open(spans).await?;
    let service = Service::start(config, &shop, spans, serve).await?;
    let show = Show::new(&service, executed)?;
    if serve {
        show.lines()?;
        tokio::signal::ctrl_c().await?;
    } else {
        show.steps().await?;
    }
    service.stop().await
}
