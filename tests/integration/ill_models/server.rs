//! A provider over plain TCP that answers each run as its seed has it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    task::{JoinHandle, yield_now},
};

use super::{
    fault::Ill,
    reply::{End, Reply},
    speech::{Api, Call, Speech},
};
use crate::support::{
    dice::Dice,
    raw_server::{Connection, read, reset},
};

/// What a run's input says before its seed.
pub const SEED: &str = "seed-";

/// The name of no fault.
const WELL: &str = "well";

/// A running provider. It ends when it is dropped.
pub struct IllModel {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// What a request was answered with.
#[derive(Clone, Debug)]
pub struct Told {
    /// What was wrong with it, if anything.
    pub fault: &'static str,
    /// What a healthy provider would have said.
    pub text: String,
    /// As much of it as helps to see why a test fails.
    _beginning: String,
}

struct Shared {
    api: Api,
    canary: String,
    /// Where redirects lead.
    elsewhere: String,
    told: Mutex<HashMap<u64, Vec<Told>>>,
    wrong: Mutex<Vec<String>>,
}

impl Told {
    /// Whether nothing is wrong with the answer but that its end may be lacking: a run that ends well had all of it.
    pub fn lacks_an_end_at_most(&self) -> bool {
        [WELL, "gone after the head", "gone within the body", "cut short"].contains(&self.fault)
    }
}

impl IllModel {
    /// A provider that plants the canary wherever it can.
    pub async fn start(api: Api, canary: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            api,
            canary: canary.to_owned(),
            elsewhere: format!("http://{}/", elsewhere.local_addr().unwrap()),
            told: Mutex::default(),
            wrong: Mutex::default(),
        });
        let serving = tokio::spawn(accept(listener, elsewhere, shared.clone()));
        Self { address, shared, serving }
    }

    /// What a run was told, an entry a request.
    pub fn told(&self, seed: u64) -> Vec<Told> {
        self.shared.told(seed)
    }

    /// What no provider should be sent, but was.
    pub fn wrong(&self) -> Vec<String> {
        self.shared.wrong.lock().unwrap().clone()
    }
}

impl Drop for IllModel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, elsewhere: TcpListener, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let connection = Connection::new(accepted.unwrap().0);
                tokio::spawn(serve(connection, shared.clone()));
            }
            _ = elsewhere.accept() => shared.wrong.lock().unwrap().push("a redirect was followed".to_owned()),
        }
    }
}

async fn serve(mut connection: Connection, shared: Arc<Shared>) {
    while let Some(request) = read(&mut connection).await {
        let Some(seed) = seed_of(&request) else {
            return shared.wrong.lock().unwrap().push(format!("a request that can't be read: {request}"));
        };
        let Reply { writes, end } = shared.reply(seed, &request);
        for bytes in writes {
            // The client may have gone.
            if connection.write_all(&bytes).await.is_err() || connection.flush().await.is_err() {
                return;
            }
            yield_now().await;
        }
        match end {
            End::Kept => {}
            End::Closed => return,
            End::Reset => return reset(connection),
        }
    }
}

impl Shared {
    /// A run of an even seed is answered ill from the first request on, one of an odd seed only once it has called a tool.
    /// What is asked for again is answered well every other time.
    fn reply(&self, seed: u64, request: &Value) -> Reply {
        let (calls, results) = self.api.conversation(request);
        self.check(seed, request);
        let asked = self.told(seed).len();
        let dice = Dice::new(seed * 1_000 + u64::try_from(asked).unwrap());
        let first = calls.is_empty();
        let speech = if first { self.asking(&dice) } else { self.saying(results.len()) };
        let ill = (first == seed.is_multiple_of(2)) && (asked <= usize::from(!first) || dice.roll(2) == 0);
        let streamed = request["stream"] == true;
        let text = speech.text.clone();
        let (fault, reply) = if ill {
            let (canary, elsewhere) = (self.canary.clone(), self.elsewhere.clone());
            Ill { speech, streamed, canary, elsewhere, dice }.reply(seed / 2)
        } else {
            (WELL, Reply::well(&speech, streamed))
        };
        let told = Told { fault, text, _beginning: reply.beginning() };
        self.told.lock().unwrap().entry(seed).or_default().push(told);
        reply
    }

    fn told(&self, seed: u64) -> Vec<Told> {
        self.told.lock().unwrap().get(&seed).cloned().unwrap_or_default()
    }

    fn asking(&self, dice: &Dice) -> Speech {
        let calls = (0..=dice.roll(3)).map(|n| Call::whoami(&format!("call_{n}"))).collect();
        let text = if dice.roll(2) == 0 { String::new() } else { format!("Let me {} see.", self.canary) };
        Speech { api: self.api, text, calls }
    }

    fn saying(&self, results: usize) -> Speech {
        let text = format!("There are {results} of {}.", self.canary);
        Speech { api: self.api, text, calls: Vec::new() }
    }

    /// Notes what the API would refuse in a request, whatever was answered before.
    fn check(&self, seed: u64, request: &Value) {
        let (calls, mut results) = self.api.conversation(request);
        let mut wrong = Vec::new();
        let mut ids: Vec<&str> = calls.iter().map(|call| call.id).collect();
        ids.sort_unstable();
        results.sort_unstable();
        if ids != results {
            wrong.push("calls without results, or results without calls");
        }
        ids.dedup();
        let is_id = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        if ids.len() != calls.len() || !ids.iter().all(is_id) {
            wrong.push("ids of calls that are none, or that are there twice");
        }
        if !calls.iter().all(|call| is_name(call.name)) {
            wrong.push("a name that no tool can have");
        }
        let fits =
            |value: &Value| if self.api == Api::Messages { value.is_object() } else { value.is_string() };
        if !calls.iter().all(|call| fits(call.arguments)) {
            wrong.push("arguments of a type that the API does not take");
        }
        let told = self.told(seed);
        let wrong = wrong.into_iter().map(|what| format!("seed {seed}: {what} (told {told:?}): {request}"));
        self.wrong.lock().unwrap().extend(wrong);
    }
}

/// The seed of the run that a request is of.
fn seed_of(request: &Value) -> Option<u64> {
    let text = request.to_string();
    let behind = text.split_once(SEED)?.1;
    behind.split(|digit: char| !digit.is_ascii_digit()).next()?.parse().ok()
}

/// Whether providers take it for the name of a tool.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
