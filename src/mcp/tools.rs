//! Tool lists.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use memchr::memmem;
use parking_lot::Mutex;
use rmcp::model::{
    ClientRequest, CustomResult, ListToolsRequest, ListToolsResult, PaginatedRequestParams,
    ServerJsonRpcMessage, ServerResult, Tool as WireTool,
};
use serde::Deserialize;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{
    Fault,
    client::{Caller, Client},
    slot::Exchange,
};
use crate::{scrub::Scrubber, tool::ToolSpec};

/// The most pages of a list that are asked for.
const MAX_PAGES: usize = 64;
/// The most tools of a server that are used. No page is asked for beyond them, the dropped ones counted.
const MAX_TOOLS: usize = 1024;
/// The most bytes of a server's tools, their names, descriptions and schemas together: a list is kept for each identity.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The most dropped tools that are named.
const MAX_DROPPED: usize = 256;

/// The tools that a server lists for an identity.
#[derive(Debug, Default)]
pub struct ToolList {
    /// The usable ones, in the server's order, each name once.
    pub tools: Vec<Tool>,
    /// The others: the first 256, and where there are more, one without a name that says how many.
    pub dropped: Vec<DroppedTool>,
    /// The agents for which it was looked at. Scrubbed lists share it.
    known_to: Arc<Mutex<BTreeSet<String>>>,
}

/// A tool of an MCP server.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name on the server.
    pub name: String,
    /// What it does; may be empty.
    pub description: Arc<str>,
    /// The JSON Schema of its arguments, an object. Nothing that it refers to is ever fetched.
    pub input_schema: Arc<RawValue>,
    offered: [OnceLock<Arc<ToolSpec>>; 2],
}

impl Tool {
    /// A tool that was not offered yet.
    pub fn new(name: String, description: Arc<str>, input_schema: Arc<RawValue>) -> Self {
        Self { name, description, input_schema, offered: Default::default() }
    }

    /// The tool as models are offered it, with its server's name before its own or without: `make` makes it the first time.
    pub fn offered(&self, qualified: bool, make: impl FnOnce(&Self) -> ToolSpec) -> Arc<ToolSpec> {
        self.offered[usize::from(qualified)].get_or_init(|| Arc::new(make(self))).clone()
    }
}

/// A tool that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTool {
    /// Its name, as far as it has one, cut at 128 characters.
    pub name: String,
    /// Why.
    pub reason: Cow<'static, str>,
}

/// Tools that can't be used, however many: a server may list millions of them in one answer.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    named: Vec<DroppedTool>,
    more: usize,
}

/// The pages of a list that have been read.
#[derive(Default)]
struct Pages {
    tools: Vec<Tool>,
    dropped: Dropped,
    seen: HashSet<String>,
    bytes: usize,
    full: bool,
    ttl: Option<Duration>,
}

/// A list, and how long it is good.
pub(super) struct Listed {
    pub(super) list: ToolList,
    /// As the server said; `None`: it did not say.
    pub(super) ttl: Option<Duration>,
}

/// What the backend saw of a page before rmcp did.
#[derive(Debug, Default)]
pub(super) struct PageNotes {
    /// The tools that can't be read.
    pub(super) dropped: Dropped,
    /// The names of the others.
    pub(super) listed: Vec<String>,
}

/// Asks a server for all pages of its list.
pub(super) async fn list(
    client: &Client,
    exchange: &Arc<Exchange>,
    caller: &Caller,
) -> Result<Listed, Fault> {
    let (mut pages, mut cursor) = (Pages::default(), None);
    for _ in 0..MAX_PAGES {
        let page = list_page(client, exchange, caller, cursor).await?;
        cursor = page.next_cursor.clone();
        pages.take(page, exchange.take_page_notes());
        if cursor.is_none() || pages.is_full() {
            break;
        }
    }
    let Listed { list, ttl } = pages.listed(cursor.is_some());
    Ok(Listed { list: list.scrubbed(caller.headers.scrubber()), ttl })
}

