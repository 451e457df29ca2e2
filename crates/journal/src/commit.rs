//! The group commit: one write and one `fdatasync` for each lane that a batch touches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fieldline_model::Class;

use crate::config::Policy;
use crate::error::Error;
use crate::frame::{self, Header, Kind, PAYLOAD_BYTES_MAX, Place};
use crate::fs::File;
use crate::journal::{Inner, Journal, Writer};
use crate::lane::Lane;
use crate::segment::{self, Segment};

/// One record to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append<'a> {
    /// The lane it goes to.
    pub class: Class,
    /// How many readings it holds; each gets a sequence number.
    pub count: u32,
    /// The record, at most 1 MiB.
    pub payload: &'a [u8],
}

/// Where a record was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The lane's epoch.
    pub epoch: u64,
    /// The sequence number of the record's first reading.
    pub first_seq: u64,
}

/// A lane's open segment.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    file: Box<dyn File>,
    length: u64,
    /// Whether the segment's name is durable.
    named: bool,
    /// Whether something was written to it that is not known to be durable.
    in_doubt: bool,
}

/// A batch as it goes to one lane.
struct Share {
    epoch: u64,
    number: u64,
    bytes: Vec<u8>,
    /// Header and offset in `bytes` of each data frame.
    frames: Vec<(Header, u64)>,
    last_seq: u64,
}

impl Journal {
    /// Makes records and a note durable; when this returns `Ok` they are.
    ///
    /// The note is the caller's own text (its counts); the newest one is kept when segments go, and
    /// [`Journal::note`] gives it back. Give the same batch again after an error: its readings get
    /// the same numbers, and none is there twice.
    ///
    /// # Errors
    /// [`Error::Full`] under [`Policy::Refuse`], [`Error::NoSpace`], [`Error::Io`], [`Error::BadRecord`];
    /// nothing of the batch is acknowledged then.
    pub fn commit(
        &self,
        records: &[Append<'_>],
        note: Option<&str>,
        now_ms: i64,
    ) -> Result<Vec<Placed>, Error> {
        let bad = |record: &Append<'_>| record.count == 0 || record.payload.len() > PAYLOAD_BYTES_MAX;
        if records.iter().any(bad) || note.is_some_and(|note| note.len() > PAYLOAD_BYTES_MAX) {
            return Err(Error::BadRecord { bytes_max: PAYLOAD_BYTES_MAX });
        }
        let mut writer = self.inner.writer();
        let size = records.iter().map(|record| record.payload.len() + frame::HEADER_BYTES).sum::<usize>()
            + note.map_or(0, |note| note.len() + frame::HEADER_BYTES);
        self.inner.make_room(&mut writer, size as u64)?;
        let mut renewed = false;
        loop {
            let error = match self.inner.try_commit(&mut writer, records, note, now_ms) {
                Ok(placed) => return Ok(placed),
                Err(error) => error,
            };
            // Files in doubt are never synced again: the next attempt takes new ones.
            self.inner.abandon(&mut writer);
            if renewed || error.is_no_space() {
                return Err(error);
            }
            tracing::warn!(%error, "a segment has failed; the batch goes to a new one");
            renewed = true;
        }
    }
}

impl Inner {
    /// Closes the segments in doubt; one that holds nothing durable is removed, so that a disk that
    /// stays full does not fill up with files.
    fn abandon(&self, writer: &mut Writer) {
        let in_doubt: Vec<(u64, Active)> =
            writer.active.extract_if(.., |_, active| active.in_doubt).collect();
        for (epoch, active) in in_doubt {
            let mut state = self.state();
            let Some(segment) = state.segment(epoch, active.number) else { continue };
            segment.overruled = true;
            if !segment.present.is_empty() {
                continue;
            }
            let path = segment.path.clone();
            drop(state);
            match self.fs.remove(&path) {
                Ok(()) => {
                    if let Some(lane) = self.state().lane(epoch) {
                        lane.segments.retain(|segment| segment.number != active.number);
                    }
                }
                // It is tried again when other segments go.
                Err(error) => tracing::debug!(%error, "cannot remove an empty segment"),
            }
        }
    }

