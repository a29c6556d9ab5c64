//! The clients of `examples/`, each in its language, against the demo: every scene goes well, over one connection, and a
//! run is one trace from the client's own span to that of the MCP server.

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tokio::process::Command;

use crate::support::{
    collector::{Batch, Collector, attribute},
    demo::Demo,
    process::Process,
    relay::Relay,
    within_all,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What each client shows, in this order.
const SCENES: [&str; 8] =
    ["unary", "streamed", "cancelled", "refused", "unauthorized", "refreshed", "approved", "retried"];

#[tokio::test]
async fn python() {
    within_all(shows("python", &[".tools/clients/python/bin/runwright-example"])).await;
}

#[tokio::test]
async fn go() {
    within_all(shows("go", &[".tools/clients/go/example"])).await;
}

#[tokio::test]
async fn java() {
    within_all(shows("java", &["java", "-jar", "examples/java/target/runwright-example.jar"])).await;
}

#[tokio::test]
async fn typescript() {
    within_all(shows("typescript", &["node", ".tools/clients/typescript/dist/example/main.js"])).await;
}

/// A span, and whose it is.
struct Told {
    service: String,
    span: Span,
}

/// Runs the program of a language. Paths in `command` are those of the repository.
async fn shows(language: &str, command: &[&str]) {
    let collector = Collector::start("http").await;
    let demo = Demo::start(&collector.endpoint()).await;
    let relay = Relay::start(demo.address.clone()).await;

    let mut program = Process::start("the client", &mut program(command, &relay, &collector));
    let ended = program.ended().await;
    program.line("ok: retried").await;
    let output = program.output();
    let went_well: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("ok: ")).collect();
    assert_eq!(went_well, SCENES, "{output}");
    assert!(ended.success(), "{ended}:\n{output}");
    assert_eq!(relay.connections(), 1, "control calls reach the run's own instance over its own connection");

    // Two users asked in one scene, and one in the other.
    for (scene, rpc, runs) in [("unary", "Run", 2), ("streamed", "RunStreamed", 1)] {
        let expected = vec![whole_path(language, scene, rpc); runs];
        let root = format!("example-{language} example.{scene}");
        let whole = |batches: &[Batch]| paths(&told(batches), &root).len() >= runs;
        let batches = collector.until(&format!("the trace of {scene}"), whole).await;
        assert_eq!(paths(&told(&batches), &root), expected);
    }
}

fn program(command: &[&str], relay: &Relay, collector: &Collector) -> Command {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).current_dir(ROOT).envs([
        ("RUNWRIGHT_TARGET", relay.address.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint().as_str()),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ]);
    program
}

/// From a scene of the client to the MCP server.
fn whole_path(language: &str, scene: &str, rpc: &str) -> Vec<String> {
    vec![
        format!("example-{language} example.{scene}"),
        format!("runwright runwright.v1.AgentService/{rpc} SERVER"),
        "runwright invoke_agent support".to_owned(),
        "runwright execute_tool whoami".to_owned(),
        "runwright tools/call whoami CLIENT".to_owned(),
        "shop tools/call whoami SERVER".to_owned(),
    ]
}

fn told(batches: &[Batch]) -> Vec<Told> {
    let resources = batches.iter().flat_map(|batch| &batch.request.resource_spans);
    let of_resource = resources.flat_map(|resource| {
        let attributes = resource.resource.as_ref().map(|of| of.attributes.as_slice()).unwrap_or_default();
        let service = attribute(attributes, "service.name").unwrap_or_default();
        let spans = resource.scope_spans.iter().flat_map(|scope| scope.spans.clone());
        spans.map(move |span| Told { service: service.clone(), span }).collect::<Vec<_>>()
    });
    of_resource.collect()
}

/// The paths, in one trace each, from a scene to the MCP server's spans of its tool `whoami`. What a library of the client's
/// has between its scene and the service is left out.
fn paths(all: &[Told], root: &str) -> Vec<Vec<String>> {
    let called = all.iter().filter(|told| told.service == "shop" && told.span.name == "tools/call whoami");
    let paths = called.map(|told| path(all, told));
    paths.filter(|path| path.first().is_some_and(|first| first == root)).collect()
}

/// What stands above a span, and the span.
fn path(all: &[Told], leaf: &Told) -> Vec<String> {
    let above = |told: &&Told| {
        let parent = |other: &&Told| {
            other.span.span_id == told.span.parent_span_id && other.span.trace_id == told.span.trace_id
        };
        all.iter().find(parent)
    };
    let mut path: Vec<&Told> = std::iter::successors(Some(leaf), above).collect();
    path.reverse();
    let is_shown =
        |told: &&&Told| !told.service.starts_with("example-") || told.span.name.starts_with("example.");
    path.iter().filter(is_shown).map(|told| name(told)).collect()
}

/// A span's service, name and, on either side of a connection, kind.
fn name(Told { service, span }: &Told) -> String {
    let kind = match span.kind() {
        // A scene is of the kind that its language likes best.
        _ if service.starts_with("example-") => "",
        SpanKind::Client => " CLIENT",
        SpanKind::Server => " SERVER",
        _ => "",
    };
    format!("{service} {}{kind}", span.name)
}
