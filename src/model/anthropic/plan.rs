//! How a model is asked to answer: what of the run's settings it is sent, and in which form.

use serde::Serialize;

use super::models::{Effort, Off, Takes, Thinking};
use crate::model::{ReasoningEffort, Request, ToolChoice};

/// The smallest budget for thinking that the API takes; `max_tokens` has to be more.
const MIN_BUDGET: u32 = 1024;
/// The least `top_p` that the API takes beside thinking.
const MIN_TOP_P: f64 = 0.95;

/// What of the run's settings a model is sent.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub max_tokens: u32,
    pub thinking: Option<Asked>,
    pub effort: Option<&'static str>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
}

/// How the model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Asked {
    /// As it sees fit; newer models keep the text of it to themselves if they are not asked for it.
    Adaptive { display: &'static str },
    /// With at most so many tokens.
    Enabled { budget_tokens: u32 },
    /// Not before it answers.
    BetweenTools,
    /// Not at all.
    Disabled,
}

impl Plan {
    /// The plan for a model that takes this; `resumable` says whether a turn can go on with a budget for thinking.
    pub(super) fn new(takes: Takes, request: &Request<'_>, resumable: bool) -> Self {
        let settings = request.settings;
        let max_tokens = settings.max_output_tokens.unwrap_or(takes.max_tokens);
        let may_force = !request.tools.is_empty();
        let forced = may_force && matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Tool(_));
        let may_budget = resumable && !forced && max_tokens > MIN_BUDGET;
        // The API refuses to think where a tool is forced.
        let effort =
            settings.reasoning_effort.map(|effort| if forced { ReasoningEffort::None } else { effort });
        let thinking =
            effort.and_then(|effort| thinking(takes.thinking, effort, may_budget.then_some(max_tokens)));
        let thinks = matches!(thinking, Some(Asked::Adaptive { .. } | Asked::Enabled { .. }));
        let sampled = |value: Option<f64>| value.filter(|_| takes.sampling);
        let temperature = sampled(settings.temperature).filter(|_| !thinks).map(|value| value.min(1.0));
        let top_p = sampled(settings.top_p).filter(|value| !thinks || *value >= MIN_TOP_P);
        Self {
            max_tokens,
            thinking,
            effort: settings.reasoning_effort.and_then(|effort| level(takes, effort)),
            temperature,
            top_p: top_p.filter(|_| temperature.is_none()),
        }
    }

    /// Whether the model is to think: only then it takes back what it thought.
    pub(super) fn thinks(&self, takes: Takes) -> bool {
        self.thinking.map_or(takes.thinks_unasked, |asked| asked != Asked::Disabled)
    }
}

/// `max_tokens`: the limit that a budget has to keep to; `None`: there can be none.
fn thinking(takes: Thinking, effort: ReasoningEffort, max_tokens: Option<u32>) -> Option<Asked> {
    match (takes, budget(effort), max_tokens) {
        (Thinking::Never, ..) | (Thinking::Adaptive(Off::Never), None, _) => None,
        (Thinking::Adaptive(Off::BetweenTools), None, _) => Some(Asked::BetweenTools),
        (Thinking::Adaptive(_), Some(_), _) => Some(Asked::Adaptive { display: "summarized" }),
        (Thinking::Budget, Some(budget), Some(max)) => {
            // A quarter is left for the answer, as long as that leaves the least budget.
            Some(Asked::Enabled { budget_tokens: budget.min(max - max / 4).max(MIN_BUDGET) })
        }
        (Thinking::Adaptive(Off::Disabled) | Thinking::Budget, ..) => Some(Asked::Disabled),
    }
}

/// The tokens for thinking, if there is to be any. The API advises against more than 32,000 in one request.
fn budget(effort: ReasoningEffort) -> Option<u32> {
    match effort {
        ReasoningEffort::None => None,
        ReasoningEffort::Minimal => Some(MIN_BUDGET),
        ReasoningEffort::Low => Some(4096),
        ReasoningEffort::Medium => Some(8192),
        ReasoningEffort::High => Some(16_384),
        ReasoningEffort::Max => Some(32_000),
    }
}

