//! Passes connections on and counts them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A relay to one address. It ends, with its connections, when it is dropped.
pub struct Relay {
    /// Where it listens.
    pub address: String,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Relaxed);
                let mut server = TcpStream::connect(&to).await.unwrap();
                open.spawn(async move {
                    // That one of them goes is no failure.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}
