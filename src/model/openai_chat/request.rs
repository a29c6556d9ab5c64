//! A request as the provider reads it, written straight from what the run holds: nothing is copied but into the body.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::kept::{Extra, Kept};
use crate::{
    message::{AssistantPart, Image, ImageSource, Message, ToolCall, ToolResult, UserPart},
    model::{
        Error, OutputSchema, ReasoningEffort, Request, ToolChoice, call_ids, failure, said_by, tool_schema,
    },
    tool::{Form, ToolSpec},
};

/// The longest id of a call that OpenAI takes, in bytes.
const MAX_ID_BYTES: usize = 40;
/// Stands in an id in which LiteLLM carries the signature of what Gemini thought: it must come back as it was.
const SIGNED: &str = "__thought__";
/// Begins the ids of Kimi's models, which read in them what they called.
const NAMING: &str = "functions.";

/// The body of a request.
///
/// # Errors
/// The body can't be written, which no known input causes.
pub(super) fn body(model: &str, request: &Request<'_>, streamed: bool) -> Result<Vec<u8>, Error> {
    let settings = request.settings;
    let has_tools = !request.tools.is_empty();
    let body = Body {
        model,
        messages: Messages { model, request },
        tools: Tools(request.tools),
        tool_choice: Some(request.tool_choice)
            .filter(|choice| has_tools && *choice != ToolChoice::Auto)
            .map(choice),
        parallel_tool_calls: settings.parallel_tool_calls.filter(|_| has_tools),
        response_format: settings.output_schema.as_ref().map(format),
        temperature: settings.temperature,
        top_p: settings.top_p,
        max_completion_tokens: settings.max_output_tokens,
        reasoning_effort: settings.reasoning_effort.map(effort),
        stream: streamed,
        stream_options: streamed.then_some(StreamOptions { include_usage: true }),
    };
    serde_json::to_vec(&body).map_err(failure::unwritable)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Messages<'a>,
    #[serde(skip_serializing_if = "Tools::is_empty")]
    tools: Tools<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Typed<'a, Json<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

struct Messages<'a> {
    model: &'a str,
    request: &'a Request<'a>,
}

struct Tools<'a>(&'a [Arc<ToolSpec>]);

/// The calls of a message, and what they have besides.
struct Calls<'a> {
    parts: &'a [AssistantPart],
    extras: BTreeMap<String, Extra>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Entry<'a> {
    System {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        content: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_content: Option<String>,
        #[serde(skip_serializing_if = "Calls::is_empty")]
        tool_calls: Calls<'a>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: &'a str,
    },
}

/// What a user says: text alone, or parts.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

/// What says of itself what it is.
#[derive(Serialize)]
struct Typed<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Function<T> {
    function: T,
}

#[derive(Serialize)]
struct Asked<'a> {
    function: Called<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a Extra>,
}

#[derive(Serialize)]
struct Offered<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Mode(&'static str),
    Tool(Typed<'a, Function<Named<'a>>>),
}

#[derive(Serialize)]
struct Json<'a> {
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'static str,
    schema: &'a RawValue,
    strict: bool,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { model, request: Request { instructions, messages, .. } } = *self;
        let system = (!instructions.is_empty()).then_some(Entry::System { content: instructions });
        serializer.collect_seq(
            system.into_iter().chain(messages.iter().flat_map(|message| entries(message, model))),
        )
    }
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written: Result<Vec<&RawValue>, _> =
            self.0.iter().map(|tool| tool.written(Form::OpenAiChat, offered)).collect();
        serializer.collect_seq(written.map_err(S::Error::custom)?)
    }
}

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(calls(self.parts).map(|call| {
            let arguments = call.arguments_json.trim();
            let arguments = if arguments.is_empty() { "{}" } else { arguments };
            let function = Called { name: &call.name, arguments };
            let what = Asked { function, extra_content: self.extras.get(&call.call_id) };
            Typed { id: Some(call_id(&call.call_id)), kind: "function", what }
        }))
    }
}

impl Tools<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Calls<'_> {
    fn is_empty(&self) -> bool {
        calls(self.parts).next().is_none()
    }
}

