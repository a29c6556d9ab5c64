//! The process's life: probes, health, reflection, and how it ends.

use prost::Message;
use prost_types::FileDescriptorProto;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{
    error::decode,
    gate::Gate,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, says},
    run_with,
    service::{Service, asking_config, whoami_config},
    soon,
};

/// Asks a probe; its status.
async fn probe(service: &Service, path: &str) -> u16 {
    let mut socket = TcpStream::connect(service.admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("a probe's answer", socket.read_to_string(&mut answer)).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn watch(service: &Service, name: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: name.to_owned() };
    HealthClient::new(service.channel.clone()).watch(request).await.unwrap().into_inner()
}

async fn becomes(health: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
    soon("a change of health", async {
        while health.message().await.unwrap().unwrap().status() != status {}
    })
    .await;
}

/// A server and a service that drains for this long, with a run that waits in a tool, unary or streamed.
struct Draining {
    gate: Gate,
    service: Service,
    _server: McpServer,
    run: tokio::task::JoinHandle<Result<String, Status>>,
}

impl Draining {
    async fn start(drain_timeout: &str, streamed: bool) -> Self {
        let gate = Gate::closed();
        let server = McpServer::slow(Era::Stateful, &gate).await;
        let section =
            format!("listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: {drain_timeout}");
        let yaml = whoami_config(&server.url()).replace("{{ results.0.text }}", "done");
        let service = Service::start(&format!("\nserver: {{ {section} }}{yaml}")).await;
        let mut health = watch(&service, "runwright.v1.AgentService").await;
        becomes(&mut health, ServingStatus::Serving).await;
        let mut agents = service.agents.clone();
        let run = tokio::spawn(async move {
            let request = run_with("a", []);
            if !streamed {
                return agents.run(request).await.map(|response| response.into_inner().final_output);
            }
            let mut stream = agents.run_streamed(request).await?.into_inner();
            let mut last = None;
            while let Some(event) = stream.message().await? {
                last = Some(event);
            }
            Ok(format!("{:?}", last.unwrap().event.unwrap()))
        });
        gate.entered(1).await;
        service.stop();
        becomes(&mut health, ServingStatus::NotServing).await;
        Self { gate, service, _server: server, run }
    }
}

#[tokio::test]
async fn a_service_that_runs_is_alive_ready_and_serving() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    assert_eq!((probe(&service, "/livez").await, probe(&service, "/readyz").await), (200, 200));
    assert_eq!(probe(&service, "/").await, 404);
    for name in ["", "runwright.v1.AgentService", "runwright.v1.CatalogService"] {
        becomes(&mut watch(&service, name).await, ServingStatus::Serving).await;
    }
}

#[tokio::test]
async fn a_service_that_drains_is_alive_and_finishes_its_runs_and_takes_no_more() {
    for streamed in [false, true] {
        let Draining { gate, service, run, .. } = &mut Draining::start("10m", streamed).await;
        assert_eq!((probe(service, "/livez").await, probe(service, "/readyz").await), (200, 503));
        // One alone: its connection is told to go soon, and tonic's client fails the call that comes next.
        let refused = if streamed {
            let (events, refused) = service.events(run_with("a", [])).await;
            assert!(events.is_empty());
            refused.map(drop)
        } else {
            service.run(run_with("a", [])).await.map(drop)
        };
        let status = refused.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::Unavailable, "SHUTTING_DOWN"));
        assert_eq!(decoded.metadata["admitted"], "false");
        gate.open();
        let output = soon("the run's end", run).await.unwrap().unwrap();
        assert!(output.contains("done"), "{output}");
    }
}

#[tokio::test]
async fn a_service_ends_when_its_last_run_has_ended() {
    let Draining { gate, service, run, .. } = Draining::start("10m", true).await;
    gate.open();
    service.ended().await;
    assert!(soon("the run's end", run).await.unwrap().unwrap().contains("done"));
}