fn level(takes: Takes, effort: ReasoningEffort) -> Option<&'static str> {
    match (takes.effort, effort) {
        (Effort::None, _) => None,
        (_, ReasoningEffort::None) => (takes.thinking == Thinking::Adaptive(Off::Never)).then_some("low"),
        (_, ReasoningEffort::Minimal | ReasoningEffort::Low) => Some("low"),
        (_, ReasoningEffort::Medium) => Some("medium"),
        (Effort::Max, ReasoningEffort::Max) => Some("max"),
        (_, ReasoningEffort::High | ReasoningEffort::Max) => Some("high"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Settings,
        anthropic::models::takes,
        asked::{self, tool},
    };

    fn plan(model: &str, settings: Settings, tool_choice: ToolChoice<'static>, resumable: bool) -> Plan {
        let asked = asked::Asked {
            settings,
            tool_choice,
            tools: vec![tool("crm", "t", "t", "{}")],
            ..asked::Asked::saying("hi")
        };
        Plan::new(takes(model), &asked.request(), resumable)
    }

    fn reasoning(model: &str, effort: ReasoningEffort) -> (Option<Asked>, Option<&'static str>) {
        let settings = Settings { reasoning_effort: Some(effort), ..Settings::default() };
        let plan = plan(model, settings, ToolChoice::Auto, true);
        (plan.thinking, plan.effort)
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let nothing =
            |max_tokens| Plan { max_tokens, thinking: None, effort: None, temperature: None, top_p: None };
        for (model, max_tokens) in [
            ("claude-opus-5-5", 32_000),
            ("claude-opus-4-6", 32_000),
            ("claude-opus-4-1", 32_000),
            ("claude-haiku-4-5", 32_000),
            ("claude-3-7-sonnet-latest", 32_000),
            ("claude-3-5-sonnet-latest", 8192),
            ("claude-3-5-haiku-latest", 8192),
            ("claude-3-opus-latest", 4096),
            ("claude-3-haiku-20240307", 4096),
            ("m1", 32_000),
        ] {
            let limited = Settings { max_output_tokens: Some(64_000), ..Settings::default() };
            let sent = |settings| plan(model, settings, ToolChoice::Auto, true);
            assert_eq!(sent(Settings::default()), nothing(max_tokens), "{model}");
            assert_eq!(sent(limited), nothing(64_000), "{model}: what is set is sent");
        }
    }

    #[test]
    fn each_model_is_asked_to_think_as_it_can() {
        use ReasoningEffort::{High, Low, Max, Medium, Minimal, None as Off};
        let adaptive = Some(Asked::Adaptive { display: "summarized" });
        let budget = |budget_tokens| Some(Asked::Enabled { budget_tokens });
        let cases = [
            ("claude-opus-5-5", Off, None, Some("low")),
            ("claude-opus-5-5", Minimal, adaptive, Some("low")),
            ("claude-opus-5-5", Max, adaptive, Some("max")),
            ("claude-sonnet-5-5", Off, Some(Asked::BetweenTools), None),
            ("claude-sonnet-5-5", Medium, adaptive, Some("medium")),
            ("claude-opus-4-8", Off, Some(Asked::Disabled), None),
            ("claude-opus-4-6", High, adaptive, Some("high")),
            ("m1", Low, adaptive, Some("low")),
            ("m1", Off, Some(Asked::Disabled), None),
            ("claude-opus-4-5", Max, budget(24_000), Some("high")),
            ("claude-sonnet-4-5", Off, Some(Asked::Disabled), None),
            ("claude-sonnet-4-5", Minimal, budget(1024), None),
            ("claude-sonnet-4-5", High, budget(16_384), None),
            ("claude-3-opus-latest", High, None, None),
        ];
        for (model, effort, thinking, level) in cases {
            assert_eq!(reasoning(model, effort), (thinking, level), "{model} {effort:?}");
        }
    }

    #[test]
    fn a_budget_is_below_the_limit_and_gives_way_to_what_it_does_not_go_with() {
        let with = |max_output_tokens, tool_choice, resumable| {
            let reasoning_effort = Some(ReasoningEffort::High);
            let settings = Settings {
                reasoning_effort,
                max_output_tokens: Some(max_output_tokens),
                ..Settings::default()
            };
            plan("claude-haiku-4-5", settings, tool_choice, resumable).thinking
        };
        let budget = |budget_tokens| Some(Asked::Enabled { budget_tokens });
        assert_eq!(with(8000, ToolChoice::Auto, true), budget(6000));
        assert_eq!(with(1100, ToolChoice::None, true), budget(1024));
        assert_eq!(with(1024, ToolChoice::Auto, true), Some(Asked::Disabled));
        assert_eq!(with(8000, ToolChoice::Required, true), Some(Asked::Disabled));
        assert_eq!(with(8000, ToolChoice::Tool("t"), true), Some(Asked::Disabled));
        assert_eq!(with(8000, ToolChoice::Auto, false), Some(Asked::Disabled));
    }

    #[test]
    fn no_model_is_asked_to_think_where_a_tool_is_forced() {
        for (model, expected) in [("claude-opus-4-6", Some(Asked::Disabled)), ("claude-opus-5-5", None)] {
            let settings = Settings { reasoning_effort: Some(ReasoningEffort::High), ..Settings::default() };
            let plan = plan(model, settings, ToolChoice::Required, true);
            assert_eq!((plan.thinking, plan.effort), (expected, Some("high")), "{model}");
        }
    }

    #[test]
    fn sampling_keeps_to_what_models_take() {
        let with = |model, temperature, top_p, reasoning_effort| {
            let settings = Settings { temperature, top_p, reasoning_effort, ..Settings::default() };
            let plan = plan(model, settings, ToolChoice::Auto, true);
            (plan.temperature, plan.top_p)
        };
        assert_eq!(with("claude-opus-4-6", Some(0.5), None, None), (Some(0.5), None));
        assert_eq!(with("claude-opus-4-6", Some(1.7), None, None), (Some(1.0), None));
        assert_eq!(with("claude-opus-4-6", None, Some(0.5), None), (None, Some(0.5)));
        assert_eq!(with("claude-opus-4-6", Some(0.5), Some(0.5), None), (Some(0.5), None));
        let low = Some(ReasoningEffort::Low);
        assert_eq!(with("claude-opus-4-6", Some(0.5), Some(0.5), low), (None, None));
        assert_eq!(with("claude-opus-4-6", Some(0.5), Some(0.95), low), (None, Some(0.95)));
        assert_eq!(with("claude-opus-4-6", Some(0.5), None, Some(ReasoningEffort::None)), (Some(0.5), None));
        assert_eq!(with("claude-opus-4-7", Some(0.5), Some(0.5), None), (None, None));
    }
}
