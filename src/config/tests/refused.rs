use proptest::prelude::*;

use super::*;

/// The document has these problems and no other.
#[track_caller]
pub fn assert_problems(text: &str, expected: &[&str]) {
    assert_eq!(problems(load_text(text)), expected, "\n{text}");
}

/// A document with an MCP server that has `more`.
fn with_server(more: &str) -> String {
    format!("mcp_servers:\n  crm:\n    url: https://h/\n{more}")
}

/// A document with a model, two MCP servers, and an agent that has `more`.
pub fn with_agent(more: &str) -> String {
    format!(
        "models: {{ m: {{ provider: scripted, script: [{{ say: hi }}] }} }}\n\
         mcp_servers: {{ crm: {{ url: 'https://h/' }}, billing: {{ url: 'https://i/' }} }}\n\
         agents:\n  a:\n    model: m\n{more}"
    )
}

#[test]
fn syntax() {
    assert_problems(
        "agents: [\n",
        &["c.yaml:2:1: agents[0]: while parsing a node, did not find expected node content"],
    );
    assert_problems("a: b: c\n", &["c.yaml:1:5: .: mapping values are not allowed in this context"]);
    assert_problems("just text\n", &["c.yaml:1:1: .: expected a mapping of sections"]);
    assert_problems("agents: { [a]: 1 }\n", &["c.yaml:1:11: agents: a key must be text; put it in quotes"]);
    assert_problems(
        "agents:\n  a: { model: {{ .Values.model }} }\n",
        &["c.yaml:2:16: agents.a.model: a key must be text; put it in quotes"],
    );
    assert_problems(
        "server: { listen: !env X }\n",
        &["c.yaml:1:19: server.listen: tags such as `!name` mean nothing here"],
    );
    assert_problems(
        "agents: &a { b: *a }\n",
        &["c.yaml:1:17: agents.b: the alias stands within its own anchor"],
    );
    assert_problems("agents: *nowhere\n", &["c.yaml:1:9: agents: while parsing node, found unknown anchor"]);
}

#[test]
fn keys() {
    assert_problems(
        "server:\n  lisen: 127.0.0.1:1\n  port: 1\nagent: {}\ncaller_headers: {}\n",
        &[
            "c.yaml:2:3: server.lisen: unknown key (did you mean listen?); there are listen, admin_listen, \
             worker_threads, tls, max_connection_age, drain_timeout, digest_key",
            "c.yaml:3:3: server.port: unknown key; there are listen, admin_listen, worker_threads, tls, \
             max_connection_age, drain_timeout, digest_key",
            "c.yaml:4:1: agent: unknown key (did you mean agents?); there are server, limits, kept_clients, models, \
             mcp_servers, agents, telemetry",
            "c.yaml:5:1: caller_headers: unknown key; there are server, limits, kept_clients, models, mcp_servers, \
             agents, telemetry",
        ],
    );
    assert_problems(
        "models:\n  m: {}\n  o: { provider: openai_chat }\n  s: { provider: scripted, base_url: 'https://h/' }\n\
         mcp_servers:\n  crm: { headers: {} }\nagents:\n  a:\n    mcp_servers: [{ required: true }]\n",
        &[
            "c.yaml:2:3: models.m: the key `provider` is missing",
            "c.yaml:3:3: models.o: the key `base_url` is missing",
            "c.yaml:3:3: models.o: the key `model` is missing",
            "c.yaml:4:3: models.s: the key `script` is missing",
            "c.yaml:4:28: models.s.base_url: unknown key; there are provider, script",
            "c.yaml:6:3: mcp_servers.crm: the key `url` is missing",
            "c.yaml:8:3: agents.a: the key `model` is missing",
            "c.yaml:9:19: agents.a.mcp_servers[0]: the key `name` is missing",
        ],
    );
}

