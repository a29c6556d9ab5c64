//! Tools, as models are offered them.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, value::RawValue};

use crate::{message::ToolRef, schema::Schema};

/// A tool as a model is offered it. It is kept with its MCP server's tool list, so that each provider's form of it is
/// written once for an identity, and not once a turn.
#[derive(Debug)]
pub struct ToolSpec {
    /// The name for the model: `^[a-zA-Z0-9_-]{1,64}$`, unique in the run.
    pub name: String,
    /// Which tool that is.
    pub tool: ToolRef,
    /// What it does; may be empty.
    pub description: Arc<str>,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Arc<RawValue>,
    /// The same, compiled, where that is done already; else see `run::Schemas`.
    pub compiled: Option<Schema>,
    written: [OnceLock<Box<RawValue>>; FORMS],
}

/// The arguments of a call, which are an object.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// What they say, with numbers as near as 64 bits come to them.
    pub value: Value,
    /// The same as the model wrote it: what the tool gets.
    pub written: Arc<RawValue>,
}

/// How a provider's API writes tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenAI's Chat Completions.
    OpenAiChat,
    /// OpenAI's Responses.
    OpenAiResponses,
    /// Anthropic's Messages.
    Anthropic,
}

const FORMS: usize = 3;

impl ToolSpec {
    /// A tool that nobody has written yet.
    pub fn new(name: String, tool: ToolRef, description: Arc<str>, input_schema: Arc<RawValue>) -> Self {
        Self { name, tool, description, input_schema, compiled: None, written: Default::default() }
    }

    /// A tool of a caller's own.
    pub fn callers(name: String, description: Arc<str>, schema: Schema) -> Self {
        let tool = ToolRef { mcp_server: String::new(), tool: name.clone() };
        let spec = Self::new(name, tool, description, schema.raw().clone());
        Self { compiled: Some(schema), ..spec }
    }

    /// The tool in a provider's form, which `write` gives where it is not there yet.
    ///
    /// # Errors
    /// What `write` fails with.
    pub fn written<E>(
        &self,
        form: Form,
        write: impl FnOnce(&Self) -> Result<Box<RawValue>, E>,
    ) -> Result<&RawValue, E> {
        let cell = &self.written[form as usize];
        if let Some(written) = cell.get() {
            return Ok(written);
        }
        let written = write(self)?;
        Ok(cell.get_or_init(|| written))
    }
}
