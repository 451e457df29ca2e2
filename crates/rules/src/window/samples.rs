//! The samples of a series in order of event time, bounded, and their durable form.

use std::collections::VecDeque;

use fieldline_model::Timestamp;

use crate::Extent;

/// A chunk is sealed at this many samples: new ones open another.
const CHUNK: usize = 256;
/// Late samples go into the chunk of their neighbours; beyond this it is split.
const CHUNK_MAX: usize = 2 * CHUNK;

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// It is the newest.
    Newest,
    /// It stands before the newest.
    Late,
    /// There was another value of its time, which is gone.
    Replaced,
    /// It was there already: nothing has changed.
    Same,
    /// Older than anything that is kept.
    TooOld,
    /// NaN or infinite.
    NotFinite,
}

/// Which samples are kept: those younger than `nanos` before the newest, and the newest `count` in any case;
/// never more than `samples_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Length of the longest window.
    pub nanos: i64,
    /// Size of the longest window that counts; at least the last two are kept.
    pub count: usize,
    /// The bound of all.
    pub samples_max: usize,
}

/// A chunk of the durable form cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of samples cannot be read")]
pub struct ChunkError;

/// A run of neighbours that is written as one.
#[derive(Debug, Clone)]
struct Chunk {
    number: u32,
    len: usize,
    changed: bool,
}

/// One sample: nanoseconds since the epoch, and value.
pub(crate) type Sample = (i64, f64);

/// The samples of a series, by event time, each time once.
#[derive(Debug, Clone)]
pub struct Samples {
    retention: Retention,
    samples: VecDeque<Sample>,
    chunks: VecDeque<Chunk>,
    gone: Vec<u32>,
    next_chunk: u32,
    refused: u64,
}

impl Samples {
    /// No samples.
    pub fn new(retention: Retention) -> Self {
        Self {
            retention: Retention {
                count: retention.count.max(2),
                samples_max: retention.samples_max.max(2),
                ..retention
            },
            samples: VecDeque::new(),
            chunks: VecDeque::new(),
            gone: Vec::new(),
            next_chunk: 0,
            refused: 0,
        }
    }

