//! Where in a text a form of a secret may begin.
//!
//! Of each form the first six bytes are stored. The three runs of four bytes in them are marked in a table, so that of a
//! text every third such run is enough to look at: whatever begins anywhere has one of its three there. Nearly all that
//! a text costs is that look, a multiplication and a load for three bytes.

use std::iter;

use super::form::{Beginning, Form};

/// The bytes that are marked together.
const RUN_BYTES: usize = 4;
/// How many runs a beginning has, and so how far apart those of a text are that are looked at.
const STRIDE: usize = size_of::<Beginning>() - RUN_BYTES + 1;

/// The table's bits: many for each run, so that few other ones meet them; at least a KiB, at most 128 KiB.
const BITS_PER_RUN: usize = 128;
const MIN_BITS: usize = 1 << 13;
const MAX_BITS: usize = 1 << 20;

/// The beginnings of all forms of all secrets.
pub(super) struct Index {
    /// Sorted.
    beginnings: Vec<(Beginning, u32, Form)>,
    /// A bit for each hash of a run.
    marks: Vec<u64>,
    /// What of a product is not its hash.
    shift: u32,
}

impl Index {
    /// Indexes secrets; candidates are then told by their places here.
    pub fn new(secrets: &[Vec<u8>]) -> Self {
        let (mut beginnings, mut of_secret) = (Vec::new(), Vec::new());
        for (number, secret) in (0..).zip(secrets) {
            for form in Form::all(secret) {
                form.begin(secret, &mut |beginning| of_secret.push((beginning, number, form)));
            }
            of_secret.sort_unstable();
            of_secret.dedup();
            beginnings.append(&mut of_secret);
        }
        beginnings.sort_unstable();
        beginnings.shrink_to_fit();
        let bits = (beginnings.len() * STRIDE * BITS_PER_RUN).next_power_of_two().clamp(MIN_BITS, MAX_BITS);
        let mut index = Self { beginnings, marks: vec![0; bits / 64], shift: 32 - bits.ilog2() };
        for at in 0..index.beginnings.len() {
            for run in index.beginnings[at].0.windows(RUN_BYTES) {
                let (word, bit) = place(run, index.shift);
                index.marks[word] |= bit;
            }
        }
        index
    }

    /// Where in the text which secret may stand in which form.
    pub fn candidates<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, usize, Form)> + 'a {
        let first = self.next_marked(text, 0);
        let marked = iter::successors(first, move |run| self.next_marked(text, run + STRIDE));
        let starts = marked.flat_map(|run| run.saturating_sub(STRIDE - 1)..=run);
        starts.flat_map(move |at| {
            let found = text[at..].first_chunk().map_or(&[][..], |beginning| self.of(beginning));
            found.iter().map(move |(_, secret, form)| (at, *secret as usize, *form))
        })
    }

    /// Where the next marked run begins, of those that are looked at from one on.
    fn next_marked(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut runs = text.get(from..)?.windows(RUN_BYTES).step_by(STRIDE);
        let passed = runs.position(|run| {
            let (word, bit) = place(run, self.shift);
            self.marks[word] & bit != 0
        })?;
        Some(from + passed * STRIDE)
    }

    fn of(&self, bytes: &Beginning) -> &[(Beginning, u32, Form)] {
        let from = self.beginnings.partition_point(|(beginning, ..)| beginning < bytes);
        let rest = &self.beginnings[from..];
        let others = rest.iter().position(|(beginning, ..)| beginning != bytes);
        &rest[..others.unwrap_or(rest.len())]
    }
}

/// The word and the bit of a run of four bytes.
fn place(run: &[u8], shift: u32) -> (usize, u64) {
    // Fibonacci hashing: 2³² by the golden ratio spreads the bits upwards.
    let hash = u32::from_le_bytes([run[0], run[1], run[2], run[3]]).wrapping_mul(0x9E37_79B1) >> shift;
    (hash as usize / 64, 1 << (hash % 64))
}
