use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    agent::{Agent, Approval, OnToolError},
    headers::CallerRules,
    mcp::SessionScope,
    message::ToolRef,
    model::{Config as Model, EndpointConfig, scripted::Step},
    settings::{ReasoningEffort, Settings},
    telemetry::{LogFormat, otlp::Protocol},
};

const WHOLE: &str = r#"
server:
  listen: 127.0.0.1:50052
  admin_listen: "[::1]:9465"
  worker_threads: 3
  drain_timeout: 9m
  max_connection_age: 1h
  digest_key: 0123456789abcdef
limits: { max_concurrent_runs: 9000, run_timeout: 11m, max_request_bytes: 3MiB }
kept_clients: { max: 8000, idle: 4m, age: 2h }
models:
  main: { provider: openai_chat, base_url: https://api.openai.com/v1, model: gpt-5, api_key: { env: OPENAI_API_KEY } }   # api_key may be absent
  small:
    provider: openai_chat
    base_url: https://gateway.example.com/v1
    model: small-1
    headers: { X-Team: blue, Api-Key: { file: secrets/key } }
  demo:
    provider: scripted
    script:                          # one entry a turn; the last repeats
      - call: [{ mcp_server: crm, tool: whoami, arguments: {} }]
      - say: "You are {{ results.0.text }}."
mcp_servers:
  crm:
    url: https://crm.example.com/mcp # http:// to another host than loopback needs allow_plaintext: true
    headers:
      X-Api-Version: "2"
      X-Service-Key: { file: secrets/key }
    caller_headers: { allowed: [authorization, X-User-Id], required: [Authorization], locked: [x-api-version] }
    session_scope: run
    tools_ttl: 6m
    max_body_bytes: 1MiB
    timeouts: { connect: 4s, startup: 9s, call: 61s }
agents:
  support:
    description: Answers questions about a customer.
    instructions: You are a helpful support agent.    # or { file: … }
    model: main
    allowed_models: [small, demo]
    temperature: 0.25
    top_p: 0.5
    max_output_tokens: 4096
    reasoning_effort: minimal
    parallel_tool_calls: false
    max_turns: 12
    max_total_tokens: 200000
    max_tool_calls: 50
    max_tool_result_bytes: 64KiB
    on_tool_error: fail_run
    max_concurrent_runs: 40
    timeout: 5m
    trace_content: true
    mcp_servers:
      - { name: crm, required: false, tools: [whoami, find_orders], approval: [find_orders], headers: { X-Agent: support } }
telemetry:
  logs: { format: pretty, filter: "warn,runwright=debug" }
  spans: false
  sampling: 0.25
  resource: { deployment.environment.name: prod }
  otlp:
    endpoint: http://collector.example.com:4317/base
    allow_plaintext: true
    protocol: grpc
    headers: { X-Tenant: blue }
    timeout: 3s
    traces: false
    metrics: true
"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn openai<'a>(config: &'a Config, name: &str) -> &'a EndpointConfig {
    match &config.models[name] {
        Model::OpenAiChat(model) | Model::OpenAiResponses(model) => model,
        _ => panic!("{name} is of another provider"),
    }
}

/// The value of the header that a model's key is sent in.
fn key(model: &EndpointConfig) -> Option<String> {
    let headers = model.headers.layer().headers();
    headers.iter().find(|header| header.name == "authorization").map(|header| shown(&header.value))
}

fn script<'a>(config: &'a Config, name: &str) -> &'a [Step] {
    match &config.models[name] {
        Model::Scripted(model) => &model.script,
        _ => panic!("{name} is not scripted"),
    }
}

