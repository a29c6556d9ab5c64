//! The schemas of a request. They are taken out of it before all else is read, for to compile them may take long.

use std::mem;

use serde_json::value::RawValue;

use super::client_tools;
use crate::{grpc::proto, schema::Schema};

/// The schemas of a request; of what is no JSON, what is wrong with it.
#[derive(Default)]
pub(in crate::grpc) struct Schemas {
    /// What the final answer is to fit.
    pub(super) output: Option<Result<Schema, String>>,
    /// Those of the caller's own tools, one for each; none where there is too much of them.
    pub(super) client_tools: Vec<Result<Schema, String>>,
}

impl Schemas {
    /// Takes a request's schemas out of it.
    pub(in crate::grpc) fn take(request: &mut proto::RunRequest) -> Self {
        let Some(options) = &mut request.options else { return Self::default() };
        let output = mem::take(&mut options.output_schema_json);
        Self {
            output: (!output.is_empty()).then(|| schema(output)),
            client_tools: client_tools::take_schemas(&mut options.client_tools),
        }
    }

    /// Those that are JSON.
    pub(in crate::grpc) fn all(&self) -> Vec<Schema> {
        self.output.iter().chain(&self.client_tools).flatten().cloned().collect()
    }
}

/// A schema from its text.
///
/// # Errors
/// The text is no JSON.
pub(super) fn schema(json: String) -> Result<Schema, String> {
    let raw = RawValue::from_string(json).map_err(|error| format!("it is no JSON: {error}"))?;
    Ok(Schema::new(raw.into()))
}
