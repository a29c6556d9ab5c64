//! `runwright healthcheck`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use http::Uri;
use rustls::pki_types::ServerName;
use tokio::runtime::Builder;
use url::Url;

use crate::{
    config::parse_duration,
    egress::{self, Route},
    health::{self, Question, Suspicion},
    tls::{Identity, Roots},
};

/// The service is not healthy, or nobody knows.
const EXIT_UNHEALTHY: u8 = 1;

/// What is asked, and how.
#[derive(Args)]
pub struct Healthcheck {
    /// Where the service serves gRPC.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051", value_parser = target)]
    target: Uri,
    /// The gRPC service that is asked about, such as runwright.v1.AgentService; left out: the whole process.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    /// The longest time for all of it.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = limit)]
    timeout: Duration,
    /// Whom to believe, in place of the platform's roots: a PEM file; for https.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A PEM file with the certificate that the service is shown when it asks for one, and its chain; for https.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// A PEM file with the certificate's key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The name that the service's certificate is for, if it is not the target's host; for https.
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<ServerName<'static>>,
}

/// Asks a service how it is: 0 if it is `SERVING`.
pub fn healthcheck(arguments: Healthcheck) -> ExitCode {
    // Without the slash that stands for no path.
    let target = arguments.target.to_string();
    let target = target.trim_end_matches('/');
    match ask(arguments) {
        Ok(()) => {
            println!("{target} is SERVING");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{target} {why}");
            ExitCode::from(EXIT_UNHEALTHY)
        }
    }
}

fn ask(arguments: Healthcheck) -> Result<(), String> {
    let question = arguments.question()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("can't be asked: {error}"))?;
    let answer = runtime.block_on(health::check(question));
    // A name may still be looked up, on a thread that nothing can end.
    runtime.shutdown_background();
    answer.map_err(|error| match error.suspicion() {
        Some(suspicion) => format!("{error}; {}", hint(suspicion)),
        None => error.to_string(),
    })
}

/// Which arguments may mend it.
fn hint(suspicion: Suspicion) -> &'static str {
    match suspicion {
        Suspicion::ServesTls => {
            "if it serves TLS, ask it with --target https://… (and --ca, --server-name, --certificate and --key as need be)"
        }
        Suspicion::ServesPlainText => "it seems to serve no TLS: ask it with --target http://…",
        Suspicion::UnknownAuthority => "--ca says which authority to believe",
        Suspicion::OtherName => "--server-name says which name its certificate is for",
        Suspicion::WantsCertificate => {
            "if it takes only those who show a certificate, give --certificate and --key"
        }
    }
}

impl Healthcheck {
    fn question(self) -> Result<Question, String> {
        let Self { target, service, timeout, ca, certificate, key, server_name } = self;
        let has_tls = ca.is_some() || certificate.is_some() || server_name.is_some();
        if has_tls && target.scheme_str() != Some("https") {
            return Err("has no TLS: --ca, --certificate and --server-name are for https://".to_owned());
        }
        let roots =
            ca.map(|path| Roots::open(path).map_err(|error| format!("can't be asked with --ca: {error}")));
        let identity = certificate.zip(key).map(|(certificate, key)| {
            let opened = Identity::open(certificate, key);
            opened.map_err(|error| format!("can't be asked with --certificate and --key: {error}"))
        });
        let route = Route { roots: roots.transpose()?, identity: identity.transpose()?, proxy: None };
        Ok(Question { target, route, server_name, service, timeout })
    }
}

fn target(text: &str) -> Result<Uri, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none());
    let url = url.filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none());
    let uri = url.and_then(|url| egress::uri(&url).ok());
    uri.ok_or_else(|| "expected http:// or https://, a host and a port".to_owned())
}

fn limit(text: &str) -> Result<Duration, String> {
    let limit = parse_duration(text).filter(|limit| !limit.is_zero());
    limit.ok_or_else(|| "expected a duration such as 500ms, 5s or 1m30s".to_owned())
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| "expected a DNS name or an IP address".to_owned())
}
