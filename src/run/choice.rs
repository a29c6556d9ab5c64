//! Which tools a run's model is to ask for, held against those that the run has.

use super::{Failure, ToolChoice, Violation, tools::ToolTable};
use crate::{mcp, model};

impl ToolChoice {
    /// A tool that the model is to ask for must be there. Where it may be one of an optional server that can't be used, the
    /// caller's choice needs that server: the run fails as though it were required.
    pub(super) fn check(&self, tools: &ToolTable, unavailable: &[mcp::Error]) -> Result<(), Failure> {
        let (lacking, field, description) = match self {
            Self::Tool(tool) if tools.name_of(tool).is_none() => {
                let lacking = unavailable.iter().find(|error| error.mcp_server == tool.mcp_server);
                let description = "the run has no such tool; see CatalogService.ListTools";
                (lacking, "options.tool_choice.tool", description)
            }
            // Providers refuse to be asked for that.
            Self::Required if tools.specs().is_empty() => {
                let description = "the run has no tool; see CatalogService.ListTools";
                (unavailable.first(), "options.tool_choice.mode", description)
            }
            _ => return Ok(()),
        };
        Err(match lacking {
            Some(error) => Failure::Mcp(Box::new(error.clone())),
            None => Failure::Invalid(Violation::field(field, description).into()),
        })
    }

    /// Which tools the model is to ask for in a turn.
    pub(super) fn in_turn<'a>(&self, is_first: bool, tools: &'a ToolTable) -> model::ToolChoice<'a> {
        match self {
            Self::None => model::ToolChoice::None,
            Self::Required if is_first => model::ToolChoice::Required,
            Self::Tool(tool) if is_first => {
                tools.name_of(tool).map(model::ToolChoice::Tool).unwrap_or_default()
            }
            Self::Auto | Self::Required | Self::Tool(_) => model::ToolChoice::Auto,
        }
    }
}
