//! How far each stream has been evaluated.

use std::collections::{BTreeMap, BTreeSet};

use fieldline_model::{GatewayId, RangeSet, SeqRange, StreamId};
use fieldline_rules::Change;

pub(crate) const PREFIX: &str = "position/";

/// The sequence numbers that were evaluated, by stream.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    streams: BTreeMap<StreamId, RangeSet>,
    dirty: BTreeSet<StreamId>,
}

fn key(stream: &StreamId) -> String {
    format!("{PREFIX}{}/{}", stream.gateway, stream.epoch)
}

impl Positions {
    /// Takes one back.
    pub(crate) fn restore(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let (gateway, epoch) = key.strip_prefix(PREFIX)?.split_once('/')?;
        let stream = StreamId { gateway: GatewayId::new(gateway).ok()?, epoch: epoch.parse().ok()? };
        self.streams.insert(stream, serde_json::from_slice(value).ok()?);
        Some(())
    }

    /// Those of these that have not been evaluated; from now on all have.
    pub(crate) fn advance(&mut self, stream: &StreamId, seqs: SeqRange) -> Vec<SeqRange> {
        let evaluated = self.streams.entry(stream.clone()).or_default();
        let gaps = evaluated.gaps_within(seqs);
        if !gaps.is_empty() {
            evaluated.insert(seqs);
            self.dirty.insert(stream.clone());
        }
        gaps
    }

    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = Change> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|stream| {
            let ranges = self.streams.get(&stream);
            Change { key: key(&stream), value: ranges.and_then(|ranges| serde_json::to_vec(ranges).ok()) }
        })
    }
}
