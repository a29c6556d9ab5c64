//! What is measured: kinds of runs, which differ in what stands upstream.

use std::time::Duration;

use crate::Outcome;

/// A model's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    Chat,
    Responses,
    Anthropic,
}

/// A kind of run. It is an agent, a model and an MCP server of this name.
#[derive(Debug)]
pub struct Scene {
    pub name: &'static str,
    /// What a table calls it.
    pub title: &'static str,
    /// Tool calls in the first turn, all at once.
    pub calls: usize,
    /// Whose API the model has.
    pub provider: Provider,
    /// Whether model and MCP server are asked over TLS.
    pub tls: bool,
    /// Whether the MCP server is of revision 2025-11-25 and gives sessions, not of 2026-07-28.
    pub sessions: bool,
    /// How much text a tool returns beside what it is asked for.
    pub result_bytes: usize,
    /// How long a tool takes.
    pub delay: Duration,
    /// Whether the model stops in the middle of its second answer until it is told to go on.
    pub held: bool,
    /// Whether the model's second answer is long, and speaks of its caller in every piece.
    pub addresses_caller: bool,
    /// Of how many runs of the plainest kind one of these takes the time.
    pub weight: usize,
}

/// The plainest kind: one call of a tool that answers at once.
pub const PLAIN: &Scene = &Scene {
    name: "plain",
    title: "1 tool call",
    calls: 1,
    provider: Provider::Chat,
    tls: false,
    sessions: false,
    result_bytes: 0,
    delay: Duration::ZERO,
    held: false,
    addresses_caller: false,
    weight: 1,
};
/// A session for each run: four more requests.
pub const SESSION: &Scene =
    &Scene { name: "session", title: "1 tool call, session of its own", sessions: true, weight: 3, ..*PLAIN };
/// Many calls at once.
pub const CALLS_8: &Scene = &Scene { name: "calls8", title: "8 tool calls", calls: 8, weight: 4, ..*PLAIN };
/// Very many calls at once.
pub const CALLS_32: &Scene =
    &Scene { name: "calls32", title: "32 tool calls", calls: 32, weight: 12, ..*PLAIN };
/// A large result, which goes to the model and to the caller.
pub const LARGE: &Scene =
    &Scene { name: "large", title: "a result of 1 MiB", result_bytes: 1 << 20, weight: 20, ..*PLAIN };
/// As most models are asked.
pub const RESPONSES: &Scene = &Scene {
    name: "responses",
    title: "1 tool call, Responses over TLS",
    provider: Provider::Responses,
    tls: true,
    weight: 2,
    ..*PLAIN
};
/// Likewise.
pub const ANTHROPIC: &Scene = &Scene {
    name: "anthropic",
    title: "1 tool call, Anthropic over TLS",
    provider: Provider::Anthropic,
    ..*RESPONSES
};
/// A tool that takes its time.
pub const SLOW: &Scene =
    &Scene { name: "slow", title: "a tool of 20 ms", delay: Duration::from_millis(20), ..*PLAIN };
/// A tool that takes longer than anybody waits here.
pub const LONG: &Scene =
    &Scene { name: "long", title: "a tool of minutes", delay: Duration::from_secs(300), ..*PLAIN };
/// Runs that stay open.
pub const HELD: &Scene = &Scene { name: "held", title: "held open", held: true, ..*PLAIN };
/// Runs that stay open, and then end in all ways that there are.
pub const SOAK: &Scene = &Scene { name: "soak", title: "soak", addresses_caller: true, ..*HELD };

/// All of them.
pub const SCENES: [&Scene; 11] =
    [PLAIN, SESSION, CALLS_8, CALLS_32, LARGE, RESPONSES, ANTHROPIC, SLOW, LONG, HELD, SOAK];

impl Provider {
    /// What `provider` of a model says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "openai_chat",
            Self::Responses => "openai_responses",
            Self::Anthropic => "anthropic",
        }
    }

    /// Its path, and how much of that stands in a model's base URL.
    pub fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Chat => ("/v1/chat/completions", "/v1"),
            Self::Responses => ("/v1/responses", "/v1"),
            Self::Anthropic => ("/v1/messages", ""),
        }
    }
}

impl Scene {
    /// A scene by its name, and where it stands among all.
    pub fn named(name: &str) -> Outcome<(usize, &'static Self)> {
        let found = SCENES.into_iter().enumerate().find(|(_, scene)| scene.name == name);
        found.ok_or_else(|| format!("no such scene: {name}").into())
    }
}
