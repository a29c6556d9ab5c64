//! One binary for all integration tests: a file a behaviour. The service runs in process, over real sockets on loopback;
//! `support` has the servers that it meets.

mod support;

mod egress;
mod isolation;
mod layers;
mod leak;
mod mcp_answers;
mod mcp_cancel;
mod mcp_eras;
mod mcp_faults;
mod mcp_limits;
mod mcp_list_keeping;
mod mcp_lists;
mod mcp_opening;
mod mcp_params;
mod mcp_requests;
mod mcp_start;
mod mcp_streams;
mod routing;
mod sessions;
mod spans;
