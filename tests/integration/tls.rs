//! gRPC over TLS: who is let in, and how certificates are replaced while the service runs.

use std::{net::SocketAddr, path::Path, sync::Arc};

use hyper_util::rt::TokioIo;
use runwright::grpc::proto::{RunEvent, run_event::Event};
use rustls::{
    ClientConfig, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::io::AsyncReadExt;
use tonic::transport::{Channel, Endpoint};

use crate::support::{
    authority::{Authority, Issued, connect},
    gate::Gate,
    logs,
    mcp_server::{Era, McpServer},
    run_as,
    service::{Service, whoami_config},
    soon,
};

/// A service with TLS, the MCP server behind it, and the folder with its files.
struct Secured {
    service: Service,
    authority: Authority,
    issued: Issued,
    folder: tempfile::TempDir,
    _server: McpServer,
}

impl Secured {
    async fn start(clients: Option<&Authority>) -> Self {
        Self::before(McpServer::start(Era::Modern).await, clients).await
    }

    /// Where there are `clients`, it wants to be shown certificates that they signed.
    async fn before(server: McpServer, clients: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::make();
        let issued = authority.issue("localhost");
        let yaml = secured_config(folder.path(), &issued, clients) + &whoami_config(&server.url());
        let own = clients.map(|clients| clients.issue("caller"));
        let config = authority.client(own.as_ref());
        let service = Service::reached(&yaml, async |grpc| channel(grpc, config)).await;
        Self { service, authority, issued, folder, _server: server }
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        let stream = connect(self.service.grpc, self.authority.client(None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// Waits until new connections are shown a certificate; the files are looked at now and then.
    async fn shows(&self, issued: &Issued) {
        soon("a new certificate", async { while self.shown().await != issued.chain()[0].to_vec() {} }).await;
    }
}

fn secured_config(folder: &Path, issued: &Issued, clients: Option<&Authority>) -> String {
    let [certificate, key] = issued.write(folder, "tls").map(|path| format!("{{ file: {path:?} }}"));
    let client_ca = clients.map_or_else(String::new, |clients| {
        format!(", client_ca: {{ file: {:?} }}", clients.write(&folder.join("clients.crt")))
    });
    format!(
        "\nserver: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, \
         tls: {{ certificate: {certificate}, key: {key}{client_ca} }} }}\n"
    )
}

/// Connections over TLS, the first when it is needed.
fn channel(grpc: SocketAddr, config: ClientConfig) -> Channel {
    let connector = tower::service_fn(move |_| {
        let config = config.clone();
        async move { connect(grpc, config).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
}

/// Whether a client gets through: its run ends well.
async fn is_served(secured: &Secured, config: ClientConfig) -> bool {
    let channel = channel(secured.service.grpc, config);
    let mut agents = runwright::grpc::proto::agent_service_client::AgentServiceClient::new(channel);
    soon("an end", agents.run(run_as("a", "alice"))).await.is_ok()
}

#[tokio::test]
async fn runs_go_over_tls() {
    let secured = Secured::start(None).await;
    let unary = soon("a run", secured.service.run(run_as("a", "alice"))).await.unwrap();
    assert_eq!(unary.final_output, "Bearer alice");
    let streamed = soon("a run", secured.service.run_streamed(run_as("a", "bob"))).await.unwrap();
    assert_eq!(streamed.final_output, "Bearer bob");
}

#[tokio::test]
async fn versions_1_2_and_1_3_are_spoken() {
    let secured = Secured::start(None).await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut config = secured.authority.client(None);
        let roots = ClientConfig::builder_with_provider(config.crypto_provider().clone())
            .with_protocol_versions(&[version])
            .unwrap();
        config = roots.with_root_certificates(secured.authority.roots()).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = connect(secured.service.grpc, config).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[tokio::test]
async fn a_client_that_believes_another_authority_does_not_speak_to_it() {
    let secured = Secured::start(None).await;
    assert!(is_served(&secured, secured.authority.client(None)).await);
    assert!(!is_served(&secured, Authority::make().client(None)).await);
}

#[tokio::test]
async fn plain_text_is_not_served_beside_tls() {
    let secured = Secured::start(None).await;
    let plain = Endpoint::from_shared(format!("http://{}", secured.service.grpc)).unwrap().connect_lazy();
    let mut agents = runwright::grpc::proto::agent_service_client::AgentServiceClient::new(plain);
    assert!(soon("an end", agents.run(run_as("a", "alice"))).await.is_err());
}

#[tokio::test]
async fn with_a_client_ca_only_those_are_served_whose_certificate_it_signed() {
    let clients = Authority::make();
    let secured = Secured::start(Some(&clients)).await;
    let known = clients.issue("caller");
    let response = soon("a run", secured.service.run(run_as("a", "alice"))).await.unwrap();
    assert_eq!(response.final_output, "Bearer alice");
    assert!(is_served(&secured, secured.authority.client(Some(&known))).await);
    assert!(!is_served(&secured, secured.authority.client(None)).await, "without a certificate");
    let unknown = Authority::make().issue("caller");
    assert!(!is_served(&secured, secured.authority.client(Some(&unknown))).await, "of another authority");
    let own = secured.authority.issue("caller");
    assert!(!is_served(&secured, secured.authority.client(Some(&own))).await, "of the server's authority");
}

#[tokio::test]
async fn new_connections_see_a_new_certificate_and_open_streams_go_on() {
    let gate = Gate::closed();
    let secured = Secured::before(McpServer::slow(Era::Modern, &gate).await, None).await;
    let mut agents = secured.service.agents.clone();
    let opened = soon("a stream", agents.run_streamed(run_as("a", "alice"))).await;
    let mut stream = opened.unwrap().into_inner();
    gate.entered(1).await;
    secured.shows(&secured.issued).await;

    let next = secured.authority.issue("localhost");
    next.write(secured.folder.path(), "tls");
    secured.shows(&next).await;
    gate.open();
    let mut last = RunEvent::default();
    while let Some(event) = soon("an event", stream.message()).await.unwrap() {
        last = event;
    }
    let Some(Event::RunCompleted(response)) = last.event else { panic!("{last:?}") };
    assert_eq!(response.final_output, "Bearer alice");
}

#[tokio::test]
async fn a_pair_that_does_not_match_leaves_the_last_one() {
    let (logs, _guard) = logs::catch();
    let secured = Secured::start(None).await;
    let next = secured.authority.issue("localhost");
    std::fs::write(secured.folder.path().join("tls.crt"), &next.certificate).unwrap();
    let warning = "A file gives no value; its last one is used on";
    soon("a look at the files", async {
        while !logs.text().contains(warning) {
            assert_eq!(secured.shown().await, secured.issued.chain()[0].to_vec());
        }
    })
    .await;
    std::fs::write(secured.folder.path().join("tls.key"), &next.key).unwrap();
    secured.shows(&next).await;
    assert_eq!(logs.text().matches(warning).count(), 1, "{}", logs.text());
    assert!(!logs.text().contains("BEGIN"), "{}", logs.text());
}

#[tokio::test]
async fn a_client_ca_is_replaced_too() {
    let (old, new) = (Authority::make(), Authority::make());
    let secured = Secured::start(Some(&old)).await;
    let config = secured.authority.client(Some(&new.issue("caller")));
    assert!(!is_served(&secured, config.clone()).await);
    new.write(&secured.folder.path().join("clients.crt"));
    soon("the new authority", async { while !is_served(&secured, config.clone()).await {} }).await;
    assert!(!is_served(&secured, secured.authority.client(Some(&old.issue("caller")))).await);
}

#[tokio::test]
async fn a_silent_connection_does_not_keep_the_service_from_ending() {
    let secured = Secured::start(None).await;
    let mut silent = tokio::net::TcpStream::connect(secured.service.grpc).await.unwrap();
    secured.shown().await;
    secured.service.stop();
    secured.service.ended().await;
    assert_eq!(soon("the end", silent.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn failed_handshakes_do_not_fill_the_log() {
    let (logs, _guard) = logs::catch();
    let secured = Secured::start(None).await;
    let stranger = Arc::new(Authority::make());
    for _ in 0..5 {
        assert!(connect(secured.service.grpc, stranger.client(None)).await.is_err());
    }
    let told = async {
        while logs.text().matches("A TLS handshake failed").count() < 5 {
            tokio::task::yield_now().await
        }
    };
    soon("five lines", told).await;
    let text = logs.text();
    let mut failures = text.lines().filter(|line| line.contains("A TLS handshake failed"));
    assert!(failures.all(|line| line.contains("\"DEBUG\"")), "{text}");
}
