//! The one thread that writes: takes a batch, makes it durable, answers whoever waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fieldline_journal::{Append, Journal, Placed};
use fieldline_model::Class;
use fieldline_wire::{Rows, record};
use tokio::sync::watch;

use crate::clock;
use crate::intake::counts::{Counts, Note};
use crate::intake::{Batch, Intake};
use crate::quarantine::Quarantine;
use crate::rules::RulesHost;

/// A record is closed when it has grown past this, so that damage on the disk stays small.
const RECORD_BYTES: usize = 4 * 1024;
/// How long to wait before a failed commit is tried again: recovery within a second of space
/// coming back.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// What others may know of the committer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed {
    /// The counts as of the last durable commit.
    pub(crate) counts: Counts,
    /// Why commits are failing at the moment, if they are.
    pub(crate) trouble: Option<String>,
}

/// Where the committer leaves its state for others.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<Committed>,
    generation: watch::Sender<u64>,
    stopping: std::sync::atomic::AtomicBool,
    /// When and where the latest commits began, oldest first; see [`Board::live_from`].
    marks: Mutex<VecDeque<Mark>>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    epoch: u64,
    first_seq: u64,
}

/// Marks are this far apart, so that there are few of them.
const MARK_EVERY: Duration = Duration::from_millis(250);
/// How many marks are kept: the last quarter of a minute of four lanes.
const MARKS_MAX: usize = 256;

impl Board {
    pub(crate) fn new(counts: Counts) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Committed { counts, trouble: None }),
            generation: watch::Sender::new(0),
            stopping: std::sync::atomic::AtomicBool::new(false),
            marks: Mutex::new(VecDeque::new()),
        })
    }

    pub(crate) fn state(&self) -> Committed {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes with each commit.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Makes a committer that cannot write give up instead of trying for ever.
    pub(crate) fn give_up(&self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Release);
    }

    /// The first number that a lane gave out within the last so long; a link that comes up takes what
    /// is as young as that for live.
    pub(crate) fn live_from(&self, epoch: u64, within: Duration) -> Option<u64> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let young = marks.iter().find(|mark| mark.epoch == epoch && mark.at.elapsed() <= within);
        young.map(|mark| mark.first_seq)
    }

    fn mark(&self, placed: &[Placed]) {
        let at = Instant::now();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        for Placed { epoch, first_seq } in placed.iter().copied() {
            let last = marks.iter().rev().find(|mark| mark.epoch == epoch);
            if last.is_none_or(|mark| at.saturating_duration_since(mark.at) >= MARK_EVERY) {
                marks.push_back(Mark { at, epoch, first_seq });
            }
        }
        while marks.len() > MARKS_MAX {
            marks.pop_front();
        }
    }

    /// What failed works again.
    fn recovered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.trouble.take().is_some() {
            tracing::info!("the disk takes readings again");
        }
    }

    fn settle(&self, counts: Counts) {
        self.recovered();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).counts = counts;
        self.generation.send_modify(|generation| *generation += 1);
    }

    fn complain(&self, trouble: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.trouble.is_none() {
            tracing::error!(
                error = trouble,
                "cannot commit; devices are not acknowledged until it works again"
            );
        }
        state.trouble = Some(trouble);
    }

    fn stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// The committer.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) intake: Arc<Intake>,
    pub(crate) journal: Journal,
    pub(crate) quarantine: Quarantine,
    pub(crate) board: Arc<Board>,
    /// Readings per class that are durable.
    pub(crate) settled: BTreeMap<Class, u64>,
    pub(crate) rules: RulesHost,
    /// Readings per class that rules have made since the start; the intake does not know of them.
    pub(crate) made: BTreeMap<Class, u64>,
}

impl Committer {
    /// Runs until the intake is stopped and empty.
    pub(crate) fn run(mut self) {
        let mut batch = Batch::default();
        let mut records = Records::default();
        while self.intake.take(&mut batch, self.rules.wake()) {
            if !self.evaluate(&mut batch) {
                return;
            }
            if batch.is_idle && batch.lanes.iter().all(Rows::is_empty) {
                self.board.recovered();
                continue;
            }
            records.encode(&batch.lanes);
            if !self.commit(&batch, &records) {
                return;
            }
            self.settled.clone_from(&batch.counts.sequenced);
            self.board.settle(batch.counts.clone());
            for completion in batch.completions.drain(..) {
                completion.durable();
            }
        }
        // What was carried out is let go of; what rules make now they make again at the next start.
        if let Err(error) = self.rules.round(&Batch::default()) {
            tracing::warn!(error, "rules will do again what they did last");
        }
    }

