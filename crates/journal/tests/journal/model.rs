//! Random calls against a model that keeps everything in maps.

use std::collections::BTreeMap;
use std::time::Duration;

use fieldline_journal::sim::SimFs;
use fieldline_journal::{Append, Config, EXPIRED, Journal, LaneState, Record};
use fieldline_model::{Class, RangeSet, SeqRange};
use proptest::prelude::*;

use crate::oracle::{Dice, START_MS, new_disk, open, ranges, small};

const AGE: Duration = Duration::from_secs(10);

fn config() -> Config {
    Config { age_max: Some(AGE), ..small() }
}

#[derive(Debug, Clone)]
enum Step {
    /// Class, count and bytes of each record.
    Commit(Vec<(usize, u32, usize)>, bool),
    /// Class, from which part of what was given out, bytes, records.
    Read(usize, u64, usize, usize),
    /// Class, from where, how many.
    Release(usize, u64, u64),
    Wait(i64),
    Expire,
    Save,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..4_usize, 1..5_u32, 0..700_usize);
    prop_oneof![
        6 => (prop::collection::vec(record, 0..6), any::<bool>()).prop_map(|(all, note)| Step::Commit(all, note)),
        4 => (0..4_usize, 0..110_u64, 0..2000_usize, 0..9_usize)
            .prop_map(|(class, from, bytes, records)| Step::Read(class, from, bytes, records)),
        4 => (0..4_usize, 0..110_u64, 0..40_u64).prop_map(|(class, from, count)| Step::Release(class, from, count)),
        2 => (0..4_000_i64).prop_map(Step::Wait),
        1 => Just(Step::Expire),
        1 => Just(Step::Save),
        2 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Lane {
    epoch: u64,
    records: Vec<Record>,
    stored: RangeSet,
    dropped: RangeSet,
}

impl Lane {
    fn last_seq(&self) -> u64 {
        self.records.last().map_or(0, last_of)
    }

    fn buffered(&self) -> RangeSet {
        let mut buffered: RangeSet = self.records.iter().map(range_of).collect();
        for gone in self.stored.runs().iter().chain(self.dropped.runs()) {
            buffered.remove(*gone);
        }
        buffered
    }

    fn read(&self, from: u64, bytes_max: usize, records_max: usize) -> Vec<&Record> {
        let buffered = self.buffered();
        let (mut bytes, mut page) = (0, Vec::new());
        for record in self.records.iter().filter(|record| last_of(record) >= from) {
            if page.len() >= records_max || bytes >= bytes_max {
                break;
            }
            if !buffered.intersection(&[range_of(record)].into_iter().collect()).is_empty() {
                bytes += record.payload.len().max(1);
                page.push(record);
            }
        }
        page
    }
}

fn range_of(record: &Record) -> SeqRange {
    SeqRange::new(record.first_seq, last_of(record))
}

fn last_of(record: &Record) -> u64 {
    record.first_seq + u64::from(record.count) - 1
}

#[derive(Debug)]
struct Model {
    lanes: BTreeMap<Class, Lane>,
    note: Option<String>,
    notes: u64,
    now_ms: i64,
    dice: Dice,
}

impl Model {
    fn commit(&mut self, journal: &Journal, all: &[(usize, u32, usize)], with_note: bool) {
        let payloads: Vec<Vec<u8>> = all
            .iter()
            .map(|(_, _, bytes)| (0..*bytes).map(|_| self.dice.below(256) as u8).collect())
            .collect();
        let batch: Vec<Append<'_>> = all
            .iter()
            .zip(&payloads)
            .map(|((class, count, _), payload)| Append { class: Class::ALL[*class], count: *count, payload })
            .collect();
        let note = with_note.then(|| {
            self.notes += 1;
            format!("note {}", self.notes)
        });
        let placed = journal.commit(&batch, note.as_deref(), self.now_ms).unwrap();
        self.take_drops(journal);
        for (append, placed) in batch.iter().zip(placed) {
            let lane = self.lanes.entry(append.class).or_default();
            if lane.records.is_empty() {
                lane.epoch = placed.epoch;
            }
            assert_eq!((placed.epoch, placed.first_seq), (lane.epoch, lane.last_seq() + 1));
            lane.records.push(Record {
                first_seq: placed.first_seq,
                count: append.count,
                appended_ms: self.now_ms,
                payload: append.payload.to_vec(),
            });
        }
        self.note = note.or(self.note.take());
    }

    /// The journal chooses what goes for want of space: but the cheapest lane first, and never a
    /// record of the same commit.
    fn take_drops(&mut self, journal: &Journal) {
        let mut cheaper_wait = false;
        for state in journal.lanes() {
            let Some(lane) = self.lanes.get_mut(&state.class) else { continue };
            let before = lane.dropped.count();
            lane.dropped = dropped(&state);
            assert!(lane.dropped.last() <= Some(lane.last_seq()), "a fresh record was dropped");
            assert!(lane.dropped.count() == before || !cheaper_wait, "{} went first", state.class);
            cheaper_wait |= !lane.buffered().is_empty();
        }
    }

    fn release(&mut self, journal: &Journal, class: usize, from: u64, count: u64) {
        let Some(lane) = self.lanes.get_mut(&Class::ALL[class]) else { return };
        let stored = SeqRange::new(from, from + count);
        journal.release(lane.epoch, &ranges(stored.first, stored.last), self.now_ms).unwrap();
        let given_out = ranges(1, lane.last_seq());
        for run in given_out.intersection(&ranges(stored.first, stored.last)).runs() {
            lane.stored.insert(*run);
            lane.dropped.remove(*run);
        }
    }

    fn expire(&mut self, journal: &Journal) {
        journal.expire(self.now_ms).unwrap();
        let limit = self.now_ms - AGE.as_millis() as i64;
        for state in journal.lanes() {
            let Some(lane) = self.lanes.get_mut(&state.class) else { continue };
            let expired = state.dropped.get(EXPIRED).cloned().unwrap_or_default();
            for record in lane.records.iter().filter(|record| record.appended_ms >= limit) {
                assert!(!expired.contains(record.first_seq), "a young record has expired");
            }
            lane.dropped = dropped(&state);
            if lane.records.last().is_some_and(|record| record.appended_ms < limit) {
                assert!(lane.buffered().is_empty(), "an old record waits: {state:?}");
            }
        }
    }

    /// A release that no cursor has been written for may be forgotten, nothing else.
    fn reopen(&mut self, disk: &SimFs, journal: Journal) -> Journal {
        drop(journal);
        let (journal, recovery) = open(disk, config(), self.now_ms).unwrap();
        assert_eq!((recovery.damaged_readings, recovery.damaged_bytes), (0, 0), "{recovery:?}");
        assert_eq!((recovery.damaged_cursors, recovery.sealed_lanes), (0, 0), "{recovery:?}");
        for state in journal.lanes() {
            let Some(lane) = self.lanes.get_mut(&state.class) else { continue };
            let mut gone = lane.stored.clone();
            gone.insert_all(&lane.dropped);
            assert_eq!(state.stored.intersection(&gone), state.stored, "stored out of nothing");
            assert_eq!(dropped(&state).intersection(&gone), dropped(&state), "dropped out of nothing");
            lane.stored = state.stored.clone();
            lane.dropped = dropped(&state);
        }
        journal
    }

    fn compare(&self, journal: &Journal) {
        let states = journal.lanes();
        let classes: Vec<Class> = states.iter().map(|state| state.class).collect();
        // A note alone makes the live lane.
        let known: Vec<Class> =
            classes.iter().copied().filter(|class| self.lanes.contains_key(class)).collect();
        assert_eq!(known, self.lanes.keys().copied().collect::<Vec<_>>());
        for state in &states {
            let Some(lane) = self.lanes.get(&state.class) else {
                assert_eq!((state.class, state.last_seq), (Class::Live, 0));
                continue;
            };
            assert_eq!((state.epoch, state.last_seq), (lane.epoch, lane.last_seq()));
            assert_eq!(
                (&state.buffered, &state.stored),
                (&lane.buffered(), &lane.stored),
                "{:?}",
                state.class
            );
            assert!(state.damaged.is_empty() && !state.sealed);
        }
        assert_eq!(journal.note(), self.note);
        assert!(journal.bytes() <= config().bytes_max + 4 * 48);
    }
}

fn dropped(state: &LaneState) -> RangeSet {
    let mut all = RangeSet::new();
    for ranges in state.dropped.values() {
        all.insert_all(ranges);
    }
    all
}

fn run(steps: &[Step]) {
    let disk = new_disk();
    let (mut journal, _) = open(&disk, config(), START_MS).unwrap();
    let mut model = Model {
        lanes: BTreeMap::new(),
        note: None,
        notes: 0,
        now_ms: START_MS,
        dice: Dice(steps.len() as u64),
    };
    for step in steps {
        match step {
            Step::Commit(records, note) => model.commit(&journal, records, *note),
            Step::Read(class, from, bytes, records) => {
                if let Some(lane) = model.lanes.get(&Class::ALL[*class]) {
                    let read = journal.read(lane.epoch, *from, *bytes, *records).unwrap();
                    assert!(read.iter().eq(lane.read(*from, *bytes, *records)), "{step:?}: {read:?}");
                }
            }
            Step::Release(class, from, count) => model.release(&journal, *class, *from, *count),
            Step::Wait(ms) => model.now_ms += ms,
            Step::Expire => model.expire(&journal),
            Step::Save => journal.save_cursors().unwrap(),
            Step::Reopen => journal = model.reopen(&disk, journal),
        }
        model.compare(&journal);
    }
    // After a clean stop the next life knows everything.
    journal.save_cursors().unwrap();
    drop(journal);
    let (journal, _) = open(&disk, config(), model.now_ms).unwrap();
    model.compare(&journal);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_is_what_its_model_is(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}
