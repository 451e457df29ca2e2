//! Where readings enter: from any source, through the filter, into the batch of the next commit.
//!
//! Sources call [`Intake::offer`] from their own tasks; one committer thread takes the whole batch
//! with [`Intake::take`], makes it durable and only then answers the sources. While a commit is on
//! its way to the disk the next batch gathers: that is the group commit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fieldline_filter::{Filter, Output};
use fieldline_model::{Class, Metric, ReadingRef, Reason, Timestamp, ValueRef};
use fieldline_wire::{Rows, parse::Reject};

use crate::config::Limits;
use crate::mapping::Mapping;
use crate::quarantine::Entry;

pub(crate) mod completion;
pub(crate) mod counts;
mod registry;

use completion::Completion;
use counts::{Counts, KeptWindow, LeftOut, Note};
use registry::{Decision, Registry};

/// 2025-01-01T00:00:00Z: a clock before this has not been set, and judges no reading.
const CLOCK_IS_SET: Timestamp = Timestamp::from_nanos(1_735_689_600_000_000_000);

/// A batch is closed when its readings take about so many bytes, or a sixteenth of the journal.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same where rules look at each batch.
const SMALL_BATCH_BYTES: usize = 256 * 1024;
/// No more than this waits for the committer; beyond it messages are not taken, and so not
/// acknowledged.
const WAITING_BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;

/// Everything that one commit makes durable, and whom to tell.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lanes: [Rows; Class::ALL.len()],
    /// The lane of each reading, in the order in which they came.
    pub(crate) order: Vec<Class>,
    pub(crate) quarantine: Vec<Entry>,
    pub(crate) completions: Vec<Completion>,
    pub(crate) counts: Counts,
    pub(crate) windows: Vec<KeptWindow>,
    /// Nothing has come; only the time has.
    pub(crate) is_idle: bool,
    /// About how large it is.
    bytes: usize,
}

impl Batch {
    /// The readings of a class.
    pub(crate) fn lane(&mut self, class: Class) -> &mut Rows {
        let [history, live, event, alarm] = &mut self.lanes;
        match class {
            Class::History => history,
            Class::Live => live,
            Class::Event => event,
            Class::Alarm => alarm,
        }
    }

    /// The readings in the order in which they came.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (Class, ReadingRef<'_>)> {
        let mut next = [0; Class::ALL.len()];
        self.order.iter().filter_map(move |class| {
            let lanes = Class::ALL.into_iter().zip(&self.lanes).zip(&mut next);
            let ((_, rows), next) = lanes.into_iter().find(|((lane, _), _)| lane == class)?;
            *next += 1;
            Some((*class, rows.get(*next - 1)?))
        })
    }

    fn clear(&mut self) {
        self.bytes = 0;
        self.is_idle = false;
        self.lanes.iter_mut().for_each(Rows::clear);
        self.order.clear();
        self.quarantine.clear();
        self.completions.clear();
        self.windows.clear();
    }
}

/// One message as a source hands it over.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) rejects: &'a [Reject],
    pub(crate) topic: &'a str,
    pub(crate) mapping: Option<&'a Mapping>,
    pub(crate) now: Timestamp,
}

/// The entrance.
#[derive(Debug)]
pub(crate) struct Intake {
    inner: Mutex<Inner>,
    ready: Condvar,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// Takes readings in.
    batch: Batch,
    /// Full batches, oldest first; their counts are as of when they were closed.
    closed: VecDeque<Batch>,
    closed_bytes: usize,
    batch_bytes_max: usize,
    /// Rules look at each batch, and what they make of it goes into one commit.
    keeps_small: bool,
    counts: Counts,
    pending: bool,
    stopped: bool,
    past_max_nanos: i64,
    future_max_nanos: i64,
}

impl Intake {
    /// Goes on where the note of an earlier process left off.
    pub(crate) fn new(filter: Filter, limits: &Limits, note: Note) -> Self {
        let mut inner = Inner {
            registry: Registry::new(filter, limits),
            batch: Batch::default(),
            closed: VecDeque::new(),
            closed_bytes: 0,
            batch_bytes_max: BATCH_BYTES_MAX,
            keeps_small: false,
            counts: note.counts,
            pending: false,
            stopped: false,
            past_max_nanos: nanos(limits.past_max),
            future_max_nanos: nanos(limits.future_max),
        };
        for kept in note.windows {
            let (device, metric) = (kept.device.clone(), kept.metric.clone());
            if let Some((class, figures)) = inner.registry.restore(kept) {
                inner.keep_figures(&device, &metric, class, figures);
            }
        }
        Self { inner: Mutex::new(inner), ready: Condvar::new() }
    }

