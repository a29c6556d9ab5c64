//! Calls of this service.

use std::{thread, time::Instant};

use opentelemetry::KeyValue;

use super::Metrics;

/// A call of this service, until it ends. One that is dropped before is one whose caller has gone.
pub struct Call {
    metrics: Metrics,
    method: &'static str,
    began: Instant,
    ended: bool,
}

impl Metrics {
    /// A call begins. `method` is its whole name, such as `runwright.v1.AgentService/Run`.
    pub fn call(&self, method: &'static str) -> Call {
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
        let method = KeyValue::new("rpc.method", self.method);
        let code = KeyValue::new("rpc.response.status_code", code);
        let system = KeyValue::new("rpc.system.name", "grpc");
        let took = self.began.elapsed().as_secs_f64();
        let histogram = &self.metrics.0.instruments.call_duration;
        match reason {
            Some(reason) => {
                histogram.record(took, &[KeyValue::new("error.type", reason), method, code, system])
            }
            None => histogram.record(took, &[method, code, system]),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
        } else if thread::panicking() {
            self.record("INTERNAL", Some("INTERNAL"));
        } else {
            self.record("CANCELLED", Some("RUN_CANCELLED"));
        }
    }
}
