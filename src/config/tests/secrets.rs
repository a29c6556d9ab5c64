use super::*;

/// Stands wherever a value may: no problem may show it.
const CANARY: &str = "canary-7d1f";

#[test]
fn no_problem_shows_a_value() {
    let text = r#"
server: { listen: CANARY, digest_key: { file: key, env: CANARY }, drain_timeout: CANARY }
limits: { max_concurrent_runs: CANARY, run_timeout: CANARY, max_request_bytes: CANARY }
models:
  one: { provider: CANARY }
  two: { provider: openai_chat, base_url: 'http://CANARY:CANARY@h/', model: x, api_key: "CANARY\n" }
  three: { provider: openai_chat, base_url: 'http://h/?key=CANARY', model: x, api_key: { CANARY } }
  four: { provider: openai_chat, base_url: CANARY, model: [CANARY], api_key: { CANARY: CANARY } }
  five: { provider: openai_chat, base_url: 'https://h/#CANARY', model: x, api_key: [CANARY] }
  six: { provider: scripted, script: [{ say: [CANARY], call: [{ mcp_server: CANARY, tool: "CANARY\n" }] }] }
mcp_servers:
  crm:
    url: https://h:CANARY/
    session_scope: CANARY
    tls: { ca: CANARY, certificate: { file: key }, key: { file: key, CANARY: CANARY } }
    proxy: 'http://CANARY:CANARY@h/'
    caller_headers: { allowed: ["X-A: CANARY", "CANARY\n"], locked: CANARY, required: [[CANARY], { CANARY: CANARY }] }
    headers:
      X-A: "CANARY\n"
      X-B: { file: key }
      X-C: { file: key, prefix: " CANARY" }
      X-D: { env: CANARY-VARIABLE }
      X-E: { env: SECRET_LINES }
      X-F: { env: SECRET, prefix: "CANARY\n" }
      X-G: { oauth_client_credentials: { issuer: 'http://CANARY:CANARY@h/', client_id: [CANARY], client_secret: "CANARY\n" } }
      X-H: { oauth_client_credentials: { discover: CANARY, private_key: CANARY, scope: [CANARY], resource: CANARY } }
      X-I: { oauth_client_credentials: { client_secret: { file: key }, private_key: { file: key }, signing_algorithm: CANARY } }
      X-J: { google_id_token: { audience: [CANARY], metadata_host: 'http://CANARY:CANARY@h/' } }
      X-K: { oauth_client_credentials: { discover: true, client_id: x, client_secret: { CANARY: CANARY } }, prefix: [CANARY] }
      X-L: { google_id_token: CANARY }
      X-M: { value: CANARY, secret: CANARY }
      X-N: { value: "CANARY\n", secret: false }
      Host: CANARY
      "Authorization: Bearer CANARY":
  proxied:
    url: https://h/
    tls: CANARY
    proxy: { url: 'socks5://CANARY:CANARY@h/', authorization: "CANARY\n" }
agents:
  a:
    model: CANARY
    description: [CANARY]
    timeout: CANARY
    mcp_servers: [CANARY, { name: CANARY, tools: CANARY, required: CANARY, headers: CANARY }]
telemetry: { logs: { format: CANARY, filter: "CANARY=CANARY" }, spans: CANARY, sampling: CANARY, resource: [CANARY],
  otlp: { endpoint: "http://CANARY:CANARY@h/", protocol: CANARY, headers: { x-a: { CANARY } }, timeout: CANARY } }
"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(&file, text.replace("CANARY", CANARY)).unwrap();
    fs::write(folder.path().join("key"), format!("{CANARY}\nsecond line")).unwrap();
    let secret = |name: &str| match name {
        "SECRET" => Some(CANARY.to_owned()),
        "SECRET_LINES" => Some(format!("{CANARY}\nsecond line")),
        _ => None,
    };
    let problems = load(&file, &secret).err().expect("the configuration was taken");
    for problem in &problems {
        assert!(!problem.to_string().contains(CANARY), "{problem}");
        assert!(!format!("{problem:?}").contains(CANARY), "{problem:?}");
    }
    let lines: std::collections::BTreeSet<usize> = problems.iter().map(|problem| problem.line).collect();
    let said: Vec<usize> =
        [2..=3, 5..=10, 13..=17, 19..=34, 37..=38, 41..=46].into_iter().flatten().collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), said, "each of these lines has a problem");
}