    /// Uses other rules and limits from the next reading on. A series whose rule is the same goes on as it is;
    /// what another has gathered in a window is kept.
    pub(crate) fn reconfigure(&self, filter: Filter, limits: &Limits) {
        let mut inner = self.lock();
        inner.past_max_nanos = nanos(limits.past_max);
        inner.future_max_nanos = nanos(limits.future_max);
        for (device, metric, class, figures) in inner.registry.reconfigure(filter, limits) {
            inner.keep_figures(&device, &metric, class, figures);
        }
        inner.pending = true;
        drop(inner);
        self.kick();
    }

    /// Keeps batches below a sixteenth of what the journal may take, so that a journal that refuses can
    /// be filled to the brim.
    #[must_use]
    pub(crate) fn with_journal_bytes(self, bytes_max: u64) -> Self {
        let sixteenth = usize::try_from(bytes_max / 16).unwrap_or(usize::MAX);
        self.lock().batch_bytes_max = BATCH_BYTES_MAX.min(sixteenth);
        self
    }

    /// Keeps batches to [`SMALL_BATCH_BYTES`], or lets them grow.
    pub(crate) fn keep_batches_small(&self, small: bool) {
        self.lock().keeps_small = small;
    }

    /// Takes a parsed message in. The completion is answered when everything about it is durable.
    pub(crate) fn offer(&self, offer: &Offer<'_>, completion: Completion) {
        let mut inner = self.lock();
        if inner.is_full() {
            return completion.refused();
        }
        for row in offer.rows.iter() {
            match inner.horizon(offer.now, row.time) {
                Some(reason) => inner.set_aside(row, reason, offer),
                None => inner.admit(row, offer),
            }
        }
        for reject in offer.rejects {
            inner.counts.set_aside(reject.reason);
            let entry = Entry::of_reject(reject, offer.topic, offer.now);
            inner.batch.bytes += entry.size_bytes();
            inner.batch.quarantine.push(entry);
        }
        inner.batch.completions.push(completion);
        inner.pending = true;
        inner.close_if_full();
    }

    /// Takes in a message that cannot be read at all.
    pub(crate) fn offer_unreadable(&self, entry: Entry, completion: Completion) {
        let mut inner = self.lock();
        if inner.is_full() {
            return completion.refused();
        }
        inner.batch.bytes += entry.size_bytes();
        inner.counts.set_aside(entry.reason);
        inner.batch.quarantine.push(entry);
        inner.batch.completions.push(completion);
        inner.pending = true;
        inner.close_if_full();
    }

    /// Tells the committer that a source has nothing more for the moment.
    pub(crate) fn kick(&self) {
        self.ready.notify_one();
    }

    /// Closes windows that are over by the clock; see [`Registry::close_windows`].
    pub(crate) fn tick(&self, now: Timestamp) {
        let mut inner = self.lock();
        let mut closed = Vec::new();
        inner.registry.close_windows(now, |device, metric, class, figures| {
            closed.push((device.to_owned(), metric.to_owned(), class, figures));
        });
        if closed.is_empty() {
            return;
        }
        for (device, metric, class, figures) in closed {
            inner.keep_figures(&device, &metric, class, figures);
        }
        inner.pending = true;
        drop(inner);
        self.kick();
    }

    /// Waits for something to commit, at most until a time, and swaps it against the emptied `batch`;
    /// `false` when the intake has been stopped and is empty.
    pub(crate) fn take(&self, batch: &mut Batch, until: Option<Instant>) -> bool {
        batch.clear();
        let mut inner = self.lock();
        while !inner.pending && inner.closed.is_empty() {
            if inner.stopped {
                return false;
            }
            let Some(until) = until else {
                inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.batch.is_idle = true;
                break;
            }
            inner = self.ready.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.closed.is_empty() {
            inner.close();
        }
        if let Some(closed) = inner.closed.pop_front() {
            inner.closed_bytes -= closed.bytes;
            let empty = std::mem::replace(batch, closed);
            if inner.batch.completions.capacity() == 0 {
                inner.batch = empty;
            }
        }
        true
    }

    /// Lets the committer finish what is there and end.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.ready.notify_all();
    }

