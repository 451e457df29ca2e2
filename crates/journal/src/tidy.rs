//! What keeps the journal within its limits: removing, dropping, cursors, and the reserve.

use crate::config::DROP_OLDEST;
use crate::cursor;
use crate::error::Error;
use crate::journal::{Inner, Released, Writer};

impl Inner {
    /// What is done when the journal has been opened. A disk that is full or ails must not keep it
    /// from opening: all of this is tried again later.
    pub(crate) fn start(&self) {
        for epoch in self.epochs() {
            if let Err(error) = self.settle(epoch) {
                tracing::warn!(%error, epoch, "cannot make durable what the journal has found");
            }
        }
        if let Err(error) = self.tidy(&mut self.writer()) {
            tracing::warn!(%error, "cannot remove journal segments");
        }
        self.fill_reserve();
    }

    fn epochs(&self) -> Vec<u64> {
        self.state().lanes.iter().map(|lane| lane.epoch).collect()
    }

    /// Unlinks segments in which nothing waits, but for open ones.
    pub(crate) fn tidy(&self, writer: &mut Writer) -> Result<Released, Error> {
        let mut released = Released::default();
        for epoch in self.epochs() {
            while self.tidy_lane(writer, epoch, &mut released)? {}
        }
        Ok(released)
    }

    /// Unlinks what can go from a lane; says whether more can go now.
    fn tidy_lane(&self, writer: &Writer, epoch: u64, released: &mut Released) -> Result<bool, Error> {
        let (folder, removable) = {
            let mut state = self.state();
            let Some(lane) = state.lane(epoch) else { return Ok(false) };
            (lane.path.clone(), lane.removable(|number| writer.is_active(epoch, number)))
        };
        if removable.is_empty() {
            return Ok(false);
        }
        // Into both cursor files: one damaged file must not make the unlinked readings look lost.
        self.save_cursor(epoch)?;
        self.save_cursor(epoch)?;
        let mut again = false;
        for segment in removable {
            match self.fs.remove(&segment.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &segment.path)(error));
                }
                _ => {}
            }
            if segment.overruled {
                // Before its successor goes, it must be certain that this one does not come back.
                self.fs.sync_dir(&folder).map_err(Error::io("sync", &folder))?;
                again = true;
            }
            if let Some(lane) = self.state().lane(epoch) {
                lane.segments.retain(|kept| kept.number != segment.number);
            }
            released.segments += 1;
            released.bytes += segment.bytes;
        }
        Ok(again)
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
            let readable = lane.segments.iter().filter(|segment| !segment.unreadable);
            (lane.path.clone(), readable.map(|segment| segment.path.clone()).collect::<Vec<_>>())
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

    /// Makes room at the cost of the cheapest: first open segments in which nothing waits, then the
    /// oldest segment of the cheapest class. `false` if there is nothing to drop.
    pub(crate) fn drop_oldest(&self, writer: &mut Writer) -> Result<bool, Error> {
        let before = self.state().bytes();
        if self.close_settled(writer) {
            self.tidy(writer)?;
            return Ok(true);
        }
        let (class, count) = {
            let mut state = self.state();
            let chosen = state.lanes.iter_mut().find_map(|lane| {
                let at = lane.segments.iter().position(|s| s.unreadable || !s.present.is_empty())?;
                Some((lane, at))
            });
            let Some((lane, at)) = chosen else { return Ok(false) };
            let Some(segment) = lane.segments.get_mut(at) else { return Ok(false) };
            segment.unreadable = false;
            let (number, ranges) = (segment.number, segment.present.clone());
            writer.close_if(lane.epoch, number);
            (lane.class, lane.drop_ranges(DROP_OLDEST, &ranges))
        };
        tracing::error!(%class, count, "the journal is full; the oldest readings are dropped");
        self.tidy(writer)?;
        Ok(self.state().bytes() < before)
    }

    /// Closes open segments whose readings are all settled; says whether there were any.
    fn close_settled(&self, writer: &mut Writer) -> bool {
        let open = writer.active.len();
        for epoch in self.epochs() {
            let closable = self.state().lane(epoch).map(|lane| lane.removable(|_| false)).unwrap_or_default();
            for segment in closable {
                writer.close_if(epoch, segment.number);
            }
        }
        writer.active.len() < open
    }

    /// Writes a lane's cursor; when the disk is full, at the cost of the reserve.
    pub(crate) fn save_cursor(&self, epoch: u64) -> Result<(), Error> {
        let (path, cursor) = {
            let mut state = self.state();
            let note = state.note.clone();
            let Some(lane) = state.lane(epoch) else { return Ok(()) };
            lane.dirty = false;
            (lane.path.clone(), lane.cursor(note))
        };
        let saved = match cursor::save(self.fs.as_ref(), &path, &cursor) {
            Err(error) if error.is_no_space() && self.spend_reserve() => {
                cursor::save(self.fs.as_ref(), &path, &cursor)
            }
            other => other,
        };
        if let Some(lane) = self.state().lane(epoch) {
            match &saved {
                Ok(()) => lane.generation = cursor.generation,
                Err(_) => lane.dirty = true,
            }
        }
        saved
    }

    /// Gives the reserve back to the disk; `false` if there is none.
    fn spend_reserve(&self) -> bool {
        self.fs.remove(&self.folder.join("reserve")).is_ok()
    }

    /// Makes the reserve if it is not there and the disk has space for it; without it the journal
    /// works as well, until the disk is full.
    pub(crate) fn fill_reserve(&self) {
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
