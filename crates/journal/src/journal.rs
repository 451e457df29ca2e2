//! The journal: opened, asked, and kept within its limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fieldline_model::{Class, RangeSet};

use crate::commit::Active;
use crate::config::{Config, DROP_OLDEST, EXPIRED};
use crate::cursor;
use crate::error::Error;
use crate::fs::{Fs, read_all};
use crate::lane::{Lane, LaneState, parse_folder};
use crate::recovery::Recovery;

/// The format of the folder.
const FORMAT: u32 = 1;
/// 2020-01-01: a record that seems older was appended under a clock that had not been set, and its
/// age is not known.
pub(crate) const CLOCK_IS_SET_MS: i64 = 1_577_836_800_000;
const FORMAT_WORD: &str = "fieldline-journal";

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
}

/// What is known of the files.
#[derive(Debug)]
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
        fs.create_dir_all(folder).map_err(Error::io("make", folder))?;
        let lock_path = folder.join("LOCK");
        let lock = fs.lock(&lock_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::InUse { folder: folder.to_owned() },
            _ => Error::io("lock", &lock_path)(error),
        })?;
        check_format(fs.as_ref(), folder)?;
        let mut recovery = Recovery::default();
        let mut lanes = Vec::new();
        let names = fs.read_dir(folder).map_err(Error::io("list", folder))?;
        for identity in names.iter().filter_map(|name| parse_folder(name)) {
            lanes.push(Lane::load(fs.as_ref(), folder, identity, &mut recovery)?);
        }
        lanes.sort_by_key(|lane| (lane.class, lane.epoch));
        let state = State { lanes, note: recovery.note.clone() };
        let inner = Inner {
            fs,
            folder: folder.to_owned(),
            config,
            writer: Mutex::new(Writer::default()),
            state: Mutex::new(state),
            _lock: lock,
        };
        let journal = Self { inner: Arc::new(inner) };
        let epochs: Vec<u64> = journal.inner.state().lanes.iter().map(|lane| lane.epoch).collect();
        for epoch in epochs {
            // A full disk must not keep the journal from opening; reading tries again.
            match journal.inner.settle(epoch) {
                Err(error) if !error.is_no_space() => return Err(error),
                _ => {}
            }
        }
        journal.inner.tidy(&mut journal.inner.writer())?;
        journal.inner.fill_reserve();
        Ok((journal, recovery))
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
        let expired = |newest_ms: i64| (CLOCK_IS_SET_MS..oldest_ms).contains(&newest_ms);
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

    /// Writes the cursors that have changed; for a quiet moment, and before a stop.
    ///
    /// # Errors
    /// The disk failed.
    pub fn save_cursors(&self) -> Result<(), Error> {
        let _writer = self.inner.writer();
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

    /// Unlinks segments in which nothing waits, but for open ones.
    pub(crate) fn tidy(&self, writer: &mut Writer) -> Result<Released, Error> {
        let mut released = Released::default();
        let epochs: Vec<u64> = self.state().lanes.iter().map(|lane| lane.epoch).collect();
        for epoch in epochs {
            let removable: Vec<(PathBuf, u64, u64)> = {
                let mut state = self.state();
                let Some(lane) = state.lane(epoch) else { continue };
                let mut settled = lane.settled();
                settled.insert_all(&lane.damaged);
                lane.segments
                    .iter()
                    .filter(|segment| {
                        !writer.is_active(epoch, segment.number) && segment.is_settled(&settled)
                    })
                    .map(|segment| (segment.path.clone(), segment.number, segment.bytes))
                    .collect()
            };
            if removable.is_empty() {
                continue;
            }
            // Into both cursor files: one damaged file must not make the unlinked readings look lost.
            self.save_cursor(epoch)?;
            self.save_cursor(epoch)?;
            for (path, number, bytes) in removable {
                self.fs.remove(&path).map_err(Error::io("remove", &path))?;
                if let Some(lane) = self.state().lane(epoch) {
                    lane.segments.retain(|segment| segment.number != number);
                }
                released.segments += 1;
                released.bytes += bytes;
            }
        }
        Ok(released)
    }

    /// Makes durable what recovery found: a process that was killed may have left frames that the disk
    /// does not have yet. Were they sent and then lost in a power cut, their numbers would be given
    /// to other readings.
    pub(crate) fn settle(&self, epoch: u64) -> Result<(), Error> {
        if self.state().lane(epoch).is_none_or(|lane| !lane.unsettled) {
            return Ok(());
        }
        let _writer = self.writer();
        let (folder, paths) = {
            let mut state = self.state();
            let Some(lane) = state.lane(epoch).filter(|lane| lane.unsettled) else { return Ok(()) };
            (lane.path.clone(), lane.segments.iter().map(|segment| segment.path.clone()).collect::<Vec<_>>())
        };
        for path in paths {
            match self.fs.open(&path) {
                Ok(file) => file.sync_data().map_err(Error::io("sync", &path))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", &path)(error)),
            }
        }
        self.fs.sync_dir(&folder).map_err(Error::io("sync", &folder))?;
        self.fs.sync_dir(&self.folder).map_err(Error::io("sync", &self.folder))?;
        self.save_cursor(epoch)?;
        if let Some(lane) = self.state().lane(epoch) {
            lane.unsettled = false;
        }
        Ok(())
    }

    /// Drops the oldest segment of the cheapest class; `false` if there is none.
    pub(crate) fn drop_oldest(&self, writer: &mut Writer) -> Result<bool, Error> {
        let dropped = {
            let mut state = self.state();
            let lane =
                state.lanes.iter_mut().find(|lane| lane.segments.iter().any(|s| !s.present.is_empty()));
            let Some(lane) = lane else { return Ok(false) };
            let Some(segment) = lane.segments.iter().find(|s| !s.present.is_empty()) else {
                return Ok(false);
            };
            let (number, ranges) = (segment.number, segment.present.clone());
            writer.close_if(lane.epoch, number);
            (lane.class, lane.drop_ranges(DROP_OLDEST, &ranges))
        };
        tracing::error!(class = %dropped.0, count = dropped.1, "the journal is full; the oldest readings are dropped");
        self.tidy(writer)?;
        Ok(true)
    }

    /// Writes a lane's cursor; when the disk is full, at the cost of the reserve.
    pub(crate) fn save_cursor(&self, epoch: u64) -> Result<(), Error> {
        let (path, cursor) = {
            let mut state = self.state();
            let note = state.note.clone();
            let Some(lane) = state.lane(epoch) else { return Ok(()) };
            (lane.path.clone(), lane.cursor(note))
        };
        let saved = cursor::save(self.fs.as_ref(), &path, &cursor);
        let saved = match saved {
            Err(error) if error.is_no_space() && self.spend_reserve() => {
                cursor::save(self.fs.as_ref(), &path, &cursor)
            }
            other => other,
        };
        saved?;
        if let Some(lane) = self.state().lane(epoch) {
            lane.generation = cursor.generation;
            lane.dirty = false;
        }
        Ok(())
    }

    /// Gives the reserve back to the disk; `false` if there is none.
    fn spend_reserve(&self) -> bool {
        self.fs.remove(&self.folder.join("reserve")).is_ok()
    }

    /// Makes the reserve if it is not there and the disk has space for it; without it the journal
    /// works as well, until the disk is full.
    fn fill_reserve(&self) {
        let path = self.folder.join("reserve");
        let there =
            self.fs.open(&path).and_then(|file| file.len()).is_ok_and(|len| len >= self.config.reserve_bytes);
        if there || self.config.reserve_bytes == 0 {
            return;
        }
        let made = self.fs.create(&path).and_then(|file| {
            let block = vec![0x5a; 4096];
            for _ in 0..self.config.reserve_bytes.div_ceil(4096) {
                file.append(&block)?;
            }
            file.sync_data()
        });
        if made.is_err() {
            self.spend_reserve();
        }
    }
}

