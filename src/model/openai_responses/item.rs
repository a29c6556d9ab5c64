//! The items of an answer, as the API and its imitations write them. Fields that are absent, null or unknown are no error.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::kept::{Kept, Phase, Summary, Thought};
use crate::model::{Error, failure};

/// An item, or what is known of one so far.
#[derive(Debug)]
pub(super) struct Item {
    /// The API's id for it; may be empty.
    pub(super) id: String,
    pub(super) what: What,
}

/// What an item is.
#[derive(Debug)]
pub(super) enum What {
    /// What the model says.
    Message {
        text: String,
        /// Whether it says that it will not answer.
        refused: bool,
        phase: Option<Phase>,
    },
    /// A tool that it asks for.
    Call { call_id: String, name: String, arguments: String },
    /// What it reasoned; `None` where there is nothing that could be given back.
    Reasoning(Option<Kept>),
}

/// All that items of any kind have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<&'a RawValue>,
    #[serde(borrow)]
    phase: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

impl Item {
    /// Reads an item; `None`: one of a kind that was not asked for.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn read(raw: &RawValue) -> Result<Option<Self>, Error> {
        let fields: Fields<'_> = serde_json::from_str(raw.get()).map_err(|_| failure::unreadable())?;
        let what = match text(fields.kind)?.as_str() {
            "message" => {
                let parts = parts(fields.content)?;
                let refused =
                    parts.iter().any(|part| part.refusal.as_ref().is_some_and(|text| !text.is_empty()));
                let phase = fields.phase.and_then(|phase| serde_json::from_str(phase.get()).ok());
                What::Message { text: parts.into_iter().map(Part::into_text).collect(), refused, phase }
            }
            "function_call" => What::Call {
                call_id: text(fields.call_id)?,
                name: text(fields.name)?,
                arguments: arguments(fields.arguments)?,
            },
            "reasoning" => What::Reasoning(kept(&fields)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { id: text(fields.id)?, what }))
    }

    /// Whether another item is this one: it has the same id, or without ids is the same call.
    pub(super) fn is_surely(&self, other: &Self) -> bool {
        if !self.id.is_empty() && !other.id.is_empty() {
            return self.id == other.id && !self.is_surely_not(other);
        }
        self.call_id().zip(other.call_id()).is_some_and(|(a, b)| !a.is_empty() && a == b)
    }

    /// Whether another item can't be this one: it is another call.
    pub(super) fn is_surely_not(&self, other: &Self) -> bool {
        let differ = |(a, b): (&str, &str)| !a.is_empty() && !b.is_empty() && a != b;
        self.call_id().zip(other.call_id()).is_some_and(differ)
    }

    /// Whether it is a message that is the answer itself, and says something.
    pub(super) fn is_final(&self) -> bool {
        matches!(&self.what, What::Message { text, phase: Some(Phase::FinalAnswer), .. } if !text.is_empty())
    }

    fn call_id(&self) -> Option<&str> {
        if let What::Call { call_id, .. } = &self.what { Some(call_id) } else { None }
    }

    /// Takes over what is told once more, of an item of the same kind; gives the text that is new.
    pub(super) fn merge(&mut self, told: Self) -> String {
        let mut new = String::new();
        replace(&mut self.id, told.id);
        match (&mut self.what, told.what) {
            (
                What::Message { text, refused, phase },
                What::Message { text: whole, refused: now, phase: of },
            ) => {
                new.push_str(whole.strip_prefix(text.as_str()).unwrap_or_default());
                text.push_str(&new);
                *refused |= now;
                *phase = of.or(*phase);
            }
            (
                What::Call { call_id, name, arguments },
                What::Call { call_id: told_id, name: told_name, arguments: whole },
            ) => {
                replace(call_id, told_id);
                replace(name, told_name);
                replace(arguments, whole);
            }
            (What::Reasoning(kept), What::Reasoning(told)) => *kept = told.or(kept.take()),
            _ => {}
        }
        new
    }

    /// Adds a piece of a text or of arguments, of an item of the same kind; gives how many bytes are new, and what text.
    pub(super) fn extend(&mut self, piece: What) -> (usize, String) {
        match (&mut self.what, piece) {
            (What::Message { text, refused, .. }, What::Message { text: new, refused: now, .. }) => {
                text.push_str(&new);
                *refused |= now;
                (new.len(), new)
            }
            (What::Call { arguments, .. }, What::Call { arguments: new, .. }) => {
                arguments.push_str(&new);
                (new.len(), String::new())
            }
            _ => (0, String::new()),
        }
    }

    /// The bytes of what it holds.
    pub(super) fn size(&self) -> usize {
        let what = match &self.what {
            What::Message { text, .. } => text.len(),
            What::Call { call_id, name, arguments } => call_id.len() + name.len() + arguments.len(),
            What::Reasoning(Some(Kept::Reasoning { id: _, summary, content, encrypted_content })) => {
                let summary = summary.iter().map(|Summary::SummaryText { text }| text.len());
                let content = content.iter().map(|Thought::ReasoningText { text }| text.len());
                summary.chain(content).sum::<usize>() + encrypted_content.as_ref().map_or(0, String::len)
            }
            What::Reasoning(_) => 0,
        };
        self.id.len() + what
    }
}