#[test]
fn types() {
    assert_problems(
        "server: [1]\nlimits:\n  max_concurrent_runs: many\n  run_timeout: 30\n  max_request_bytes: [1]\n\
         telemetry:\n  spans: yes\n  logs: json\nagents: text\nmodels: { m: text }\n",
        &[
            "c.yaml:1:9: server: expected a mapping, found a list",
            "c.yaml:3:24: limits.max_concurrent_runs: expected a whole number from 1 to 1000000",
            "c.yaml:4:16: limits.run_timeout: expected a duration such as 500ms, 30s or 1m30s, found a number",
            "c.yaml:5:22: limits.max_request_bytes: expected a size from 1KiB to 64MiB, or a number of bytes",
            "c.yaml:7:10: telemetry.spans: expected true or false, found text",
            "c.yaml:8:9: telemetry.logs: expected a mapping, found text",
            "c.yaml:9:9: agents: expected a mapping, found text",
            "c.yaml:10:14: models.m: expected a mapping, found text",
        ],
    );
    assert_problems(
        &with_agent(
            "    description: 1\n    instructions: true\n    mcp_servers:\n      name: crm\n    timeout:\n\n",
        ),
        &[
            "c.yaml:6:18: agents.a.description: expected text, found a number; put it in quotes",
            "c.yaml:7:19: agents.a.instructions: expected text or `{ file: PATH }`, found true or false; put it in quotes",
            "c.yaml:9:7: agents.a.mcp_servers: expected a list, found a mapping",
            "c.yaml:10:5: agents.a.timeout: expected a duration such as 500ms, 30s or 1m30s, found nothing",
        ],
    );
}

#[test]
fn server() {
    assert_problems(
        "server:\n  listen: localhost:50051\n  admin_listen: 9464\n  drain_timeout: 0s\n  digest_key: too-short\n",
        &[
            "c.yaml:2:11: server.listen: expected an IP address and a port, such as 127.0.0.1:50051",
            "c.yaml:3:17: server.admin_listen: expected an IP address and a port, such as 127.0.0.1:50051, found a number",
            "c.yaml:4:18: server.drain_timeout: the duration must be above zero",
            "c.yaml:5:15: server.digest_key: the key has under 16 bytes",
        ],
    );
}

#[test]
fn addresses_are_two() {
    let both = |listen: &str, admin_listen: &str| {
        format!("server:\n  listen: '{listen}'\n  admin_listen: '{admin_listen}'\n")
    };
    let said = "has this address, too; give one of them another port";
    assert_problems(
        &both("0.0.0.0:50051", "0.0.0.0:50051"),
        &[&format!("c.yaml:3:17: server.admin_listen: `listen` {said}")],
    );
    assert_problems(
        "server: { listen: 127.0.0.1:9464 }",
        &[&format!("c.yaml:1:19: server.listen: `admin_listen` {said}")],
    );
    assert_problems(
        "server: { admin_listen: 127.0.0.1:50051 }",
        &[&format!("c.yaml:1:25: server.admin_listen: `listen` {said}")],
    );
    for (listen, admin_listen) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:50051", "127.0.0.2:50051"),
        ("127.0.0.1:50051", "127.0.0.1:50052"),
    ] {
        assert!(load_text(&both(listen, admin_listen)).is_ok(), "{listen} {admin_listen}");
    }
    // What stands in for a wrong one is not meant.
    assert_problems(
        &both("nowhere", "127.0.0.1:50051"),
        &["c.yaml:2:11: server.listen: expected an IP address and a port, such as 127.0.0.1:50051"],
    );
}

#[test]
fn limits() {
    assert_problems(
        "limits:\n  max_concurrent_runs: 0\n  run_timeout: 1y\n  max_request_bytes: 65MiB\n\
         kept_clients:\n  max: -1\n  idle: 8761h\n  age: 1.5h\n",
        &[
            "c.yaml:2:24: limits.max_concurrent_runs: expected a whole number from 1 to 1000000",
            "c.yaml:3:16: limits.run_timeout: expected a duration such as 500ms, 30s or 1m30s",
            "c.yaml:4:22: limits.max_request_bytes: the size must be from 1KiB to 64MiB",
            "c.yaml:6:8: kept_clients.max: expected a whole number from 1 to 1000000",
            "c.yaml:7:9: kept_clients.idle: the duration is over a year (8760h)",
            "c.yaml:8:8: kept_clients.age: expected a duration such as 500ms, 30s or 1m30s",
        ],
    );
    for (bytes, taken) in [("1023", false), ("1024", true), ("64MiB", true), ("67108865", false)] {
        assert_eq!(load_text(&format!("limits: {{ max_request_bytes: {bytes} }}")).is_ok(), taken, "{bytes}");
        assert_eq!(
            load_text(&with_server(&format!("    max_body_bytes: {bytes}\n"))).is_ok(),
            taken,
            "{bytes}"
        );
    }
}

