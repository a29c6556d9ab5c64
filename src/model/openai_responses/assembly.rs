//! Puts an answer together from its events.
//!
//! An item of the answer begins with `output_item.added`, grows by deltas and ends with `output_item.done`, which has all of
//! it once more. The API tells by `output_index` and by the item's id to which item an event belongs. Not all servers do:
//! some leave ids out, give an item another id in each event, or number all items 0; some leave out the items' beginnings
//! or their ends, or the deltas; some give the items only with the whole answer at the end. So an event goes to the item of
//! its kind that has its id, or else to an unfinished one of its kind and index, or else it begins an item; and what an
//! item's end says of a text counts only as far as it goes on from what came before.

use std::{
    mem::{discriminant, take},
    ops::ControlFlow,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer::Response,
    item::{self, Item, What},
    kept::{Kept, Phase},
};
use crate::{
    message::Usage,
    model::{
        Answer, AnswerPart, AskedCall, Error, MAX_CALLS, Request, Stop,
        call_ids::CallIds,
        endpoint::MAX_ANSWER_BYTES,
        events::{self, Pieces},
        failure, reported,
    },
};

/// The most items in an answer. Each may be empty, so their bytes bound nothing.
const MAX_ITEMS: usize = 1024;

/// What is known of an answer so far.
pub(super) struct Assembly<'a> {
    model: &'a str,
    slots: Vec<Slot>,
    stop: Option<Stop>,
    usage: Option<Usage>,
    /// Whether any reasoning was passed on.
    has_reasoned: bool,
    /// Bytes of what the items hold.
    size: usize,
}

struct Slot {
    index: u64,
    done: bool,
    item: Item,
}

/// An event. What is not needed of it is not looked into.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(borrow, default)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Assembly<'a> {
    /// Nothing of an answer of this model.
    pub(super) fn new(model: &'a str) -> Self {
        Self { model, slots: Vec::new(), stop: None, usage: None, has_reasoned: false, size: 0 }
    }

    /// Takes the whole answer, which ends it. Its items count where none of their kind came before, and its calls also as
    /// far as they say more of those that came; gives the text that is new.
    ///
    /// # Errors
    /// It is an error, can't be read, or is too large.
    pub(super) fn end(&mut self, response: Response<'_>) -> Result<String, Error> {
        self.usage = response.usage().or(self.usage);
        self.stop = Some(response.stop()?);
        let mut text = String::new();
        let came: Vec<_> = self.slots.iter().map(|slot| discriminant(&slot.item.what)).collect();
        for (index, raw) in (0..).zip(response.output.into_iter().flatten()) {
            let Some(item) = Item::read(raw)? else { continue };
            if !came.contains(&discriminant(&item.what)) {
                text += &self.begin(Some(index), item, true)?;
            } else if matches!(item.what, What::Call { .. })
                && self.slots.iter().any(|slot| slot.item.is_surely(&item))
            {
                self.put(Some(index), Some(item), true)?;
            }
        }
        Ok(text)
    }

    /// Takes an item, or what of one is new; gives the text that is new.
    fn put(&mut self, index: Option<u64>, item: Option<Item>, done: bool) -> Result<String, Error> {
        let Some(mut item) = item else { return Ok(String::new()) };
        if !done && let What::Reasoning(kept) = &mut item.what {
            // Its encrypted content may be incomplete until it is done.
            *kept = None;
        }
        let Some(slot) = self.place(index, &item).and_then(|place| self.slots.get_mut(place)) else {
            return self.begin(index, item, done);
        };
        let before = slot.item.size();
        let text = slot.item.merge(item);
        slot.done |= done;
        let after = slot.item.size();
        self.grow(after.saturating_sub(before))?;
        Ok(text)
    }

    fn begin(&mut self, index: Option<u64>, item: Item, done: bool) -> Result<String, Error> {
        let calls = self.slots.iter().filter(|slot| matches!(slot.item.what, What::Call { .. })).count();
        if matches!(item.what, What::Call { .. }) && calls == MAX_CALLS {
            return Err(failure::too_many_calls());
        }
        if self.slots.len() == MAX_ITEMS {
            return Err(failure::too_large());
        }
        self.grow(item.size())?;
        let text = if let What::Message { text, .. } = &item.what { text.clone() } else { String::new() };
        let next = || self.slots.iter().map(|slot| slot.index).max().map_or(0, |last| last.saturating_add(1));
        let index = index.unwrap_or_else(next);
        self.slots.push(Slot { index, done, item });
        Ok(text)
    }

    /// The item that this one is, or is a piece of; `None`: a new one.
    fn place(&self, index: Option<u64>, item: &Item) -> Option<usize> {
        let like = |slot: &Slot| discriminant(&slot.item.what) == discriminant(&item.what);
        let same = self.slots.iter().rposition(|slot| like(slot) && slot.item.is_surely(item));
        same.or_else(|| {
            self.slots.iter().rposition(|slot| {
                let there = index.is_none_or(|index| index == slot.index);
                like(slot) && there && !slot.done && !slot.item.is_surely_not(item)
            })
        })
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.size += bytes;
        if self.size > MAX_ANSWER_BYTES { Err(failure::too_large()) } else { Ok(()) }
    }

    /// Takes what an event says of a message or of a call; gives the text that is new.
    fn piece(&mut self, event: &Event<'_>, what: What) -> Result<String, Error> {
        let item = Item { id: item::text(event.item_id)?, what };
        let Some(slot) = self.place(event.output_index, &item).and_then(|place| self.slots.get_mut(place))
        else {
            return self.begin(event.output_index, item, false);
        };
        let (bytes, text) = slot.item.extend(item.what);
        self.grow(bytes)?;
        Ok(text)
    }

    /// Takes an event of the answer; gives the text that is new.
    fn take_event(&mut self, event: &Event<'_>, kind: &str) -> Result<String, Error> {
        match kind {
            "response.output_item.added" | "response.output_item.done" => {
                let item = event.item.map(Item::read).transpose()?.flatten();
                self.put(event.output_index, item, kind.ends_with("done"))
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                let (text, refused) = (item::text(event.delta)?, kind == "response.refusal.delta");
                self.piece(event, What::Message { text, refused, phase: None })
            }
            "response.function_call_arguments.delta" => {
                self.piece(event, call_with(item::text(event.delta)?))
            }
            "response.function_call_arguments.done" => {
                let item = Item {
                    id: item::text(event.item_id)?,
                    what: call_with(item::arguments(event.arguments)?),
                };
                self.put(event.output_index, Some(item), false)
            }
            _ => event.error.map_or_else(|| Ok(String::new()), |error| Err(reported::error(error))),
        }
    }

    /// Takes the event that ends the answer; gives the text that is new.
    fn take_end(&mut self, event: &Event<'_>, kind: &str) -> Result<String, Error> {
        let response = event.response.map(|raw| serde_json::from_str(raw.get())).transpose();
        let response: Response<'_> = response.map_err(|_| failure::unreadable())?.unwrap_or_default();
        let text = self.end(response)?;
        match kind {
            "response.failed" => return Err(failure::reported()),
            "response.incomplete" if self.stop == Some(Stop::End) => self.stop = Some(Stop::OutputLimit),
            _ => {}
        }
        Ok(text)
    }
}

