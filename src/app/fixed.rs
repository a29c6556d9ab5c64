//! What of a configuration holds for as long as the process lives.

use std::{net::SocketAddr, time::Duration};

use url::Url;

use crate::{
    config::Config,
    credential::Source,
    headers::SecretValue,
    server,
    telemetry::{LogFormat, otlp::Protocol},
};

/// What a process can't change while it lives. It holds a secret.
pub(super) struct Fixed {
    listen: SocketAddr,
    admin_listen: SocketAddr,
    worker_threads: usize,
    tls: Option<server::Tls>,
    /// The key of digests, if one is configured.
    pub(super) digest_key: Option<SecretValue>,
    /// How old a connection for gRPC becomes.
    pub(super) max_connection_age: Duration,
    /// The largest request, in bytes.
    pub(super) max_request_bytes: usize,
    format: LogFormat,
    spans: bool,
    sampling: f64,
    resource: Vec<(String, String)>,
    /// Where telemetry goes; its headers, which are sources, aside.
    otlp: Option<(Url, Protocol, Duration, bool, bool)>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.server.listen,
            admin_listen: config.server.admin_listen,
            worker_threads: config.server.worker_threads,
            tls: config.server.tls.clone(),
            digest_key: config.server.digest_key.as_ref().and_then(Source::ready),
            max_connection_age: config.server.max_connection_age,
            max_request_bytes: config.limits.max_request_bytes,
            format: config.telemetry.format,
            spans: config.telemetry.spans,
            sampling: config.telemetry.sampling,
            resource: config.telemetry.resource.clone().into_iter().collect(),
            otlp: config
                .telemetry
                .otlp
                .as_ref()
                .map(|otlp| (otlp.endpoint.clone(), otlp.protocol, otlp.timeout, otlp.traces, otlp.metrics)),
        }
    }

    /// The keys whose values are others in another configuration.
    pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            admin_listen,
            worker_threads,
            tls,
            digest_key,
            max_connection_age,
            max_request_bytes,
            format,
            spans,
            sampling,
            resource,
            otlp,
        } = self;
        let bytes = |key: &Option<SecretValue>| key.as_ref().map(|key| key.as_bytes().to_vec());
        let keys = [
            ("server.listen", *listen == other.listen),
            ("server.admin_listen", *admin_listen == other.admin_listen),
            ("server.worker_threads", *worker_threads == other.worker_threads),
            ("server.tls", *tls == other.tls),
            ("server.digest_key", bytes(digest_key) == bytes(&other.digest_key)),
            ("server.max_connection_age", *max_connection_age == other.max_connection_age),
            ("limits.max_request_bytes", *max_request_bytes == other.max_request_bytes),
            ("telemetry.logs.format", *format == other.format),
            ("telemetry.spans", *spans == other.spans),
            ("telemetry.sampling", sampling.to_bits() == other.sampling.to_bits()),
            ("telemetry.resource", *resource == other.resource),
            ("telemetry.otlp", *otlp == other.otlp),
        ];
        keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}
