//! Where readings enter: from any source, through the filter, into the batch of the next commit.
//!
//! Sources call [`Intake::offer`] from their own tasks; one committer thread takes the whole batch
//! with [`Intake::take`], makes it durable and only then answers the sources. While a commit is on
//! its way to the disk the next batch gathers: that is the group commit.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fieldline_filter::{Filter, Output};
use fieldline_model::{Class, Metric, ReadingRef, Reason, Timestamp};
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

/// Everything that one commit makes durable, and whom to tell.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lanes: [Rows; Class::ALL.len()],
    pub(crate) quarantine: Vec<Entry>,
    pub(crate) completions: Vec<Completion>,
    pub(crate) counts: Counts,
    pub(crate) windows: Vec<KeptWindow>,
}

impl Batch {
    fn clear(&mut self) {
        self.lanes.iter_mut().for_each(Rows::clear);
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
    past_max_nanos: i64,
    future_max_nanos: i64,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    batch: Batch,
    counts: Counts,
    pending: bool,
    stopped: bool,
}

impl Intake {
    /// Goes on where the note of an earlier process left off.
    pub(crate) fn new(filter: Filter, limits: &Limits, note: Note) -> Self {
        let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let mut inner = Inner {
            registry: Registry::new(filter, limits),
            batch: Batch::default(),
            counts: note.counts,
            pending: false,
            stopped: false,
        };
        for kept in note.windows {
            let (device, metric) = (kept.device.clone(), kept.metric.clone());
            if let Some((class, figures)) = inner.registry.restore(kept) {
                inner.keep_figures(&device, &metric, class, figures);
            }
        }
        Self {
            inner: Mutex::new(inner),
            ready: Condvar::new(),
            past_max_nanos: nanos(limits.past_max),
            future_max_nanos: nanos(limits.future_max),
        }
    }

    /// Takes a parsed message in. The completion is answered when everything about it is durable.
    pub(crate) fn offer(&self, offer: &Offer<'_>, completion: Completion) {
        let mut inner = self.lock();
        for row in offer.rows.iter() {
            match self.horizon(offer.now, row.time) {
                Some(reason) => inner.set_aside(row, reason, offer),
                None => inner.admit(row, offer),
            }
        }
        for reject in offer.rejects {
            inner.counts.set_aside(reject.reason);
            inner.batch.quarantine.push(Entry::of_reject(reject, offer.topic, offer.now));
        }
        inner.batch.completions.push(completion);
        inner.pending = true;
    }

    /// Takes in a message that cannot be read at all.
    pub(crate) fn offer_unreadable(&self, entry: Entry, completion: Completion) {
        let mut inner = self.lock();
        inner.counts.set_aside(entry.reason);
        inner.batch.quarantine.push(entry);
        inner.batch.completions.push(completion);
        inner.pending = true;
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

    /// Waits for something to commit and swaps it against the emptied `batch`; `false` when the
    /// intake has been stopped and is empty.
    pub(crate) fn take(&self, batch: &mut Batch) -> bool {
        batch.clear();
        let mut inner = self.lock();
        while !inner.pending {
            if inner.stopped {
                return false;
            }
            inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.pending = false;
        std::mem::swap(&mut inner.batch, batch);
        batch.counts = inner.counts.clone();
        batch.windows = inner.registry.open_windows();
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
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
                self.lane(class).push(ReadingRef { value, quality, ..row });
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
            self.lane(class).push(ReadingRef { device, metric: &name, time, value, quality });
            self.pending = true;
        }
    }

    fn set_aside(&mut self, row: ReadingRef<'_>, reason: Reason, offer: &Offer<'_>) {
        self.counts.set_aside(reason);
        self.batch.quarantine.push(Entry::of_reading(row, reason, offer.topic, offer.now));
    }

    fn lane(&mut self, class: Class) -> &mut Rows {
        let [history, live, event, alarm] = &mut self.batch.lanes;
        match class {
            Class::History => history,
            Class::Live => live,
            Class::Event => event,
            Class::Alarm => alarm,
        }
    }
}

#[cfg(test)]
mod tests;
