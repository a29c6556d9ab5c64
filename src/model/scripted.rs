//! A model that follows a script: for demonstrations and tests, with no provider.

use serde_json::{Map, Value};

use crate::message::ToolRef;

/// A script. Each turn of a run takes the next step; the last one repeats.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one.
    pub script: Vec<Step>,
}

/// One turn's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The tools that it asks for.
    pub calls: Vec<(ToolRef, Map<String, Value>)>,
    /// Its text; `{{ results.N.text }}` stands for the text of the run's tool result number N, from 0. Empty: none.
    pub say: String,
}
