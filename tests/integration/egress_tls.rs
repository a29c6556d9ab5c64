//! TLS to MCP servers and models: own roots and certificates, each for the registration that has them.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use runwright::{
    egress::{Egress, Profile, Route, SendError},
    tls::{Identity, Roots},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    authority::{Authority, Issued},
    error::decode,
    headers,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    run_as, run_with,
    scene::crm_config,
    service::{Service, asking_config},
    soon,
    tls_front::TlsFront,
};

/// The fields of a registration with roots and a certificate, whose files are written to a folder.
fn tls_fields(folder: &Path, ca: &Authority, shown: Option<&Issued>) -> String {
    tls_fields_named(folder, ca, shown, "client")
}

/// The same, with a name for the certificate's files; that of the roots is the same.
fn tls_fields_named(folder: &Path, ca: &Authority, shown: Option<&Issued>, name: &str) -> String {
    let ca = ca.write(&folder.join("ca.crt"));
    let own = shown.map_or_else(String::new, |shown| {
        let [certificate, key] = shown.write(folder, name);
        format!(", certificate: {{ file: {certificate:?} }}, key: {{ file: {key:?} }}")
    });
    format!("tls: {{ ca: {{ file: {ca:?} }}{own} }}, ")
}

/// An MCP server behind TLS that asks for certificates, and who signs which.
struct Guarded {
    server: McpServer,
    front: TlsFront,
    authority: Authority,
    clients: Authority,
    folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let (authority, clients) = (Authority::make(), Authority::make());
        let server = McpServer::start(Era::Modern).await;
        let front =
            TlsFront::start(authority.issue("localhost").server(Some(&clients)), server.address).await;
        Self { server, front, authority, clients, folder: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        self.front.url("/mcp")
    }

    /// A run's end, of a service whose registration has these fields.
    async fn run(&self, fields: &str) -> Result<String, String> {
        let service = Service::start(&crm_config(&self.url(), fields)).await;
        let run = soon("the run's end", service.run(run_as("a", "alice"))).await;
        run.map(|response| response.final_output).map_err(|status| decode(&status).reason)
    }
}

#[tokio::test]
async fn an_mcp_server_with_an_authority_of_its_own_is_reached_with_a_certificate() {
    let guarded = Guarded::start().await;
    let own = guarded.clients.issue("runwright");
    let fields = tls_fields(guarded.folder.path(), &guarded.authority, Some(&own));
    assert_eq!(guarded.run(&fields).await, Ok("Bearer alice".to_owned()));
    let shown = guarded.front.shown();
    assert!(!shown.is_empty() && shown.iter().all(|shown| *shown == Some(own.chain()[0].to_vec())));
}

#[tokio::test]
async fn without_the_roots_or_the_certificate_nothing_is_sent() {
    let guarded = Guarded::start().await;
    let unavailable = Err("MCP_UNAVAILABLE".to_owned());
    let own = guarded.clients.issue("runwright");
    let folder = guarded.folder.path();
    assert_eq!(guarded.run("").await, unavailable, "the platform's roots");
    assert_eq!(guarded.run(&tls_fields(folder, &Authority::make(), Some(&own))).await, unavailable);
    assert_eq!(guarded.run(&tls_fields(folder, &guarded.authority, None)).await, unavailable);
    let unknown = Authority::make().issue("runwright");
    assert_eq!(guarded.run(&tls_fields(folder, &guarded.authority, Some(&unknown))).await, unavailable);
    assert_eq!(guarded.front.shown().len(), 0);
    assert!(!guarded.front.refused().is_empty());
    assert_eq!(guarded.server.seen().len(), 0);
}

#[tokio::test]
async fn the_name_of_a_server_is_checked_with_own_roots_too() {
    let guarded = Guarded::start().await;
    let other = guarded.authority.issue("other.example");
    let front = TlsFront::start(other.server(None), guarded.server.address).await;
    let fields = tls_fields(guarded.folder.path(), &guarded.authority, None);
    let service = Service::start(&crm_config(&front.url("/mcp"), &fields)).await;
    let status = soon("the run's end", service.run(run_as("a", "alice"))).await.unwrap_err();
    assert_eq!(decode(&status).reason, "MCP_UNAVAILABLE");
    assert_eq!(guarded.server.seen().len(), 0);
}

