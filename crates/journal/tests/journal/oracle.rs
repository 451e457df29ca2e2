//! Knows what was promised, and holds the journal to it.
//!
//! Every call to the journal goes through the [`Oracle`], which notes what was asked before the call and
//! what was promised after it. It outlives the journal: [`Oracle::check`] compares what a journal
//! that was opened again says and gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fieldline_journal::sim::SimFs;
use fieldline_journal::{Append, Config, Error, Fs as _, Journal, LaneState, Policy, Recovery};
use fieldline_model::{Class, RangeSet, SeqRange};

pub(crate) const FOLDER: &str = "/gateway/journal";
/// 2027-01-15: the clock is set.
pub(crate) const START_MS: i64 = 1_800_000_000_000;

/// Segments of a few records, so that a short workload sees all that happens to files.
pub(crate) fn small() -> Config {
    Config {
        segment_bytes: 1024,
        bytes_max: 16 * 1024,
        age_max: None,
        policy: Policy::DropOldest,
        reserve_bytes: 4096,
    }
}

/// An empty disk with the journal's folder.
pub(crate) fn new_disk() -> SimFs {
    let disk = SimFs::new();
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.sync_dir(Path::new("/gateway")).unwrap();
    disk
}

pub(crate) fn open(disk: &SimFs, config: Config, now_ms: i64) -> Result<(Journal, Recovery), Error> {
    Journal::open(Arc::new(disk.clone()), Path::new(FOLDER), config, now_ms)
}

pub(crate) fn ranges(first: u64, last: u64) -> RangeSet {
    [SeqRange::new(first, last)].into_iter().collect()
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A record that was offered to the journal.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) class: Class,
    pub(crate) count: u32,
    pub(crate) payload: Vec<u8>,
}

/// What is known of one stream.
#[derive(Debug, Clone, Default)]
struct Stream {
    /// Records whose commit returned `Ok`: their first number and their id.
    accepted: BTreeMap<u64, u64>,
    /// To which record a number was seen to belong, in a commit's answer or in a read.
    seen: BTreeMap<u64, u64>,
    /// What the journal was told to let go.
    released: RangeSet,
    /// What the journal said that it dropped.
    dropped: RangeSet,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    offers: BTreeMap<u64, Offer>,
    streams: BTreeMap<u64, Stream>,
    note_durable: u64,
    note_tried: u64,
    /// Whether the call that failed last may have dropped readings by a policy.
    pub(crate) may_have_dropped: bool,
    /// The policies by which something was dropped.
    pub(crate) policies: BTreeSet<String>,
    /// What the test is about, for messages.
    pub(crate) context: String,
}

impl Oracle {
    /// A record with an id and a content that follows from it.
    pub(crate) fn offer(&mut self, class: Class, count: u32, bytes: usize) -> u64 {
        let id = self.offers.len() as u64 + 1;
        let mut payload = id.to_le_bytes().to_vec();
        let mut dice = Dice(id);
        payload.resize_with(bytes.max(8), || dice.below(256) as u8);
        self.offers.insert(id, Offer { class, count, payload });
        id
    }

    /// Another record of the same class.
    pub(crate) fn another(&mut self, id: u64) -> u64 {
        let Offer { class, count, payload } = self.offers[&id].clone();
        self.offer(class, count % 4 + 1, payload.len() / 2 + 9)
    }

    /// Commits records and, if `with_note`, a note.
    pub(crate) fn commit(
        &mut self,
        journal: &Journal,
        ids: &[u64],
        with_note: bool,
        now_ms: i64,
    ) -> Result<(), Error> {
        let note = with_note.then(|| {
            self.note_tried += 1;
            format!("note {}", self.note_tried)
        });
        let offers: Vec<Offer> = ids.iter().map(|id| self.offers[id].clone()).collect();
        let batch: Vec<Append<'_>> = offers
            .iter()
            .map(|offer| Append { class: offer.class, count: offer.count, payload: &offer.payload })
            .collect();
        self.may_have_dropped = true;
        let placed = journal.commit(&batch, note.as_deref(), now_ms)?;
        assert_eq!(placed.len(), ids.len(), "{}", self.context);
        for ((id, offer), placed) in ids.iter().zip(&offers).zip(placed) {
            self.see(placed.epoch, placed.first_seq, offer.count, *id);
            let stream = self.streams.entry(placed.epoch).or_default();
            stream.accepted.insert(placed.first_seq, *id);
        }
        if with_note {
            self.note_durable = self.note_tried;
        }
        self.after(journal);
        Ok(())
    }

    pub(crate) fn release(&mut self, journal: &Journal, epoch: u64, stored: &RangeSet) -> Result<(), Error> {
        self.streams.entry(epoch).or_default().released.insert_all(stored);
        journal.release(epoch, stored, START_MS)?;
        self.after(journal);
        Ok(())
    }

    pub(crate) fn expire(&mut self, journal: &Journal, now_ms: i64) -> Result<(), Error> {
        self.may_have_dropped = true;
        journal.expire(now_ms)?;
        self.after(journal);
        Ok(())
    }

