//! How a model is to answer: what agents are configured with, and what a run may say instead.

use std::sync::Arc;

use serde_json::value::RawValue;

/// How a model is to answer. What is `None` is left to the provider, and not sent.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What the final answer is to fit.
    pub output_schema: Option<OutputSchema>,
    /// The sampling temperature, 0 to 2; what of that a model takes differs.
    pub temperature: Option<f64>,
    /// The probability mass that is sampled from, above 0, at most 1.
    pub top_p: Option<f64>,
    /// The most tokens of one answer, reasoning included; at least 1.
    pub max_output_tokens: Option<u32>,
    /// How much the model is to reason.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// Whether it may ask for several tools at once.
    pub parallel_tool_calls: Option<bool>,
}

/// A JSON Schema for the final answer.
#[derive(Clone, Debug)]
pub struct OutputSchema {
    /// The schema, an object.
    pub json: Arc<RawValue>,
    /// Whether it keeps to what providers can guarantee: each object is closed and requires all its properties.
    pub strict: bool,
}

/// How much a model is to reason before it answers. Providers that know fewer steps take the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// As little as it can.
    Minimal,
    /// Little.
    Low,
    /// Somewhat.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    Max,
}

impl Settings {
    /// These, and where they say nothing, those.
    pub fn or(self, others: &Self) -> Self {
        Self {
            output_schema: self.output_schema.or_else(|| others.output_schema.clone()),
            temperature: self.temperature.or(others.temperature),
            top_p: self.top_p.or(others.top_p),
            max_output_tokens: self.max_output_tokens.or(others.max_output_tokens),
            reasoning_effort: self.reasoning_effort.or(others.reasoning_effort),
            parallel_tool_calls: self.parallel_tool_calls.or(others.parallel_tool_calls),
        }
    }
}
