//! What can be wrong with an answer.

use super::{
    mangle::{mangle, spoiled},
    reply::{EVENTS, End, JSON, Reply, written},
    speech::{Api, Call, Event, Speech},
};
use crate::support::dice::Dice;

/// An answer that is to be spoiled, and by what.
pub struct Ill {
    /// What a healthy provider would say.
    pub speech: Speech,
    pub streamed: bool,
    pub canary: String,
    /// Where redirects lead.
    pub elsewhere: String,
    pub dice: Dice,
}

type Fault = fn(&Ill) -> Reply;

/// All faults, each with what it is called where a test fails.
const FAULTS: [(&str, Fault); 27] = [
    ("forbidden", |ill| Reply::with_head(&format!("{} No", ill.dice.pick(&[401, 403])), ill.error())),
    ("limited", |ill| Reply::with_head("429 No\r\nretry-after: 61", ill.error())),
    ("refused", Ill::refused),
    ("overloaded", Ill::overloaded),
    ("redirected", Ill::redirected),
    ("gone before the answer", |ill| Reply::none(ill.end())),
    ("gone after the head", Ill::only_a_head),
    ("gone within the body", |ill| Reply::well(&ill.speech, ill.streamed).broken_off(&ill.dice, ill.end())),
    ("cut short", Ill::cut_short),
    ("spoiled", |ill| ill.with_text(|text| spoiled(text.into_bytes(), &ill.dice))),
    ("one thing wrong", |ill| ill.mangled(1)),
    ("another thing wrong", |ill| ill.mangled(1)),
    ("three things wrong", |ill| ill.mangled(3)),
    ("empty", |ill| Reply::whole(ill.content_type(), "")),
    ("a page", Ill::page),
    ("of another type", Ill::of_another_type),
    ("odd calls", |ill| ill.calling((0..=ill.dice.roll(3)).map(|_| ill.odd_call()).collect())),
    ("one id for all calls", |ill| ill.calling((0..4).map(|_| Call::whoami("call_0")).collect())),
    ("200 calls", |ill| ill.calling((0..200).map(|n| Call::whoami(&format!("call_{n}"))).collect())),
    ("laid out otherwise", Ill::laid_out),
    ("out of order", Ill::out_of_order),
    ("unheard of", Ill::unheard_of),
    ("named otherwise", Ill::named_otherwise),
    ("odd HTTP", Ill::odd_http),
    ("the other form", |ill| Reply::well(&ill.speech, !ill.streamed)),
    ("an error in its place", Ill::error_in_place),
    ("too much", Ill::too_much),
];

impl Ill {
    /// The answer with something wrong with it, and what. All faults have their turn as the numbers go on.
    pub fn reply(&self, number: u64) -> (&'static str, Reply) {
        let (name, fault) = FAULTS[usize::try_from(number).unwrap() % FAULTS.len()];
        (name, fault(self))
    }

    fn end(&self) -> End {
        self.dice.pick(&[End::Closed, End::Reset])
    }

