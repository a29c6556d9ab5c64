//! A real model endpoint: LiteLLM's proxy, which translates between the service and a model of the tests' own. Calls, their
//! results, usage and refusals come through it.

use runwright::grpc::proto::{
    FinishReason, RunEvent, RunRequest, RunResponse, ToolCallStatus, Usage, run_event::Event,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::support::{
    Caller, Service,
    litellm::{KNOWN, LiteLlm, MASTER_KEY},
    servers::{Server, Started, Tool, everything, python_modern},
    service::{SUBJECT, completed},
    upstream::{CACHED_TOKENS, FAILURE, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS, Turn},
    within,
};

/// Makes a test of a behaviour for each API of LiteLLM that the service speaks.
macro_rules! through {
    ($behaviour:path) => {
        through! { $behaviour: openai_chat openai_responses anthropic }
    };
    ($behaviour:path: $($api:ident)+) => {
        $(
            #[tokio::test]
            async fn $api() {
                crate::support::within_all($behaviour(&super::$api)).await;
            }
        )+
    };
}

mod a_unary_run_calls_a_tool {
    through! { super::unary }
}

mod a_streamed_run_calls_a_tool {
    through! { super::streamed }
}

mod calls_of_one_turn_run_in_parallel {
    through! { super::parallel }
}

mod a_wrong_key_is_unauthorized {
    through! { super::wrong_key }
}

mod an_unknown_model_is_rejected {
    through! { super::unknown_model }
}

mod what_the_model_answers_instead_is_typed {
    through! { super::failing }
}

mod a_failure_after_a_call_is_aborted {
    through! { super::failing_later }
}

mod a_stream_that_breaks_off_is_unavailable {
    through! { super::broken }
}

/// An API of LiteLLM.
struct Api {
    /// The service's name for it.
    provider: &'static str,
    /// Its place at LiteLLM.
    path: &'static str,
    /// Whether its usage tells reasoning apart.
    tells_reasoning: bool,
}

#[allow(non_upper_case_globals, reason = "tests are named after it")]
const openai_chat: Api = Api { provider: "openai_chat", path: "/v1", tells_reasoning: true };
#[allow(non_upper_case_globals, reason = "tests are named after it")]
const openai_responses: Api = Api { provider: "openai_responses", path: "/v1", tells_reasoning: true };
#[allow(non_upper_case_globals, reason = "tests are named after it")]
const anthropic: Api = Api { provider: "anthropic", path: "", tells_reasoning: false };

/// An MCP server, and a service whose models LiteLLM serves, with an agent for each: the `known`, one that LiteLLM does not
/// know (`unknown`), and the known with a wrong key (`wrong_key`).
struct World {
    server: Started,
    service: Service,
}

impl World {
    async fn start(server: Server, api: &Api) -> Self {
        let litellm = LiteLlm::shared().await;
        let server = Started::start(server).await;
        let mcp = format!("http://127.0.0.1:{}/mcp", server.port);
        let service = Service::configured(&config(api, &litellm.url, &mcp)).await;
        Self { server, service }
    }

    async fn run(&self, agent: &str, turns: &[Turn]) -> Result<RunResponse, Status> {
        let run = self.service.agents().run(request(agent, turns)).await;
        run.map(tonic::Response::into_inner)
    }

    /// The events of a streamed run, and how it ended.
    async fn stream(&self, agent: &str, turns: &[Turn]) -> (Vec<RunEvent>, Result<(), Status>) {
        let mut events = Vec::new();
        let mut stream = match self.service.agents().run_streamed(request(agent, turns)).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return (events, Err(status)),
        };
        loop {
            match within("an event", stream.message()).await {
                Ok(Some(event)) => {
                    // Lets the slow tool end as soon as another has.
                    if matches!(event.event, Some(Event::ToolCallCompleted(_))) {
                        self.server.release().await;
                    }
                    events.push(event);
                }
                Ok(None) => return (events, Ok(())),
                Err(status) => return (events, Err(status)),
            }
        }
    }

    /// Fails unless both a unary and a streamed run end with this error.
    async fn assert_fails(&self, agent: &str, turns: &[Turn], code: Code, reason: &str) {
        let unary = self.run(agent, turns).await.unwrap_err();
        let streamed = self.stream(agent, turns).await.1.unwrap_err();
        for status in [unary, streamed] {
            assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason), "{turns:?}: {status}");
            assert!(!format!("{status:?}").contains(FAILURE), "{status:?}");
        }
    }
}

async fn unary(api: &Api) {
    let world = World::start(everything, api).await;
    let tool = everything.answering();
    let response = world.run("known", &[call(&[&tool])]).await.unwrap();
    assert_called(api, &response, &[&tool]);
}

async fn streamed(api: &Api) {
    let world = World::start(everything, api).await;
    let tool = everything.answering();
    let (events, ended) = world.stream("known", &[call(&[&tool])]).await;
    ended.unwrap();
    assert_called(api, completed(&events), &[&tool]);
    // Pieces that come together are one: how many there are is LiteLLM's pace.
    let told: String = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::TextDelta(delta)) => Some(&*delta.text),
            _ => None,
        })
        .collect();
    assert_eq!(told, completed(&events).final_output);
}