/// A page. Where its answer breaks off it is asked for once more, by a request of its own: to list runs nothing.
async fn list_page(
    client: &Client,
    exchange: &Arc<Exchange>,
    caller: &Caller,
    cursor: Option<String>,
) -> Result<ListToolsResult, Fault> {
    let mut request = ListToolsRequest::with_param(PaginatedRequestParams::default().with_cursor(cursor));
    request.extensions.insert(exchange.clone());
    let request = ClientRequest::ListToolsRequest(request);
    let answer = match client.request(request.clone(), exchange, caller).await {
        Err(Fault::Broken) => client.request(request, exchange, caller).await,
        answer => answer,
    };
    match answer? {
        ServerResult::ListToolsResult(page) => Ok(page),
        _ => Err(Fault::Malformed("it is no tool list")),
    }
}

impl Pages {
    fn take(&mut self, page: ListToolsResult, notes: PageNotes) {
        if let Some(ttl) = page.ttl_ms.map(Duration::from_millis) {
            self.ttl = Some(self.ttl.map_or(ttl, |least| least.min(ttl)));
        }
        self.dropped.extend(notes.dropped);
        self.note_misannotated(&notes.listed, &page.tools);
        for tool in page.tools {
            if self.seen.insert(tool.name.to_string()) {
                self.take_tool(tool);
            }
        }
    }

    /// rmcp takes out the tools whose `x-mcp-header` annotations are invalid, and does not say which.
    fn note_misannotated(&mut self, listed: &[String], kept: &[WireTool]) {
        let kept: HashSet<&str> = kept.iter().map(|tool| &*tool.name).collect();
        for name in listed.iter().filter(|name| !kept.contains(name.as_str())) {
            self.dropped.push(name, "its `x-mcp-header` annotations are invalid");
        }
    }

    fn take_tool(&mut self, tool: WireTool) {
        let Ok(schema) = to_raw_value(&tool.input_schema) else {
            return self.dropped.push(&tool.name, "its input schema is no JSON");
        };
        let description = tool.description.as_deref().unwrap_or_default();
        let bytes = tool.name.len() + description.len() + schema.get().len();
        if self.tools.len() == MAX_TOOLS {
            return self.dropped.push(&tool.name, "the server lists over 1024 tools");
        }
        if self.bytes + bytes > MAX_BYTES {
            self.full = true;
            return self.dropped.push(&tool.name, "the server lists over 8 MiB of tools");
        }
        self.bytes += bytes;
        let description = description.into();
        self.tools.push(Tool::new(tool.name.into_owned(), description, schema.into()));
    }

    fn is_full(&self) -> bool {
        self.full || self.tools.len() + self.dropped.len() >= MAX_TOOLS
    }

    fn listed(self, goes_on: bool) -> Listed {
        let mut dropped = self.dropped.told();
        if goes_on {
            dropped.push(DroppedTool::new("", "the list goes on beyond its bounds"));
        }
        Listed { list: ToolList::new(self.tools, dropped), ttl: self.ttl }
    }
}

impl ToolList {
    /// A list that nobody has looked at.
    pub fn new(tools: Vec<Tool>, dropped: Vec<DroppedTool>) -> Self {
        Self { tools, dropped, known_to: Arc::default() }
    }

    /// Whether this is the first look at it for an agent: what is to be said of the list is said then.
    pub fn is_new_to(&self, agent: &str) -> bool {
        let mut known_to = self.known_to.lock();
        !known_to.contains(agent) && known_to.insert(agent.to_owned())
    }

    /// The list without what holds a secret. A tool whose name does is dropped, for it could not be called by another.
    pub(super) fn scrubbed(&self, scrubber: &Scrubber) -> Self {
        let (named, usable): (Vec<_>, Vec<_>) =
            self.tools.iter().partition(|tool| scrubber.finds(&tool.name));
        let reason = "its name holds a secret that the server was sent";
        let named = named.into_iter().map(|tool| DroppedTool::new(&scrubber.scrub(&tool.name), reason));
        let dropped = self.dropped.iter().map(|tool| {
            let name = scrubber.scrub(&tool.name).into_owned();
            DroppedTool { name, reason: tool.reason.clone() }
        });
        let tools = usable.into_iter().map(|tool| tool.scrubbed(scrubber));
        let dropped = dropped.chain(named).collect();
        Self { tools: tools.collect(), dropped, known_to: self.known_to.clone() }
    }
}

impl Tool {
    /// Whether a call of it has no HTTP header but its name: no argument is mirrored, and the name is a header's value as it
    /// stands.
    pub(super) fn is_plain(&self) -> bool {
        let mirrors = memmem::find(self.input_schema.get().as_bytes(), b"x-mcp-header").is_some();
        !mirrors && !self.name.starts_with("=?") && self.name.bytes().all(|byte| byte.is_ascii_graphic())
    }

