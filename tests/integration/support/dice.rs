//! Chance that is the same in each run of a test.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::yield_now;

/// Numbers without a pattern, the same ones in each run of the test.
pub struct Dice(AtomicU64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `bound` (splitmix64).
    pub fn roll(&self, bound: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A place in something of this length, which is not 0.
    pub fn place(&self, length: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(length).unwrap())).unwrap()
    }

    /// One of several.
    pub fn pick<T: Copy>(&self, several: &[T]) -> T {
        several[self.place(several.len())]
    }

    /// Lets others go first, a number of times.
    pub async fn dawdle(&self, most: u64) {
        for _ in 0..self.roll(most) {
            yield_now().await;
        }
    }
}