#[test]
fn a_whole_document_fills_every_field() {
    let files = [("c.yaml", WHOLE), ("secrets/key", "file-key\n")];
    let config = load_in(&files, "c.yaml").unwrap_or_else(|problems| panic!("{problems:#?}"));

    assert_eq!(config.server.listen.to_string(), "127.0.0.1:50052");
    assert_eq!(config.server.admin_listen.to_string(), "[::1]:9465");
    assert_eq!(config.server.worker_threads, 3);
    assert_eq!(config.limits.drain_timeout, seconds(540));
    assert_eq!(config.server.max_connection_age, seconds(3600));
    assert_eq!(config.server.digest_key.as_ref().map(shown).as_deref(), Some("0123456789abcdef"));
    assert_eq!(config.limits.max_concurrent_runs, 9000);
    assert_eq!(config.limits.run_timeout, seconds(660));
    assert_eq!(config.limits.max_request_bytes, 3 * 1024 * 1024);
    assert_eq!(config.kept_clients.max, 8000);
    assert_eq!(config.kept_clients.idle, seconds(240));
    assert_eq!(config.kept_clients.age, seconds(7200));
    assert_eq!(config.telemetry.format, LogFormat::Pretty);
    assert_eq!(config.telemetry.filter, "warn,runwright=debug");
    assert!(!config.telemetry.spans);
    assert_eq!(config.telemetry.sampling, 0.25);
    assert_eq!(config.telemetry.resource, [("deployment.environment.name".to_owned(), "prod".to_owned())]);
    let otlp = config.telemetry.otlp.as_ref().unwrap();
    assert_eq!(otlp.endpoint.as_str(), "http://collector.example.com:4317/base");
    assert_eq!((otlp.protocol, otlp.timeout), (Protocol::Grpc, seconds(3)));
    assert_eq!((otlp.traces, otlp.metrics), (false, true));
    assert_eq!(sent(&otlp.headers), [("x-tenant".to_owned(), "blue".to_owned())]);

    assert_eq!(config.models.keys().collect::<Vec<_>>(), ["demo", "main", "small"]);
    let main = openai(&config, "main");
    assert_eq!((main.base_url.as_str(), main.model.as_str()), ("https://api.openai.com/v1", "gpt-5"));
    assert_eq!(key(main).as_deref(), Some("Bearer sk-from-the-environment"));
    let headers = [("x-team", "blue"), ("api-key", "file-key")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(sent(&openai(&config, "small").headers), headers);
    let whoami = ToolRef { mcp_server: "crm".to_owned(), tool: "whoami".to_owned() };
    let steps = [
        Step { calls: vec![(whoami, serde_json::Map::new())], say: String::new() },
        Step { calls: vec![], say: "You are {{ results.0.text }}.".to_owned() },
    ];
    assert_eq!(script(&config, "demo"), steps);

    let crm = &config.mcp_servers["crm"];
    assert_eq!((crm.name.as_str(), crm.url.as_str()), ("crm", "https://crm.example.com/mcp"));
    let headers = [("x-api-version", "2"), ("x-service-key", "file-key")];
    assert_eq!(sent(&crm.headers), headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let rules = &crm.caller_headers;
    assert_eq!(rules.allowed().map(names), Some(vec!["authorization", "x-user-id"]));
    assert_eq!(
        (names(rules.required()), names(rules.locked())),
        (vec!["authorization"], vec!["x-api-version"])
    );
    assert_eq!(crm.session_scope, SessionScope::Run);
    assert_eq!((crm.tools_ttl, crm.max_body_bytes), (seconds(360), 1024 * 1024));
    let timeouts = (crm.timeouts.connect, crm.timeouts.startup, crm.timeouts.call);
    assert_eq!(timeouts, (seconds(4), seconds(9), seconds(61)));

    whole_agent(&config.agents["support"]);
}

fn whole_agent(support: &Agent) {
    assert_eq!((support.name.as_str(), support.model.as_str()), ("support", "main"));
    assert_eq!(support.description, "Answers questions about a customer.");
    assert_eq!(&*support.instructions, "You are a helpful support agent.");
    assert_eq!(support.models().collect::<Vec<_>>(), ["main", "small", "demo"]);
    let Settings {
        output_schema: None,
        temperature,
        top_p,
        max_output_tokens,
        reasoning_effort,
        parallel_tool_calls,
    } = support.settings
    else {
        panic!("agents have no schema")
    };
    assert_eq!((temperature, top_p, max_output_tokens), (Some(0.25), Some(0.5), Some(4096)));
    assert_eq!((reasoning_effort, parallel_tool_calls), (Some(ReasoningEffort::Minimal), Some(false)));
    assert_eq!((support.max_turns, support.timeout), (12, seconds(300)));
    assert_eq!((support.max_total_tokens, support.max_tool_calls), (Some(200_000), Some(50)));
    assert_eq!((support.max_tool_result_bytes, support.on_tool_error), (64 * 1024, OnToolError::FailRun));
    assert_eq!(support.max_concurrent_runs, Some(40));
    let [used] = support.mcp_servers.as_slice() else { panic!("one server") };
    assert_eq!((used.name.as_str(), used.required), ("crm", false));
    assert_eq!(used.tools.as_deref(), Some(["whoami".to_owned(), "find_orders".to_owned()].as_slice()));
    assert_eq!(used.approval, Approval::Tools(vec!["find_orders".to_owned()]));
    assert_eq!(sent(&used.headers), [("x-agent".to_owned(), "support".to_owned())]);
}

#[test]
fn a_collector_that_is_sent_no_headers_may_be_in_plain_text() {
    let config = good("telemetry: { otlp: { endpoint: 'http://collector.observability:4318' } }\n");
    let otlp = config.telemetry.otlp.unwrap();
    assert_eq!(otlp.endpoint.as_str(), "http://collector.observability:4318/");
    assert_eq!((otlp.protocol, otlp.timeout), (Protocol::Http, seconds(10)));
    assert_eq!((otlp.traces, otlp.metrics), (true, false));
    assert_eq!(otlp.headers.names().count(), 0);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = good(
        "limits: { run_timeout: 7m }\n\
         models: { m: { provider: openai_chat, base_url: 'http://localhost:8000/v1', model: qwen } }\n\
         mcp_servers: { crm: { url: 'http://127.0.0.1:1/mcp' } }\n\
         agents: { a: { model: m, mcp_servers: [crm] }, bare: { model: m } }\n",
    );
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.server.worker_threads, crate::server::Config::usual_worker_threads());
    assert_eq!(config.server.max_connection_age, seconds(1800));
    assert!(config.server.digest_key.is_none());
    let (run_timeout, drain_timeout) = (seconds(420), seconds(420));
    let limits = crate::run::Limits { run_timeout, drain_timeout, ..Default::default() };
    assert_eq!(config.limits, limits);
    assert_eq!(config.kept_clients, crate::mcp::KeptClients::default());
    let crate::telemetry::Config { format, filter, spans, sampling, resource, otlp } = &config.telemetry;
    assert_eq!((*format, &**filter, *spans, *sampling), (LogFormat::Json, "info", true, 1.0));
    assert!(resource.is_empty() && otlp.is_none());
    assert_eq!(key(openai(&config, "m")), None);

    let crm = &config.mcp_servers["crm"];
    assert_eq!(crm.session_scope, SessionScope::Auto);
    assert_eq!((crm.tools_ttl, crm.max_body_bytes), (seconds(300), 2 * 1024 * 1024));
    assert_eq!(crm.timeouts, crate::mcp::Timeouts::default());
    assert_eq!(crm.headers.names().count(), 0);
    assert_eq!(crm.caller_headers, CallerRules::default());

    let agent = &config.agents["a"];
    assert!(!agent.trace_content);
    assert_eq!((agent.max_turns, agent.timeout), (10, seconds(420)));
    assert_eq!((agent.description.as_str(), &*agent.instructions), ("", ""));
    assert_eq!(agent.models().collect::<Vec<_>>(), ["m"]);
    let settings = &agent.settings;
    assert_eq!((settings.temperature, settings.top_p, settings.max_output_tokens), (None, None, None));
    assert_eq!((settings.reasoning_effort, settings.parallel_tool_calls), (None, None));
    assert_eq!((agent.max_total_tokens, agent.max_tool_calls, agent.max_concurrent_runs), (None, None, None));
    assert_eq!((agent.max_tool_result_bytes, agent.on_tool_error), (1024 * 1024, OnToolError::TellModel));
    let [used] = agent.mcp_servers.as_slice() else { panic!("one server") };
    assert_eq!((used.name.as_str(), used.required, &used.tools), ("crm", true, &None));
    assert_eq!(used.approval, Approval::Never);
    assert!(config.agents["bare"].mcp_servers.is_empty());
}

#[test]
fn a_configuration_may_have_no_agent() {
    for text in ["agents:\n", "agents: {}\nmcp_servers:\nserver:\n", "{}"] {
        assert!(good(text).agents.is_empty(), "{text:?}");
    }
}

#[test]
fn json_is_yaml() {
    let config = good(
        "{\n\t\"models\": {\"demo\": {\"provider\": \"scripted\", \"script\": [{\"call\": [{\"mcp_server\": \"crm\",\n\
         \t\t\"tool\": \"find\", \"arguments\": {\"q\": \"a\\u00e9\\n\\/\", \"n\": 1.5, \"big\": 18446744073709551615,\n\
         \"ok\": true, \"no\": null, \"list\": [-1, {}]}}]}]}},\n\
         \"mcp_servers\":{\"crm\":{\"url\":\"https://crm.example.com/\"}}, \"agents\": {}}\n",
    );
    let expected = json!({
        "q": "aé\n/", "n": 1.5, "big": u64::MAX, "ok": true, "no": null, "list": [-1, {}]
    });
    let (_, arguments) = &script(&config, "demo")[0].calls[0];
    assert_eq!(serde_json::Value::Object(arguments.clone()), expected);
    assert!(load_in(&[("c.json", "{\"limits\": {\"max_concurrent_runs\": 1}}")], "c.json").is_ok());
}

#[test]
fn anthropic_takes_its_key_in_a_header_of_its_own() {
    let model = "{ provider: anthropic, base_url: 'https://api.anthropic.com', model: x, api_key: k, headers: { anthropic-beta: b } }";
    let config = load_in(&[("c.yaml", &*format!("models: {{ m: {model} }}"))], "c.yaml").unwrap();
    let Model::Anthropic(model) = &config.models["m"] else { panic!("another provider") };
    let headers = model.headers.layer().headers().iter();
    let headers: Vec<_> = headers.map(|header| (header.name.as_str(), shown(&header.value))).collect();
    assert_eq!(headers, [("anthropic-beta", "b".to_owned()), ("x-api-key", "k".to_owned())]);
}

#[test]
fn sources_give_values() {
    let key = |source: &str| {
        let model =
            format!("m: {{ provider: openai_chat, base_url: 'https://h/v1', model: x, api_key: {source} }}");
        let files =
            [("conf/c.yaml", format!("models: {{ {model} }}")), ("conf/key", "in-a-file\n".to_owned())];
        let files = files.each_ref().map(|(name, content)| (*name, content.as_str()));
        let config = load_in(&files, "conf/c.yaml").unwrap_or_else(|problems| panic!("{problems:#?}"));
        key(openai(&config, "m")).unwrap()
    };
    for (source, value) in [
        ("literal", "Bearer literal"),
        ("'123'", "Bearer 123"),
        ("!!str 123", "Bearer 123"),
        ("{ env: OPENAI_API_KEY }", "Bearer sk-from-the-environment"),
        ("{ env: TRAILING_NEWLINE }", "Bearer trimmed"),
        ("{ env: OPENAI_API_KEY, prefix: 'Token ' }", "Token sk-from-the-environment"),
        ("{ env: OPENAI_API_KEY, prefix: '' }", "sk-from-the-environment"),
        ("{ value: literal }", "Bearer literal"),
        ("{ value: literal, prefix: 'Token ' }", "Token literal"),
        ("{ file: key }", "Bearer in-a-file"),
        ("{ file: ./key, prefix: 'Token ' }", "Token in-a-file"),
    ] {
        assert_eq!(key(source), value, "{source}");
    }
}

#[test]
fn models_of_the_responses_api() {
    let config = good(
        "models: { m: { provider: openai_responses, base_url: 'https://h/v1', model: x, api_key: { env: OPENAI_API_KEY } } }",
    );
    let Model::OpenAiResponses(model) = &config.models["m"] else { panic!("another provider") };
    assert_eq!((model.base_url.as_str(), model.model.as_str()), ("https://h/v1", "x"));
    assert_eq!(key(model).as_deref(), Some("Bearer sk-from-the-environment"));
}

#[test]
fn header_sources_have_no_prefix_unless_given() {
    let config = good(
        "mcp_servers: { crm: { url: 'https://h/', headers: { \
           A: { env: OPENAI_API_KEY }, Authorization: { env: OPENAI_API_KEY, prefix: 'Bearer ' } } } }",
    );
    let expected = [("a", "sk-from-the-environment"), ("authorization", "Bearer sk-from-the-environment")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(sent(&config.mcp_servers["crm"].headers), expected);
}

#[test]
fn a_header_is_secret_if_it_says_so_or_is_no_literal() {
    let header = |source: &str| {
        let text = format!("mcp_servers: {{ crm: {{ url: 'https://h/', headers: {{ X-A: {source} }} }} }}");
        let config = load_in(&[("c.yaml", &text), ("key", "in-a-file")], "c.yaml");
        let config = config.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let current = config.mcp_servers["crm"].headers.current();
        let [header] = current.headers() else { panic!("one header") };
        (String::from_utf8(header.value.as_bytes().to_vec()).unwrap(), header.secret)
    };
    for (source, value, secret) in [
        ("a", "a", false),
        ("{ value: a }", "a", false),
        ("{ value: a, secret: false }", "a", false),
        ("{ value: a, secret: true }", "a", true),
        ("{ value: a, prefix: 'Token ', secret: true }", "Token a", true),
        ("{ env: OPENAI_API_KEY }", "sk-from-the-environment", true),
        ("{ env: OPENAI_API_KEY, secret: true }", "sk-from-the-environment", true),
        ("{ env: OPENAI_API_KEY, secret: false }", "sk-from-the-environment", false),
        ("{ file: key }", "in-a-file", true),
        ("{ file: key, secret: false }", "in-a-file", false),
    ] {
        assert_eq!(header(source), (value.to_owned(), secret), "{source}");
    }
}

#[test]
fn an_agents_settings_may_be_as_low_and_as_high_as_a_runs() {
    let agent = |fields: &str| {
        let text = format!(
            "models: {{ m: {{ provider: scripted, script: [{{ say: hi }}] }} }}\n\
             mcp_servers: {{ crm: {{ url: 'https://h/' }} }}\n\
             agents: {{ a: {{ model: m, {fields} }} }}\n"
        );
        good(&text).agents["a"].clone()
    };
    let low = agent(
        "allowed_models: [], temperature: 0, top_p: 0.001, max_output_tokens: 1, max_turns: 1, max_total_tokens: 1, \
         max_tool_calls: 1, max_tool_result_bytes: 1KiB, mcp_servers: [{ name: crm, approval: [] }]",
    );
    assert_eq!((low.settings.temperature, low.settings.top_p), (Some(0.0), Some(0.001)));
    assert_eq!(
        (low.settings.max_output_tokens, low.max_total_tokens, low.max_tool_calls),
        (Some(1), Some(1), Some(1))
    );
    assert!(!low.mcp_servers[0].approval.is_needed("whoami"));
    let high = agent(
        "allowed_models: [m], temperature: 2, top_p: 1, max_output_tokens: 4294967295, max_turns: 1000000, \
         max_total_tokens: 1000000000000, max_tool_calls: 1000000, max_tool_result_bytes: 8MiB, \
         mcp_servers: [{ name: crm, approval: all }]",
    );
    assert_eq!((high.settings.temperature, high.settings.top_p), (Some(2.0), Some(1.0)));
    assert_eq!(
        (high.settings.max_output_tokens, high.max_tool_result_bytes),
        (Some(u32::MAX), 8 * 1024 * 1024)
    );
    assert_eq!(high.models().count(), 1, "its own model is allowed in any case");
    assert!(high.mcp_servers[0].approval.is_needed("whoami"));
}

#[test]
fn instructions_may_be_a_file() {
    let models = "models: { m: { provider: scripted, script: [{ say: hi }] } }\n";
    let agents = "agents: { a: { model: m, instructions: { file: prompts/a.md } } }\n";
    let files = [("c.yaml", &*format!("{models}{agents}")), ("prompts/a.md", "Be kind.\nBe brief.\n")];
    let config = load_in(&files, "c.yaml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(&*config.agents["a"].instructions, "Be kind.\nBe brief.\n");
}

#[test]
fn aliases_stand_for_their_anchors() {
    let config = good(
        "mcp_servers:\n  one: &crm { url: 'https://h/', headers: &headers { X-A: a } }\n  two: *crm\n  \
         three:\n    url: https://i/\n    headers: *headers\n",
    );
    for name in ["one", "two", "three"] {
        assert_eq!(sent(&config.mcp_servers[name].headers), [("x-a".to_owned(), "a".to_owned())], "{name}");
    }
    assert_eq!(config.mcp_servers["two"].url.as_str(), "https://h/");
}

#[test]
fn plaintext_and_zero_are_allowed_where_said() {
    let config = good(
        "models: { m: { provider: openai_chat, base_url: 'http://vllm:8000/v1', allow_plaintext: true, model: x } }\n\
         mcp_servers: { crm: { url: 'http://crm/mcp?key=1', allow_plaintext: true, tools_ttl: 0s } }\n",
    );
    assert_eq!(config.mcp_servers["crm"].tools_ttl, Duration::ZERO);
    assert_eq!(config.mcp_servers["crm"].url.query(), Some("key=1"));
    assert_eq!(openai(&config, "m").base_url.host_str(), Some("vllm"));
}
