//! The gRPC boundary: wire to domain (fallible, all violations at once), domain to wire (pure), and the handlers between.

mod agent_service;
mod catalog_service;
mod codec;
mod decode;
mod encode;
mod fit;
mod metadata;
mod page;
pub mod proto;
mod rpc;
pub mod status;
mod stream;

pub use agent_service::AgentHandlers;
pub use catalog_service::CatalogHandlers;
pub use metadata::CallDeadline;
pub use rpc::{count_failure, method_of};
