//! An OTLP receiver over HTTP or gRPC, which keeps the spans and the metrics that it is sent.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::soon;

/// A running receiver. It ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    protocol: &'static str,
    received: Received,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Received(Arc<watch::Sender<Vec<Batch>>>, Arc<Mutex<Vec<ExportMetricsServiceRequest>>>);

/// One export.
#[derive(Clone)]
pub struct Batch {
    pub headers: HeaderMap,
    pub request: ExportTraceServiceRequest,
}

impl Collector {
    /// Over `http` or `grpc`.
    pub async fn start(protocol: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, protocol)
    }

    /// The same, where it is listened already.
    pub fn on(listener: TcpListener, protocol: &'static str) -> Self {
        let address = listener.local_addr().unwrap();
        let received = Received(Arc::new(watch::Sender::new(Vec::new())), Arc::default());
        let state = received.clone();
        let serving = tokio::spawn(async move {
            if protocol == "http" {
                let route = axum::routing::post(take);
                let metrics = axum::routing::post(take_metrics);
                let router = axum::Router::new().route("/v1/traces", route).route("/v1/metrics", metrics);
                let router = router.with_state(state);
                axum::serve(listener, router).await.unwrap();
            } else {
                let server = tonic::transport::Server::builder()
                    .add_service(TraceServiceServer::new(state.clone()))
                    .add_service(MetricsServiceServer::new(state));
                server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
            }
        });
        Self { address, protocol, received, serving }
    }

    /// The section `telemetry` of a configuration that exports to it; `more` is added to `otlp`.
    pub fn telemetry(&self, more: &str) -> String {
        let (endpoint, protocol) = (self.endpoint(), self.protocol);
        format!("otlp: {{ endpoint: \"{endpoint}\", protocol: {protocol}{more} }}")
    }

    /// Where it takes exports; over HTTP the base, to which the signal's path is added.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All exports so far.
    pub fn batches(&self) -> Vec<Batch> {
        self.received.0.borrow().clone()
    }

    /// All exports of metrics so far.
    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.received.1.lock().unwrap().clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        spans(&self.received.0.borrow())
    }

    /// Waits for a span of this name.
    pub async fn span(&self, name: &str) -> Span {
        let find = |batches: &[Batch]| spans(batches).into_iter().find(|span| span.name == name);
        find(&self.until(name, |batches| find(batches).is_some()).await).unwrap()
    }

    /// Waits until what was exported so far has `what`; gives all of it.
    pub async fn until(&self, what: &str, has: impl Fn(&[Batch]) -> bool) -> Vec<Batch> {
        let mut received = self.received.0.subscribe();
        let come = received.wait_for(|batches| has(batches));
        soon(what, come).await.unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An attribute, as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(flag) => Some(flag.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// Ids as they stand in `traceparent`.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spans(batches: &[Batch]) -> Vec<Span> {
    let resources = batches.iter().flat_map(|batch| &batch.request.resource_spans);
    resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
}

impl Received {
    fn add(&self, headers: HeaderMap, request: ExportTraceServiceRequest) {
        self.0.send_modify(|batches| batches.push(Batch { headers, request }));
    }
}

async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    received.add(headers, ExportTraceServiceRequest::decode(body).unwrap());
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

async fn take_metrics(State(received): State<Received>, body: Bytes) -> (StatusCode, Vec<u8>) {
    received.1.lock().unwrap().push(ExportMetricsServiceRequest::decode(body).unwrap());
    (StatusCode::OK, ExportMetricsServiceResponse::default().encode_to_vec())
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.1.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.add(metadata.into_headers(), request);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
