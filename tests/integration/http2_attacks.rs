//! Clients that mean ill: what they do ends their own connection at most, leaves nothing behind, and harms no other.

use prost::Message;
use runwright::grpc::proto::{RunOptions, RunRequest};

use crate::support::{
    gate::Gate,
    http2::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, Wire, call, frame, message,
    },
    mcp_server::{Era, McpServer},
    metrics::page_where,
    model_server::{ModelServer, says},
    run_with,
    service::{Service, asking_config, whoami_config},
    soon,
};

const RUN: &str = "/runwright.v1.AgentService/Run";
const RUN_STREAMED: &str = "/runwright.v1.AgentService/RunStreamed";
/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 11;

/// A service, whose one agent calls a tool that waits for a gate.
struct Attacked {
    gate: Gate,
    service: Service,
    _server: McpServer,
}

impl Attacked {
    async fn start() -> Self {
        let gate = Gate::closed();
        let server = McpServer::slow(Era::Modern, &gate).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        Self { gate, service, _server: server }
    }

    async fn wire(&self) -> Wire {
        Wire::connect(self.service.grpc).await
    }

    /// Nothing is left of the attack, and another client has its run.
    async fn assert_unharmed(self) {
        soon("the end of all runs", async {
            while self.service.runner.live_runs() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        self.gate.open();
        self.service.run(run_with("a", [])).await.unwrap();
    }
}

/// The frames of a whole call of `path`, but for END_STREAM where the call is left `open`.
fn run(path: &str, stream: u32, open: bool) -> Vec<u8> {
    let request = RunRequest { agent: "a".into(), input: "Who?".into(), ..RunRequest::default() };
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &call(path, &[]));
    let end = if open { 0 } else { END_STREAM };
    bytes.extend(frame(DATA, end, stream, &message(false, &request.encode_to_vec())));
    bytes
}

fn goaway_code(frames: &[Frame]) -> Option<u32> {
    let last = frames.iter().rfind(|frame| frame.kind == GOAWAY)?;
    Some(u32::from_be_bytes(last.payload[4..8].try_into().unwrap()))
}

fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

#[tokio::test]
async fn runs_that_are_reset_as_soon_as_they_are_sent_end_and_a_flood_of_them_ends_the_connection() {
    let attacked = Attacked::start().await;
    let mut wire = attacked.wire().await;
    let flood: Vec<u8> = streams()
        .take(5000)
        .flat_map(|stream| [run(RUN, stream, false), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat())
        .collect();
    let Wire { reading, mut writing } = wire;
    let writer = tokio::spawn(async move {
        // It may be cut off in the midst.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut writing, &flood).await;
        writing
    });
    let writing = soon("the flood", writer).await.unwrap();
    drop((reading, writing));
    attacked.assert_unharmed().await;

    // One run at a time, each of which has begun when it is reset.
    let attacked = Attacked::start().await;
    wire = attacked.wire().await;
    for (count, stream) in (1..=200).zip(streams()) {
        assert!(wire.send(&run(RUN_STREAMED, stream, false)).await);
        attacked.gate.entered(count).await;
        assert!(wire.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await);
    }
    attacked.gate.given_up(200).await;
    attacked.assert_unharmed().await;
}

#[tokio::test]
async fn a_run_that_is_reset_in_the_same_breath_never_begins() {
    let model = ModelServer::start(|_| async { says("Hello.") }).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let mut wire = Wire::connect(service.grpc).await;
    for (number, stream) in (0..200).zip(streams()) {
        let path = if number % 2 == 0 { RUN } else { RUN_STREAMED };
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        let ping = frame(PING, 0, 0, &[0; 8]);
        assert!(wire.send(&[run(path, stream, false), reset, ping].concat()).await);
        // Its answer says that all of it was read.
        soon("the ping's answer", async { while wire.next().await.unwrap().kind != PING {} }).await;
    }
    service.run(run_with("a", [])).await.unwrap();
    let page =
        page_where(&service, "the end of all runs", |page| page.value("runwright_live_runs", []) == 0.0)
            .await;
    assert_eq!(page.sum("runwright_runs_total"), 1.0, "the last one alone");
}

#[tokio::test]
async fn a_run_goes_on_and_keeps_to_its_time_though_its_reader_takes_nothing() {
    let attacked = Attacked::start().await;
    let mut wire = attacked.wire().await;
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    assert!(wire.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await);
    let timeout = prost_types::Duration { seconds: 1, nanos: 0 };
    let options = RunOptions { timeout: Some(timeout), ..RunOptions::default() };
    let request = RunRequest { options: Some(options), ..run_with("a", []) };
    let head = frame(HEADERS, END_HEADERS, 1, &call(RUN_STREAMED, &[]));
    let body = frame(DATA, END_STREAM, 1, &message(false, &request.encode_to_vec()));
    assert!(wire.send(&[head, body].concat()).await);
    attacked.gate.entered(1).await;
    attacked.gate.given_up(1).await;
    attacked.assert_unharmed().await;
}

#[tokio::test]
async fn calls_that_break_the_rules_of_flow_are_reset_and_a_flood_of_them_ends_the_connection() {
    let attacked = Attacked::start().await;
    let mut wire = attacked.wire().await;
    let overflow = [0x7f, 0xff, 0xff, 0xff];
    for stream in streams().take(3000) {
        let broken = [run(RUN_STREAMED, stream, false), frame(WINDOW_UPDATE, 0, stream, &overflow)].concat();
        if !wire.send(&broken).await {
            break;
        }
    }
    let frames = soon("the connection's end", wire.rest()).await;
    // The connection may be gone before the frame that says why is read.
    assert!(matches!(goaway_code(&frames), None | Some(ENHANCE_YOUR_CALM)), "{:?}", goaway_code(&frames));
    attacked.assert_unharmed().await;
}

#[tokio::test]
async fn headers_without_end_end_the_connection() {
    let attacked = Attacked::start().await;
    let mut wire = attacked.wire().await;
    assert!(wire.send(&frame(HEADERS, 0, 1, &call(RUN, &[]))).await);
    let more = frame(CONTINUATION, 0, 1, &call(RUN, &[("x-filler", &"x".repeat(100))]));
    for _ in 0..10_000 {
        if !wire.send(&more).await {
            break;
        }
    }
    soon("the connection's end", wire.rest()).await;
    attacked.assert_unharmed().await;
}

#[tokio::test]
async fn too_many_headers_are_refused_and_the_connection_goes_on() {
    let attacked = Attacked::start().await;
    attacked.gate.open();
    let mut wire = attacked.wire().await;
    let filler = "x".repeat(120);
    let fillers: Vec<(&str, &str)> = (0..100).map(|_| ("x-filler", &*filler)).collect();
    let block = call(RUN, &fillers);
    assert!(block.len() < 16 * 1024, "it is one frame");
    assert!(wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await);
    assert!(wire.send(&run(RUN, 3, false)).await);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let frame = soon("both answers", wire.next()).await.unwrap();
        if frame.kind == RST_STREAM || frame.flags & END_STREAM != 0 && frame.kind <= HEADERS {
            ended.push(frame.stream);
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 3]);
    attacked.assert_unharmed().await;
}

#[tokio::test]
async fn floods_of_pings_and_settings_that_nobody_reads_the_answers_of_harm_no_other() {
    for kind in [PING, SETTINGS] {
        let attacked = Attacked::start().await;
        let mut wire = attacked.wire().await;
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        let flood = frame(kind, 0, 0, payload).repeat(20_000);
        // It may not be taken whole: nobody reads the answers.
        let flooding = tokio::spawn(async move { wire.send(&flood).await });
        attacked.gate.open();
        attacked.service.run(run_with("a", [])).await.unwrap();
        flooding.abort();
        attacked.assert_unharmed().await;
    }
}

#[tokio::test]
async fn a_compressed_message_is_refused_and_never_unpacked() {
    let attacked = Attacked::start().await;
    let mut wire = attacked.wire().await;
    let head = call(RUN, &[("grpc-encoding", "gzip")]);
    // 1,000 bytes of a stream of zeros in a stream of gzip's would be a megabyte; it is not looked at.
    let bytes =
        [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, &message(true, &[0x1f; 1000]))];
    assert!(wire.send(&bytes.concat()).await);
    let answer = loop {
        let frame = soon("the answer", wire.next()).await.unwrap();
        if frame.kind == HEADERS {
            break frame;
        }
    };
    assert_ne!(answer.flags & END_STREAM, 0, "trailers alone: an error");
    attacked.assert_unharmed().await;
}

#[tokio::test]
async fn runs_of_a_connection_that_is_cut_end() {
    let attacked = Attacked::start().await;
    let mut wire = attacked.wire().await;
    for (path, stream) in [(RUN, 1), (RUN_STREAMED, 3), (RUN_STREAMED, 5)] {
        assert!(wire.send(&run(path, stream, stream == 5)).await);
    }
    assert!(wire.send(&frame(SETTINGS, ACK, 0, &[])).await);
    // The last has not said that its request is whole, so it is no run.
    attacked.gate.entered(2).await;
    drop(wire);
    attacked.gate.given_up(2).await;
    attacked.assert_unharmed().await;
}
