//! An answer that comes as an event stream, over all the HTTP responses that this takes.
//!
//! rmcp resumes an answer that broke off by the id of its last event, and by nothing else. But servers need not keep the
//! ids of two answers apart, and an id does not say whose request it was. So what rmcp sees is the server's id behind a
//! number of ours, by which a resumption finds its exchange again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use rmcp::model::RequestId;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::{RawValue, to_raw_value};
use sse_stream::Sse;
use tokio::time::Instant;

use super::{
    Fault,
    progress::{self, Expected},
    slot::Exchange,
    tools,
};

/// An answer that is being read.
pub(super) struct StreamedAnswer {
    pub(super) exchange: Arc<Exchange>,
    number: u64,
    /// Whether it is an answer to `tools/list`.
    listing: bool,
    /// The progress that it may tell.
    progress: Option<Expected>,
    /// Whether the server gave an event an id: only then it can be resumed.
    has_ids: bool,
    /// Whether the JSON-RPC answer has come. It is looked for only where there are ids.
    answered: bool,
}

/// The answers of a client that broke off and may be resumed, by their numbers.
#[derive(Default)]
pub(super) struct Interrupted(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    last: u64,
    answers: HashMap<u64, StreamedAnswer>,
}

impl Interrupted {
    /// An answer that begins.
    pub(super) fn begin(
        &self,
        exchange: &Arc<Exchange>,
        listing: bool,
        progress: Option<Expected>,
    ) -> StreamedAnswer {
        let mut numbered = self.0.lock();
        numbered.last += 1;
        let (number, exchange) = (numbered.last, exchange.clone());
        StreamedAnswer { exchange, number, listing, progress, has_ids: false, answered: false }
    }

    /// Keeps an answer whose stream has ended, of itself or by a fault, if more of it may come.
    pub(super) fn keep(&self, answer: StreamedAnswer, fault: Option<&Fault>) {
        if answer.answered || fault.is_some_and(|fault| !is_resumable(fault)) {
            return;
        }
        if !answer.has_ids {
            answer.exchange.fail(Fault::Broken);
            return;
        }
        let now = Instant::now();
        let mut numbered = self.0.lock();
        // Those that nobody came back for leave with their time.
        let in_time =
            |answer: &StreamedAnswer| answer.exchange.deadline.is_some_and(|(until, _)| until > now);
        numbered.answers.retain(|_, answer| in_time(answer));
        numbered.answers.insert(answer.number, answer);
    }

    /// The answer that an event's id belongs to, and the id as the server gave it.
    pub(super) fn take<'a>(&self, event_id: &'a str) -> Option<(StreamedAnswer, &'a str)> {
        let (number, id) = event_id.split_once('.')?;
        let answer = self.0.lock().answers.remove(&number.parse().ok()?)?;
        Some((answer, id))
    }
}

impl StreamedAnswer {
    /// Makes an event one that rmcp can use.
    pub(super) fn look_through(&mut self, event: &mut Sse) {
        if let Some(id) = event.id.take().filter(|id| !id.is_empty()) {
            event.id = Some(format!("{}.{id}", self.number));
            self.has_ids = true;
        }
        let Some(data) = &mut event.data else { return };
        if progress::take(data, self.progress.as_ref()) {
            // Its id stays: an answer is resumed from there.
            event.data = None;
            return;
        }
        if self.listing {
            self.keep_usable_tools(data);
        }
        if self.has_ids && is_answer(data) {
            self.answered = true;
            if let Some((posted, rmcps)) = self.exchange.both_ids() {
                rename(data, &posted, &rmcps);
            }
        }
    }

    fn keep_usable_tools(&self, data: &mut String) {
        let Ok(mut message) = serde_json::from_str(data) else { return };
        let Some(page) = tools::keep_usable(&mut message) else { return };
        if let Ok(usable) = serde_json::to_string(&message) {
            *data = usable;
            self.exchange.note_page(page);
        }
    }
}

/// Whether an answer may be resumed after a fault. Nobody comes back for one that has run out of time or of leases, and
/// one that is too large or can't be read will be so again.
pub(super) fn is_resumable(fault: &Fault) -> bool {
    matches!(fault, Fault::Connect | Fault::Broken | Fault::Status(_))
}

/// Whether an event is a JSON-RPC answer: rmcp reads no further then, and nothing is left to be resumed.
fn is_answer(data: &str) -> bool {
    #[derive(Deserialize)]
    struct Message {
        result: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    let message = serde_json::from_str::<Message>(data);
    message.is_ok_and(|message| message.result.is_some() || message.error.is_some())
}

/// Gives the answer to a request the id that rmcp waits for.
fn rename(answer: &mut String, posted: &RequestId, rmcps: &RequestId) {
    let mut message: BTreeMap<&str, &RawValue> = serde_json::from_str(answer).unwrap_or_default();
    let given = message.get("id").and_then(|id| serde_json::from_str::<RequestId>(id.get()).ok());
    // Some servers give a number back as a string.
    if given.is_none_or(|given| given.to_string() != posted.to_string()) {
        return;
    }
    let Ok(id) = to_raw_value(rmcps) else { return };
    message.insert("id", &id);
    if let Ok(renamed) = serde_json::to_string(&message) {
        *answer = renamed;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rmcp::model::RequestId as JsonRpcId;

    use super::*;
    use crate::{
        id::RequestId,
        trace::{Outgoing, TraceHeaders},
    };

    /// Whether an answer with an event id is there to be resumed after its stream has ended.
    fn is_kept(fault: Option<Fault>) -> bool {
        let outgoing = Outgoing { request_id: RequestId::generate(), trace: TraceHeaders::default() };
        let exchange = Exchange::within(outgoing, Duration::from_secs(3600));
        let interrupted = Interrupted::default();
        let mut answer = interrupted.begin(&exchange, false, None);
        let mut event = Sse { id: Some("e".into()), ..Sse::default() };
        answer.look_through(&mut event);
        interrupted.keep(answer, fault.as_ref());
        interrupted.take(&event.id.unwrap()).is_some()
    }

    #[test]
    fn an_answer_is_kept_only_where_somebody_may_come_back_for_it() {
        assert!(is_kept(None), "a graceful end");
        for fault in [Fault::Broken, Fault::Connect] {
            assert!(is_kept(Some(fault.clone())), "{fault}");
        }
        let over = [Fault::NoLease, Fault::Vacated, Fault::Timeout(Duration::ZERO), Fault::TooLarge(1)];
        for fault in over {
            assert!(!is_kept(Some(fault.clone())), "{fault}");
        }
    }

    #[test]
    fn the_answer_to_the_request_alone_is_given_rmcps_id() {
        let (posted, rmcps) = (JsonRpcId::Number(7), JsonRpcId::Number(3));
        for (given, told) in [("7", "3"), ("\"7\"", "3"), ("8", "8"), ("null", "null")] {
            let mut answer = format!(r#"{{"id":{given},"jsonrpc":"2.0","result":{{"x":1.50}}}}"#);
            rename(&mut answer, &posted, &rmcps);
            assert_eq!(answer, format!(r#"{{"id":{told},"jsonrpc":"2.0","result":{{"x":1.50}}}}"#));
        }
    }
}
