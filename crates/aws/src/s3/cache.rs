//! Bytes of objects that were read lately. Objects never change, so they never go stale.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// What is kept at most, in bytes.
const BYTES_MAX: usize = 32 << 20;
/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 256;

/// An object's name, and where in it the bytes begin.
pub(super) type At = (String, u64);

/// What was read longest ago goes first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    entries: HashMap<At, Bytes>,
    /// In the order of their coming.
    order: VecDeque<At>,
    bytes: usize,
}

impl Cache {
    /// At least `length` bytes from there on.
    pub(super) fn get(&self, at: &At, length: usize) -> Option<Bytes> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entries.get(at).filter(|bytes| bytes.len() >= length).map(|bytes| bytes.slice(..length))
    }

    pub(super) fn put(&self, at: At, bytes: Bytes) {
        let weight = bytes.len() + ENTRY_BYTES;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if weight > BYTES_MAX / 4 || held.entries.contains_key(&at) {
            return;
        }
        held.bytes += weight;
        held.order.push_back(at.clone());
        held.entries.insert(at, bytes);
        while held.bytes > BYTES_MAX {
            let Some(oldest) = held.order.pop_front() else { return };
            let gone = held.entries.remove(&oldest).map_or(0, |bytes| bytes.len() + ENTRY_BYTES);
            held.bytes -= gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_within_its_bounds_and_keeps_the_newest() {
        let cache = Cache::default();
        for number in 0..100 {
            cache.put((number.to_string(), 0), Bytes::from(vec![0; 1 << 20]));
        }
        assert!(cache.held.lock().unwrap().bytes <= BYTES_MAX);
        assert!(cache.get(&("99".to_owned(), 0), 10).is_some_and(|bytes| bytes.len() == 10));
        assert!(cache.get(&("99".to_owned(), 0), 2 << 20).is_none());
        assert!(cache.get(&("0".to_owned(), 0), 10).is_none());
    }
}