impl Part {
    fn into_text(self) -> String {
        self.text.unwrap_or_default() + &self.refusal.unwrap_or_default()
    }
}

fn replace(old: &mut String, new: String) {
    if !new.is_empty() {
        *old = new;
    }
}

/// A string; what is absent, null or no string is empty.
///
/// # Errors
/// It is a string that can't be read.
pub(super) fn text(raw: Option<&RawValue>) -> Result<String, Error> {
    match raw.map(RawValue::get) {
        Some(string) if string.starts_with('"') => {
            serde_json::from_str(string).map_err(|_| failure::unreadable())
        }
        _ => Ok(String::new()),
    }
}

/// The arguments of a call, which some write as an object in place of its text.
///
/// # Errors
/// They are a string that can't be read.
pub(super) fn arguments(raw: Option<&RawValue>) -> Result<String, Error> {
    match raw {
        Some(object) if object.get().starts_with('{') => Ok(object.get().to_owned()),
        string => text(string),
    }
}

/// The parts of a text; a string is one part.
fn parts(raw: Option<&RawValue>) -> Result<Vec<Part>, Error> {
    match raw {
        None => Ok(Vec::new()),
        Some(list) if list.get().starts_with('[') => {
            serde_json::from_str(list.get()).map_err(|_| failure::unreadable())
        }
        string => Ok(vec![Part { text: Some(text(string)?), refusal: None }]),
    }
}

/// The texts of parts that have any.
fn texts(raw: Option<&RawValue>) -> Result<Vec<String>, Error> {
    Ok(parts(raw)?.into_iter().map(Part::into_text).filter(|text| !text.is_empty()).collect())
}

/// What a whole item shows of the reasoning, part by part: its summary, and the reasoning itself where that is open.
///
/// # Errors
/// It can't be read.
pub(super) fn shown(raw: &RawValue) -> Result<Vec<String>, Error> {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).map_err(|_| failure::unreadable())?;
    if text(fields.kind)? != "reasoning" {
        return Ok(Vec::new());
    }
    let mut shown = texts(fields.summary)?;
    shown.extend(texts(fields.content)?);
    Ok(shown)
}

/// What goes back of a reasoning item. One that is neither encrypted nor open is a mere name of what was not stored.
fn kept(fields: &Fields<'_>) -> Result<Option<Kept>, Error> {
    let content: Vec<_> =
        texts(fields.content)?.into_iter().map(|text| Thought::ReasoningText { text }).collect();
    let encrypted_content = Some(text(fields.encrypted_content)?).filter(|encrypted| !encrypted.is_empty());
    if content.is_empty() && encrypted_content.is_none() {
        return Ok(None);
    }
    let summary = texts(fields.summary)?.into_iter().map(|text| Summary::SummaryText { text }).collect();
    let id = Some(text(fields.id)?).filter(|id| !id.is_empty());
    Ok(Some(Kept::Reasoning { id, summary, content, encrypted_content }))
}
