//! Proxies: what they see, and what becomes of a run where one refuses.

use std::{net::TcpListener, path::Path};

use crate::support::{
    authority::Authority,
    error::decode,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    proxy::Proxy,
    run_as,
    scene::{crm_config, reason},
    service::{Service, asking_config},
    soon,
    tls_front::TlsFront,
};

/// A run's values, as a proxy would see them.
const TOKEN: &str = "canary-of-alice";

/// Behind TLS, under a name that only the proxy knows the way to.
async fn behind_tls(server: std::net::SocketAddr, folder: &Path) -> (TlsFront, String) {
    let authority = Authority::make();
    let front = TlsFront::start(authority.issue("crm.test").server(None), server).await;
    let ca = authority.write(&folder.join("ca.crt"));
    (front, format!("tls: {{ ca: {{ file: {ca:?} }} }}, "))
}

async fn outcome(yaml: &str) -> Result<String, (tonic::Code, String)> {
    let service = Service::start(yaml).await;
    let run = soon("the run's end", service.run(run_as("a", TOKEN))).await;
    run.map(|response| response.final_output).map_err(|status| reason(&status))
}

#[tokio::test]
async fn a_proxy_sees_where_a_request_goes_and_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = McpServer::start(Era::Modern).await;
    let (front, tls) = behind_tls(server.address, folder.path()).await;
    let proxy = Proxy::start(front.address).await;
    let fields = format!("{tls}proxy: '{}', ", proxy.url());
    let output = outcome(&crm_config("https://crm.test/mcp?key=canary-of-url", &fields)).await;
    assert_eq!(output, Ok("Bearer [redacted]".to_owned()), "the answer came back");
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for head in asked {
        assert_eq!(head, "connect crm.test:443 http/1.1\r\nhost: crm.test:443\r\n\r\n");
    }
    let passed = proxy.passed();
    assert!(passed.len() > 1000, "all went through it");
    for secret in ["canary", "tools/call", "authorization"] {
        assert!(!passed.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_a_proxy_may_see_is_seen_here() {
    let server = McpServer::start(Era::Modern).await;
    let proxy = Proxy::start(server.address).await;
    let fields = format!("allow_plaintext: true, proxy: '{}', ", proxy.url());
    let output = outcome(&crm_config("http://crm.test/mcp", &fields)).await;
    assert_eq!(output, Ok("Bearer [redacted]".to_owned()), "the answer came back");
    assert!(proxy.asked().iter().all(|head| head.starts_with("connect crm.test:80 ")), "a tunnel here, too");
    assert!(proxy.passed().contains(TOKEN));
    assert_eq!(server.seen()[0].header("host"), "crm.test");
}

#[tokio::test]
async fn a_model_is_asked_through_its_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let server = McpServer::start(Era::Modern).await;
    let model =
        ModelServer::start(async |body| if has_result(&body) { says("done") } else { calls("whoami", "{}") })
            .await;
    let (front, tls) = behind_tls(model.address, folder.path()).await;
    let proxy = Proxy::start(front.address).await;
    let fields = format!("{tls}proxy: '{}', api_key: canary-of-key, ", proxy.url());
    let yaml = asking_config("https://crm.test/v1", &[("crm", &server.url())])
        .replace("provider: openai_chat, ", &format!("provider: openai_chat, {fields}"));
    assert_eq!(outcome(&yaml).await, Ok("done".to_owned()));
    assert_eq!(model.seen()[0].0["authorization"], "Bearer canary-of-key");
    assert_eq!(proxy.asked()[0], "connect crm.test:443 http/1.1\r\nhost: crm.test:443\r\n\r\n");
    assert!(!proxy.passed().contains("canary"));
    assert!(server.seen().len() > 1, "the MCP server has no proxy, and was reached straight");
}

#[tokio::test]
async fn a_proxy_is_shown_its_own_credential_and_the_server_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy");
    std::fs::write(&file, "dXNlcjpwYXNz\n").unwrap();
    let server = McpServer::start(Era::Modern).await;
    let proxy = Proxy::start(server.address).await;
    let fields = format!(
        "allow_plaintext: true, proxy: {{ url: '{}', authorization: {{ file: {file:?}, prefix: 'Basic ' }} }}, ",
        proxy.url()
    );
    assert!(outcome(&crm_config("http://crm.test:8080/mcp", &fields)).await.is_ok());
    for head in proxy.asked() {
        assert!(head.starts_with("connect crm.test:8080 "));
        assert!(head.contains("\r\nproxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");
        assert!(!head.contains("canary"), "{head}");
    }
    assert!(server.seen().iter().all(|seen| !seen.headers.contains_key("proxy-authorization")));
    assert!(!proxy.passed().contains("dXNlcjpwYXNz"));
}

#[tokio::test]
async fn a_proxy_that_gives_no_tunnel_is_no_connection_and_nothing_is_sent() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let elsewhere = target.local_addr().unwrap();
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
        redirect.leak(),
        "HTTP/1.1 200",
        "nonsense\r\n\r\n",
        "",
    ] {
        let proxy = Proxy::refusing(answer).await;
        let fields = format!("proxy: '{}', ", proxy.url());
        let unavailable = Err((tonic::Code::Unavailable, "MCP_UNAVAILABLE".to_owned()));
        assert_eq!(outcome(&crm_config("https://crm.test/mcp", &fields)).await, unavailable, "{answer}");
        assert!(proxy.asked().iter().all(|head| !head.contains("canary")));
    }
    assert!(target.accept().is_err(), "a redirect of a proxy is not followed");
}

#[tokio::test]
async fn a_proxy_that_is_down_is_no_connection() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = McpServer::start(Era::Modern).await;
    // The server itself could be reached.
    let fields = format!("allow_plaintext: true, proxy: 'http://{closed}', ");
    let service = Service::start(&crm_config(&server.url(), &fields)).await;
    let status = soon("the run's end", service.run(run_as("a", TOKEN))).await.unwrap_err();
    assert_eq!(decode(&status).reason, "MCP_UNAVAILABLE");
    assert!(!status.message().contains(&closed.to_string()), "{}", status.message());
    assert_eq!(server.seen().len(), 0, "nothing goes past the proxy");
}