    fn scrubbed(&self, scrubber: &Scrubber) -> Self {
        let description = match scrubber.scrub(&self.description) {
            Cow::Borrowed(_) => self.description.clone(),
            Cow::Owned(scrubbed) => scrubbed.into(),
        };
        let input_schema = match scrubber.finds(self.input_schema.get()) {
            false => self.input_schema.clone(),
            true => scrubbed_json(&self.input_schema, scrubber),
        };
        Self::new(self.name.clone(), description, input_schema)
    }
}

/// JSON with its strings scrubbed; an empty schema where it can't be.
fn scrubbed_json(json: &RawValue, scrubber: &Scrubber) -> Arc<RawValue> {
    let mut value: Value = serde_json::from_str(json.get()).unwrap_or_else(|_| Value::Object(Map::new()));
    scrubber.scrub_json(&mut value);
    to_raw_value(&value).unwrap_or_default().into()
}

impl Dropped {
    fn push(&mut self, name: &str, reason: &'static str) {
        if self.named.len() < MAX_DROPPED {
            self.named.push(DroppedTool::new(name, reason));
        } else {
            self.more += 1;
        }
    }

    fn extend(&mut self, others: Self) {
        let named = others.named.len().min(MAX_DROPPED - self.named.len());
        self.more += others.len() - named;
        self.named.extend(others.named.into_iter().take(named));
    }

    fn len(&self) -> usize {
        self.named.len() + self.more
    }

    fn told(self) -> Vec<DroppedTool> {
        let mut told = self.named;
        if self.more > 0 {
            told.push(DroppedTool::new("", format!("and {} more that can't be used", self.more)));
        }
        told
    }
}

impl DroppedTool {
    fn new(name: &str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.chars().take(128).collect(), reason: reason.into() }
    }
}

/// Where one tool of a list can't be read, rmcp can't read the whole list: takes out what can't be read, and notes what.
/// `None`: it is no list.
pub(super) fn keep_usable(message: &mut ServerJsonRpcMessage) -> Option<PageNotes> {
    let ServerJsonRpcMessage::Response(response) = message else { return None };
    let mut dropped = Dropped::default();
    if let ServerResult::CustomResult(CustomResult(result)) = &mut response.result {
        dropped = take_out_unusable(result);
        if let Some(list) = read_list(result) {
            response.result = ServerResult::ListToolsResult(list);
        }
    }
    let ServerResult::ListToolsResult(list) = &response.result else { return None };
    Some(PageNotes { dropped, listed: list.tools.iter().map(|tool| tool.name.to_string()).collect() })
}

/// Whether an answer lists a tool that may have arguments that are sent as headers.
pub(super) fn lists_mirroring(message: &ServerJsonRpcMessage) -> bool {
    let ServerJsonRpcMessage::Response(response) = message else { return false };
    let ServerResult::ListToolsResult(list) = &response.result else { return false };
    list.tools.iter().any(|tool| tool.input_schema.iter().any(|(key, value)| is_mirroring(key, value)))
}

fn is_mirroring(key: &str, value: &Value) -> bool {
    key == "x-mcp-header"
        || match value {
            Value::Object(fields) => fields.iter().any(|(key, value)| is_mirroring(key, value)),
            Value::Array(values) => values.iter().any(|value| is_mirroring("", value)),
            _ => false,
        }
}

fn take_out_unusable(result: &mut Value) -> Dropped {
    let mut dropped = Dropped::default();
    let Some(tools) = result.get_mut("tools").and_then(Value::as_array_mut) else { return dropped };
    tools.retain(|tool| {
        let usable = WireTool::deserialize(tool).is_ok();
        if !usable {
            let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
            dropped.push(name, "it is no valid MCP tool (does it have an `inputSchema`?)");
        }
        usable
    });
    dropped
}

/// A list of usable tools. Hints that can't be read are as good as none.
fn read_list(result: &mut Value) -> Option<ListToolsResult> {
    if let Ok(list) = ListToolsResult::deserialize(&*result) {
        return Some(list);
    }
    let fields = result.as_object_mut()?;
    fields.retain(|name, _| matches!(name.as_str(), "tools" | "nextCursor"));
    ListToolsResult::deserialize(&*result).ok()
}