#[test]
fn models() {
    assert_problems(
        "models:\n  \"\": { provider: openai, modle: x }\n  m:\n    provider: openai_chat\n    \
         base_url: http://vllm/v1\n    model: ''\n    api_key: 12\n  s:\n    provider: scripted\n    script: []\n",
        &[
            "c.yaml:2:3: models.\"\": a name has 1 to 64 printable characters",
            "c.yaml:2:19: models.\"\".provider: expected one of openai_chat, openai_responses, anthropic, scripted",
            "c.yaml:2:27: models.\"\".modle: unknown key (did you mean model?); there are provider, base_url, \
             allow_plaintext, tls, proxy, model, api_key, headers, script",
            "c.yaml:5:15: models.m.base_url: http:// to another host than loopback would send headers in the clear; \
             use https://, or set `allow_plaintext: true`",
            "c.yaml:6:12: models.m.model: a provider's name for a model has 1 to 256 printable characters",
            "c.yaml:7:14: models.m.api_key: expected text, `{ env: NAME }` or `{ file: PATH }`, found a \
             number; put it in quotes",
            "c.yaml:10:13: models.s.script: a script has at least one step",
        ],
    );
    assert_problems(
        "mcp_servers: { crm: { url: 'https://h/' } }\nmodels:\n  s:\n    provider: scripted\n    script:\n      \
         - call: [{ mcp_server: cmr, tool: t }, { mcp_server: crm, tool: '', arguments: [] }, { mcp_server: crm }]\n      \
         - {}\n      - { say: 1 }\n",
        &[
            "c.yaml:6:30: models.s.script[0].call[0].mcp_server: no such MCP server; there are crm",
            "c.yaml:6:71: models.s.script[0].call[1].tool: a tool's name has 1 to 128 printable characters",
            "c.yaml:6:86: models.s.script[0].call[1].arguments: expected a mapping, found a list",
            "c.yaml:6:92: models.s.script[0].call[2]: the key `tool` is missing",
            "c.yaml:7:9: models.s.script[1]: a step has `call`, `say` or both",
            "c.yaml:8:16: models.s.script[2].say: expected text, found a number; put it in quotes",
        ],
    );
}

#[test]
fn mcp_servers() {
    let long = "a".repeat(33);
    assert_problems(
        &format!(
            "mcp_servers:\n  CRM: {{ url: 'https://h/' }}\n  {long}: {{ url: 'https://h/' }}\n  a_b: {{}}\n"
        ),
        &[
            "c.yaml:2:3: mcp_servers.CRM: an MCP server's name has 1 to 32 characters of a-z, 0-9 and -",
            &format!(
                "c.yaml:3:3: mcp_servers.{long}: an MCP server's name has 1 to 32 characters of a-z, 0-9 and -"
            ),
            "c.yaml:4:3: mcp_servers.a_b: an MCP server's name has 1 to 32 characters of a-z, 0-9 and -",
            "c.yaml:4:3: mcp_servers.a_b: the key `url` is missing",
        ],
    );
    assert_problems(
        &with_server(
            "    session_scope: forever\n    tools_ttl: -1s\n    max_body_bytes: 1\n    timeouts: { connect: 0s, cal: 1s }\n",
        ),
        &[
            "c.yaml:4:20: mcp_servers.crm.session_scope: expected one of auto, run, identity",
            "c.yaml:5:16: mcp_servers.crm.tools_ttl: expected a duration such as 500ms, 30s or 1m30s",
            "c.yaml:6:21: mcp_servers.crm.max_body_bytes: the size must be from 1KiB to 64MiB",
            "c.yaml:7:26: mcp_servers.crm.timeouts.connect: the duration must be above zero",
            "c.yaml:7:30: mcp_servers.crm.timeouts.cal: unknown key (did you mean call?); there are connect, startup, \
             call",
        ],
    );
}

