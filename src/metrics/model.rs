//! Requests to models.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;

use super::{
    ABORTED, Metrics, Tokens,
    named::{Named, Spread},
};

/// A request to a model, until it ends.
pub struct ModelRequest {
    metrics: Metrics,
    model: Arc<Model>,
    began: Instant,
    ended: bool,
}

/// A model of a provider.
pub(super) struct Model {
    provider: &'static str,
    name: Arc<str>,
    duration: Spread<f64>,
    first_chunk: Spread<f64>,
    input: Spread<u64>,
    output: Spread<u64>,
}

impl Metrics {
    /// Asks a model: its provider, and its name there, both as they are configured.
    pub fn model_request(&self, provider: &'static str, model: &str) -> ModelRequest {
        let providers = self.0.models.of(provider, |_| Named::default());
        let model = providers.of(model, |name| Model {
            provider,
            name,
            duration: Spread::default(),
            first_chunk: Spread::default(),
            input: Spread::default(),
            output: Spread::default(),
        });
        ModelRequest { metrics: self.clone(), model, began: Instant::now(), ended: false }
    }
}

impl Model {
    fn attributes(&self) -> [KeyValue; 3] {
        [
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", self.provider),
            KeyValue::new("gen_ai.request.model", self.name.clone()),
        ]
    }

    fn of_tokens(&self, kind: &'static str) -> [KeyValue; 4] {
        let [operation, provider, model] = self.attributes();
        [operation, provider, model, KeyValue::new("gen_ai.token.type", kind)]
    }
}

impl ModelRequest {
    /// The first piece of a streamed answer has come.
    pub fn first_chunk(&self) {
        let (model, histogram) = (&self.model, &self.metrics.0.instruments.model_first_chunk);
        model.first_chunk.record(histogram, self.began.elapsed().as_secs_f64(), || model.attributes());
    }

    /// The answer is there. How long it took.
    pub fn answered(mut self, tokens: Tokens) -> Duration {
        let took = self.record(None);
        let (model, histogram) = (&self.model, &self.metrics.0.instruments.model_tokens);
        model.input.record(histogram, tokens.input, || model.of_tokens("input"));
        model.output.record(histogram, tokens.output, || model.of_tokens("output"));
        took
    }

    /// There is no answer; `reason` is the one that the run would fail with. How long that took.
    pub fn failed(mut self, reason: &'static str) -> Duration {
        self.record(Some(reason))
    }

    fn record(&mut self, error: Option<&'static str>) -> Duration {
        self.ended = true;
        let took = self.began.elapsed();
        let (model, histogram) = (&self.model, &self.metrics.0.instruments.model_duration);
        match error {
            None => model.duration.record(histogram, took.as_secs_f64(), || model.attributes()),
            Some(error) => {
                let [operation, provider, name] = model.attributes();
                let attributes = [KeyValue::new("error.type", error), operation, provider, name];
                histogram.record(took.as_secs_f64(), &attributes);
            }
        }
        took
    }
}

impl Drop for ModelRequest {
    fn drop(&mut self) {
        if !self.ended {
            self.record(Some(ABORTED));
        }
    }
}