    /// How many series are known.
    pub(crate) fn series_count(&self) -> usize {
        self.lock().registry.series_count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration in nanoseconds.
fn nanos(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Inner {
    fn horizon(&self, now: Timestamp, time: Timestamp) -> Option<Reason> {
        if now < CLOCK_IS_SET {
            return None;
        }
        let ahead = time.nanos().saturating_sub(now.nanos());
        if ahead > self.future_max_nanos {
            Some(Reason::TooNew)
        } else if ahead < self.past_max_nanos.saturating_neg() {
            Some(Reason::TooOld)
        } else {
            None
        }
    }

    fn is_full(&self) -> bool {
        self.closed_bytes + self.batch.bytes > WAITING_BYTES_MAX.min(16 * self.batch_bytes_max)
    }

    fn close_if_full(&mut self) {
        let small = if self.keeps_small { SMALL_BATCH_BYTES } else { usize::MAX };
        if self.batch.bytes >= self.batch_bytes_max.min(small) {
            self.close();
        }
    }

    /// Puts the open batch, with the counts as they are now, into the line.
    fn close(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.counts = self.counts.clone();
        batch.windows = self.registry.open_windows();
        self.closed_bytes += batch.bytes;
        self.closed.push_back(batch);
        self.pending = false;
    }

    fn admit<'a>(&mut self, mut row: ReadingRef<'a>, offer: &Offer<'a>) {
        if let Some(mapping) = offer.mapping {
            if mapping.ignore.iter().any(|pattern| pattern.matches(row.metric)) {
                return self.counts.left_out(LeftOut::Ignored);
            }
            if let Some(name) = mapping.rename.get(row.metric) {
                if Metric::check(name).is_err() {
                    return self.set_aside(row, Reason::BadName, offer);
                }
                row.metric = name;
            }
        }
        match self.registry.decide(row) {
            Decision::Keep(class, value, quality) => {
                self.counts.sequence(class);
                self.batch.bytes += size_bytes(&row);
                self.push(class, ReadingRef { value, quality, ..row });
            }
            Decision::Filtered(reason) => self.counts.left_out(reason.into()),
            Decision::WindowClosed(class, figures) => {
                self.counts.left_out(LeftOut::Window);
                self.keep_figures(row.device, row.metric, class, figures);
            }
            Decision::OutOfRange => self.set_aside(row, Reason::OutOfRange, offer),
            Decision::Cardinality => self.set_aside(row, Reason::Cardinality, offer),
        }
    }

    fn keep_figures(&mut self, device: &str, metric: &str, class: Class, figures: Vec<Output>) {
        for figure in figures {
            let name = format!("{metric}.{}", figure.aggregate.as_str());
            if Metric::check(&name).is_err() {
                self.counts.set_aside(Reason::BadName);
                continue;
            }
            self.counts.sequence(class);
            let (value, time, quality) = (figure.value.as_ref(), figure.time, figure.quality);
            self.push(class, ReadingRef { device, metric: &name, time, value, quality });
            self.pending = true;
        }
    }

    fn set_aside(&mut self, row: ReadingRef<'_>, reason: Reason, offer: &Offer<'_>) {
        self.counts.set_aside(reason);
        let entry = Entry::of_reading(row, reason, offer.topic, offer.now);
        self.batch.bytes += entry.size_bytes();
        self.batch.quarantine.push(entry);
    }

    fn push(&mut self, class: Class, reading: ReadingRef<'_>) {
        self.batch.order.push(class);
        self.batch.lane(class).push(reading);
    }
}

/// About what a reading takes in memory and, at most, in the journal.
fn size_bytes(row: &ReadingRef<'_>) -> usize {
    let text = match row.value {
        ValueRef::Text(text) => text.len(),
        _ => 0,
    };
    row.metric.len() + text + 40
}

#[cfg(test)]
mod tests;
