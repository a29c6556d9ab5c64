//! The section `models`.

use std::collections::BTreeMap;

use http::{HeaderName, header::AUTHORIZATION};
use serde_json::{Map, Value};

use super::{
    decode::{At, Fields},
    endpoint::{self, Plaintext},
    key::{Key, Keys, Optional, Required},
    names::{self, Names},
    reference::Section,
    route,
    source::{self, Tokens},
    yaml::{Kind, Node},
};
use crate::{
    headers::Header,
    message::ToolRef,
    model::{Config, EndpointConfig, scripted},
};

/// The section's own key.
pub const KEY: Key<Optional> = Key::optional("models", "The models, by name.");

const PROVIDER: Key<Required> =
    Key::required("provider", "What the model is asked through. See [models](models.md#providers).");
const BASE_URL: Key<Required> = Key::required(
    "base_url",
    "The API's base, with `/v1` for OpenAI's APIs and without it for `anthropic`. A query stays behind the path.",
);
const MODEL: Key<Required> =
    Key::required("model", "The provider's name for the model, or the deployment's; 1 to 256 characters.");
const API_KEY: Key<Optional> = Key::optional(
    "api_key",
    "A [value](#values): the key, sent as `Authorization: Bearer …`, or as `x-api-key` by `anthropic`. Left out: none is sent.",
);
const HEADERS: Key<Optional> = Key::optional(
    "headers",
    "Headers of every request besides: [values](#values), but for tokens. All of them are secret, whatever `secret` says.",
);
/// The keys of a model behind an HTTP endpoint.
const ENDPOINT_KEYS: Keys = &[
    &PROVIDER,
    &BASE_URL,
    &endpoint::ALLOW_PLAINTEXT,
    &route::TLS,
    &route::PROXY,
    &MODEL,
    &API_KEY,
    &HEADERS,
];
const SCRIPT: Key<Required> =
    Key::required("script", "What it answers, a step a turn; the last one repeats.");
const SCRIPTED_KEYS: Keys = &[&PROVIDER, &SCRIPT];
const CALL: Key<Optional> = Key::optional("call", "The tools that it asks for, all at once.");
const SAY: Key<Optional> =
    Key::optional("say", "What it says. `{{ results.N.text }}` stands for the last turn's result N, from 0.");
const STEP_KEYS: Keys = &[&CALL, &SAY];
const MCP_SERVER: Key<Optional> = Key::optional(
    "mcp_server",
    "The registered name of the tool's server. Left out: it is a tool of the caller's own.",
);
const TOOL: Key<Required> = Key::required("tool", "The tool's name, 1 to 128 characters.");
const ARGUMENTS: Key<Optional> = Key::optional("arguments", "Its arguments; left out: `{}`.");
const CALL_KEYS: Keys = &[&MCP_SERVER, &TOOL, &ARGUMENTS];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "models.<name>",
        about: "A name has 1 to 64 printable characters. These are the keys of `openai_chat`, `openai_responses` and \
                `anthropic`; what each is sent: [models](models.md).",
        probe: "models: { x: { HERE, provider: openai_chat } }",
        keys: ENDPOINT_KEYS,
    },
    Section {
        path: "models.<name>",
        about: "With `provider: scripted`, for demonstrations and tests:",
        probe: "models: { x: { HERE, provider: scripted } }",
        keys: SCRIPTED_KEYS,
    },
    Section {
        path: "models.<name>.script[]",
        about: "A step has `call`, `say` or both.",
        probe: "models: { x: { provider: scripted, script: [{ HERE }] } }",
        keys: STEP_KEYS,
    },
    Section {
        path: "models.<name>.script[].call[]",
        about: "",
        probe: "models: { x: { provider: scripted, script: [{ call: [{ HERE }] }] } }",
        keys: CALL_KEYS,
    },
];

const PROVIDERS: [(&str, Provider); 4] = [
    ("openai_chat", Provider::OpenAiChat),
    ("openai_responses", Provider::OpenAiResponses),
    ("anthropic", Provider::Anthropic),
    ("scripted", Provider::Scripted),
];

