//! A request as the API reads it, written straight from what the run holds.

use std::{borrow::Cow, sync::Arc};

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    caching::{Caching, Mark, System},
    messages::Conversation,
    models::{self, Takes},
    plan::{self, Plan},
    schema,
};
use crate::{
    model::{Error, OutputSchema, Request, ToolChoice, failure, tool_schema},
    tool::{Form, ToolSpec},
};

/// The body of a request.
///
/// # Errors
/// The body can't be written, which no known input causes.
pub(super) fn body(
    model: &str,
    request: &Request<'_>,
    caching: Caching,
    streamed: bool,
) -> Result<Vec<u8>, Error> {
    let takes = models::takes(model);
    let messages = Conversation::new(model, request.messages);
    let plan = Plan::new(takes, request, messages.is_resumable());
    let messages = if plan.thinks(takes) { messages } else { messages.without_thoughts() };
    let wanted = request.settings.output_schema.as_ref();
    let guaranteed = wanted.filter(|wanted| is_guaranteed(takes, wanted));
    let body = Body {
        model,
        max_tokens: plan.max_tokens,
        cache_control: caching.mark(request),
        system: system(request.instructions, wanted.filter(|_| guaranteed.is_none()))
            .map(|text| caching.system(text)),
        messages,
        tools: Tools(request.tools),
        tool_choice: choice(request),
        thinking: plan.thinking,
        output_config: output_config(plan.effort, guaranteed),
        temperature: plan.temperature,
        top_p: plan.top_p,
        stream: streamed,
    };
    serde_json::to_vec(&body).map_err(failure::unwritable)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<System<'a>>,
    messages: Conversation<'a>,
    #[serde(skip_serializing_if = "Tools::is_empty")]
    tools: Tools<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<plan::Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    stream: bool,
}

struct Tools<'a>(&'a [Arc<ToolSpec>]);

#[derive(Serialize)]
struct Offered<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: &'a RawValue,
}

#[derive(Serialize)]
struct Choice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_parallel_tool_use: bool,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a RawValue,
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written: Result<Vec<&RawValue>, _> =
            self.0.iter().map(|tool| tool.written(Form::Anthropic, offered)).collect();
        serializer.collect_seq(written.map_err(S::Error::custom)?)
    }
}

impl Tools<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn offered(tool: &ToolSpec) -> Result<Box<RawValue>, serde_json::Error> {
    let ToolSpec { name, description, input_schema, .. } = tool;
    let fitted = tool_schema::fitted(input_schema)?;
    to_raw_value(&Offered { name, description, input_schema: fitted.as_deref().unwrap_or(input_schema) })
}

fn choice<'a>(request: &Request<'a>) -> Option<Choice<'a>> {
    let one_at_a_time = request.settings.parallel_tool_calls == Some(false);
    let (kind, name) = match request.tool_choice {
        _ if request.tools.is_empty() => return None,
        ToolChoice::Auto if !one_at_a_time => return None,
        ToolChoice::Auto => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::Tool(name) => ("tool", Some(name)),
    };
    // Where no tool may be called the API knows no such key.
    Some(Choice { kind, name, disable_parallel_tool_use: one_at_a_time && kind != "none" })
}

/// Whether the API can hold the model to a schema.
fn is_guaranteed(takes: Takes, wanted: &OutputSchema) -> bool {
    takes.formats && wanted.strict && schema::is_guaranteed(&wanted.json)
}

/// The system prompt, and the schema that the model can only be asked to keep to.
fn system<'a>(instructions: &'a str, wanted: Option<&OutputSchema>) -> Option<Cow<'a, str>> {
    let instructions = Some(instructions).filter(|text| !text.trim().is_empty());
    let Some(wanted) = wanted else { return instructions.map(Cow::Borrowed) };
    let asked = format!(
        "Your final answer is read by a program. Write it as one JSON document and nothing else: no words around it, no \
         code fence. It has to fit this JSON Schema:\n\n{}",
        wanted.json.get(),
    );
    Some(Cow::Owned(instructions.map(|text| format!("{text}\n\n")).unwrap_or_default() + &asked))
}

fn output_config<'a>(
    effort: Option<&'static str>,
    guaranteed: Option<&'a OutputSchema>,
) -> Option<OutputConfig<'a>> {
    let format = guaranteed.map(|wanted| Format { kind: "json_schema", schema: &wanted.json });
    (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format })
}
