//! Calls of this service.

use std::{sync::Arc, thread, time::Instant};

use opentelemetry::KeyValue;

use super::{Metrics, named::Spread};

/// A call of this service, until it ends. One that is dropped before is one whose caller has gone.
pub struct Call {
    metrics: Metrics,
    method: Arc<Method>,
    began: Instant,
    ended: bool,
}

/// A method of the contract.
pub(super) struct Method {
    name: &'static str,
    ok: Spread<f64>,
}

impl Metrics {
    /// A call begins. `method` is its whole name, such as `runwright.v1.AgentService/Run`.
    pub fn call(&self, method: &'static str) -> Call {
        let method = self.0.methods.of(method, |_| Method { name: method, ok: Spread::default() });
        Call { metrics: self.clone(), method, began: Instant::now(), ended: false }
    }
}

impl Call {
    /// The call's answer is made: its gRPC code by name, and where it is an error, its reason.
    pub fn end(mut self, code: &'static str, reason: Option<&'static str>) {
        self.record(code, reason);
    }

    fn record(&mut self, code: &'static str, reason: Option<&'static str>) {
        self.ended = true;
        let took = self.began.elapsed().as_secs_f64();
        let attributes = || {
            let method = KeyValue::new("rpc.method", self.method.name);
            let code = KeyValue::new("rpc.response.status_code", code);
            [method, code, KeyValue::new("rpc.system.name", "grpc")]
        };
        let histogram = &self.metrics.0.instruments.call_duration;
        match reason {
            None => self.method.ok.record(histogram, took, attributes),
            Some(reason) => {
                let [method, code, system] = attributes();
                histogram.record(took, &[KeyValue::new("error.type", reason), method, code, system]);
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if thread::panicking() {
            self.record("INTERNAL", Some("INTERNAL"));
        } else {
            self.record("CANCELLED", Some("RUN_CANCELLED"));
        }
    }
}
