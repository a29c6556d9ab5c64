//! The process of those who mean ill.

use std::{
    fmt,
    io::{self, BufRead},
    net::SocketAddr,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Kind, flood,
    kind::Form,
    squat::{self, Gate},
};
use crate::Outcome;

/// How long an attack may last, whatever becomes of who asked for it.
const LONGEST: Duration = Duration::from_secs(180);
/// How long connections may take to be there.
const OPENING_TIMEOUT: Duration = Duration::from_secs(20);

/// What attackers did.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Calls that were made, frames that were sent, or connections that were opened to be held.
    pub actions: usize,
    /// Connections that were made.
    pub opened: usize,
    /// Connections that the service ended.
    pub cut: usize,
}

/// What is known of an attack while it goes on.
#[derive(Default)]
pub struct Deeds {
    pub actions: AtomicUsize,
    pub opened: AtomicUsize,
    pub cut: AtomicUsize,
    /// Whether all that was opened stays, and nothing is done any more.
    pub is_frozen: AtomicBool,
}

/// Does what standard input says, until it ends, and answers each line with one: `begin KIND`, and when its connections are
/// there, `begun`; `freeze`, to leave everything open and say nothing more; `stop`. The last two tell what was done.
pub async fn obey(address: &str) -> Outcome<()> {
    let address: SocketAddr = address.parse()?;
    let (mut attackers, mut deeds) = (JoinSet::new(), Arc::<Deeds>::default());
    for order in io::stdin().lock().lines() {
        let order = order?;
        match order.split(' ').collect::<Vec<_>>()[..] {
            ["begin", kind] => {
                begin(Kind::named(kind)?, address, &mut attackers, &deeds).await?;
                println!("begun");
            }
            ["freeze"] => {
                deeds.is_frozen.store(true, Ordering::Relaxed);
                println!("{}", deeds.tally());
            }
            ["stop"] => {
                attackers.shutdown().await;
                println!("{}", std::mem::take(&mut deeds).tally());
            }
            _ => return Err(format!("no such order: {order}").into()),
        }
    }
    Ok(())
}

async fn begin(
    kind: Kind,
    address: SocketAddr,
    attackers: &mut JoinSet<()>,
    deeds: &Arc<Deeds>,
) -> Outcome<()> {
    let before = deeds.tally().opened;
    let wanted = match kind.form() {
        Form::Flood { connections, rate } => {
            for _ in 0..connections {
                let flood = flood::flood(kind, address, rate / connections, deeds.clone());
                attackers.spawn(async { drop(timeout(LONGEST, flood).await) });
            }
            connections
        }
        Form::Squat { connections } => {
            let gate = Gate::new();
            for number in 0..connections {
                let squat = squat::squat(kind, address, number, gate.clone(), deeds.clone());
                attackers.spawn(async { drop(timeout(LONGEST, squat).await) });
            }
            connections
        }
    };
    let all_there = async {
        while deeds.tally().opened < before + wanted {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(OPENING_TIMEOUT, all_there).await.map_err(|_| "attackers can't connect")?;
    Ok(())
}

impl Deeds {
    fn tally(&self) -> Tally {
        let now = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Tally { actions: now(&self.actions), opened: now(&self.opened), cut: now(&self.cut) }
    }
}

/// As a line that [`FromStr`] reads.
impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} {} {}", self.actions, self.opened, self.cut)
    }
}

impl FromStr for Tally {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(line: &str) -> Outcome<Self> {
        let numbers: Vec<usize> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [actions, opened, cut] = numbers[..] else { return Err("a tally has three numbers".into()) };
        Ok(Self { actions, opened, cut })
    }
}