/// The header that OpenAI's APIs take their key in, and what stands in front.
const BEARER: Option<(HeaderName, &str)> = Some((AUTHORIZATION, "Bearer "));

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
        Some(Provider::OpenAiChat) => endpoint(&at.fields(ENDPOINT_KEYS), BEARER).map(Config::OpenAiChat),
        Some(Provider::OpenAiResponses) => {
            endpoint(&at.fields(ENDPOINT_KEYS), BEARER).map(Config::OpenAiResponses)
        }
        Some(Provider::Anthropic) => {
            let key = Some((HeaderName::from_static("x-api-key"), ""));
            endpoint(&at.fields(ENDPOINT_KEYS), key).map(Config::Anthropic)
        }
        Some(Provider::Scripted) => scripted(&at.fields(SCRIPTED_KEYS), servers).map(Config::Scripted),
        None => {
            // All that any provider has is looked at; what must be there, the provider says.
            let fields = at.fields(&[ENDPOINT_KEYS, &[&SCRIPT]].concat()).without_demands();
            endpoint(&fields, None);
            scripted(&fields, servers);
            None
        }
    };
    Some((name?, config?))
}

/// The provider, which decides what keys there are.
fn provider(at: &At<'_>) -> Option<Provider> {
    let entries = at.entries();
    let Some((_, provider)) = entries.iter().find(|(name, _)| *name == PROVIDER.name) else {
        at.lacks(PROVIDER.name);
        return None;
    };
    provider.one_of(&PROVIDERS)
}

/// A model behind an HTTP endpoint. `key`: the header that it takes its key in, and what stands in front; `None`: it is not
/// known.
fn endpoint(fields: &Fields<'_>, key: Option<(HeaderName, &str)>) -> Option<EndpointConfig> {
    let plaintext = Plaintext::of(fields);
    let base_url = fields.required(&BASE_URL, |at| endpoint::decode(at, plaintext));
    let route = route::decode(fields, base_url.as_ref());
    let prefix = key.as_ref().map_or("", |(_, prefix)| prefix);
    let model = fields.required(&MODEL, names::provider_model);
    let api_key = fields.optional(&API_KEY, |at| source::decode_with_prefix(at, prefix));
    let mut headers = fields.optional(&HEADERS, |at| source::headers(at, Tokens::None)).unwrap_or_default();
    if let (Some(value), Some((key, _))) = (api_key, key)
        && !headers.add(Header { name: key.clone(), value, secret: true })
        && let Some(at) = fields.get(&API_KEY)
    {
        at.key_problem(format!("`headers` has `{key}` already, which the key is sent in; keep one of them"));
    }
    Some(EndpointConfig { base_url: base_url?, route, model: model?, headers })
}

fn scripted(fields: &Fields<'_>, servers: &Names<'_>) -> Option<scripted::Config> {
    let steps = fields.required(&SCRIPT, |at| {
        let steps = at.items()?;
        if steps.is_empty() {
            at.problem("a script has at least one step");
        }
        Some(steps)
    })?;
    Some(scripted::Config { script: steps.iter().map(|at| step(at, servers)).collect() })
}

fn step(at: &At<'_>, servers: &Names<'_>) -> scripted::Step {
    let fields = at.fields(STEP_KEYS);
    if fields.get(&CALL).is_none() && fields.get(&SAY).is_none() {
        at.key_problem("a step has `call`, `say` or both");
    }
    let calls = fields.optional(&CALL, At::items).unwrap_or_default();
    scripted::Step {
        calls: calls.iter().filter_map(|at| call(at, servers)).collect(),
        say: fields.optional(&SAY, At::text).unwrap_or_default().to_owned(),
    }
}

fn call(at: &At<'_>, servers: &Names<'_>) -> Option<(ToolRef, Map<String, Value>)> {
    let fields = at.fields(CALL_KEYS);
    // Without a server it is one of the caller's own tools.
    let mcp_server = match fields.get(&MCP_SERVER) {
        Some(at) => servers.resolve(at),
        None => Some(String::new()),
    };
    let tool = fields.required(&TOOL, names::tool);
    let arguments = fields.optional(&ARGUMENTS, object).unwrap_or_default();
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
