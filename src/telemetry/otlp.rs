//! OTLP, the way out of what is measured (<https://opentelemetry.io/docs/specs/otlp/>): how a collector is reached, for each
//! signal alike.
//!
//! What exports runs on a thread of its own, without tokio; requests go over the runtime that this was made in. So that
//! runtime must still work when the last batch is sent.

mod grpc;
mod http;

use std::time::Duration;

use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol as WireProtocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use thiserror::Error;
use tokio::runtime::Handle;
use url::Url;

use crate::{
    credential::Headers,
    egress::{self, Egress},
};
use grpc::Channel;
use http::Sender;

/// The longest time for a connection to a collector to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a collector is, and what goes there.
#[derive(Clone)]
pub struct Config {
    /// Its address. Over HTTP it is the base, to which the path of each signal is added (`/v1/traces`).
    pub endpoint: Url,
    /// What it speaks.
    pub protocol: Protocol,
    /// What every request carries.
    pub headers: Headers,
    /// The longest time for a batch to be taken, all tries included.
    pub timeout: Duration,
    /// Whether spans go there.
    pub traces: bool,
    /// Whether metrics go there.
    pub metrics: bool,
}

/// What a collector speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf over HTTP.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}

/// Why nothing can be exported.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no HTTP client for the endpoint.
    #[error("there is no client for `telemetry.otlp.endpoint`: {0}")]
    Egress(#[from] egress::Error),
    /// The exporter does not take what is configured, which may also be by an `OTEL_EXPORTER_OTLP_*` variable.
    #[error("the OTLP exporter can't be set up: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// How a signal's batches are sent.
pub enum Transport {
    /// To this URL.
    Http(Sender, String),
    /// Over this channel.
    Grpc(Channel),
}

impl Config {
    /// The longest time for a batch to be taken, where it is not configured.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// How a signal's batches are sent, over the runtime; `path` is the signal's, such as `/v1/traces`.
    ///
    /// # Errors
    /// There is no client for the endpoint.
    pub fn transport(
        &self,
        path: &str,
        egress: &Egress,
        runtime: &Handle,
    ) -> Result<Transport, egress::Error> {
        match self.protocol {
            Protocol::Http => {
                let mut url = self.endpoint.clone();
                url.set_path(&format!("{}{path}", self.endpoint.path().trim_end_matches('/')));
                let sender = Sender::new(self, egress, runtime.clone())?;
                Ok(Transport::Http(sender, url.into()))
            }
            Protocol::Grpc => Ok(Transport::Grpc(Channel::new(self, runtime)?)),
        }
    }

    /// What exports spans.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub(super) fn span_exporter(&self, egress: &Egress, runtime: &Handle) -> Result<SpanExporter, Error> {
        let exporter = SpanExporter::builder();
        let exporter = match self.transport("/v1/traces", egress, runtime)? {
            Transport::Http(sender, url) => exporter
                .with_http()
                .with_http_client(sender)
                .with_endpoint(url)
                .with_protocol(WireProtocol::HttpBinary)
                .with_timeout(self.timeout)
                .build()?,
            Transport::Grpc(Channel { channel, headers }) => exporter
                .with_tonic()
                .with_channel(channel)
                .with_interceptor(move |request| Ok(headers.insert_into(request)))
                .with_timeout(self.timeout)
                .build()?,
        };
        Ok(exporter)
    }

    /// What exports metrics.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub(super) fn metric_exporter(&self, egress: &Egress, runtime: &Handle) -> Result<MetricExporter, Error> {
        let exporter = MetricExporter::builder();
        let exporter = match self.transport("/v1/metrics", egress, runtime)? {
            Transport::Http(sender, url) => exporter
                .with_http()
                .with_http_client(sender)
                .with_endpoint(url)
                .with_protocol(WireProtocol::HttpBinary)
                .with_timeout(self.timeout)
                .build()?,
            Transport::Grpc(Channel { channel, headers }) => exporter
                .with_tonic()
                .with_channel(channel)
                .with_interceptor(move |request| Ok(headers.insert_into(request)))
                .with_timeout(self.timeout)
                .build()?,
        };
        Ok(exporter)
    }
}
