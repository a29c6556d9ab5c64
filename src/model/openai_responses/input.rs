//! The conversation as the API's items.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::kept::{Kept, Phase};
use crate::{
    message::{AssistantPart, Image, ImageSource, Message, ToolCall, ToolResult, UserPart},
    model::{Request, call_ids, said_by},
};

/// The longest id of a call that the API takes, in bytes.
const MAX_ID_BYTES: usize = 64;

/// The conversation of a request to a model.
pub(super) struct Input<'a> {
    pub(super) model: &'a str,
    pub(super) request: &'a Request<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message {
        role: Role,
        content: Content<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    FunctionCall {
        call_id: Cow<'a, str>,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: Cow<'a, str>,
        output: Content<'a>,
    },
    #[serde(untagged)]
    Reasoning(Kept),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

/// What a message or a tool says: text alone, or parts.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: &'a str },
    InputImage { image_url: Cow<'a, str>, detail: &'static str },
}

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { model, request } = self;
        serializer.collect_seq(request.messages.iter().flat_map(|message| items(message, model)))
    }
}

/// What a message becomes: calls and results stand alone, so it may be several, and what has nothing to say is none.
fn items<'a>(message: &'a Message, model: &str) -> Vec<Item<'a>> {
    match message {
        Message::User { parts } => {
            vec![Item::Message { role: Role::User, content: content(parts), phase: None }]
        }
        Message::Assistant { parts } => assistant(parts, model),
        Message::Tool { results } => results.iter().map(result).collect(),
    }
}

fn assistant<'a>(parts: &'a [AssistantPart], model: &str) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(parts.len());
    let mut phase = None;
    for part in parts {
        match part {
            AssistantPart::Text(text) if text.is_empty() => {}
            AssistantPart::Text(text) => {
                let content = Content::Text(text);
                items.push(Item::Message { role: Role::Assistant, content, phase: phase.take() });
            }
            AssistantPart::Call(call) => items.push(called(call)),
            AssistantPart::State(state) => match Kept::open(state, model) {
                Some(Kept::Message { phase: of_next }) => phase = Some(of_next),
                Some(reasoning @ Kept::Reasoning { .. }) => items.push(Item::Reasoning(reasoning)),
                None => {}
            },
        }
    }
    // The API refuses reasoning without what it led to, as where an answer was cut.
    let ends = items.iter().rposition(|item| !matches!(item, Item::Reasoning(_)));
    items.truncate(ends.map_or(0, |last| last + 1));
    items
}

fn called(call: &ToolCall) -> Item<'_> {
    let arguments = call.arguments_json.trim();
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    Item::FunctionCall { call_id: call_id(&call.call_id), name: &call.name, arguments }
}

fn result(result: &ToolResult) -> Item<'_> {
    let text = said_by(result);
    let output = if result.images.is_empty() {
        Content::Text(text)
    } else {
        let text = Some(Part::InputText { text }).filter(|_| !text.is_empty());
        Content::Parts(text.into_iter().chain(result.images.iter().map(image)).collect())
    };
    Item::FunctionCallOutput { call_id: call_id(&result.call_id), output }
}

/// The id of a call as the API takes it. Other providers' may be longer: those are replaced, the same by the same always.
fn call_id(id: &str) -> Cow<'_, str> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) {
        return id.into();
    }
    call_ids::instead_of(id, "call_").into()
}

fn content(parts: &[UserPart]) -> Content<'_> {
    if let [UserPart::Text(text)] = parts {
        return Content::Text(text);
    }
    Content::Parts(parts.iter().map(part).collect())
}

fn part(part: &UserPart) -> Part<'_> {
    match part {
        UserPart::Text(text) => Part::InputText { text },
        UserPart::Image(given) => image(given),
    }
}

fn image(image: &Image) -> Part<'_> {
    let image_url = match &image.source {
        ImageSource::Base64(base64) => format!("data:{};base64,{base64}", image.media_type).into(),
        ImageSource::Url(url) => url.into(),
    };
    Part::InputImage { image_url, detail: "auto" }
}