impl State {
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

/// Reads the folder's format mark, or makes it.
fn check_format(fs: &dyn Fs, folder: &Path) -> Result<(), Error> {
    let path = folder.join("format");
    let names = fs.read_dir(folder).map_err(Error::io("list", folder))?;
    if names.iter().any(|name| name == "format") {
        let file = fs.open(&path).map_err(Error::io("open", &path))?;
        let bytes = read_all(file.as_ref()).map_err(Error::io("read", &path))?;
        let text = String::from_utf8_lossy(&bytes);
        let found = text.trim().strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim().parse().ok());
        return match found {
            Some(found) if found > FORMAT => {
                Err(Error::Newer { folder: folder.to_owned(), found, known: FORMAT })
            }
            // A damaged mark is no reason to refuse the readings; it is written anew.
            Some(_) => Ok(()),
            None => write_format(fs, folder, &path),
        };
    }
    write_format(fs, folder, &path)
}

fn write_format(fs: &dyn Fs, folder: &Path, path: &Path) -> Result<(), Error> {
    let temporary = folder.join("format.tmp");
    let file = fs.create(&temporary).map_err(Error::io("create", &temporary))?;
    file.append(format!("{FORMAT_WORD} {FORMAT}\n").as_bytes()).map_err(Error::io("write", &temporary))?;
    file.sync_data().map_err(Error::io("sync", &temporary))?;
    fs.rename(&temporary, path).map_err(Error::io("rename", &temporary))?;
    fs.sync_dir(folder).map_err(Error::io("sync", folder))
}