#[test]
fn urls() {
    let not_http = "expected a URL that begins with https:// or http:// and has a host";
    let userinfo = "the URL may have no user or password; give a credential in a header";
    for (url, said) in [
        ("crm.example.com/mcp", not_http),
        ("ftp://h/", not_http),
        ("unix:/run/crm.sock", not_http),
        ("https://", not_http),
        ("", not_http),
        ("https://user@h/", userinfo),
        ("https://:password@h/", userinfo),
        ("https://h/#part", "the URL may have no fragment (#)"),
    ] {
        let text = format!("mcp_servers: {{ crm: {{ url: '{url}' }} }}");
        assert_problems(&text, &[&format!("c.yaml:1:28: mcp_servers.crm.url: {said}")]);
    }
}

#[test]
fn headers() {
    assert_problems(
        &with_server(
            "    headers:\n      X-Api-Version: 2\n      Host: h\n      x-a: 1\n      X-A: b\n      \"X B\": b\n      \
             X-Empty: ''\n      X-Space: ' x'\n      X-Line: \"a\\nb\"\n      X-Accent: é\n      mcp-session-id: x\n",
        ),
        &[
            "c.yaml:5:22: mcp_servers.crm.headers.X-Api-Version: expected text, `{ env: NAME }`, `{ file: PATH }`, \
             `{ oauth_client_credentials: … }` or `{ google_id_token: … }`, found a number; put it in quotes",
            "c.yaml:6:7: mcp_servers.crm.headers.Host: the name is reserved: HTTP, MCP or Runwright itself sets that \
             header",
            "c.yaml:7:12: mcp_servers.crm.headers.x-a: expected text, `{ env: NAME }`, `{ file: PATH }`, \
             `{ oauth_client_credentials: … }` or `{ google_id_token: … }`, found a number; put it in quotes",
            "c.yaml:8:7: mcp_servers.crm.headers.X-A: the name stands twice in the set; names are compared without case",
            "c.yaml:9:7: mcp_servers.crm.headers: the name is no HTTP token (RFC 9110 section 5.6.2)",
            "c.yaml:10:16: mcp_servers.crm.headers.X-Empty: the value is empty",
            "c.yaml:11:16: mcp_servers.crm.headers.X-Space: the value may not begin or end with a space",
            "c.yaml:12:15: mcp_servers.crm.headers.X-Line: the value may hold only printable ASCII characters",
            "c.yaml:13:17: mcp_servers.crm.headers.X-Accent: the value may hold only printable ASCII characters",
            "c.yaml:14:7: mcp_servers.crm.headers.mcp-session-id: the name is reserved: HTTP, MCP or Runwright itself \
             sets that header",
        ],
    );
    let set = |count: usize, bytes: usize| {
        let headers =
            (0..count).map(|n| format!("      x-{n:02}: {}\n", "v".repeat(bytes))).collect::<String>();
        load_text(&with_server(&format!("    headers:\n{headers}")))
    };
    assert!(set(64, 1).is_ok() && set(64, 1020).is_ok());
    assert_eq!(problems(set(65, 1)), ["c.yaml:4:5: mcp_servers.crm.headers: a set has at most 64 names"]);
    let too_large = "c.yaml:4:5: mcp_servers.crm.headers: the headers have at most 64 KiB together";
    assert_eq!(problems(set(64, 1021)), [too_large]);
}

