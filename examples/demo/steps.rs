//! What is shown, in order: each step's heading, its call, and what must come back.

use std::collections::BTreeMap;

use runwright::grpc::proto::{
    ApprovalAnswer, ExplainHeadersRequest, HeaderSet, InputAnswer, ListAgentsRequest, ListToolsRequest,
    OnUnauthorized, RunOptions, RunRequest, SubmitRunInputRequest, UpdateRunHeadersRequest,
    input_answer::Answer,
};

use crate::calls::{Call, Reply};

const AGENT: &str = "support";
const SHOP: &str = "shop";
const ALICE: &str = "alice-demo-token";
/// Alice's, too, but it expires before a run ends.
const ALICE_SHORT: &str = "alice-short-demo-token";
const BOB: &str = "bob-demo-token";
const CAROL: &str = "carol-demo-token";
/// Nobody's.
const UNKNOWN: &str = "expired-demo-token";

/// No answer may hold any of these.
pub const TOKENS: [&str; 5] = [ALICE, ALICE_SHORT, BOB, CAROL, UNKNOWN];

/// One thing that is shown.
pub struct Step {
    /// What is shown, and why it matters.
    pub heading: &'static str,
    /// The call.
    pub call: Call,
    /// What the answer as it is shown must hold. The configured `digest_key` fixes the digests.
    pub holds: &'static [&'static str],
    /// What it must hold if the model follows the script.
    pub holds_if_scripted: &'static [&'static str],
    /// What it must not hold.
    pub lacks: &'static [&'static str],
}

/// The whole show.
pub fn all() -> Vec<Step> {
    [catalog(), runs(), refusals(), vec![renewal(), approval()]].into_iter().flatten().collect()
}

fn catalog() -> Vec<Step> {
    vec![
        Step {
            heading: "What may I run? A backend needs an agent's name, nothing else of its configuration.",
            call: Call::ListAgents(ListAgentsRequest::default()),
            holds: &[AGENT, SHOP],
            holds_if_scripted: &["scripted"],
            lacks: &[],
        },
        Step {
            heading: "What would be sent for Alice? Four layers merge, the agent's x-client above the server's; no value is told.",
            call: explain_headers(ALICE),
            holds: &[
                "authorization RUN_SERVER digest 99ef39",
                "x-client AGENT",
                "x-api-version SERVER",
                "x-locale RUN ",
            ],
            holds_if_scripted: &[],
            lacks: &[],
        },
    ]
}

fn runs() -> Vec<Step> {
    vec![
        Step {
            heading: "Run as Alice: her token goes to the shop in this run and in no other (its digest is the one above).",
            call: Call::Run(run(SHOP, ALICE)),
            holds: &["STOP", "authorization 99ef39, x-api-version 5b0b85, x-client bf315e"],
            holds_if_scripted: &["Alice Archer", "#1001", "shop.whoami OK", "shop.find_orders OK"],
            lacks: &["Bob"],
        },
        Step {
            heading: "The same request as Bob: one agent, his orders; of all that is sent, only the token differs.",
            call: Call::Run(run(SHOP, BOB)),
            holds: &["STOP", "authorization c597f7, x-api-version 5b0b85, x-client bf315e"],
            holds_if_scripted: &["Bob Brown", "#2001", "shop.whoami OK", "shop.find_orders OK"],
            lacks: &["Alice", "#1001"],
        },
        Step {
            heading: "Carol's token may not see orders. Tool lists are each caller's own, too: find_orders is not there.",
            call: list_tools(CAROL),
            holds: &["whoami"],
            holds_if_scripted: &[],
            lacks: &["find_orders"],
        },
        Step {
            heading: "Run as Carol, streamed: even if the model asks for find_orders, that never gets as far as the shop.",
            call: Call::RunStreamed(run(SHOP, CAROL)),
            holds: &["run_started", "run_completed", "STOP"],
            holds_if_scripted: &["Carol Cole", "shop.whoami OK", "find_orders ERROR"],
            lacks: &["Alice", "Bob"],
        },
    ]
}

