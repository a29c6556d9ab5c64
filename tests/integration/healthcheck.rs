//! `runwright healthcheck`: what a probe sees that has nothing but this command.

use std::{net::SocketAddr, path::Path, process::Output};

use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, process::Command};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{
    authority::{Authority, connect},
    gate::Gate,
    mcp_server::{Era, McpServer},
    run_with,
    service::{Service, whoami_config},
    soon,
};

/// Asks; whether all is well, and what was said.
async fn ask(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runwright"));
    let command = command.arg("healthcheck").args(arguments).kill_on_drop(true);
    let Output { status, stdout, stderr } = soon("the command's end", command.output()).await.unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    match status.code() {
        Some(0) => assert_eq!(err, ""),
        Some(1) => assert_eq!((&*out, err.lines().count()), ("", 1), "{err}"),
        code => panic!("{code:?}: {err}"),
    }
    (status.success(), out + &err)
}

async fn ask_at(target: &str, more: &[&str]) -> (bool, String) {
    ask(&[&["--target", target], more].concat()).await
}

fn idle() -> String {
    whoami_config("http://127.0.0.1:9/mcp")
}

#[tokio::test]
async fn a_service_that_takes_runs_is_well() {
    let service = Service::start(&idle()).await;
    let target = format!("http://{}", service.grpc);
    let well = (true, format!("{target} is SERVING\n"));
    assert_eq!(ask_at(&target, &[]).await, well);
    assert_eq!(ask_at(&format!("{target}/"), &["--service", "runwright.v1.AgentService"]).await, well);
    let by_name = format!("http://localhost:{}", service.grpc.port());
    assert_eq!(ask_at(&by_name, &[]).await, (true, format!("{by_name} is SERVING\n")));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_by_name() {
    let service = Service::start(&idle()).await;
    let target = format!("http://{}", service.grpc);
    let said = format!("{target} knows no service \"runwright.v2.AgentService\"\n");
    assert_eq!(ask_at(&target, &["--service", "runwright.v2.AgentService"]).await, (false, said));
}

#[tokio::test]
async fn a_service_that_drains_is_not_well() {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut agents = service.agents.clone();
    let _run = tokio::spawn(async move { agents.run(run_with("a", [])).await });
    gate.entered(1).await;
    let mut watched = HealthClient::new(service.channel.clone());
    let watched = watched.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    service.stop();
    soon("the drain", async {
        while watched.message().await.unwrap().unwrap().status() != ServingStatus::NotServing {}
    })
    .await;
    // It speaks to those that connect now, too.
    let target = format!("http://{}", service.grpc);
    assert_eq!(ask_at(&target, &[]).await, (false, format!("{target} is NOT_SERVING\n")));
    gate.open();
}

#[tokio::test]
async fn who_is_not_there_or_says_nothing_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let silent = ask_at(&target, &["--timeout", "100ms"]).await;
    assert_eq!(silent, (false, format!("{target} did not answer within 100ms\n")));
    drop(listener);
    let (well, said) = ask_at(&target, &[]).await;
    assert!(!well && said.starts_with(&format!("{target} can't be reached: ")), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

/// A service with TLS for `localhost`, the folder with its files, and who signed its certificate.
async fn secured(folder: &Path, clients: Option<&Authority>) -> (Service, Authority) {
    let authority = Authority::make();
    let [certificate, key] = authority.issue("localhost").write(folder, "tls");
    authority.write(&folder.join("ca.crt"));
    let client_ca = clients.map_or_else(String::new, |clients| {
        format!(", client_ca: {{ file: {:?} }}", clients.write(&folder.join("clients.crt")))
    });
    let tls = format!("certificate: {{ file: {certificate:?} }}, key: {{ file: {key:?} }}{client_ca}");
    let server =
        format!("\nserver: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, tls: {{ {tls} }} }}\n");
    let shown = clients.map(|clients| clients.issue("caller"));
    let config = authority.client(shown.as_ref());
    let reach = async |grpc: SocketAddr| -> Channel {
        let connector = tower::service_fn(move |_| {
            let config = config.clone();
            async move { connect(grpc, config).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
    };
    (Service::reached(&(server + &idle()), reach).await, authority)
}

#[tokio::test]
async fn over_tls_the_service_is_checked_and_told_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let (service, _authority) = secured(folder.path(), None).await;
    let ca = folder.path().join("ca.crt");
    let (ca, port) = (ca.to_str().unwrap(), service.grpc.port());
    let (by_name, by_address) = (format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}"));
    assert_eq!(ask_at(&by_name, &["--ca", ca]).await, (true, format!("{by_name} is SERVING\n")));
    let named = ask_at(&by_address, &["--ca", ca, "--server-name", "localhost"]).await;
    assert_eq!(named, (true, format!("{by_address} is SERVING\n")));

    let other = Authority::make().write(&folder.path().join("other.crt"));
    let refused = [
        (
            ask_at(&by_name, &["--ca", other.to_str().unwrap()]).await,
            "invalid peer certificate",
            "; --ca says ",
        ),
        (ask_at(&by_name, &[]).await, "UnknownIssuer", "; --ca says "),
        (ask_at(&by_address, &["--ca", ca]).await, "not valid for name", "; --server-name says "),
        (
            ask_at(&format!("http://localhost:{port}"), &[]).await,
            "localhost",
            "; if it serves TLS, ask it with ",
        ),
    ];
    for ((well, said), why, hint) in refused {
        assert!(!well && said.contains(why) && said.contains(hint), "{said}");
    }
}

#[tokio::test]
async fn over_tls_a_service_without_it_is_told_to_be_one() {
    let service = Service::start(&idle()).await;
    let (well, said) = ask_at(&format!("https://{}", service.grpc), &[]).await;
    assert!(!well && said.ends_with("; it seems to serve no TLS: ask it with --target http://…\n"), "{said}");
}

#[tokio::test]
async fn where_certificates_are_wanted_one_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let clients = Authority::make();
    let (service, authority) = secured(folder.path(), Some(&clients)).await;
    let target = format!("https://localhost:{}", service.grpc.port());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let ca = path("ca.crt");
    clients.issue("probe").write(folder.path(), "probe");
    authority.issue("probe").write(folder.path(), "stranger");
    let shown = async |name: &str| {
        let (certificate, key) = (path(&format!("{name}.crt")), path(&format!("{name}.key")));
        ask_at(&target, &["--ca", &ca, "--certificate", &certificate, "--key", &key]).await
    };
    assert_eq!(shown("probe").await, (true, format!("{target} is SERVING\n")));
    let (well, said) = shown("stranger").await;
    assert!(!well && said.starts_with(&target) && !said.contains("--certificate"), "{said}");
    let (well, said) = ask_at(&target, &["--ca", &ca]).await;
    assert!(!well && said.ends_with("give --certificate and --key\n"), "{said}");
    let (well, said) = shown("nobody").await;
    assert!(!well && said.contains("No such file"), "{said}");
}

#[tokio::test]
async fn what_is_for_tls_is_refused_without_it() {
    let (well, said) = ask(&["--server-name", "localhost"]).await;
    assert!(!well && said.starts_with("http://127.0.0.1:50051 has no TLS: "), "{said}");
}

#[tokio::test]
async fn a_target_is_a_url_of_an_origin_and_a_time_is_a_duration() {
    for wrong in [
        ["--target", "127.0.0.1:50051"],
        ["--target", "grpc://127.0.0.1:50051"],
        ["--target", "http://127.0.0.1:50051/path"],
        ["--target", "http://user@127.0.0.1:50051"],
        ["--timeout", "5"],
        ["--timeout", "0s"],
        ["--certificate", "tls.crt"],
        ["--server-name", "no name"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runwright"));
        let output = command.arg("healthcheck").args(wrong).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