#[tokio::test]
async fn a_connection_with_a_certificate_serves_no_other_registration() {
    let guarded = Guarded::start().await;
    let (first, second) = (guarded.clients.issue("first"), guarded.clients.issue("second"));
    // Only the certificates differ.
    let fields = [Some(&first), Some(&second), None].map(|shown| {
        let name = if shown == Some(&first) { "first" } else { "second" };
        tls_fields_named(guarded.folder.path(), &guarded.authority, shown, name)
    });
    let names = ["one", "two", "three"];
    let registered: String = (names.iter().zip(&fields))
        .map(|(name, fields)| format!("  {name}: {{ {fields}url: \"{}\" }}\n", guarded.url()))
        .collect();
    let agents: String =
        names.iter().map(|name| format!("  {name}: {{ model: {name}, mcp_servers: [{name}] }}\n")).collect();
    let models: String = names
        .iter()
        .map(|name| {
            let call = format!("[{{ mcp_server: {name}, tool: whoami, arguments: {{}} }}]");
            format!(
                "  {name}: {{ provider: scripted, script: [{{ call: {call} }}, {{ say: \"{{{{ results.0.text }}}}\" }}] }}\n"
            )
        })
        .collect();
    let service =
        Service::start(&format!("models:\n{models}mcp_servers:\n{registered}agents:\n{agents}")).await;
    let run = async |name: &'static str| {
        let set = headers([("authorization", &format!("Bearer of-{name}"))]);
        soon("the run's end", service.run(run_with(name, [(name, set)]))).await
    };
    // Each run finds the connections of those before it.
    for _ in 0..2 {
        for name in ["one", "two"] {
            assert_eq!(run(name).await.unwrap().final_output, format!("Bearer of-{name}"));
        }
        assert_eq!(decode(&run("three").await.unwrap_err()).reason, "MCP_UNAVAILABLE");
    }
    let mut shown = guarded.front.shown();
    shown.sort();
    shown.dedup();
    let mut expected = vec![Some(first.chain()[0].to_vec()), Some(second.chain()[0].to_vec())];
    expected.sort();
    assert_eq!(shown, expected);
    assert!(guarded.server.seen().iter().all(|seen| seen.header("authorization") != "Bearer of-three"));
}

#[tokio::test]
async fn a_model_is_reached_with_a_certificate() {
    let guarded = Guarded::start().await;
    let model =
        ModelServer::start(async |body| if has_result(&body) { says("done") } else { calls("whoami", "{}") })
            .await;
    let authority = &guarded.authority;
    let front =
        TlsFront::start(authority.issue("localhost").server(Some(&guarded.clients)), model.address).await;
    let fields = tls_fields(guarded.folder.path(), authority, Some(&guarded.clients.issue("runwright")));
    let server = guarded.server.url();
    let with = asking_config(&front.url("/v1"), &[("crm", &server)])
        .replace("provider: openai_chat, ", &format!("provider: openai_chat, {fields}"));
    let service = Service::start(&with).await;
    let run = soon("the run's end", service.run(run_as("a", "alice"))).await.unwrap();
    assert_eq!(run.final_output, "done");
    assert_eq!(model.seen().len(), 2);

    let without = Service::start(&asking_config(&front.url("/v1"), &[("crm", &server)])).await;
    let status = soon("the run's end", without.run(run_as("a", "alice"))).await.unwrap_err();
    assert_eq!(decode(&status).reason, "MODEL_UNAVAILABLE");
    assert_eq!(model.seen().len(), 2);
}

/// A server that answers a request on each connection, and tells which certificate it was shown.
async fn answering_once(
    authority: &Authority,
    clients: &Authority,
) -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(authority.issue("localhost").server(Some(clients))));
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
            if tell.send(shown).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[tokio::test]
async fn new_connections_use_new_files() {
    let (authority, clients) = (Authority::make(), Authority::make());
    let (address, mut told) = answering_once(&authority, &clients).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(&folder.path().join("ca.crt"));
    let old = clients.issue("runwright");
    let [certificate, key] = old.write(folder.path(), "client");
    let route = Route {
        roots: Some(Roots::open(ca.clone()).unwrap()),
        identity: Some(Identity::open(certificate, key).unwrap()),
        proxy: None,
    };
    let client =
        Egress::default().client(Profile { connect_timeout: Duration::from_secs(5), route }).unwrap();
    let send = async || {
        let get = Request::get(format!("https://localhost:{}/", address.port())).body(Bytes::new()).unwrap();
        client.send(get).await.map(|answer| answer.status().as_u16())
    };
    let mut shown = async || {
        assert_eq!(soon("an answer", send()).await, Ok(204));
        soon("a note", told.recv()).await.unwrap()
    };
    assert_eq!(shown().await, old.chain()[0].to_vec());
    let new = clients.issue("runwright");
    new.write(folder.path(), "client");
    soon("the new certificate", async { while shown().await != new.chain()[0].to_vec() {} }).await;

    Authority::make().write(&ca);
    soon("the new roots", async { while soon("an answer", send()).await != Err(SendError::Connect) {} })
        .await;
    authority.write(&ca);
    soon("the roots again", async { while soon("an answer", send()).await != Ok(204) {} }).await;
}