fn refusals() -> Vec<Step> {
    vec![
        Step {
            heading: "A server's name with a typo: refused before anything ran, and it says which would do.",
            call: Call::Run(run("shopp", ALICE)),
            holds: &[
                "INVALID_ARGUMENT",
                "UNKNOWN_MCP_SERVER",
                "per_run_mcp_headers[\"shopp\"]",
                "uses: shop",
            ],
            holds_if_scripted: &[],
            lacks: &["Alice"],
        },
        Step {
            heading: "An expired token: the shop's challenge comes back typed, so a backend knows what to renew.",
            call: Call::Run(run(SHOP, UNKNOWN)),
            holds: &["FAILED_PRECONDITION", "MCP_UNAUTHORIZED", "Bearer", "invalid_token", "RUN_SERVER"],
            holds_if_scripted: &[],
            lacks: &["Alice"],
        },
    ]
}

fn renewal() -> Step {
    Step {
        heading: "A token that expires in mid-run: the run waits for another, and goes on. No tool is executed twice.",
        call: Call::RunWaiting(waiting(run(SHOP, ALICE_SHORT)), Reply::Headers(update(ALICE))),
        holds: &["run_completed", "STOP"],
        holds_if_scripted: &[
            "credentials_required by shop, which says: Bearer error=invalid_token",
            "sent to shop: authorization 99ef39, x-api-version 5b0b85, x-client bf315e",
            "find_orders OK",
            "#1001",
            "executed find_orders 1×, whoami 1×",
        ],
        lacks: &["ERROR", "Bob"],
    }
}

fn approval() -> Step {
    let request = RunRequest {
        agent: "orders".into(),
        input: "Please cancel my order #1001.".into(),
        ..run(SHOP, ALICE)
    };
    Step {
        heading: "A tool that asks first: the run waits for its caller's word, and nothing is called without it.",
        call: Call::RunWaiting(request, Reply::Input(approve())),
        holds: &["run_completed", "STOP"],
        holds_if_scripted: &[
            "approval_required shop.cancel_order {\"order\":\"#1001\"}",
            "shop.cancel_order OK",
            "Order #1001 is cancelled.",
            "executed cancel_order 1×",
        ],
        lacks: &["ERROR", "Bob"],
    }
}

fn explain_headers(token: &str) -> Call {
    Call::ExplainHeaders(ExplainHeadersRequest {
        agent: AGENT.into(),
        mcp_headers: Some(set("X-Locale", "de-CH")),
        per_run_mcp_headers: bearer(SHOP, token),
    })
}

fn list_tools(token: &str) -> Call {
    let per_run_mcp_headers = bearer(SHOP, token);
    Call::ListTools(ListToolsRequest { agent: AGENT.into(), per_run_mcp_headers, ..Default::default() })
}

fn run(server: &str, token: &str) -> RunRequest {
    RunRequest {
        agent: AGENT.into(),
        input: "Who am I, and what have I ordered?".into(),
        per_run_mcp_headers: bearer(server, token),
        ..Default::default()
    }
}

fn waiting(request: RunRequest) -> RunRequest {
    let options = RunOptions { on_unauthorized: OnUnauthorized::Wait.into(), ..Default::default() };
    RunRequest { options: Some(options), ..request }
}

/// What a run's backend sends when it is asked. The two ids stand for those of the run.
fn update(token: &str) -> UpdateRunHeadersRequest {
    UpdateRunHeadersRequest {
        run_id: "RUN_ID".into(),
        control_token: "CONTROL_TOKEN".into(),
        per_run_mcp_headers: bearer(SHOP, token),
        ..Default::default()
    }
}

/// What a run's backend sends when it approves.
fn approve() -> SubmitRunInputRequest {
    let answer = Answer::Approval(ApprovalAnswer { approved: true, ..Default::default() });
    SubmitRunInputRequest {
        run_id: "RUN_ID".into(),
        control_token: "CONTROL_TOKEN".into(),
        answers: vec![InputAnswer { input_id: "INPUT_ID".into(), answer: Some(answer) }],
    }
}

fn bearer(server: &str, token: &str) -> BTreeMap<String, HeaderSet> {
    [(server.into(), set("Authorization", &format!("Bearer {token}")))].into()
}

fn set(name: &str, value: &str) -> HeaderSet {
    HeaderSet { headers: [(name.into(), value.into())].into(), remove: vec![] }
}
