//! Connections that are open, and no more.

use std::{
    future,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{copy, sink},
    sync::Mutex,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Kind, attacker::Deeds, wire};

/// How often one connection may be made.
const PACE: Duration = Duration::from_millis(1);

/// Lets connections be made one after the other.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<Interval>>);

impl Gate {
    pub fn new() -> Self {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Arc::new(Mutex::new(ticks)))
    }

    async fn pass(&self) {
        self.0.lock().await.tick().await;
    }
}

/// One connection; another, when the service has ended one of those that would notice. Never ends.
pub async fn squat(kind: Kind, address: SocketAddr, number: usize, gate: Gate, deeds: Arc<Deeds>) {
    let first = wire::squatter(kind, number);
    loop {
        gate.pass().await;
        if deeds.is_frozen.load(Ordering::Relaxed) {
            return future::pending().await;
        }
        let Ok(mut connection) = wire::connect(address, &first).await else { continue };
        deeds.opened.fetch_add(1, Ordering::Relaxed);
        deeds.actions.fetch_add(1, Ordering::Relaxed);
        if matches!(kind, Kind::SlowReaders | Kind::Vanished) {
            // What comes is not even taken from the socket.
            return future::pending().await;
        }
        let _ = copy(&mut connection, &mut sink()).await;
        deeds.cut.fetch_add(1, Ordering::Relaxed);
    }
}