    /// Sees to it that so many more bytes fit under the limit.
    fn make_room(&self, writer: &mut Writer, size: u64) -> Result<(), Error> {
        let bytes_max = self.config.bytes_max;
        if size > bytes_max / 2 {
            return Err(Error::Full { bytes: self.state().bytes(), bytes_max });
        }
        loop {
            let bytes = self.state().bytes();
            if bytes + size <= bytes_max {
                return Ok(());
            }
            let full = Error::Full { bytes, bytes_max };
            if self.config.policy == Policy::Refuse || !self.drop_oldest(writer)? {
                return Err(full);
            }
        }
    }

    fn try_commit(
        &self,
        writer: &mut Writer,
        records: &[Append<'_>],
        note: Option<&str>,
        now_ms: i64,
    ) -> Result<Vec<Placed>, Error> {
        let mut by_class: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            by_class.entry(record.class).or_default().push(index);
        }
        if by_class.is_empty() && note.is_some() {
            by_class.insert(Class::Live, Vec::new());
        }
        let mut placed = vec![Placed { epoch: 0, first_seq: 0 }; records.len()];
        // A number for each attempt, so that the note of a failed one is older than its successor's.
        writer.note_number += 1;
        let note_number = writer.note_number;
        let mut note_frame = note.map(|note| (note_number, note));
        let mut shares = Vec::new();
        for (class, indices) in by_class {
            let chosen: Vec<(usize, &Append<'_>)> =
                indices.into_iter().filter_map(|index| Some((index, records.get(index)?))).collect();
            shares.push(self.share(writer, class, &chosen, note_frame.take(), now_ms, &mut placed)?);
        }
        for share in &shares {
            self.write(writer, share)?;
        }
        for share in &shares {
            self.sync(writer, share.epoch)?;
        }
        self.publish(writer, shares, note.map(|note| (note_number, note.to_owned())));
        Ok(placed)
    }

    /// Lays out what goes to one lane.
    fn share(
        &self,
        writer: &mut Writer,
        class: Class,
        records: &[(usize, &Append<'_>)],
        note: Option<(u64, &str)>,
        now_ms: i64,
        placed: &mut [Placed],
    ) -> Result<Share, Error> {
        let epoch = self.lane_for(class)?;
        let size: usize = records.iter().map(|(_, record)| record.payload.len() + frame::HEADER_BYTES).sum();
        let (number, length, last_seq) = self.segment_for(writer, epoch, size as u64, now_ms)?;
        let place = Place { epoch, segment: number };
        let mut share =
            Share { epoch, number, bytes: Vec::with_capacity(size + 512), frames: Vec::new(), last_seq };
        for (index, record) in records {
            let first_seq = share.last_seq + 1;
            let header = Header { kind: Kind::Data, first_seq, count: record.count, appended_ms: now_ms };
            share.frames.push((header, length + share.bytes.len() as u64));
            frame::write(place, header, record.payload, &mut share.bytes);
            share.last_seq = header.last_seq();
            if let Some(slot) = placed.get_mut(*index) {
                *slot = Placed { epoch, first_seq };
            }
        }
        if let Some((number, note)) = note {
            // A note says up to which number its lane has got: were the data frame before it damaged,
            // its numbers must not be given out again.
            let last_seq = i64::try_from(share.last_seq).unwrap_or(i64::MAX);
            let header = Header { kind: Kind::Note, first_seq: number, count: 0, appended_ms: last_seq };
            frame::write(place, header, note.as_bytes(), &mut share.bytes);
        }
        Ok(share)
    }

    /// The lane of a class, made if need be.
    fn lane_for(&self, class: Class) -> Result<u64, Error> {
        if let Some(lane) = self.state().open_lane(class) {
            return Ok(lane.epoch);
        }
        let random = getrandom::u64()
            .map_err(|error| Error::io("draw an epoch for", &self.folder)(std::io::Error::other(error)))?;
        // Below 2⁵³, so that every reader of JSON holds it; never zero.
        let epoch = (random >> 11).max(1);
        let lane = Lane::new(&self.folder, class, epoch);
        self.fs.create_dir_all(&lane.path).map_err(Error::io("make", &lane.path))?;
        if let Err(error) = self.fs.sync_dir(&self.folder) {
            // The next attempt draws another epoch; this one must not pile up.
            if let Err(error) = self.fs.remove_dir(&lane.path) {
                tracing::debug!(%error, "cannot remove an empty lane");
            }
            return Err(Error::io("sync", &self.folder)(error));
        }
        self.state().add(lane);
        Ok(epoch)
    }

    /// The open segment of a lane with room for so many bytes; gives its number, its length, and the
    /// lane's last sequence number.
    fn segment_for(
        &self,
        writer: &mut Writer,
        epoch: u64,
        size: u64,
        now_ms: i64,
    ) -> Result<(u64, u64, u64), Error> {
        if writer.active.get(&epoch).is_some_and(|active| self.is_done(epoch, active, size, now_ms)) {
            writer.active.remove(&epoch);
        }
        let (class, path, number, last_seq) = {
            let mut state = self.state();
            let lane = state.lane(epoch).ok_or(Error::UnknownLane { epoch })?;
            (lane.class, lane.path.clone(), lane.next_segment, lane.last_seq)
        };
        if let Some(active) = writer.active.get(&epoch) {
            return Ok((active.number, active.length, last_seq));
        }
        let segment = Segment::new(&path, number);
        let segment_path = segment.path.clone();
        let file = self.fs.create(&segment_path).map_err(Error::io("create", &segment_path))?;
        if let Some(lane) = self.state().lane(epoch) {
            lane.segments.push(segment);
            lane.next_segment = number + 1;
        }
        let length = segment::HEADER_BYTES as u64;
        let active = Active { number, file, length, named: false, in_doubt: true };
        let header = segment::header(Place { epoch, segment: number }, class, last_seq + 1);
        let written = active.file.append(&header).map_err(Error::io("write", &segment_path));
        writer.active.insert(epoch, active);
        written?;
        Ok((number, length, last_seq))
    }

    /// Whether a segment takes no more: it would grow too large, or, where readings expire, its first
    /// ones are so old that they should not wait for later ones.
    fn is_done(&self, epoch: u64, active: &Active, size: u64, now_ms: i64) -> bool {
        let limit = self.config.segment_bytes.min(self.config.bytes_max / 4);
        if active.length > segment::HEADER_BYTES as u64 && active.length + size > limit {
            return true;
        }
        let Some(age) = self.config.age_max else { return false };
        let eighth = i64::try_from(age.as_millis() / 8).unwrap_or(i64::MAX);
        let oldest = self.state().segment(epoch, active.number).map_or(i64::MAX, |segment| segment.oldest_ms);
        oldest.saturating_add(eighth) < now_ms
    }

    fn write(&self, writer: &mut Writer, share: &Share) -> Result<(), Error> {
        let Some(active) = writer.active.get_mut(&share.epoch) else {
            return Err(Error::UnknownLane { epoch: share.epoch });
        };
        let path = self.segment_path(share.epoch, share.number);
        active.in_doubt = true;
        active.length += share.bytes.len() as u64;
        if let Some(segment) = self.state().segment(share.epoch, share.number) {
            segment.bytes = active.length;
        }
        active.file.append(&share.bytes).map_err(Error::io("write", &path))
    }

    fn sync(&self, writer: &mut Writer, epoch: u64) -> Result<(), Error> {
        let Some(active) = writer.active.get_mut(&epoch) else { return Err(Error::UnknownLane { epoch }) };
        let path = self.segment_path(epoch, active.number);
        active.file.sync_data().map_err(Error::io("sync", &path))?;
        if !active.named {
            let lane = path.parent().unwrap_or(&self.folder);
            self.fs.sync_dir(lane).map_err(Error::io("sync", lane))?;
            active.named = true;
        }
        Ok(())
    }

    /// Lets readers see what has become durable.
    fn publish(&self, writer: &mut Writer, shares: Vec<Share>, note: Option<(u64, String)>) {
        let mut state = self.state();
        for share in shares {
            let Some(active) = writer.active.get_mut(&share.epoch) else { continue };
            active.in_doubt = false;
            let length = active.length;
            if let Some(segment) = state.segment(share.epoch, share.number) {
                for (header, offset) in &share.frames {
                    segment.note_frame(header, *offset);
                }
                segment.readable = length;
            }
            if let Some(lane) = state.lane(share.epoch) {
                lane.last_seq = share.last_seq;
            }
        }
        if note.is_some() {
            state.note = note;
        }
    }

    fn segment_path(&self, epoch: u64, number: u64) -> PathBuf {
        let mut state = self.state();
        state.segment(epoch, number).map_or_else(|| self.folder.clone(), |segment| segment.path.clone())
    }
}

impl crate::journal::State {
    pub(crate) fn segment(&mut self, epoch: u64, number: u64) -> Option<&mut Segment> {
        self.lane(epoch)?.segments.iter_mut().find(|segment| segment.number == number)
    }
}