#[test]
fn sources() {
    let what = "expected text, `{ env: NAME }`, `{ file: PATH }`, `{ oauth_client_credentials: … }` or \
                `{ google_id_token: … }`";
    let case = |source: &str, column: usize, path: &str, said: &str| {
        let text = format!("mcp_servers: {{ crm: {{ url: 'https://h/', headers: {{ X-A: {source} }} }} }}");
        let expected = format!("c.yaml:1:{column}: mcp_servers.crm.headers.X-A{path}: {said}");
        assert_problems(&text, &[&expected]);
    };
    case("[a]", 58, "", &format!("{what}, found a list"));
    case("", 53, "", &format!("{what}, found nothing"));
    case("{}", 58, "", what);
    case("{ prefix: a }", 58, "", what);
    case("{ env: EMPTY, file: f }", 58, "", what);
    let unknown = "a key is unknown; there are value, env, file, oauth_client_credentials, google_id_token, prefix, secret";
    case("{ prefx: f }", 58, "", unknown);
    case("{ value: a, env: EMPTY }", 58, "", what);
    case("{ secret: true }", 58, "", what);
    case("{ value: 2 }", 67, ".value", "expected text, found a number; put it in quotes");
    case("{ value: '', prefix: 'Bearer ' }", 67, ".value", "the value is empty");
    case("{ value: a, secret: yes }", 78, ".secret", "expected true or false, found text");
    case("{ env: NOT_SET }", 65, ".env", "the environment variable NOT_SET is not set");
    case("{ env: EMPTY }", 65, ".env", "the value is empty");
    case("{ env: EMPTY, prefix: 'Bearer ' }", 65, ".env", "the value is empty");
    case("{ env: TWO_LINES }", 65, ".env", "the value may hold only printable ASCII characters");
    case("{ env: $HOME }", 65, ".env", "expected an environment variable's name, such as CRM_TOKEN");
    case("{ env: 1 }", 65, ".env", "expected text, found a number; put it in quotes");
    case(
        "{ file: none }",
        66,
        ".file",
        "\"none\": the file can't be read: No such file or directory (os error 2)",
    );
    case(
        "{ file: c.yaml, prefix: é }",
        66,
        ".file",
        "\"c.yaml\": in the file, the value may hold only printable ASCII characters",
    );
}

#[test]
fn what_is_no_header_is_always_secret() {
    assert_problems(
        "models: { m: { provider: openai_chat, base_url: 'https://h/v1', model: x, api_key: { value: a, secret: false } } }\n",
        &["c.yaml:1:84: models.m.api_key: a key is unknown; there are value, env, file, prefix"],
    );
}

#[test]
fn agents() {
    assert_problems(
        "agents: { a: { model: m, mcp_servers: [crm] } }\n",
        &[
            "c.yaml:1:23: agents.a.model: no such model; there are none",
            "c.yaml:1:40: agents.a.mcp_servers[0]: no such MCP server; there are none",
        ],
    );
    assert_problems(
        &with_agent(
            "    max_turns: 0\n    approval: []\n    instructions: { file: c.yaml, fil: x }\n    mcp_servers:\n      \
             - { name: crm, tools: [find, '', find, 1], headers: { Host: x } }\n      - bilings\n      - crm\n      \
             - { name: crm, required: no }\n      - 1\n  \"a\\tb\": { model: n }\n",
        ),
        &[
            "c.yaml:6:16: agents.a.max_turns: expected a whole number from 1 to 1000000",
            "c.yaml:7:5: agents.a.approval: unknown key; there are description, instructions, model, \
             allowed_models, temperature, top_p, max_output_tokens, reasoning_effort, parallel_tool_calls, \
             max_turns, max_total_tokens, max_tool_calls, max_tool_result_bytes, on_tool_error, \
             max_concurrent_runs, timeout, trace_content, mcp_servers",
            "c.yaml:8:35: agents.a.instructions.fil: unknown key (did you mean file?); there are file",
            "c.yaml:10:36: agents.a.mcp_servers[0].tools[1]: a tool's name has 1 to 128 printable characters",
            "c.yaml:10:40: agents.a.mcp_servers[0].tools[2]: the tool stands twice",
            "c.yaml:10:46: agents.a.mcp_servers[0].tools[3]: expected text, found a number; put it in quotes",
            "c.yaml:10:61: agents.a.mcp_servers[0].headers.Host: the name is reserved: HTTP, MCP or Runwright itself \
             sets that header",
            "c.yaml:11:9: agents.a.mcp_servers[1]: no such MCP server (did you mean billing?); there are crm, billing",
            "c.yaml:12:9: agents.a.mcp_servers[2]: the agent has that MCP server already",
            "c.yaml:13:9: agents.a.mcp_servers[3]: the agent has that MCP server already",
            "c.yaml:13:32: agents.a.mcp_servers[3].required: expected true or false, found text",
            "c.yaml:14:9: agents.a.mcp_servers[4]: expected a mapping, found a number",
            "c.yaml:15:3: agents.\"a\\tb\": a name has 1 to 64 printable characters",
            "c.yaml:15:20: agents.\"a\\tb\".model: no such model; there are m",
        ],
    );
}

