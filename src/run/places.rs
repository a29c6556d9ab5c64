//! Places: how many runs there are, in the process and of each agent, and how many there may be.
//!
//! The limits come with each request, as they may change while runs are live: what is counted stays, and a limit that falls
//! below it takes no place away.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::Failure;
use crate::agent::Agent;

/// When a refused caller should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The places of this process. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// Those of agents that have runs, by name: an agent of that name may be another one after a reload.
    by_agent: HashMap<String, usize>,
    closed: bool,
}

/// A run's place, until it is dropped.
pub(super) struct Place {
    places: Places,
    agent: Arc<Agent>,
}

impl Places {
    /// Takes a place for a run of an agent, where there may be `most` runs in the process.
    ///
    /// # Errors
    /// There is none: the process is full, or the agent, or no more runs are taken.
    pub(super) fn take(&self, agent: &Arc<Agent>, most: usize) -> Result<Place, Failure> {
        let mut taken = self.0.lock();
        if taken.closed {
            return Err(Failure::ShuttingDown);
        }
        if taken.all >= most {
            return Err(Failure::Overloaded { agent: None, retry_after: RETRY_AFTER });
        }
        let of_agent = taken.by_agent.get_mut(&agent.name);
        let full = agent.max_concurrent_runs.is_some_and(|most| of_agent.as_ref().map_or(0, |n| **n) >= most);
        if full {
            return Err(Failure::Overloaded { agent: Some(agent.name.clone()), retry_after: RETRY_AFTER });
        }
        match of_agent {
            Some(count) => *count += 1,
            None => {
                taken.by_agent.insert(agent.name.clone(), 1);
            }
        }
        taken.all += 1;
        drop(taken);
        Ok(Place { places: self.clone(), agent: agent.clone() })
    }

    /// Gives no more places.
    pub(super) fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Whether no more places are given.
    pub(super) fn are_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.0.lock().all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_agent.get_mut(&self.agent.name) {
            *count -= 1;
            if *count == 0 {
                taken.by_agent.remove(&self.agent.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, most: Option<usize>) -> Arc<Agent> {
        let agent = Agent::new(name.to_owned(), "m".to_owned(), Duration::from_secs(1));
        Arc::new(Agent { max_concurrent_runs: most, ..agent })
    }

    /// Whose limit refuses a run; `""`: the process's.
    fn refused(taken: Result<Place, Failure>) -> String {
        match taken.err() {
            Some(Failure::Overloaded { agent, .. }) => agent.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_process_and_each_agent_have_limits_of_their_own() {
        let places = Places::default();
        let (one, two, free) = (agent("one", Some(1)), agent("two", Some(2)), agent("free", None));
        let of_one = places.take(&one, 4).unwrap();
        assert_eq!(refused(places.take(&one, 4)), "one");
        let _of_two = [places.take(&two, 4).unwrap(), places.take(&two, 4).unwrap()];
        assert_eq!(refused(places.take(&two, 4)), "two");
        let _of_free = places.take(&free, 4).unwrap();
        assert_eq!((refused(places.take(&free, 4)), places.taken()), (String::new(), 4));
        drop(of_one);
        assert_eq!(places.taken(), 3);
        let _again = places.take(&one, 4).unwrap();
    }

    #[test]
    fn limits_change_and_places_stay() {
        let places = Places::default();
        let held: Vec<_> = (0..3).map(|_| places.take(&agent("a", None), 3).unwrap()).collect();
        assert_eq!(refused(places.take(&agent("b", None), 2)), "", "fewer are allowed than there are");
        assert_eq!(refused(places.take(&agent("a", Some(1)), 10)), "a");
        let _more = places.take(&agent("a", Some(4)), 10).unwrap();
        drop(held);
        assert_eq!((places.taken(), places.0.lock().by_agent["a"]), (1, 1));
    }

    #[test]
    fn nothing_is_kept_of_an_agent_without_runs() {
        let places = Places::default();
        drop(places.take(&agent("a", Some(1)), 1).unwrap());
        assert!(places.0.lock().by_agent.is_empty());
        places.close();
        assert!(matches!(places.take(&agent("a", None), 1).err(), Some(Failure::ShuttingDown)));
    }
}
