//! The caller's own tools.

use std::{collections::HashSet, mem, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::schemas::schema;
use crate::{
    agent::Agent,
    grpc::proto,
    run::{Violation, Violations},
    schema::Schema,
    tool::ToolSpec,
};

const MAX_TOOLS: usize = 128;
const MAX_SCHEMAS_BYTES: usize = 256 * 1024;
const MAX_DESCRIPTION_BYTES: usize = 16 * 1024;
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;

/// Takes the tools' schemas out of them, one for each; none where [`decode`] refuses them all.
pub(super) fn take_schemas(tools: &mut [proto::ClientTool]) -> Vec<Result<Schema, String>> {
    if excess(tools).is_some() {
        return Vec::new();
    }
    let json = |json: String| if json.is_empty() { NO_ARGUMENTS.to_owned() } else { json };
    tools.iter_mut().map(|tool| schema(json(mem::take(&mut tool.input_schema_json)))).collect()
}

/// The tools that are right, with their schemas, which were taken out of them; what is wrong goes to `violations`.
pub(super) fn decode(
    tools: Vec<proto::ClientTool>,
    schemas: Vec<Result<Schema, String>>,
    agent: &Agent,
    violations: &mut Violations,
) -> Vec<Arc<ToolSpec>> {
    if let Some(description) = excess(&tools) {
        violations.push(Violation::field("options.client_tools", description));
        return Vec::new();
    }
    let mut names = HashSet::new();
    let mut decoded = Vec::with_capacity(tools.len());
    for (at, (tool, schema)) in tools.into_iter().zip(schemas).enumerate() {
        let field = format!("options.client_tools[{at}]");
        let is_new = names.insert(tool.name.clone());
        let refusals = [
            (
                "name",
                name_refusal(&tool.name, agent).or((!is_new).then_some("each tool has a name of its own")),
            ),
            (
                "description",
                (tool.description.len() > MAX_DESCRIPTION_BYTES)
                    .then_some("a description has at most 16 KiB"),
            ),
        ];
        for (name, refusal) in refusals {
            violations.extend(refusal.map(|why| Violation::field(format!("{field}.{name}"), why)));
        }
        match schema.and_then(arguments) {
            Ok(schema) => {
                decoded.push(Arc::new(ToolSpec::callers(tool.name, tool.description.into(), schema)));
            }
            Err(why) => violations.push(Violation::field(format!("{field}.input_schema_json"), why)),
        }
    }
    decoded
}

/// What there is too much of.
fn excess(tools: &[proto::ClientTool]) -> Option<&'static str> {
    if tools.len() > MAX_TOOLS {
        return Some("there are at most 128 tools");
    }
    let bytes = tools.iter().map(|tool| tool.input_schema_json.len()).sum::<usize>();
    (bytes > MAX_SCHEMAS_BYTES).then_some("the schemas of all tools have at most 256 KiB together")
}

fn name_refusal(name: &str, agent: &Agent) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
        return Some("a name has 1 to 64 of a-z, A-Z, 0-9, `_` and `-`");
    }
    // Tools of MCP servers have such names.
    let of_server = name.split_once("__").is_some_and(|(server, _)| agent.server(server).is_some());
    of_server.then_some("it begins like a tool of one of the agent's MCP servers; choose another name")
}

/// A schema of arguments, if it can be one.
fn arguments(schema: Schema) -> Result<Schema, String> {
    schema.check().map_err(|error| error.to_string())?;
    if !is_for_objects(schema.raw()) {
        return Err("arguments are an object: leave out the schema's `type`, or say \"object\"".to_owned());
    }
    Ok(schema)
}

/// Whether a schema's own `type` lets objects fit; providers refuse another one.
fn is_for_objects(schema: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Root {
        #[serde(default, rename = "type")]
        kind: Value,
    }
    match serde_json::from_str(schema.get()) {
        Ok(Root { kind: Value::String(kind) }) => kind == "object",
        Ok(Root { kind: Value::Array(kinds) }) => kinds.iter().any(|kind| kind == "object"),
        _ => true,
    }
}
