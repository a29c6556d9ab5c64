//! What a model says that speaks of its caller: a long answer with the caller's name all over it, so that a byte that went
//! astray shows.

/// The pieces that an answer comes in: more than a stream of events has room for.
pub const PIECES: usize = 96;
/// How often a piece names its caller.
const TIMES: usize = 24;

/// A piece of an answer to a caller.
pub fn piece(caller: &str, number: usize) -> String {
    format!("{caller}-{number:02} ").repeat(TIMES)
}

/// A whole answer to a caller.
pub fn speech(caller: &str) -> String {
    (0..PIECES).map(|number| piece(caller, number)).collect()
}