    /// Shows the batch to the rules, which may add to it. Tries until it works; `false` when told to give up.
    fn evaluate(&mut self, batch: &mut Batch) -> bool {
        let made = loop {
            match self.rules.round(batch) {
                Ok(made) => break made,
                Err(trouble) => self.board.complain(trouble),
            }
            if self.board.stopping() {
                return false;
            }
            std::thread::sleep(RETRY_EVERY);
        };
        for (class, reading) in made {
            batch.lane(class).push(reading.as_ref());
            *self.made.entry(class).or_default() += 1;
        }
        batch.counts.add_made(&self.made);
        true
    }

    /// Tries until it works; `false` when told to give up.
    fn commit(&mut self, batch: &Batch, records: &Records) -> bool {
        let note = Note {
            counts: batch.counts.clone(),
            settled: self.settled.clone(),
            windows: batch.windows.clone(),
        };
        let note = match serde_json::to_string(&note) {
            Ok(note) => note,
            Err(error) => {
                tracing::error!(%error, "cannot write the note");
                return false;
            }
        };
        let mut quarantined = false;
        loop {
            let attempt = self.attempt(batch, records, &note, &mut quarantined);
            match attempt {
                Ok(()) => return true,
                Err(trouble) => self.board.complain(trouble),
            }
            if self.board.stopping() {
                return false;
            }
            std::thread::sleep(RETRY_EVERY);
        }
    }

    fn attempt(
        &mut self,
        batch: &Batch,
        records: &Records,
        note: &str,
        quarantined: &mut bool,
    ) -> Result<(), String> {
        if !*quarantined {
            self.quarantine
                .keep(&batch.quarantine)
                .map_err(|error| format!("cannot write the quarantine: {error}"))?;
            *quarantined = true;
        }
        self.journal
            .commit(&records.appends(), Some(note), clock::now().millis())
            .map(|placed| self.board.mark(&placed))
            .map_err(|error| chain(&error))
    }
}

/// A batch as journal records, in one buffer that is used again.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    class: Class,
    count: u32,
    end: usize,
}

impl Records {
    fn encode(&mut self, lanes: &[Rows]) {
        self.bytes.clear();
        self.parts.clear();
        for (class, rows) in Class::ALL.into_iter().zip(lanes) {
            // By index: `iter().skip(from)` would walk all rows before, for each record anew.
            let rest = |from: usize| (from..rows.len()).map_while(|index| rows.get(index));
            let mut from = 0;
            while from < rows.len() {
                let count = rest(from).scan(0, until_full).count().max(1);
                record::encode(rest(from).take(count), &mut self.bytes);
                let counted = u32::try_from(count).unwrap_or(u32::MAX);
                self.parts.push(Part { class, count: counted, end: self.bytes.len() });
                from += count;
            }
        }
    }

    fn appends(&self) -> Vec<Append<'_>> {
        let mut from = 0;
        self.parts
            .iter()
            .filter_map(|part| {
                let payload = self.bytes.get(from..part.end)?;
                from = part.end;
                Some(Append { class: part.class, count: part.count, payload })
            })
            .collect()
    }
}

/// Counts readings until they would fill a record; the estimate is their size unpacked.
fn until_full(bytes: &mut usize, row: fieldline_model::ReadingRef<'_>) -> Option<()> {
    if *bytes >= RECORD_BYTES {
        return None;
    }
    let text = match row.value {
        fieldline_model::ValueRef::Text(text) => text.len(),
        _ => 8,
    };
    *bytes += row.metric.len() + text + 4;
    Some(())
}

/// An error with its causes, for a log line or a status page.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Brings an earlier process's note into line with what the journal has.
pub(crate) fn recovered_note(journal: &Journal) -> Note {
    let mut note: Note = journal.note().and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default();
    let mut recovered = BTreeMap::new();
    for lane in journal.lanes() {
        *recovered.entry(lane.class).or_insert(0) += lane.last_seq;
    }
    note.recover(&recovered);
    note
}
