//! What is logged while a test runs, at TRACE. Only for tests on one thread: the subscriber is the thread's.

use std::{
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
};

use runwright::telemetry::{Config, LogFormat, subscriber};
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::fmt::MakeWriter;

/// Where there is one subscriber only, tracing asks the thread that comes to a place of logging first whether anybody
/// cares, and keeps its answer for all threads. With this one there are always two.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Everything that was logged.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

/// Catches this thread's logs until the guard is dropped. Everything is asked for; what comes is what may.
pub fn catch() -> (Logs, DefaultGuard) {
    LazyLock::force(&ANOTHER);
    let logs = Logs::default();
    let config = Config { format: LogFormat::Json, filter: "trace".to_owned(), spans: true };
    let subscriber = subscriber(&config, logs.clone()).unwrap();
    (logs, tracing::subscriber::set_default(subscriber))
}

impl Logs {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
