//! Connections that send much.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::tcp::OwnedWriteHalf,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    Kind,
    attacker::Deeds,
    wire::{self, Script},
};

/// How often something is sent.
const TICK: Duration = Duration::from_millis(10);
/// RFC 9113, section 6.5.2.
const USUAL_WINDOW: u32 = 65_535;

/// One connection, which does something so many times a second; another, when the service has ended it. What comes back is
/// read, so that the service goes on. Never ends.
pub async fn flood(kind: Kind, address: SocketAddr, rate: usize, deeds: Arc<Deeds>) {
    let at_once = (rate / 100).max(1);
    let mut ticks = interval(TICK);
    // What could not be sent in time is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if deeds.is_frozen.load(Ordering::Relaxed) {
            continue;
        }
        let Ok(connection) = wire::connect(address, &wire::preface(USUAL_WINDOW)).await else { continue };
        deeds.opened.fetch_add(1, Ordering::Relaxed);
        let (mut reading, mut writing) = connection.into_split();
        let (script, mut nowhere) = (Script::new(kind, at_once), sink());
        tokio::select! {
            _ = copy(&mut reading, &mut nowhere) => {}
            () = send(script, at_once, &mut writing, &mut ticks, &deeds) => {}
        }
        deeds.cut.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends until the connection is over.
async fn send(
    mut script: Script,
    at_once: usize,
    writing: &mut OwnedWriteHalf,
    ticks: &mut Interval,
    deeds: &Deeds,
) {
    loop {
        ticks.tick().await;
        if deeds.is_frozen.load(Ordering::Relaxed) {
            continue;
        }
        let mut bytes = Vec::new();
        for _ in 0..at_once {
            bytes.extend(script.next());
        }
        if writing.write_all(&bytes).await.is_err() {
            return;
        }
        deeds.actions.fetch_add(at_once, Ordering::Relaxed);
    }
}
