//! The names of attributes: those of OpenTelemetry's conventions for RPC
//! (<https://opentelemetry.io/docs/specs/semconv/rpc/>), generative AI and MCP
//! (<https://github.com/open-telemetry/semantic-conventions-genai>), and `runwright.*`, which is ours.

/// What went wrong: one of few words.
pub const ERROR_TYPE: &str = "error.type";
/// The agent's name.
pub const GEN_AI_AGENT_NAME: &str = "gen_ai.agent.name";
/// The conversation that a model is given.
pub const GEN_AI_INPUT_MESSAGES: &str = "gen_ai.input.messages";
/// What is done: `invoke_agent`, `chat` or `execute_tool`.
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// A model's answer.
pub const GEN_AI_OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
/// The model's provider.
pub const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The most tokens of an answer.
pub const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// The provider's name for the model.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Whether an answer is to come in pieces.
pub const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
/// The sampling temperature.
pub const GEN_AI_REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
/// The probability mass that is sampled from.
pub const GEN_AI_REQUEST_TOP_P: &str = "gen_ai.request.top_p";
/// Why an answer ended.
pub const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// The system prompt.
pub const GEN_AI_SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
/// A tool call's arguments.
pub const GEN_AI_TOOL_CALL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
/// The provider's id for a tool call.
pub const GEN_AI_TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
/// A tool call's result.
pub const GEN_AI_TOOL_CALL_RESULT: &str = "gen_ai.tool.call.result";
/// The tool's name: on `execute_tool` as the model knows it, on `tools/call` as its server does.
pub const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// Input tokens that the provider had cached.
pub const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// Input tokens, cached ones included.
pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Output tokens, reasoning included.
pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Output tokens that were spent on reasoning.
pub const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
/// The HTTP status of a request that failed.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// The method of an MCP request.
pub const MCP_METHOD_NAME: &str = "mcp.method.name";
/// The revision of MCP that is spoken.
pub const MCP_PROTOCOL_VERSION: &str = "mcp.protocol.version";
/// The RPC, its service included.
pub const RPC_METHOD: &str = "rpc.method";
/// The name of the code that an RPC was answered with.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// Always `grpc`.
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// The host that a request goes to.
pub const SERVER_ADDRESS: &str = "server.address";
/// Its port.
pub const SERVER_PORT: &str = "server.port";

/// The request's id, as callers, upstreams and log lines have it.
pub const REQUEST_ID: &str = "request_id";
/// The run's id, as callers and log lines have it.
pub const RUN_ID: &str = "run_id";
/// A label of the run's caller; its name follows.
pub const LABEL: &str = "runwright.label.";
/// The registered name of an MCP server.
pub const MCP_SERVER: &str = "runwright.mcp_server";
/// The configured name of the run's model.
pub const MODEL: &str = "runwright.model";
/// Why a run that did not fail ended.
pub const FINISH_REASON: &str = "runwright.finish_reason";
/// How often the model was asked.
pub const TURNS: &str = "runwright.turns";
/// How many tools the model asked for.
pub const TOOL_CALLS: &str = "runwright.tool_calls";
/// The turn of the run, from 1.
pub const TURN: &str = "runwright.turn";
/// Whether a tool call waits for the run's caller.
pub const AWAITS_INPUT: &str = "runwright.awaits_input";
