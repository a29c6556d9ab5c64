//! Kinds of clients that mean ill, and how much each does.

use crate::Outcome;

/// A kind of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs that are reset in the same breath.
    Resets,
    /// Runs that are reset when they have begun.
    GivenUp,
    /// Runs whose windows overflow, and calls with malformed headers: the service resets them.
    Broken,
    Pings,
    /// Each changes all windows.
    Settings,
    /// Empty frames of a request that does not end.
    EmptyData,
    /// Headers that do not end.
    Continuations,
    /// Connections that say nothing.
    Silent,
    /// Connections that half say that they speak HTTP/2.
    HalfPrefaces,
    /// Streamed runs whose answers nobody reads, with windows of 16 bytes.
    SlowReaders,
    /// Runs whose callers neither read nor write any more.
    Vanished,
}

/// What clients of a kind do.
#[derive(Clone, Copy)]
pub enum Form {
    /// So many connections do something so many times a second, all together.
    Flood { connections: usize, rate: usize },
    /// So many connections are open.
    Squat { connections: usize },
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Resets,
        Self::GivenUp,
        Self::Broken,
        Self::Pings,
        Self::Settings,
        Self::EmptyData,
        Self::Continuations,
        Self::Silent,
        Self::HalfPrefaces,
        Self::SlowReaders,
        Self::Vanished,
    ];

    /// A kind by its name.
    pub fn named(name: &str) -> Outcome<Self> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| format!("no such attack: {name}").into())
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::GivenUp => "given-up",
            Self::Broken => "broken",
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::EmptyData => "empty-data",
            Self::Continuations => "continuations",
            Self::Silent => "silent",
            Self::HalfPrefaces => "half-prefaces",
            Self::SlowReaders => "slow-readers",
            Self::Vanished => "vanished",
        }
    }

    /// What a table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Resets => "runs reset in the same breath",
            Self::GivenUp => "runs reset after 10 ms",
            Self::Broken => "calls that the service must reset",
            Self::Pings => "PING",
            Self::Settings => "SETTINGS",
            Self::EmptyData => "empty DATA",
            Self::Continuations => "CONTINUATION without end",
            Self::Silent => "silent connections",
            Self::HalfPrefaces => "half-sent prefaces",
            Self::SlowReaders => "readers that do not read",
            Self::Vanished => "callers that have vanished",
        }
    }

    pub fn form(self) -> Form {
        match self {
            Self::Resets => Form::Flood { connections: 4, rate: 10_000 },
            Self::Broken => Form::Flood { connections: 4, rate: 4000 },
            Self::GivenUp => Form::Flood { connections: 4, rate: 400 },
            Self::Pings | Self::Settings | Self::EmptyData => Form::Flood { connections: 4, rate: 40_000 },
            Self::Continuations => Form::Flood { connections: 4, rate: 2000 },
            Self::Silent | Self::HalfPrefaces => Form::Squat { connections: 1000 },
            Self::SlowReaders => Form::Squat { connections: 100 },
            Self::Vanished => Form::Squat { connections: 200 },
        }
    }
}
