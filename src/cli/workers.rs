//! The threads that serve.
//!
//! What a run took is often freed by another thread than that which allocated it, and the allocator leaves it to the owner to
//! find it: when it allocates again, or is told to look. A thread with nothing to do does neither, so that a service would keep
//! for as long as it idles what ten thousand runs had taken. So each is told now and then, before it goes to sleep; and one at a
//! time, for to give much memory back takes some ten milliseconds, in which the thread does nothing else: others, if there are any,
//! serve, but for what comes from the network, where it was this one that listened. A lone thread lets its callers wait as long.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task,
    time::{Instant, MissedTickBehavior, interval_at},
};

/// Starts so many threads. Each calls `collect` once in every period, when it next has nothing to do; one that sleeps is woken
/// for it.
///
/// # Errors
/// A thread can't be started.
pub(super) fn start(threads: usize, period: Duration, collect: fn()) -> io::Result<Runtime> {
    let periods = Arc::new(AtomicUsize::new(0));
    let (seen, turn) = (periods.clone(), Mutex::new(()));
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .on_thread_park(move || {
            thread_local!(static COLLECTED: Cell<usize> = const { Cell::new(0) });
            let period = seen.load(Ordering::Relaxed);
            if COLLECTED.get() != period
                && let Ok(_turn) = turn.try_lock()
            {
                COLLECTED.set(period);
                collect();
            }
        })
        .build()?;
    runtime.spawn(wake(period, periods));
    Ok(runtime)
}

/// Counts the periods, and wakes all threads for each.
async fn wake(period: Duration, periods: Arc<AtomicUsize>) {
    let threads = Handle::current().metrics().num_workers();
    let mut begins = interval_at(Instant::now() + period, period);
    begins.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        begins.tick().await;
        periods.fetch_add(1, Ordering::Relaxed);
        // A thread with more than one task wakes another to share them.
        for _ in 0..threads {
            task::spawn(task::yield_now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::mpsc,
        thread::{self, ThreadId},
    };

    use super::*;

    /// A thread that sleeps would do so for ever.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn each_thread_collects_though_it_has_nothing_to_do() {
        static COLLECTED: Mutex<Option<mpsc::Sender<ThreadId>>> = Mutex::new(None);
        let (sender, collected) = mpsc::channel();
        *COLLECTED.lock().unwrap() = Some(sender);
        let _runtime = start(3, Duration::from_millis(1), || {
            let _ = COLLECTED.lock().unwrap().as_ref().map(|sender| sender.send(thread::current().id()));
        })
        .unwrap();
        let (began, mut threads) = (Instant::now(), HashSet::new());
        while threads.len() < 3 {
            assert!(began.elapsed() < PATIENCE, "only {threads:?}");
            threads.insert(collected.recv_timeout(PATIENCE).unwrap());
        }
    }
}