fn calls(parts: &[AssistantPart]) -> impl Iterator<Item = &ToolCall> {
    parts.iter().filter_map(|part| if let AssistantPart::Call(call) = part { Some(call) } else { None })
}

fn offered(tool: &ToolSpec) -> Result<Box<RawValue>, serde_json::Error> {
    let ToolSpec { name, description, input_schema, .. } = tool;
    let completed = tool_schema::completed(input_schema)?;
    let parameters = completed.as_deref().unwrap_or(input_schema);
    let function = Offered { name, description, parameters };
    to_raw_value(&Typed { id: None, kind: "function", what: Function { function } })
}

fn choice(choice: ToolChoice<'_>) -> Choice<'_> {
    match choice {
        ToolChoice::Auto => Choice::Mode("auto"),
        ToolChoice::None => Choice::Mode("none"),
        ToolChoice::Required => Choice::Mode("required"),
        ToolChoice::Tool(name) => {
            let function = Named { name };
            Choice::Tool(Typed { id: None, kind: "function", what: Function { function } })
        }
    }
}

fn format(schema: &OutputSchema) -> Typed<'_, Json<'_>> {
    let json_schema = JsonSchema { name: "output", schema: &schema.json, strict: schema.strict };
    Typed { id: None, kind: "json_schema", what: Json { json_schema } }
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

/// What a message becomes: tool results stand alone, so it may be several.
fn entries<'a>(message: &'a Message, model: &str) -> Vec<Entry<'a>> {
    match message {
        Message::User { parts } => vec![Entry::User { content: content(parts) }],
        Message::Assistant { parts } => vec![assistant(parts, model)],
        Message::Tool { results } => {
            let texts = results.iter().map(|result| Entry::Tool {
                tool_call_id: call_id(&result.call_id),
                content: said_by(result),
            });
            texts.chain(images(results)).collect()
        }
    }
}

/// The id of a call as OpenAI takes it. Other providers' may be longer: those are replaced, the same by the same always.
fn call_id(id: &str) -> Cow<'_, str> {
    if id.len() <= MAX_ID_BYTES || id.contains(SIGNED) || id.starts_with(NAMING) {
        return id.into();
    }
    call_ids::instead_of(id, "call_").into()
}

fn assistant<'a>(parts: &'a [AssistantPart], model: &str) -> Entry<'a> {
    let state = |part: &AssistantPart| {
        if let AssistantPart::State(state) = part { Kept::open(state, model) } else { None }
    };
    let kept = parts.iter().find_map(state).filter(|_| calls(parts).next().is_some()).unwrap_or_default();
    let texts = parts.iter().map(|part| if let AssistantPart::Text(text) = part { text } else { "" });
    let (text, tool_calls) = (texts.collect::<String>(), Calls { parts, extras: kept.extra_content });
    let silent = text.is_empty() && !tool_calls.is_empty();
    let content = (!silent).then_some(text);
    Entry::Assistant { content, reasoning_content: kept.reasoning_content, tool_calls }
}

fn content(parts: &[UserPart]) -> Content<'_> {
    if let [UserPart::Text(text)] = parts {
        return Content::Text(text);
    }
    Content::Parts(parts.iter().map(content_part).collect())
}

fn content_part(part: &UserPart) -> ContentPart<'_> {
    match part {
        UserPart::Text(text) => ContentPart::Text { text },
        UserPart::Image(image) => image_part(image),
    }
}

/// The images of tool results, which this API takes from users only.
fn images(results: &[ToolResult]) -> Option<Entry<'_>> {
    let images: Vec<_> = results.iter().flat_map(|result| &result.images).map(image_part).collect();
    let text = "The images that the tools gave back, in the order of their results:";
    let parts: Vec<_> = [ContentPart::Text { text }].into_iter().chain(images).collect();
    (parts.len() > 1).then_some(Entry::User { content: Content::Parts(parts) })
}

fn image_part(image: &Image) -> ContentPart<'_> {
    let url = match &image.source {
        ImageSource::Base64(base64) => format!("data:{};base64,{base64}", image.media_type),
        ImageSource::Url(url) => url.clone(),
    };
    ContentPart::ImageUrl { image_url: ImageUrl { url } }
}
