//! A request as the API reads it, written straight from what the run holds: nothing is copied but into the body.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::{extras::Extras, input::Input};
use crate::{
    model::{Error, OutputSchema, ReasoningEffort, Request, ToolChoice, failure, tool_schema},
    tool::{Form, ToolSpec},
};

/// The body of a request.
///
/// # Errors
/// The body can't be written, which no known input causes.
pub(super) fn body(
    model: &str,
    request: &Request<'_>,
    extras: Extras,
    streamed: bool,
) -> Result<Vec<u8>, Error> {
    let settings = request.settings;
    let has_tools = !request.tools.is_empty();
    let body = Body {
        model,
        instructions: request.instructions,
        input: Input { model, request },
        tools: Tools(request.tools),
        tool_choice: Some(request.tool_choice)
            .filter(|choice| has_tools && *choice != ToolChoice::Auto)
            .map(choice),
        parallel_tool_calls: settings.parallel_tool_calls.filter(|_| has_tools),
        text: settings.output_schema.as_ref().map(|schema| Text { format: format(schema) }),
        temperature: settings.temperature,
        top_p: settings.top_p,
        max_output_tokens: settings.max_output_tokens,
        reasoning: settings
            .reasoning_effort
            .map(|wanted| Reasoning { effort: effort(wanted), summary: extras.summary.then_some("auto") }),
        include: if extras.reasoning { &["reasoning.encrypted_content"] } else { &[] },
        store: false,
        stream: streamed,
    };
    serde_json::to_vec(&body).map_err(failure::unwritable)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    input: Input<'a>,
    #[serde(skip_serializing_if = "Tools::is_empty")]
    tools: Tools<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    store: bool,
    stream: bool,
}

struct Tools<'a>(&'a [Arc<ToolSpec>]);

#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
struct Offered<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: &'a RawValue,
    strict: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Mode(&'static str),
    Tool(Named<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Text<'a> {
    format: JsonSchema<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "json_schema")]
struct JsonSchema<'a> {
    name: &'static str,
    schema: &'a RawValue,
    strict: bool,
}

#[derive(Serialize)]
struct Reasoning {
    effort: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written: Result<Vec<&RawValue>, _> =
            self.0.iter().map(|tool| tool.written(Form::OpenAiResponses, offered)).collect();
        serializer.collect_seq(written.map_err(S::Error::custom)?)
    }
}

impl Tools<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A tool. Where `strict` is left out, the API takes it for true and makes optional arguments required.
fn offered(tool: &ToolSpec) -> Result<Box<RawValue>, serde_json::Error> {
    let ToolSpec { name, description, input_schema, .. } = tool;
    let completed = tool_schema::completed(input_schema)?;
    let parameters = completed.as_deref().unwrap_or(input_schema);
    to_raw_value(&Offered { name, description, parameters, strict: false })
}

fn choice(choice: ToolChoice<'_>) -> Choice<'_> {
    match choice {
        ToolChoice::Auto => Choice::Mode("auto"),
        ToolChoice::None => Choice::Mode("none"),
        ToolChoice::Required => Choice::Mode("required"),
        ToolChoice::Tool(name) => Choice::Tool(Named { name }),
    }
}

fn format(schema: &OutputSchema) -> JsonSchema<'_> {
    JsonSchema { name: "output", schema: &schema.json, strict: schema.strict }
}

fn effort(effort: ReasoningEffort) -> &'static str {
    match effort {
        ReasoningEffort::None => "none",
        ReasoningEffort::Minimal => "minimal",
        ReasoningEffort::Low => "low",
        ReasoningEffort::Medium => "medium",
        ReasoningEffort::High => "high",
        ReasoningEffort::Max => "xhigh",
    }
}