    /// Takes note of what a policy has dropped; nothing is in doubt any more.
    fn after(&mut self, journal: &Journal) {
        self.may_have_dropped = false;
        for lane in journal.lanes() {
            let stream = self.streams.entry(lane.epoch).or_default();
            for (policy, dropped) in lane.dropped.iter().filter(|(_, dropped)| !dropped.is_empty()) {
                stream.dropped.insert_all(dropped);
                self.policies.insert(policy.clone());
            }
        }
    }

    /// A number belongs to one record for ever.
    fn see(&mut self, epoch: u64, first_seq: u64, count: u32, id: u64) {
        let stream = self.streams.entry(epoch).or_default();
        for seq in first_seq..first_seq + u64::from(count) {
            let before = *stream.seen.entry(seq).or_insert(id);
            assert_eq!(before, id, "number {seq} of {epoch:x} was given out twice; {}", self.context);
        }
    }

    /// Holds an open journal to everything that was promised.
    pub(crate) fn check(&mut self, journal: &Journal) -> Result<(), Error> {
        let mut found: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for lane in journal.lanes() {
            self.check_books(&lane);
            let records = self.read_lane(journal, lane.epoch)?;
            for id in records.values() {
                assert!(ids.insert(*id), "record {id} is there twice; {}", self.context);
            }
            found.insert(lane.epoch, records);
        }
        let lanes: BTreeMap<u64, LaneState> =
            journal.lanes().into_iter().map(|lane| (lane.epoch, lane)).collect();
        for (epoch, stream) in &self.streams {
            self.check_stream(*epoch, stream, lanes.get(epoch), found.get(epoch));
        }
        self.check_note(journal);
        Ok(())
    }

    fn check_books(&self, lane: &LaneState) {
        let context = &self.context;
        let mut together = RangeSet::new();
        let mut count = 0;
        for part in [&lane.buffered, &lane.stored, &lane.damaged].into_iter().chain(lane.dropped.values()) {
            count += part.count();
            together.insert_all(part);
        }
        assert_eq!(count, together.count(), "a reading is in two places: {lane:?}; {context}");
        let all = if lane.last_seq == 0 { RangeSet::new() } else { ranges(1, lane.last_seq) };
        assert_eq!(together, all, "the books do not balance: {lane:?}; {context}");
        assert!(lane.damaged.is_empty(), "damaged: {lane:?}; {context}");
    }

    /// All that waits in a lane, read in pages: first number and id.
    pub(crate) fn read_lane(&mut self, journal: &Journal, epoch: u64) -> Result<BTreeMap<u64, u64>, Error> {
        let mut records = BTreeMap::new();
        let mut from = 1;
        loop {
            let page = journal.read(epoch, from, 700, 5)?;
            let Some(last) = page.last() else { return Ok(records) };
            let next = last.first_seq + u64::from(last.count);
            for record in page {
                assert!(
                    record.first_seq >= from || from < record.first_seq + u64::from(record.count),
                    "record {} comes before {from}; {}",
                    record.first_seq,
                    self.context
                );
                let id = id_of(&record.payload);
                let offer = self.offers.get(&id).unwrap_or_else(|| panic!("invented; {}", self.context));
                assert_eq!(
                    (record.count, &record.payload),
                    (offer.count, &offer.payload),
                    "{}",
                    self.context
                );
                self.see(epoch, record.first_seq, record.count, id);
                let before = records.insert(record.first_seq, id);
                assert!(before.is_none(), "record {} was read twice; {}", record.first_seq, self.context);
            }
            from = next;
        }
    }

    fn check_stream(
        &self,
        epoch: u64,
        stream: &Stream,
        lane: Option<&LaneState>,
        found: Option<&BTreeMap<u64, u64>>,
    ) {
        let context = &self.context;
        for (first, id) in &stream.accepted {
            let last = first + u64::from(self.offers[id].count) - 1;
            for seq in *first..=last {
                let waits = lane.is_some_and(|lane| lane.buffered.contains(seq));
                let stored = lane.is_some_and(|lane| lane.stored.contains(seq));
                let drops = lane.is_some_and(|lane| lane.dropped.values().any(|set| set.contains(seq)));
                let may_go = stream.released.contains(seq) || stream.dropped.contains(seq);
                assert!(
                    waits || may_go || (self.may_have_dropped && drops),
                    "reading {seq} of {epoch:x} is lost; {context}"
                );
                assert!(!stored || stream.released.contains(seq), "{seq} was never stored; {context}");
                if waits {
                    let there = found.and_then(|records| records.get(first));
                    assert_eq!(there, Some(id), "record {first} of {epoch:x} cannot be read; {context}");
                }
            }
        }
    }

    fn check_note(&self, journal: &Journal) {
        let number: u64 = journal.note().map_or(0, |note| {
            note.strip_prefix("note ").and_then(|n| n.parse().ok()).expect("a note of ours")
        });
        assert!(
            (self.note_durable..=self.note_tried).contains(&number),
            "note {number}, durable {}, tried {}; {}",
            self.note_durable,
            self.note_tried,
            self.context
        );
    }
}

fn id_of(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |id| u64::from_le_bytes(*id))
}
