//! Tool lists.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rmcp::model::{
    ClientRequest, CustomResult, ListToolsRequest, ListToolsResult, PaginatedRequestParams,
    ServerJsonRpcMessage, ServerResult, Tool as WireTool,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Fault,
    client::{Caller, Client},
    slot::Exchange,
};

/// The most pages of a list that are asked for.
const MAX_PAGES: usize = 64;
/// The most tools of a server that are used.
const MAX_TOOLS: usize = 1024;

/// The tools that a server lists for an identity.
#[derive(Debug, Default)]
pub struct ToolList {
    /// The usable ones, in the server's order, each name once.
    pub tools: Vec<Tool>,
    /// The others.
    pub dropped: Vec<DroppedTool>,
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
}

/// A tool that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTool {
    /// Its name, as far as it has one, cut at 128 characters.
    pub name: String,
    /// Why.
    pub reason: &'static str,
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
    pub(super) dropped: Vec<DroppedTool>,
    /// The names of the others.
    pub(super) listed: Vec<String>,
}

/// Asks a server for all pages of its list.
pub(super) async fn list(
    client: &Client,
    exchange: &Arc<Exchange>,
    caller: &Caller,
) -> Result<Listed, Fault> {
    let (mut list, mut ttl, mut seen) = (ToolList::default(), None::<Duration>, HashSet::new());
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let page = list_page(client, exchange, caller, cursor).await?;
        if let Some(millis) = page.ttl_ms {
            let page_ttl = Duration::from_millis(millis);
            ttl = Some(ttl.map_or(page_ttl, |least| least.min(page_ttl)));
        }
        let notes = exchange.take_page_notes();
        list.dropped.extend(notes.dropped);
        list.dropped.extend(misannotated(notes.listed, &page.tools));
        for tool in page.tools {
            if seen.insert(tool.name.clone()) {
                list.take(tool);
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() || list.tools.len() >= MAX_TOOLS {
            break;
        }
    }
    if cursor.is_some() {
        list.dropped.push(DroppedTool { name: String::new(), reason: "the list goes on beyond its bounds" });
    }
    Ok(Listed { list, ttl })
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

/// rmcp takes out the tools whose `x-mcp-header` annotations are invalid, and does not say which.
fn misannotated(listed: Vec<String>, kept: &[WireTool]) -> impl Iterator<Item = DroppedTool> {
    let kept: HashSet<String> = kept.iter().map(|tool| tool.name.to_string()).collect();
    let missing = listed.into_iter().filter(move |name| !kept.contains(name));
    missing.map(|name| DroppedTool::new(&name, "its `x-mcp-header` annotations are invalid"))
}

impl ToolList {
    fn take(&mut self, tool: WireTool) {
        if self.tools.len() == MAX_TOOLS {
            self.dropped.push(DroppedTool::new(&tool.name, "the server lists over 1024 tools"));
            return;
        }
        match serde_json::value::to_raw_value(&tool.input_schema) {
            Ok(schema) => self.tools.push(Tool {
                name: tool.name.into_owned(),
                description: tool.description.as_deref().unwrap_or_default().into(),
                input_schema: schema.into(),
            }),
            Err(_) => self.dropped.push(DroppedTool::new(&tool.name, "its input schema is no JSON")),
        }
    }
}

impl DroppedTool {
    fn new(name: &str, reason: &'static str) -> Self {
        Self { name: name.chars().take(128).collect(), reason }
    }
}

/// Where one tool of a list can't be read, rmcp can't read the whole list: takes out what can't be read, and notes what.
/// `None`: it is no list.
pub(super) fn keep_usable(message: &mut ServerJsonRpcMessage) -> Option<PageNotes> {
    let ServerJsonRpcMessage::Response(response) = message else { return None };
    let mut dropped = Vec::new();
    if let ServerResult::CustomResult(CustomResult(result)) = &mut response.result {
        dropped = take_out_unusable(result);
        if let Some(list) = read_list(result) {
            response.result = ServerResult::ListToolsResult(list);
        }
    }
    let ServerResult::ListToolsResult(list) = &response.result else { return None };
    Some(PageNotes { dropped, listed: list.tools.iter().map(|tool| tool.name.to_string()).collect() })
}

fn take_out_unusable(result: &mut Value) -> Vec<DroppedTool> {
    let mut dropped = Vec::new();
    let Some(tools) = result.get_mut("tools").and_then(Value::as_array_mut) else { return dropped };
    tools.retain(|tool| {
        let usable = WireTool::deserialize(tool).is_ok();
        if !usable {
            let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
            dropped.push(DroppedTool::new(name, "it is no valid MCP tool (does it have an `inputSchema`?)"));
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
