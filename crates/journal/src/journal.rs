//! The journal: opened, asked, and kept within its limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fieldline_model::{Class, RangeSet, Timestamp};

use crate::commit::Active;
use crate::config::{Config, EXPIRED};
use crate::error::Error;
use crate::fs::{Fs, create_folder};
use crate::lane::{Lane, LaneState, parse_folder};
use crate::mark;
use crate::recovery::Recovery;

/// A folder of lanes. A clone is another handle to the same journal.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    /// Held by whoever changes files; never while only reading.
    pub(crate) writer: Mutex<Writer>,
    /// Held for moments, never during input or output.
    pub(crate) state: Mutex<State>,
    _lock: Box<dyn Send + Sync>,
}

/// What belongs to the one who writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The open segment of a lane, by epoch.
    pub(crate) active: BTreeMap<u64, Active>,
    /// The number of the newest note that was ever written, in vain or not.
    pub(crate) note_number: u64,
}

/// What is known of the files.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) note: Option<(u64, String)>,
}

/// What a release freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Released {
    /// Segments unlinked.
    pub segments: u64,
    /// Bytes given back.
    pub bytes: u64,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if need be, and reads what it holds.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Newer`], or the folder cannot be read or written.
    pub fn open(
        fs: Arc<dyn Fs>,
        folder: &Path,
        config: Config,
        _now_ms: i64,
    ) -> Result<(Self, Recovery), Error> {
        create_folder(fs.as_ref(), folder).map_err(Error::io("make", folder))?;
        let lock_path = folder.join("LOCK");
        let lock = fs.lock(&lock_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::InUse { folder: folder.to_owned() },
            _ => Error::io("lock", &lock_path)(error),
        })?;
        mark::check(fs.as_ref(), folder)?;
        let mut recovery = Recovery::default();
        let mut state = State::default();
        let names = fs.read_dir(folder).map_err(Error::io("list", folder))?;
        for identity in names.iter().filter_map(|name| parse_folder(name)) {
            state.add(Lane::load(fs.as_ref(), folder, identity, &mut recovery)?);
        }
        state.note.clone_from(&recovery.note);
        let note_number = state.note.as_ref().map_or(0, |(number, _)| *number);
        let inner = Inner {
            fs,
            folder: folder.to_owned(),
            config,
            writer: Mutex::new(Writer { active: BTreeMap::new(), note_number }),
            state: Mutex::new(state),
            _lock: lock,
        };
        inner.start();
        Ok((Self { inner: Arc::new(inner) }, recovery))
    }

    /// All lanes, cheapest class first.
    pub fn lanes(&self) -> Vec<LaneState> {
        self.inner.state().lanes.iter().map(Lane::state).collect()
    }

    /// The newest durable note.
    pub fn note(&self) -> Option<String> {
        self.inner.state().note.as_ref().map(|(_, note)| note.clone())
    }

    /// Bytes of all segments on disk.
    pub fn bytes(&self) -> u64 {
        self.inner.state().bytes()
    }

    /// The store has these readings: they need not be kept. Ranges may come in any order, twice, or
    /// reach beyond what was given out. Segments in which nothing waits any more are unlinked, after
    /// the cursor that says so is durable.
    ///
    /// # Errors
    /// [`Error::UnknownLane`], or the disk failed; then nothing is lost and the release counts.
    pub fn release(&self, epoch: u64, stored: &RangeSet, _now_ms: i64) -> Result<Released, Error> {
        let mut writer = self.inner.writer();
        {
            let mut state = self.inner.state();
            let lane = state.lane(epoch).ok_or(Error::UnknownLane { epoch })?;
            if !lane.store(stored) {
                return Ok(Released::default());
            }
        }
        self.inner.tidy(&mut writer)
    }

    /// Drops segments whose newest record is older than the configured age, counted as `expired`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn expire(&self, now_ms: i64) -> Result<(), Error> {
        let Some(age) = self.inner.config.age_max else { return Ok(()) };
        let oldest_ms = now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        // The age of what was appended before the clock was set is not known.
        let expired = |newest_ms: i64| (Timestamp::CLOCK_IS_SET.millis()..oldest_ms).contains(&newest_ms);
        let mut writer = self.inner.writer();
        let mut dropped = 0;
        {
            let mut state = self.inner.state();
            for lane in &mut state.lanes {
                let old: Vec<(u64, RangeSet)> = lane
                    .segments
                    .iter()
                    .filter(|segment| expired(segment.newest_ms) && !segment.present.is_empty())
                    .map(|segment| (segment.number, segment.present.clone()))
                    .collect();
                for (number, ranges) in old {
                    dropped += lane.drop_ranges(EXPIRED, &ranges);
                    writer.close_if(lane.epoch, number);
                }
            }
        }
        if dropped > 0 {
            tracing::error!(count = dropped, "readings have expired before the store acknowledged them");
            self.inner.tidy(&mut writer)?;
        }
        Ok(())
    }

    /// Writes the cursors that have changed, removes what could not be removed before, and makes the
    /// reserve again; for a quiet moment, and before a stop.
    ///
    /// # Errors
    /// The disk failed.
    pub fn save_cursors(&self) -> Result<(), Error> {
        let mut writer = self.inner.writer();
        self.inner.tidy(&mut writer)?;
        let dirty: Vec<u64> =
            self.inner.state().lanes.iter().filter(|lane| lane.dirty).map(|lane| lane.epoch).collect();
        for epoch in dirty {
            self.inner.save_cursor(epoch)?;
        }
        self.inner.fill_reserve();
        Ok(())
    }
}

impl Inner {
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a lane; the cheapest class stands first, of a class the sealed lanes.
    pub(crate) fn add(&mut self, lane: Lane) {
        self.lanes.push(lane);
        self.lanes.sort_by_key(|lane| (lane.class, !lane.sealed, lane.epoch));
    }

    pub(crate) fn lane(&mut self, epoch: u64) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.epoch == epoch)
    }

    /// The lane to which a class is appended.
    pub(crate) fn open_lane(&mut self, class: Class) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.class == class && !lane.sealed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lanes.iter().map(Lane::bytes).sum()
    }
}

impl Writer {
    pub(crate) fn is_active(&self, epoch: u64, number: u64) -> bool {
        self.active.get(&epoch).is_some_and(|active| active.number == number)
    }

    pub(crate) fn close_if(&mut self, epoch: u64, number: u64) {
        if self.is_active(epoch, number) {
            self.active.remove(&epoch);
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("folder", &self.folder).finish_non_exhaustive()
    }
}
