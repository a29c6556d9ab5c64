//! Spans, where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector: those of the service, and one for each request that the
//! shop is sent, as an MCP server with OpenTelemetry has it.

use std::{env, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::HeaderMap,
    middleware::{self, Next},
    response::Response,
};
use opentelemetry::{
    KeyValue,
    propagation::TextMapPropagator,
    trace::{Span as _, SpanKind, Status, Tracer, TracerProvider},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol as WireProtocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span},
};
use runwright::{
    app,
    config::Config,
    credential::Headers,
    telemetry::{
        self, OtlpConfig, Surroundings, Traces,
        otlp::{Protocol, Transport},
    },
    trace::SpanMaker,
};
use tokio::runtime::Handle;
use url::Url;

use crate::Fallible;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long a span of the shop waits at most, as long as one of the service.
const DELAY: Duration = Duration::from_secs(1);

/// What exports spans, if anything does.
#[derive(Default)]
pub struct Spans {
    service: Option<Traces>,
    shop: Option<SdkTracerProvider>,
}

impl Spans {
    /// Begins to export, if the environment says where to. The service's configuration says so then, too.
    pub fn start(config: &mut Config) -> Fallible<Self> {
        let Ok(endpoint) = env::var(ENDPOINT) else { return Ok(Self::default()) };
        let otlp = OtlpConfig {
            endpoint: Url::parse(&endpoint).map_err(|error| format!("{ENDPOINT}: {error}"))?,
            protocol: Protocol::Http,
            headers: Headers::default(),
            timeout: OtlpConfig::TIMEOUT,
            traces: true,
            metrics: false,
        };
        let shop = shop(&otlp, config)?;
        config.telemetry.otlp = Some(otlp);
        let (instance, runtime) = (app::instance(), Handle::current());
        let surroundings = Surroundings { instance: &instance, egress: &config.egress, runtime: &runtime };
        Ok(Self { service: telemetry::traces(&config.telemetry, &surroundings)?, shop: Some(shop) })
    }

    /// What makes the service's spans. Without a collector they are ids, which requests carry.
    pub fn of_service(&self) -> SpanMaker {
        self.service.as_ref().map_or_else(SpanMaker::of_ids, Traces::maker)
    }

    /// The shop, which has a span for each request.
    pub fn of_shop(&self, router: Router) -> Router {
        match &self.shop {
            Some(provider) => router.layer(middleware::from_fn_with_state(provider.tracer("shop"), record)),
            None => router,
        }
    }

    /// Exports what is left. It blocks the thread, which must not be one that the runtime needs.
    pub fn shutdown(self) {
        if let Some(service) = self.service {
            service.shutdown();
        }
        if let Some(Err(error)) = self.shop.map(|provider| provider.shutdown()) {
            anstream::eprintln!("The shop's last spans could not be exported: {error}");
        }
    }
}

fn shop(otlp: &OtlpConfig, config: &Config) -> Fallible<SdkTracerProvider> {
    let Transport::Http(client, url) = otlp.transport("/v1/traces", &config.egress, &Handle::current())?
    else {
        return Err("the shop exports over HTTP".into());
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(url)
        .with_protocol(WireProtocol::HttpBinary)
        .build()?;
    let batches = BatchConfigBuilder::default().with_scheduled_delay(DELAY).build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder().with_service_name("shop").build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(batches).build())
}

/// Answers a request in a span.
async fn record(State(tracer): State<SdkTracer>, request: Request, next: Next) -> Response {
    let mut span = begin(&tracer, request.headers());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    if status >= 400 {
        span.set_attribute(KeyValue::new("error.type", status.to_string()));
        span.set_status(Status::error(""));
    }
    response
}

/// A request's span, below the one that its sender named. MCP says in headers what is asked for.
fn begin(tracer: &SdkTracer, headers: &HeaderMap) -> Span {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let method = header("mcp-method").unwrap_or("POST").to_owned();
    let name = header("mcp-name").map_or_else(|| method.clone(), |tool| format!("{method} {tool}"));
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    let builder = tracer.span_builder(name).with_kind(SpanKind::Server);
    builder.with_attributes([KeyValue::new("mcp.method.name", method)]).start_with_context(tracer, &parent)
}