    fn content_type(&self) -> &'static str {
        if self.streamed { EVENTS } else { JSON }
    }

    /// The healthy answer's text: the body, or all events.
    fn text(&self) -> String {
        if self.streamed { self.speech.events().iter().map(written).collect() } else { self.speech.whole() }
    }

    fn with_text(&self, change: impl FnOnce(String) -> Vec<u8>) -> Reply {
        Reply::whole(self.content_type(), change(self.text()))
    }

    fn with_events(&self, change: impl FnOnce(&mut Vec<Event>)) -> Reply {
        let mut events = self.speech.events();
        change(&mut events);
        if self.streamed {
            return Reply::events(&events);
        }
        // A whole answer has no events: so it is what a stream would have been told.
        Reply::whole(JSON, events.iter().map(|event| format!("{}\n", event.data)).collect::<String>())
    }

    /// An error as the API writes it, and otherwise.
    fn error(&self) -> String {
        let canary = serde_json::json!(self.canary).to_string();
        let kind = self
            .dice
            .pick(&[
                "\"invalid_request_error\"",
                "\"rate_limit_error\"",
                "\"authentication_error\"",
                "\"overloaded_error\"",
                "\"server_error\"",
                "\"context_length_exceeded\"",
                "null",
                "429",
                &canary,
            ])
            .to_owned();
        match self.dice.roll(5) {
            0 => format!(r#"{{"error":{canary}}}"#),
            1 => format!(r#"{{"detail":[{{"msg":{canary}}}]}}"#),
            2 => {
                format!(r#"{{"type":"error","error":{{"type":{kind},"message":{canary},"param":{canary}}}}}"#)
            }
            3 => format!(
                r#"{{"error":{{"code":{kind},"type":{canary},"message":{canary},"param":"include"}}}}"#
            ),
            _ => format!("<html><body>{canary}</body></html>"),
        }
    }

    fn refused(&self) -> Reply {
        let statuses = [400, 402, 404, 405, 413, 415, 422, 424, 451, 499];
        let status = self.dice.pick(&statuses);
        Reply::with_head(
            &format!("{status} {}\r\ncontent-type: {JSON}", self.dice.pick(&["No", ""])),
            self.error(),
        )
    }

    fn overloaded(&self) -> Reply {
        let status = self.dice.pick(&[408, 409, 429, 500, 502, 503, 504, 529, 599]);
        let retry_after = [
            "0",
            "0",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sat, 06 Nov 2094 08:49:37 GMT",
            "61",
            "99999999999999999999999",
            "-1",
            "",
            &self.canary,
        ];
        let name =
            self.dice.pick(&["Retry-After", "retry-after", "retry-after-ms", "llm_provider-retry-after"]);
        let again = self.dice.pick(&["true", "true", "false", "", &self.canary]);
        let after = self.dice.pick(&retry_after);
        let head = format!("{status} Overloaded\r\n{name}: {after}\r\nx-should-retry: {again}");
        Reply::with_head(&head, self.error())
    }

    fn redirected(&self) -> Reply {
        let status = self.dice.pick(&[300, 301, 302, 303, 304, 307, 308]);
        let elsewhere = [&self.elsewhere, "/", "//", "", &self.canary];
        let head = format!("{status} Moved\r\nlocation: {}", self.dice.pick(&elsewhere));
        // What is not modified has no body, so that one would be taken for the next answer.
        let body = if status == 304 { String::new() } else { self.error() };
        let reply = Reply::with_head(&head, body);
        Reply { end: End::Closed, ..reply }
    }

    fn only_a_head(&self) -> Reply {
        let mut reply = Reply::well(&self.speech, self.streamed);
        reply.writes.truncate(1);
        Reply { end: self.end(), ..reply }
    }

    /// The body ends in the middle, and says that this is its end.
    fn cut_short(&self) -> Reply {
        self.with_text(|text| {
            let mut bytes = text.into_bytes();
            bytes.truncate(self.dice.place(bytes.len()));
            bytes
        })
    }

    fn mangled(&self, times: usize) -> Reply {
        if !self.streamed {
            let text = (0..times).fold(self.text(), |text, _| mangle(&text, &self.dice, &self.canary));
            return Reply::whole(JSON, text);
        }
        self.with_events(|events| {
            for _ in 0..times {
                let at = self.dice.place(events.len());
                events[at].data = mangle(&events[at].data, &self.dice, &self.canary);
            }
        })
    }

    fn page(&self) -> Reply {
        let page = format!("<!doctype html>\n<p>data: {0}</p>\n\n<p>\n\ndata: {0}\n\n", self.canary);
        Reply::whole(self.dice.pick(&["text/html", JSON, EVENTS]), page)
    }

    fn of_another_type(&self) -> Reply {
        let strange = format!("{}; charset=\u{FF}", self.canary);
        let types =
            ["text/html", "", "*/*", "application/octet-stream", "application/jsonl", JSON, EVENTS, &strange];
        Reply::whole(self.dice.pick(&types), self.text())
    }

    /// An answer that asks for these tools, whatever the turn.
    fn calling(&self, calls: Vec<Call>) -> Reply {
        let speech = Speech { api: self.speech.api, text: self.speech.text.clone(), calls };
        Reply::well(&speech, self.streamed)
    }

    fn odd_call(&self) -> Call {
        let long = "x".repeat(10_000);
        let ids = ["", " ", "call_0", "c\u{E4}ll \"1\"\n", "null", &long];
        let names =
            ["whoami", "whoami", "fail", "", "who am i", "crm__whoami", "\u{1F980}", "../whoami", &long];
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let arguments = [
            "",
            " ",
            "null",
            "[]",
            "1",
            "\"{}\"",
            "{",
            "{}{}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1e400}",
            "not JSON",
            "{\"\":\"\\ud83d\"}",
            &deep,
        ];
        Call {
            id: self.dice.pick(&ids).to_owned(),
            name: self.dice.pick(&names).to_owned(),
            arguments: self.dice.pick(&arguments).to_owned(),
        }
    }

    /// The same, in another form: much of it is good.
    fn laid_out(&self) -> Reply {
        let text = self.text();
        let text = match self.dice.roll(9) {
            0 => text.replace("\n\n", "\n"),
            1 => text.replace('\n', "\r\n"),
            2 => text.replace('\n', "\r"),
            3 => text.replace("data: ", "data:"),
            4 => text.replace(",\"", ",\ndata: \""),
            5 => text.replace("\n\n", "\n\n: {\n\nid: 1\nretry: x\n\n\n"),
            6 => format!("\u{FEFF}{text}"),
            7 => text.trim_end().to_owned(),
            _ => text.replace("data: ", "Data: "),
        };
        // Cut anywhere, and yet in few pieces.
        let size = 1 + text.len() / (20 + self.dice.place(40));
        Reply::chunks(self.content_type(), text.as_bytes().chunks(size).map(<[u8]>::to_vec))
    }

    fn out_of_order(&self) -> Reply {
        self.with_events(|events| {
            for _ in 0..=self.dice.roll(4) {
                let (at, to) = (self.dice.place(events.len()), self.dice.place(events.len()));
                match self.dice.roll(4) {
                    0 => events.swap(at, to),
                    1 if events.len() > 1 => drop(events.remove(at)),
                    2 => events.reverse(),
                    _ => {
                        let again = events[at].clone();
                        events.insert(to, again);
                    }
                }
            }
        })
    }

    fn unheard_of(&self) -> Reply {
        let canary = serde_json::json!(self.canary).to_string();
        self.with_events(|events| {
            for _ in 0..=self.dice.roll(4) {
                let data = match self.dice.roll(5) {
                    0 => format!(r#"{{"type":{canary},"message":{canary}}}"#),
                    1 => format!(r#"{{"type":"response.unheard_of","item":{canary},"output_index":9}}"#),
                    2 => canary.clone(),
                    3 => "[]".to_owned(),
                    _ => r#"{"type":"content_block_delta","index":77,"delta":{"type":"unheard_of"}}"#
                        .to_owned(),
                };
                let name = (self.dice.roll(2) == 0).then(|| self.canary.clone());
                events.insert(self.dice.place(events.len()), Event { name, data });
            }
        })
    }

    fn named_otherwise(&self) -> Reply {
        self.with_events(|events| {
            let names =
                ["", "message", "ping", "error", "done", "response.completed", "message_stop", &self.canary];
            let name = Some(self.dice.pick(&names)).filter(|_| self.dice.roll(2) == 0);
            let all = self.dice.roll(2) == 0;
            let at = self.dice.place(events.len());
            for (n, event) in events.iter_mut().enumerate().filter(|(n, _)| all || *n == at) {
                event.name = name.map(str::to_owned);
                if n % 2 == 0 {
                    event.data = event.data.replace("\"type\":\"", "\"kind\":\"");
                }
            }
        })
    }

    fn odd_http(&self) -> Reply {
        let (text, kind) = (self.text(), self.content_type());
        let length = text.len();
        let written = match self.dice.roll(9) {
            0 => format!("HTTP/1.0 200 OK\r\ncontent-type: {kind}\r\n\r\n{text}"),
            1 => format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{text}"),
            2 => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{text}"
            ),
            3 => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{text}"
            ),
            4 => {
                format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n{text}")
            }
            5 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            6 => format!(
                "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}"
            ),
            7 => format!("{}\r\n\r\n{text}", self.canary),
            _ => format!("HTTP/1.1 200 OK\r\n{}\r\n{text}", "x-y: z\r\n".repeat(500)),
        };
        Reply { writes: vec![written.into_bytes()], end: End::Closed }
    }

    /// An error where an answer should be, at once or in its midst.
    fn error_in_place(&self) -> Reply {
        let data = self.error();
        if !self.streamed {
            return Reply::whole(JSON, data);
        }
        self.with_events(|events| {
            let name = (self.dice.roll(2) == 0).then(|| "error".to_owned());
            let at = self.dice.place(events.len());
            events.truncate(at);
            let failed = match self.speech.api {
                Api::Responses => format!(r#"{{"type":"response.failed","response":{data}}}"#),
                Api::Chat | Api::Messages => data.clone(),
            };
            events.push(Event { name, data: self.dice.pick(&[&data, &failed]).clone() });
        })
    }

    fn too_much(&self) -> Reply {
        let much = match self.dice.roll(4) {
            0 => "[".repeat(100_000),
            1 => format!("\"{}\"", "x".repeat(1_100_000)),
            2 => "{\"a\":".repeat(100_000),
            _ => "0".repeat(1_100_000),
        };
        if self.streamed {
            return self.with_events(|events| {
                let at = self.dice.place(events.len());
                events.insert(at, Event { name: None, data: much });
            });
        }
        Reply::whole(
            JSON,
            self.text().replacen("null", &much, 1).replacen("\"id\"", &format!("\"x\":{much},\"id\""), 1),
        )
    }
}
