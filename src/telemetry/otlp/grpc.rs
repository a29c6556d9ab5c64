//! OTLP over gRPC: a channel over egress's connections. The only file of telemetry that knows tonic, which the exporter
//! speaks gRPC with.

use http::Uri;
use tokio::runtime::Handle;
use tonic::{
    Request,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::{Channel as TonicChannel, Endpoint},
};
use tower::{Service, service_fn};

use super::{CONNECT_TIMEOUT, Config};
use crate::{credential::Headers, egress};

/// A channel to a collector, and what every call carries.
pub struct Channel {
    /// It connects with the first call, and again when the connection is lost.
    pub channel: TonicChannel,
    /// The headers.
    pub headers: Metadata,
}

/// Headers, as they are when a call is made.
#[derive(Clone)]
pub struct Metadata(Headers);

impl Channel {
    pub(super) fn new(config: &Config, runtime: &Handle) -> Result<Self, egress::Error> {
        let uri = egress::uri(&config.endpoint)?;
        let mut connector = egress::connector(egress::Route::default(), None)?;
        // TLS is the connector's: tonic is told of none, or it would look for its own.
        let endpoint = Endpoint::from(Uri::from_static("http://collector"))
            .origin(uri.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(config.timeout);
        let _runtime = runtime.enter();
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_| connector.call(uri.clone())));
        Ok(Self { channel, headers: Metadata(config.headers.clone()) })
    }
}

impl Metadata {
    /// Puts the headers into a call.
    pub fn insert_into(&self, mut request: Request<()>) -> Request<()> {
        for header in self.0.current().headers() {
            let name = AsciiMetadataKey::from_bytes(header.name.as_str().as_bytes());
            let value = AsciiMetadataValue::try_from(header.value.as_header().as_bytes());
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }
}
