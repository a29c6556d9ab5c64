//! LiteLLM's proxy, a model endpoint that nobody here wrote.

use std::{path::Path, sync::LazyLock};

use tokio::{
    process::Command,
    runtime::{Builder, Runtime},
    sync::OnceCell,
};

use super::{process::Process, upstream, within};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The name of the one model that LiteLLM knows.
pub const KNOWN: &str = "known";

/// What it takes to be served.
pub const MASTER_KEY: &str = "sk-e2e-master-key";

/// The proxy. It takes many seconds to start, and so all tests share one, which starts with the first.
///
/// It ends when its standard input does: with the tests' process, whichever way that ends.
pub struct LiteLlm {
    /// Where it serves, without a path.
    pub url: String,
    _process: Process,
}

/// What serves all tests: each has a runtime of its own, and ends that.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
static SHARED: OnceCell<LiteLlm> = OnceCell::const_new();

impl LiteLlm {
    /// The proxy, when it is ready.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(|| async { RUNTIME.spawn(Self::start()).await.unwrap() }).await
    }

    async fn start() -> Self {
        let process = Process::start("LiteLLM", &mut command(&upstream::start().await));
        let line = process.line("running on http://").await;
        let url = line.split(' ').find(|word| word.starts_with("http://")).expect(&line).to_owned();
        let health = reqwest::Client::builder().no_proxy().build().unwrap();
        let health = health.get(format!("{url}/health/readiness")).send();
        let health = within("LiteLLM's health", health).await.unwrap();
        assert!(health.status().is_success(), "{}", process.output());
        Self { url, _process: process }
    }
}

/// The command that serves. It inherits nothing, for LiteLLM heeds hundreds of variables, and asks no other machine.
fn command(upstream: &str) -> Command {
    let inside = |path: &str| Path::new(ROOT).join(path);
    let mut command = Command::new(inside(".tools/litellm/bin/python"));
    command.arg(inside("tests/e2e/servers/litellm/server.py")).env_clear().envs([
        ("MASTER_KEY", MASTER_KEY),
        ("UPSTREAM_URL", upstream),
        ("UPSTREAM_KEY", "sk-e2e-upstream-key"),
        // LiteLLM loads its server's file as a module.
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("LITELLM_MODE", "PRODUCTION"),
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        ("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True"),
        ("LITELLM_LOCAL_BLOG_POSTS", "True"),
        ("LITELLM_LOCAL_POLICY_TEMPLATES", "True"),
    ]);
    command
}