/// The first call ends only when the second has.
async fn parallel(api: &Api) {
    let world = World::start(python_modern, api).await;
    let (slow, quick) = (python_modern.slow(), python_modern.answering());
    let (events, ended) = world.stream("known", &[call(&[&slow, &quick])]).await;
    ended.unwrap();
    assert_called(api, completed(&events), &[&slow, &quick]);
}

async fn wrong_key(api: &Api) {
    let world = World::start(python_modern, api).await;
    world.assert_fails("wrong_key", &[], Code::FailedPrecondition, "MODEL_UNAUTHORIZED").await;
}

async fn unknown_model(api: &Api) {
    let world = World::start(python_modern, api).await;
    world.assert_fails("unknown", &[], Code::FailedPrecondition, "MODEL_REJECTED").await;
}

async fn failing(api: &Api) {
    let world = World::start(python_modern, api).await;
    let cases = [
        (400, Code::FailedPrecondition, "MODEL_REJECTED"),
        (401, Code::FailedPrecondition, "MODEL_UNAUTHORIZED"),
        (429, Code::Unavailable, "MODEL_RATE_LIMITED"),
        (500, Code::Unavailable, "MODEL_UNAVAILABLE"),
        (503, Code::Unavailable, "MODEL_UNAVAILABLE"),
    ];
    for (status, code, reason) in cases {
        world.assert_fails("known", &[Turn::Fail(status)], code, reason).await;
    }
}

async fn failing_later(api: &Api) {
    let world = World::start(python_modern, api).await;
    let turns = [call(&[&python_modern.answering()]), Turn::Fail(429)];
    world.assert_fails("known", &turns, Code::Aborted, "MODEL_RATE_LIMITED").await;
}

async fn broken(api: &Api) {
    let world = World::start(python_modern, api).await;
    let (events, ended) = world.stream("known", &[Turn::Break]).await;
    assert!(events.iter().any(|event| matches!(event.event, Some(Event::TextDelta(_)))), "{events:?}");
    let status = ended.unwrap_err();
    assert_eq!((status.code(), &*reason_of(&status)), (Code::Unavailable, "MODEL_UNAVAILABLE"), "{status}");
    assert!(!format!("{status:?}").contains(FAILURE), "{status:?}");
}

fn config(api: &Api, litellm: &str, mcp: &str) -> Value {
    let base = format!("{litellm}{}", api.path);
    let model = |name: &str, key: &str| json!({ "provider": api.provider, "base_url": base, "model": name, "api_key": key });
    let agent = |model: &str| json!({ "model": model, "mcp_servers": [SUBJECT] });
    json!({
        "server": { "listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0" },
        "models": {
            "known": model(KNOWN, MASTER_KEY),
            "unknown": model("unknown", MASTER_KEY),
            "wrong_key": model(KNOWN, "sk-e2e-another-key"),
        },
        "mcp_servers": { SUBJECT: { "url": mcp } },
        "agents": { "known": agent("known"), "unknown": agent("unknown"), "wrong_key": agent("wrong_key") },
    })
}

fn request(agent: &str, turns: &[Turn]) -> Request<RunRequest> {
    let mut request = Caller::without_headers("one").request(agent);
    request.get_mut().input = serde_json::to_string(turns).unwrap();
    request
}

fn call(tools: &[&Tool]) -> Turn {
    Turn::Call(tools.iter().map(|tool| (tool.name.to_owned(), tool.arguments.clone())).collect())
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// One turn with calls of the tools, one that repeats their results in order, and the tokens of both.
fn assert_called(api: &Api, response: &RunResponse, tools: &[&Tool]) {
    let results: Vec<&str> = tools.iter().map(|tool| tool.result).collect();
    assert_eq!(response.final_output, format!("It says {}.", results.join(", ")));
    assert_eq!((response.finish_reason(), response.turns), (FinishReason::Stop, 2));
    let called: Vec<(&str, Value, ToolCallStatus)> = response
        .tool_calls
        .iter()
        .map(|call| (&*call.tool, serde_json::from_str(&call.arguments_json).unwrap(), call.status()))
        .collect();
    let expected: Vec<_> =
        tools.iter().map(|tool| (tool.name, tool.arguments.clone(), ToolCallStatus::Ok)).collect();
    assert_eq!(called, expected);
    let usage = Usage {
        input_tokens: 2 * INPUT_TOKENS,
        output_tokens: 2 * OUTPUT_TOKENS,
        total_tokens: 2 * (INPUT_TOKENS + OUTPUT_TOKENS),
        cached_input_tokens: 2 * CACHED_TOKENS,
        reasoning_tokens: if api.tells_reasoning { 2 * REASONING_TOKENS } else { 0 },
        model_requests: 2,
    };
    assert_eq!(response.usage, Some(usage));
}