#[test]
fn telemetry() {
    assert_problems(
        "telemetry:\n  logs: { format: text, filter: 'info,crm=loud' }\n  spans: 1\n  otlp: {}\n  sampling: 2\n  \
         resource: { '': a, b: 1 }\n  traces: true\n",
        &[
            "c.yaml:2:19: telemetry.logs.format: expected one of json, pretty",
            "c.yaml:2:33: telemetry.logs.filter: expected a level such as info, or directives such as \
             info,runwright=debug",
            "c.yaml:3:10: telemetry.spans: expected true or false, found a number",
            "c.yaml:4:3: telemetry.otlp: the key `endpoint` is missing",
            "c.yaml:5:13: telemetry.sampling: expected a number from 0 to 1",
            "c.yaml:6:15: telemetry.resource.\"\": an attribute has a name, such as deployment.environment.name",
            "c.yaml:6:25: telemetry.resource.b: expected text, found a number; put it in quotes",
            "c.yaml:7:3: telemetry.traces: unknown key; there are logs, spans, sampling, resource, otlp",
        ],
    );
}

#[test]
fn telemetrys_collector() {
    assert_problems(
        "telemetry:\n  otlp:\n    endpoint: http://collector.example.com:4318\n    protocol: tcp\n    \
         headers: { authorization: { env: UNSET }, host: a }\n    timeout: 2m\n    traces: 1\n    metric: true\n",
        &[
            "c.yaml:3:15: telemetry.otlp.endpoint: http:// to another host than loopback would send headers in the clear; \
             use https://, or set `allow_plaintext: true`",
            "c.yaml:4:15: telemetry.otlp.protocol: expected one of http, grpc",
            "c.yaml:5:38: telemetry.otlp.headers.authorization.env: the environment variable UNSET is not set",
            "c.yaml:5:47: telemetry.otlp.headers.host: the name is reserved: HTTP, MCP or Runwright itself sets that header",
            "c.yaml:6:14: telemetry.otlp.timeout: the timeout is at most 1m",
            "c.yaml:7:13: telemetry.otlp.traces: expected true or false, found a number",
            "c.yaml:8:5: telemetry.otlp.metric: unknown key (did you mean metrics?); there are endpoint, allow_plaintext, protocol, headers, \
             timeout, traces, metrics",
        ],
    );
}

/// Words and marks that a configuration is made of, so that arbitrary texts come near one.
fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "server",
        "limits",
        "models",
        "mcp_servers",
        "agents",
        "telemetry",
        "crm",
        "url",
        "headers",
        "provider",
        "scripted",
        "script",
        "call",
        "say",
        "openai_chat",
        "api_key",
        "env",
        "file",
        "model",
        "name",
        "tools",
        "logs",
        "filter",
        "run_timeout",
        "10m",
        "1KiB",
        "https://h/",
        "http://",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "|\n",
        ">",
        "#",
        "%YAML 1.2\n",
        "---\n",
        "...\n",
        "\t",
        "\u{feff}",
        "\\",
        "é",
        "? ",
        "~",
        "<<",
        "1",
        "-1",
        "1e9",
        "0x",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), fragments()]) {
        for line in load_text(&text).err().unwrap_or_default() {
            prop_assert!(line.starts_with("c.yaml:") && !line.contains('\n'), "{line:?}");
        }
    }
}
