//! How much may wait for the store: one bound on bytes, all connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one message costs beside its bytes.
const OVERHEAD_BYTES: usize = 512;

/// The bound. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// A message's place under the bound, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    waiting: Waiting,
    bytes: usize,
}

impl Waiting {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Arc::default(), bytes_max }
    }

    /// A place for a message of `bytes`; none when the bound is reached. A message that is larger
    /// than the bound gets its place when nothing else waits.
    pub(crate) fn place(&self, bytes: usize) -> Option<Place> {
        let bytes = bytes.saturating_add(OVERHEAD_BYTES);
        let taken = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            let then = now.checked_add(bytes)?;
            (then <= self.bytes_max || now == 0).then_some(then)
        });
        taken.is_ok().then(|| Place { waiting: self.clone(), bytes })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_gives_back() {
        let waiting = Waiting::new(2 * OVERHEAD_BYTES + 100);
        let first = waiting.place(50).unwrap();
        let second = waiting.place(50).unwrap();
        assert!(waiting.place(0).is_none());
        drop(first);
        assert!(waiting.place(51).is_none());
        let third = waiting.place(50).unwrap();
        drop((second, third));
        assert!(waiting.place(1 << 20).is_some(), "one large message alone");
    }
}
