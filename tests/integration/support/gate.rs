//! Holds requests inside a server until a test lets them go, and says what becomes of them.

use tokio::sync::watch;

/// A gate that stands closed. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(watch::Sender<State>);

#[derive(Default)]
struct State {
    open: bool,
    entered: usize,
    given_up: usize,
}

/// A request that stands before the gate; where it is dropped there, its client has given it up.
pub struct Held(Gate);

impl Gate {
    pub fn closed() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// Lets all requests go, those too that are still to come.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// For a server's hook: waits until the gate is open.
    pub async fn pass(&self) {
        let held = self.hold();
        self.until(|state| state.open).await;
        std::mem::forget(held);
    }

    /// For a body that does not end: stands before the gate for as long as it lives.
    pub fn hold(&self) -> Held {
        self.0.send_modify(|state| state.entered += 1);
        Held(self.clone())
    }

    /// Waits until a number of requests have come to the gate.
    pub async fn entered(&self, count: usize) {
        super::soon("a request at the gate", self.until(|state| state.entered >= count)).await;
    }

    /// Waits until a number of requests were given up by their client.
    pub async fn given_up(&self, count: usize) {
        super::soon("a request that is given up", self.until(|state| state.given_up >= count)).await;
    }

    async fn until(&self, condition: impl FnMut(&State) -> bool) {
        self.0.subscribe().wait_for(condition).await.unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.given_up += 1);
    }
}