#[tokio::test]
async fn runs_that_outlast_the_drain_are_told_and_the_service_ends() {
    for streamed in [false, true] {
        let Draining { gate, service, run, .. } = Draining::start("100ms", streamed).await;
        let status = soon("the run's end", run).await.unwrap().unwrap_err();
        let decoded = decode(&status);
        assert_eq!(
            (status.code(), &*decoded.reason),
            (Code::Aborted, "SHUTTING_DOWN"),
            "a tool call has begun"
        );
        assert_eq!((&*decoded.metadata["admitted"], &*decoded.metadata["tool_calls_started"]), ("true", "1"));
        gate.given_up(1).await;
        service.ended().await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_live_runs_and_the_service_at_once() {
    for streamed in [false, true] {
        let Draining { gate, service, run, .. } = Draining::start("10m", streamed).await;
        service.stop();
        let status = soon("the run's end", run).await.unwrap().unwrap_err();
        assert_eq!(decode(&status).reason, "SHUTTING_DOWN");
        gate.given_up(1).await;
        service.ended().await;
    }
}

#[tokio::test]
async fn a_run_that_is_ended_before_a_tool_call_may_be_sent_again() {
    let gate = Gate::closed();
    let at = gate.clone();
    let model = ModelServer::start(move |_| {
        let gate = at.clone();
        async move {
            gate.pass().await;
            says("done")
        }
    })
    .await;
    let section = "listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 100ms";
    let yaml = format!("\nserver: {{ {section} }}{}", asking_config(&model.base_url(), &[]));
    let service = Service::start(&yaml).await;
    let mut agents = service.agents.clone();
    let run = tokio::spawn(async move { agents.run(run_with("a", [])).await });
    gate.entered(1).await;
    service.stop();
    let status = soon("the run's end", run).await.unwrap().unwrap_err();
    let decoded = decode(&status);
    assert_eq!((status.code(), &*decoded.reason), (Code::Unavailable, "SHUTTING_DOWN"));
    assert_eq!(decoded.metadata["admitted"], "true");
    gate.given_up(1).await;
}

#[tokio::test]
async fn a_service_ends_whatever_connection_is_open() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    let mut health = watch(&service, "").await;
    becomes(&mut health, ServingStatus::Serving).await;
    let silent = TcpStream::connect(service.grpc).await.unwrap();
    let mut half = TcpStream::connect(service.grpc).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let admin = TcpStream::connect(service.admin).await.unwrap();
    service.stop();
    service.ended().await;
    drop((silent, half, admin, health));
}

#[tokio::test]
async fn reflection_lists_the_services_and_knows_the_details_of_errors() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let symbols = [
        "runwright.v1.AgentService",
        "runwright.v1.AuthChallenge",
        "runwright.v1.RunProgress",
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
    ];
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let list = ask(MessageRequest::ListServices(String::new()));
    let files = symbols.map(|symbol| ask(MessageRequest::FileContainingSymbol(symbol.to_owned())));
    let requests: Vec<_> = std::iter::once(list).chain(files).collect();
    let mut client = ServerReflectionClient::new(service.channel.clone());
    let answers = client.server_reflection_info(futures_util::stream::iter(requests)).await.unwrap();
    let mut answers = answers.into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services")
    };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["runwright.v1.AgentService", "runwright.v1.CatalogService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for symbol in symbols {
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer else {
            panic!("{symbol}: {answer:?}")
        };
        let (package, name) = symbol.rsplit_once('.').unwrap();
        let defines = files.file_descriptor_proto.iter().any(|file| {
            let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
            let messages = file.message_type.iter().map(|message| message.name());
            let mut all = messages.chain(file.service.iter().map(|service| service.name()));
            file.package() == package && all.any(|defined| defined == name)
        });
        assert!(defines, "{symbol}");
    }
}

#[tokio::test]
async fn the_older_reflection_is_spoken_too() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = ServerReflectionClient::new(service.channel.clone());
    let answers = client.server_reflection_info(futures_util::stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else { panic!("{answer:?}") };
    assert!(listed.service.iter().any(|service| service.name == "runwright.v1.AgentService"));
}
