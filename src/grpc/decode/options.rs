//! `RunOptions`: what a run may do otherwise than its agent is configured.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::unused_server;
use crate::{
    agent::Agent,
    grpc::proto,
    message::ToolRef,
    run::{Bounds, OnUnauthorized, ToolChoice, Violation, Violations},
    schema::Schema,
    settings::{OutputSchema, ReasoningEffort, Settings},
    tool::ToolSpec,
};

const MAX_ALLOWED_TOOLS: usize = 1024;
const NANOS_A_SECOND: u32 = 1_000_000_000;

/// Takes options apart; what is wrong goes to `violations`.
pub(super) struct Options<'a> {
    pub(super) agent: &'a Agent,
    pub(super) violations: &'a mut Violations,
}

impl Options<'_> {
    fn refuse(&mut self, field: &str, description: impl Into<String>) {
        self.violations.push(Violation::field(format!("options.{field}"), description));
    }

    /// The configured name of the model.
    pub(super) fn model(&mut self, asked: String) -> String {
        if asked.is_empty() {
            return self.agent.model.clone();
        }
        if !self.agent.models().any(|name| name == asked) {
            let allowed: Vec<&str> = self.agent.models().take(16).collect();
            let description =
                format!("agent `{}` does not allow it; it allows: {}", self.agent.name, allowed.join(", "));
            self.refuse("model", description);
        }
        asked
    }

    /// What the run may come to: the agent's limits, or lower ones.
    pub(super) fn bounds(&mut self, options: &proto::RunOptions) -> Bounds {
        let agent = self.agent;
        let turns = self.limit("max_turns", options.max_turns);
        let tokens = self.limit("max_total_tokens", options.max_total_tokens);
        let calls = self.limit("max_tool_calls", options.max_tool_calls);
        let lower = |asked: Option<u32>, own: u32| asked.map_or(own, |asked| asked.min(own));
        Bounds {
            max_turns: lower(turns, agent.max_turns),
            max_total_tokens: least(tokens, agent.max_total_tokens),
            max_tool_calls: least(calls, agent.max_tool_calls),
            max_tool_result_bytes: agent.max_tool_result_bytes,
        }
    }

    /// A limit; zero is the agent's.
    fn limit<T: Into<i64> + Copy, U: TryFrom<i64>>(&mut self, field: &str, asked: T) -> Option<U> {
        match asked.into() {
            0 => None,
            asked if asked > 0 => U::try_from(asked).ok(),
            _ => {
                self.refuse(field, "it is not negative; 0 is the agent's limit");
                None
            }
        }
    }

    /// A time, if one is given. Less than nothing is refused with `description`, and so is nothing, unless `or_nothing`.
    pub(super) fn duration(
        &mut self,
        field: &str,
        asked: Option<prost_types::Duration>,
        or_nothing: bool,
        description: &str,
    ) -> Option<Duration> {
        let prost_types::Duration { seconds, nanos } = asked?;
        // prost's own conversion overflows on what is far below zero.
        let parts = (u64::try_from(seconds), u32::try_from(nanos));
        match parts {
            (Ok(seconds), Ok(nanos))
                if nanos < NANOS_A_SECOND && (or_nothing || (seconds, nanos) != (0, 0)) =>
            {
                Some(Duration::new(seconds, nanos))
            }
            _ => {
                self.refuse(field, description);
                None
            }
        }
    }

    /// What is done when a server refuses a credential.
    pub(super) fn on_unauthorized(&mut self, asked: i32) -> OnUnauthorized {
        match proto::OnUnauthorized::try_from(asked) {
            Ok(proto::OnUnauthorized::Unspecified | proto::OnUnauthorized::Fail) => OnUnauthorized::Fail,
            Ok(proto::OnUnauthorized::Wait) => OnUnauthorized::Wait,
            Err(_) => {
                self.refuse(
                    "on_unauthorized",
                    "it is ON_UNAUTHORIZED_FAIL, ON_UNAUTHORIZED_WAIT or left out",
                );
                OnUnauthorized::Fail
            }
        }
    }

    /// The only tools of MCP servers that the model is offered.
    pub(super) fn allowed_tools(&mut self, asked: Vec<proto::ToolRef>) -> Option<HashSet<ToolRef>> {
        if asked.len() > MAX_ALLOWED_TOOLS {
            self.refuse("allowed_tools", "at most 1024 tools can be named");
            return None;
        }
        let tools = asked.into_iter().enumerate();
        let tools = tools.map(|(at, tool)| self.server_tool(&format!("allowed_tools[{at}]"), tool));
        Some(tools.collect()).filter(|tools: &HashSet<_>| !tools.is_empty())
    }

    fn server_tool(&mut self, field: &str, tool: proto::ToolRef) -> ToolRef {
        let proto::ToolRef { mcp_server, tool } = tool;
        if self.agent.server(&mcp_server).is_none() {
            let field = format!("options.{field}.mcp_server");
            self.violations.push(unused_server(field, self.agent));
        }
        if tool.is_empty() {
            self.refuse(&format!("{field}.tool"), "name the tool");
        }
        ToolRef { mcp_server, tool }
    }

    /// Which tools the model is to ask for.
    pub(super) fn tool_choice(
        &mut self,
        asked: Option<proto::ToolChoice>,
        allowed: Option<&HashSet<ToolRef>>,
        client_tools: &[Arc<ToolSpec>],
    ) -> ToolChoice {
        use proto::{ToolChoiceMode as Mode, tool_choice::Choice};
        match asked.map(|asked| asked.choice) {
            None => ToolChoice::Auto,
            Some(None) => {
                self.refuse("tool_choice", "set `mode` or `tool`, or leave it out");
                ToolChoice::Auto
            }
            Some(Some(Choice::Mode(mode))) => match Mode::try_from(mode) {
                Ok(Mode::Unspecified | Mode::Auto) => ToolChoice::Auto,
                Ok(Mode::None) => ToolChoice::None,
                Ok(Mode::Required) => ToolChoice::Required,
                Err(_) => {
                    self.refuse("tool_choice.mode", "it is TOOL_CHOICE_MODE_AUTO, _NONE or _REQUIRED");
                    ToolChoice::Auto
                }
            },
            Some(Some(Choice::Tool(tool))) if tool.mcp_server.is_empty() => {
                if !client_tools.iter().any(|own| own.name == tool.tool) {
                    self.refuse(
                        "tool_choice.tool",
                        "without a server it is the name of one of `client_tools`",
                    );
                }
                ToolChoice::Tool(ToolRef { mcp_server: String::new(), tool: tool.tool })
            }
            Some(Some(Choice::Tool(tool))) => {
                let tool = self.server_tool("tool_choice.tool", tool);
                self.check_allowed(&tool, allowed);
                ToolChoice::Tool(tool)
            }
        }
    }

    /// A tool that the model is to ask for must be one that it may be offered.
    fn check_allowed(&mut self, tool: &ToolRef, allowed: Option<&HashSet<ToolRef>>) {
        let by_agent = |tools: &Vec<String>| tools.contains(&tool.tool);
        let of_agent = self.agent.server(&tool.mcp_server).and_then(|server| server.tools.as_ref());
        if !of_agent.is_none_or(by_agent) {
            self.refuse("tool_choice.tool", "the agent does not use that tool of the server");
        } else if allowed.is_some_and(|allowed| !allowed.contains(tool)) {
            self.refuse("tool_choice.tool", "it is not among `allowed_tools`");
        }
    }

    /// How the model is to answer: what the run says, and for the rest what the agent does.
    pub(super) fn settings(&mut self, options: &proto::RunOptions, output: Option<&Schema>) -> Settings {
        let asked = Settings {
            output_schema: output
                .map(|schema| OutputSchema { json: schema.raw().clone(), strict: schema.is_strict() }),
            temperature: self.within(
                "temperature",
                options.temperature,
                |t| (0.0..=2.0).contains(&t),
                "0 to 2",
            ),
            top_p: self.within("top_p", options.top_p, |p| p > 0.0 && p <= 1.0, "above 0 and at most 1"),
            max_output_tokens: self.limit("max_output_tokens", options.max_output_tokens),
            reasoning_effort: self.reasoning_effort(options.reasoning_effort),
            parallel_tool_calls: options.parallel_tool_calls,
        };
        asked.or(&self.agent.settings)
    }

    fn within(
        &mut self,
        field: &str,
        asked: Option<f64>,
        fits: impl Fn(f64) -> bool,
        range: &str,
    ) -> Option<f64> {
        if asked.is_some_and(|asked| !fits(asked)) {
            self.refuse(field, format!("it is {range}"));
        }
        asked
    }

    fn reasoning_effort(&mut self, asked: i32) -> Option<ReasoningEffort> {
        use proto::ReasoningEffort as Effort;
        match Effort::try_from(asked) {
            Ok(Effort::Unspecified) => None,
            Ok(Effort::None) => Some(ReasoningEffort::None),
            Ok(Effort::Minimal) => Some(ReasoningEffort::Minimal),
            Ok(Effort::Low) => Some(ReasoningEffort::Low),
            Ok(Effort::Medium) => Some(ReasoningEffort::Medium),
            Ok(Effort::High) => Some(ReasoningEffort::High),
            Ok(Effort::Max) => Some(ReasoningEffort::Max),
            Err(_) => {
                self.refuse(
                    "reasoning_effort",
                    "it is REASONING_EFFORT_NONE, _MINIMAL, _LOW, _MEDIUM, _HIGH or _MAX",
                );
                None
            }
        }
    }

    /// What the final answer is to fit.
    pub(super) fn output(&mut self, schema: Option<Result<Schema, String>>) -> Option<Schema> {
        let schema = schema?;
        let checked = match &schema {
            Ok(schema) => schema.check().map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = checked {
            self.refuse("output_schema_json", error);
        }
        schema.ok()
    }
}

fn least<T: Ord>(asked: Option<T>, own: Option<T>) -> Option<T> {
    [asked, own].into_iter().flatten().min()
}
