//! The readings that rules have seen lately, kept with the rules' state: devices send again what a crash or a lost
//! connection has left unacknowledged, and rules see nothing twice.

use std::collections::{HashSet, VecDeque};

use fieldline_model::{ReadingRef, ValueRef};
use fieldline_rules::Change;

/// How the keys begin.
const PREFIX: &str = "recent/";
/// Readings that are known at least, of earlier batches.
const READINGS: usize = 4_096;
/// Batches that are known at most.
const BATCHES_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Number and readings of the batches, oldest first.
    batches: VecDeque<(u64, Vec<u64>)>,
    known: HashSet<u64>,
    /// When the newest batch was committed, in milliseconds.
    pub(super) last_ms: Option<i64>,
}

impl Recent {
    /// Whether rules have seen it.
    pub(super) fn knows(&self, reading: ReadingRef<'_>) -> bool {
        !self.known.is_empty() && self.known.contains(&hash(reading))
    }

    /// What a commit writes with a batch.
    pub(super) fn changes(&self, batch: &[u64], now_ms: i64) -> Vec<Change> {
        let number = self.batches.back().map_or(0, |(number, _)| number.wrapping_add(1));
        let mut value = now_ms.to_le_bytes().to_vec();
        value.extend(batch.iter().flat_map(|hash| hash.to_le_bytes()));
        let gone = self.batches.iter().take(self.surplus(batch.len()));
        let gone = gone.map(|(number, _)| Change { key: key(*number), value: None });
        std::iter::once(Change { key: key(number), value: Some(value) }).chain(gone).collect()
    }

    /// The commit is durable.
    pub(super) fn take(&mut self, batch: Vec<u64>, now_ms: i64) {
        for _ in 0..self.surplus(batch.len()) {
            if let Some((_, gone)) = self.batches.pop_front() {
                gone.iter().for_each(|hash| {
                    self.known.remove(hash);
                });
            }
        }
        let number = self.batches.back().map_or(0, |(number, _)| number.wrapping_add(1));
        self.known.extend(&batch);
        self.batches.push_back((number, batch));
        self.last_ms = Some(now_ms);
    }

    /// Takes back what is its own, and gives the rest.
    pub(super) fn restore(&mut self, state: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
        let (own, others): (Vec<_>, Vec<_>) = state.into_iter().partition(|(key, _)| key.starts_with(PREFIX));
        *self = Self::default();
        // The state is sorted by key.
        for (key, value) in own {
            let number = key.strip_prefix(PREFIX).and_then(|number| u64::from_str_radix(number, 16).ok());
            let Some((number, (time, hashes))) = number.zip(value.split_first_chunk()) else { continue };
            let hashes: Vec<u64> = hashes
                .chunks_exact(8)
                .filter_map(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes)
                .collect();
            self.known.extend(&hashes);
            self.batches.push_back((number, hashes));
            self.last_ms = Some(i64::from_le_bytes(*time));
        }
        others
    }

    /// How many of the oldest batches go when one of this size comes.
    fn surplus(&self, coming: usize) -> usize {
        let mut readings: usize = self.batches.iter().map(|(_, batch)| batch.len()).sum::<usize>() + coming;
        let mut count = 0;
        for (_, batch) in &self.batches {
            readings -= batch.len();
            if readings < READINGS && self.batches.len() - count < BATCHES_MAX {
                break;
            }
            count += 1;
        }
        count
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// FNV-1a of all that makes a reading.
pub(super) fn hash(reading: ReadingRef<'_>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    mix(reading.device.as_bytes());
    mix(&[0]);
    mix(reading.metric.as_bytes());
    mix(&[0]);
    mix(&reading.time.nanos().to_le_bytes());
    match reading.value {
        ValueRef::Boolean(value) => mix(&[1, u8::from(value)]),
        ValueRef::Integer(value) => mix(&value.to_le_bytes()),
        ValueRef::Float(value) => mix(&value.to_bits().to_le_bytes()),
        ValueRef::Text(value) => mix(value.as_bytes()),
    }
    hash
}