impl events::Assembly for Assembly<'_> {
    fn take(
        &mut self,
        name: Option<&str>,
        data: &str,
        pieces: &mut Pieces,
    ) -> Result<ControlFlow<()>, Error> {
        if data == "[DONE]" {
            return self.done();
        }
        let event: Option<Event<'_>> = serde_json::from_str(data).ok();
        let kind = event.as_ref().and_then(|event| event.kind.as_deref());
        if name == Some("error") || kind == Some("error") {
            return Err(reported::event(data));
        }
        let kind = kind.or(name).unwrap_or_default();
        let event = event.as_ref().ok_or_else(failure::unreadable)?;
        match kind {
            "response.reasoning_summary_part.added" if self.has_reasoned => pieces.reasoning("\n\n"),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let text = item::text(event.delta)?;
                self.has_reasoned |= !text.is_empty();
                pieces.reasoning(&text);
            }
            "response.completed" | "response.incomplete" | "response.failed" | "response.done" => {
                let text = self.take_end(event, kind)?;
                pieces.text(&text);
                return Ok(ControlFlow::Break(()));
            }
            _ => pieces.text(&self.take_event(event, kind)?),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn has_ended(&self) -> bool {
        self.stop.is_some()
    }

    fn usage(&self) -> Usage {
        self.usage.unwrap_or(Usage { model_requests: 1, ..Usage::default() })
    }

    fn finish(mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut ids = CallIds::new(request);
        let usage = self.usage();
        let mut parts = Vec::with_capacity(self.slots.len());
        let mut stop = self.stop.unwrap_or_default();
        self.slots.sort_by_key(|slot| slot.index);
        let concludes = self.slots.iter().any(|slot| slot.item.is_final());
        for Slot { item: Item { id, what }, .. } in take(&mut self.slots) {
            match what {
                What::Message { text, refused, phase } => {
                    if refused && stop == Stop::End {
                        stop = Stop::ContentFilter;
                    }
                    if text.is_empty() {
                        continue;
                    }
                    if let Some(phase) = phase {
                        parts.push(AnswerPart::State(Kept::Message { phase }.seal(self.model)?));
                    }
                    // Where the model says which message is its answer, the others lead there.
                    let is_aside = concludes && phase != Some(Phase::FinalAnswer);
                    parts.push(if is_aside { AnswerPart::Aside(text) } else { AnswerPart::Text(text) });
                }
                What::Call { name, .. } if name.is_empty() => return Err(failure::unreadable()),
                What::Call { call_id, name, arguments } => {
                    let call_id = ids.own(if call_id.is_empty() { id } else { call_id });
                    parts.push(AnswerPart::Call(AskedCall { call_id, name, arguments_json: arguments }));
                }
                What::Reasoning(Some(kept)) => parts.push(AnswerPart::State(kept.seal(self.model)?)),
                What::Reasoning(None) => {}
            }
        }
        Ok(Answer { parts, stop, usage })
    }
}

fn call_with(arguments: String) -> What {
    What::Call { call_id: String::new(), name: String::new(), arguments }
}
