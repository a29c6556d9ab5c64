//! What the suite starts as its client: a run against the mock server that calls the tools which the scenario asks for,
//! else every tool that the server lists. It knows no scenario.

use std::env;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    arguments,
    service::{Registration, Service},
};

/// The last line of an adapter whose run ended well: in some scenarios the suite does not ask how its client ended.
pub const DONE: &str = "The run ended well.";

/// What a scenario tells its client.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Context {
    #[serde(rename = "toolCalls")]
    tool_calls: Option<Vec<ToolCall>>,
    client_id: Option<String>,
    client_secret: Option<String>,
    private_key_pem: Option<String>,
}

/// A call of a tool.
#[derive(Deserialize)]
pub struct ToolCall {
    pub name: String,
    pub arguments: Map<String, Value>,
}

/// Runs an agent against the MCP server at this URL; panics if the run fails.
pub async fn run(url: &str) {
    let context = Context::read();
    let registration = Registration {
        url: url.to_owned(),
        client_id: context.client_id,
        client_secret: context.client_secret,
        private_key: context.private_key_pem,
    };
    let calls = match context.tool_calls {
        Some(calls) => calls,
        None => every_tool(&registration).await,
    };
    let service = Service::start(&registration, &calls).await;
    let answer = service.run().await;
    service.stop().await;
    println!("{answer:#?}\n{DONE}");
}

/// A call of each tool that the server lists. The service that lists them is another: a script is there from the start.
async fn every_tool(registration: &Registration) -> Vec<ToolCall> {
    let service = Service::start(registration, &[]).await;
    let tools = service.tools().await;
    service.stop().await;
    arguments::calls(&tools)
}

impl Context {
    /// A scenario that has nothing to tell sets no variable.
    fn read() -> Self {
        let context = env::var("MCP_CONFORMANCE_CONTEXT");
        context.map(|json| serde_json::from_str(&json).expect(&json)).unwrap_or_default()
    }
}