    /// Keeps at least as much as this from now on.
    pub fn widen(&mut self, nanos: i64, count: usize) {
        self.retention.nanos = self.retention.nanos.max(nanos);
        self.retention.count = self.retention.count.max(count);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many were refused since the start: not finite.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Where the samples of a window at this time begin and end.
    pub(crate) fn bounds(&self, extent: Extent, at: i64) -> (usize, usize) {
        let end = self.after(at);
        let start = match extent {
            Extent::Count(count) => end.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX)),
            Extent::Duration(long) => {
                self.after(at.saturating_sub(i64::try_from(long.as_nanos()).unwrap_or(i64::MAX)))
            }
        };
        (start, end)
    }

    /// The samples of a window at this time, copied.
    pub(crate) fn within(&self, extent: Extent, at: i64) -> Vec<Sample> {
        let (start, end) = self.bounds(extent, at);
        self.samples.range(start.min(end)..end).copied().collect()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Sample> {
        self.samples.get(index).copied()
    }

    /// The index of the first sample later than this.
    pub(crate) fn after(&self, nanos: i64) -> usize {
        match self.samples.back() {
            Some((newest, _)) if *newest <= nanos => self.samples.len(),
            _ => self.samples.partition_point(|(time, _)| *time <= nanos),
        }
    }

    /// Takes a sample; the former value of its time, where there was one.
    pub fn observe(&mut self, time: Timestamp, value: f64) -> (Observed, Option<f64>) {
        if !value.is_finite() {
            self.refused = self.refused.saturating_add(1);
            return (Observed::NotFinite, None);
        }
        let at = self.after(time.nanos());
        let before = at.checked_sub(1).and_then(|index| self.samples.get_mut(index));
        if let Some(sample) = before.filter(|sample| sample.0 == time.nanos()) {
            let former = sample.1;
            if former.to_bits() == value.to_bits() {
                return (Observed::Same, None);
            }
            sample.1 = value;
            self.touch(at - 1);
            return (Observed::Replaced, Some(former));
        }
        if !self.is_kept(time.nanos(), self.samples.len() - at) {
            return (Observed::TooOld, None);
        }
        let newest = at == self.samples.len();
        self.samples.insert(at, (time.nanos(), value));
        self.grow(at, newest);
        (if newest { Observed::Newest } else { Observed::Late }, None)
    }

    /// Whether a sample with so many later ones is kept.
    fn is_kept(&self, nanos: i64, later: usize) -> bool {
        let newest = self.samples.back().map_or(nanos, |sample| sample.0.max(nanos));
        let young = nanos > newest.saturating_sub(self.retention.nanos);
        later < self.retention.samples_max && (young || later < self.retention.count)
    }

    /// The oldest sample that need not be kept any longer, taken out.
    pub(crate) fn pop_expired(&mut self) -> Option<Sample> {
        let (time, _) = *self.samples.front()?;
        if self.is_kept(time, self.samples.len() - 1) {
            return None;
        }
        self.pop_oldest()
    }

    /// The oldest sample, taken out.
    pub(crate) fn pop_oldest(&mut self) -> Option<Sample> {
        // A chunk that loses its oldest is not written again: what comes back with a restart expires again.
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.len = chunk.len.saturating_sub(1);
            if chunk.len == 0 {
                self.gone.push(chunk.number);
                self.chunks.pop_front();
            }
        }
        self.samples.pop_front()
    }

    /// The chunk of the sample at this index, and the index of its first sample.
    fn chunk_of(&self, index: usize) -> (usize, usize) {
        let mut end = self.samples.len();
        for (position, chunk) in self.chunks.iter().enumerate().rev() {
            end = end.saturating_sub(chunk.len);
            if index >= end {
                return (position, end);
            }
        }
        (0, 0)
    }

    fn touch(&mut self, index: usize) {
        let (position, _) = self.chunk_of(index);
        if let Some(chunk) = self.chunks.get_mut(position) {
            chunk.changed = true;
        }
    }

    fn open(&mut self, position: usize, len: usize) {
        let number = self.next_chunk;
        self.next_chunk = self.next_chunk.wrapping_add(1);
        self.chunks.insert(position, Chunk { number, len, changed: true });
    }

    /// Accounts for a sample that was inserted at `at`.
    fn grow(&mut self, at: usize, newest: bool) {
        if newest {
            return match self.chunks.back_mut().filter(|chunk| chunk.len < CHUNK) {
                Some(chunk) => {
                    chunk.len += 1;
                    chunk.changed = true;
                }
                None => self.open(self.chunks.len(), 1),
            };
        }
        // No chunk counts the new sample yet: those behind it end one later than they tell.
        let mut start = self.samples.len() - 1;
        let mut position = self.chunks.len();
        while position > 0 && start > at || position == self.chunks.len() {
            position -= 1;
            start = start.saturating_sub(self.chunks.get(position).map_or(0, |chunk| chunk.len));
        }
        let Some(chunk) = self.chunks.get_mut(position) else { return };
        chunk.len += 1;
        chunk.changed = true;
        if chunk.len > CHUNK_MAX {
            let rest = chunk.len - CHUNK;
            chunk.len = CHUNK;
            self.open(position + 1, rest);
        }
    }

    /// The chunks that have changed since the last call: number and bytes, or none when it is gone.
    pub fn changes(&mut self) -> Vec<(u32, Option<Vec<u8>>)> {
        let mut changes: Vec<_> = self.gone.drain(..).map(|number| (number, None)).collect();
        let mut start = 0;
        for chunk in &mut self.chunks {
            if std::mem::take(&mut chunk.changed) {
                let samples = self.samples.iter().skip(start).take(chunk.len);
                changes.push((chunk.number, Some(written(samples))));
            }
            start += chunk.len;
        }
        changes
    }

    pub(crate) fn chunk_numbers(&self) -> impl Iterator<Item = u32> {
        self.chunks.iter().map(|chunk| chunk.number)
    }

    /// Forgets all samples; their chunks are gone with the next [`Samples::changes`].
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.gone.extend(self.chunks.drain(..).map(|chunk| chunk.number));
    }

    /// Takes back all chunks, in any order, into samples that are empty. What one sample in two chunks would
    /// be cannot come of [`Samples::changes`], when all of a call were kept together.
    pub fn restore(&mut self, chunks: &[(u32, Vec<u8>)]) -> Result<(), ChunkError> {
        let mut read = Vec::with_capacity(chunks.len());
        for (number, bytes) in chunks {
            let samples = read_chunk(bytes)?;
            let first = samples.first().ok_or(ChunkError)?.0;
            read.push((first, *number, samples));
        }
        read.sort_by_key(|(first, number, _)| (*first, *number));
        for (_, number, samples) in read {
            let sorted = samples.is_sorted_by(|a, b| a.0 < b.0);
            let follows = self.samples.back().zip(samples.first()).is_none_or(|(a, b)| a.0 < b.0);
            if !sorted || !follows {
                return Err(ChunkError);
            }
            self.chunks.push_back(Chunk { number, len: samples.len(), changed: false });
            self.next_chunk = self.next_chunk.max(number.wrapping_add(1));
            self.samples.extend(samples);
        }
        while self.pop_expired().is_some() {}
        Ok(())
    }
}

/// Times as differences, values as the bits that differ from the one before, the changing ones lowest.
fn written<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<u8> {
    let mut before = (0_i64, 0_u64);
    let rows: Vec<(i64, u64)> = samples
        .map(|(time, value)| {
            let row = (time.wrapping_sub(before.0), (value.to_bits() ^ before.1).swap_bytes());
            before = (*time, value.to_bits());
            row
        })
        .collect();
    postcard::to_stdvec(&rows).unwrap_or_default()
}

fn read_chunk(bytes: &[u8]) -> Result<Vec<Sample>, ChunkError> {
    let rows: Vec<(i64, u64)> = postcard::from_bytes(bytes).map_err(|_| ChunkError)?;
    let mut before = (0_i64, 0_u64);
    let mut samples = Vec::with_capacity(rows.len());
    for (time, bits) in rows {
        before = (before.0.wrapping_add(time), bits.swap_bytes() ^ before.1);
        let value = f64::from_bits(before.1);
        if !value.is_finite() {
            return Err(ChunkError);
        }
        samples.push((before.0, value));
    }
    Ok(samples)
}
