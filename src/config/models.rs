//! The section `models`.

use std::collections::BTreeMap;

use http::{HeaderName, header::AUTHORIZATION};
use serde_json::{Map, Value};

use super::{
    decode::{At, Fields},
    endpoint,
    names::{self, Names},
    route,
    source::{self, Tokens},
    yaml::{Kind, Node},
};
use crate::{
    credential::Headers,
    headers::Header,
    message::ToolRef,
    model::{Config, EndpointConfig, scripted},
};

/// The keys of a model behind an HTTP endpoint.
const ENDPOINT_KEYS: [&str; 8] =
    ["provider", "base_url", "allow_plaintext", "tls", "proxy", "model", "api_key", "headers"];
const SCRIPTED_KEYS: [&str; 2] = ["provider", "script"];
const STEP_KEYS: [&str; 2] = ["call", "say"];
const CALL_KEYS: [&str; 3] = ["mcp_server", "tool", "arguments"];
const PROVIDERS: [(&str, Provider); 4] = [
    ("openai_chat", Provider::OpenAiChat),
    ("openai_responses", Provider::OpenAiResponses),
    ("anthropic", Provider::Anthropic),
    ("scripted", Provider::Scripted),
];

#[derive(Clone, Copy)]
enum Provider {
    OpenAiChat,
    OpenAiResponses,
    Anthropic,
    Scripted,
}

/// Takes the section's entries; `servers` are those that scripts may name.
pub fn decode(entries: &[(&str, At<'_>)], servers: &Names<'_>) -> BTreeMap<String, Config> {
    entries.iter().filter_map(|(name, at)| model(name, at, servers)).collect()
}

fn model(name: &str, at: &At<'_>, servers: &Names<'_>) -> Option<(String, Config)> {
    let name = names::name(name, at);
    let config = match provider(at) {
        Some(Provider::OpenAiChat) => endpoint(at, AUTHORIZATION, "Bearer ").map(Config::OpenAiChat),
        Some(Provider::OpenAiResponses) => {
            endpoint(at, AUTHORIZATION, "Bearer ").map(Config::OpenAiResponses)
        }
        Some(Provider::Anthropic) => {
            endpoint(at, HeaderName::from_static("x-api-key"), "").map(Config::Anthropic)
        }
        Some(Provider::Scripted) => scripted(&at.fields(&SCRIPTED_KEYS), servers).map(Config::Scripted),
        None => {
            // All that any provider has.
            at.fields(&[&ENDPOINT_KEYS[..], &SCRIPTED_KEYS[1..]].concat());
            None
        }
    };
    Some((name?, config?))
}

/// The provider, which decides what keys there are.
fn provider(at: &At<'_>) -> Option<Provider> {
    let entries = at.entries();
    let Some((_, provider)) = entries.iter().find(|(name, _)| *name == "provider") else {
        at.lacks("provider");
        return None;
    };
    provider.one_of(&PROVIDERS)
}

/// A model behind an HTTP endpoint that takes its key in the header `key`, after `prefix`.
fn endpoint(at: &At<'_>, key: HeaderName, prefix: &str) -> Option<EndpointConfig> {
    let fields = at.fields(&ENDPOINT_KEYS);
    let base_url = endpoint::decode(&fields, "base_url");
    let route = route::decode(&fields, base_url.as_ref());
    let model = fields.required("model", names::provider_model);
    let api_key = fields.optional("api_key", |at| source::decode_with_prefix(at, prefix));
    let mut headers = fields.or("headers", |at| source::headers(at, Tokens::None), Headers::default());
    if let Some(value) = api_key
        && !headers.add(Header { name: key.clone(), value, secret: true })
        && let Some(at) = fields.get("api_key")
    {
        at.key_problem(format!("`headers` has `{key}` already, which the key is sent in; keep one of them"));
    }
    Some(EndpointConfig { base_url: base_url?, route, model: model?, headers })
}

fn scripted(fields: &Fields<'_>, servers: &Names<'_>) -> Option<scripted::Config> {
    let steps = fields.required("script", |at| {
        let steps = at.items()?;
        if steps.is_empty() {
            at.problem("a script has at least one step");
        }
        Some(steps)
    })?;
    Some(scripted::Config { script: steps.iter().map(|at| step(at, servers)).collect() })
}

fn step(at: &At<'_>, servers: &Names<'_>) -> scripted::Step {
    let fields = at.fields(&STEP_KEYS);
    if fields.get("call").is_none() && fields.get("say").is_none() {
        at.key_problem("a step has `call`, `say` or both");
    }
    let calls = fields.optional("call", At::items).unwrap_or_default();
    scripted::Step {
        calls: calls.iter().filter_map(|at| call(at, servers)).collect(),
        say: fields.optional("say", At::text).unwrap_or_default().to_owned(),
    }
}

fn call(at: &At<'_>, servers: &Names<'_>) -> Option<(ToolRef, Map<String, Value>)> {
    let fields = at.fields(&CALL_KEYS);
    // Without a server it is one of the caller's own tools.
    let mcp_server = match fields.get("mcp_server") {
        Some(at) => servers.resolve(at),
        None => Some(String::new()),
    };
    let tool = fields.required("tool", names::tool);
    let arguments = fields.or("arguments", object, Map::new());
    Some((ToolRef { mcp_server: mcp_server?, tool: tool? }, arguments))
}

/// A JSON object.
fn object(at: &At<'_>) -> Option<Map<String, Value>> {
    match json(at.node()) {
        Value::Object(object) => Some(object),
        _ => {
            at.expected("a mapping");
            None
        }
    }
}

fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Number(value) => Value::Number(value.clone()),
        Kind::Text(value) => Value::String(value.clone()),
        Kind::List(items) => Value::Array(items.iter().map(json).collect()),
        Kind::Mapping(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), json(node))).collect())
        }
    }
}
