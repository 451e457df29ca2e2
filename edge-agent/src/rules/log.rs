//! The durable state of the rules: a log of commits, each of them whole or not there.
//!
//! `docs/formats/rules-state.md` has the format. A commit is one frame that is appended and synced. The log is
//! written anew, beside the old one and renamed, when it is opened and when it has grown to more than twice what
//! it was then. It is read from the disk each time, so that no second copy of the state is kept in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, checksum};
use fieldline_journal::{File, Fs, create_folder};
use fieldline_rules::Change;

/// The first bytes of a log.
const MAGIC: &[u8; 8] = b"FLRULES1";
/// Bytes of a frame before its payload: its length and its checksum.
const HEADER_BYTES: usize = 8;
/// The largest commit, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// How many entries stand in one frame of a log that is written anew.
const ENTRIES_PER_FRAME: usize = 256;
/// A log that is smaller than this is not written anew, in bytes.
const SPARE_BYTES: u64 = 1 << 20;
const NAME: &str = "state.log";

type State = BTreeMap<String, Vec<u8>>;

/// The log.
#[derive(Debug)]
pub(crate) struct StateLog {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    /// None after a write that failed: what is behind `length` is in doubt, so that the next commit begins
    /// with a new file.
    file: Option<Box<dyn File>>,
    /// Bytes of the log that count.
    length: u64,
    /// How many they were when it was last written anew.
    compacted: u64,
    /// Whether a part of the log could not be read and was set aside.
    pub(crate) is_damaged: bool,
}

impl StateLog {
    /// Opens the log in this folder, which is made if need be.
    ///
    /// # Errors
    /// The folder cannot be used, or holds a log of another version.
    pub(crate) fn open(fs: Arc<dyn Fs>, folder: PathBuf) -> io::Result<Self> {
        create_folder(fs.as_ref(), &folder)?;
        // A crash may have come between the making of the folder and its sync.
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs.sync_dir(above)?;
        }
        let mut log = Self { fs, folder, file: None, length: 0, compacted: 0, is_damaged: false };
        let bytes = log.read(u64::MAX)?;
        if !bytes.is_empty() && !bytes.starts_with(MAGIC) {
            let path = log.folder.join(NAME);
            return Err(io::Error::other(format!("{} is no log of rules of this version", path.display())));
        }
        let (state, end) = replay(&bytes)?;
        if !is_torn(bytes.get(end..).unwrap_or_default()) {
            log.set_aside(&bytes)?;
        }
        log.rewrite(&state)?;
        Ok(log)
    }

    /// Begins anew; what was there is set aside.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn renew(fs: Arc<dyn Fs>, folder: PathBuf) -> io::Result<Self> {
        fs.rename(&folder.join(NAME), &folder.join("state.unusable"))?;
        fs.sync_dir(&folder)?;
        Self::open(fs, folder)
    }

    /// The state as of the last commit.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(crate) fn load(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
        Ok(self.state()?.into_iter().collect())
    }

    /// Makes these changes durable, all of them.
    ///
    /// # Errors
    /// The disk cannot be written, or the commit is too large. Then the state is that of before.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let entries = changes.iter().map(|change| (change.key.as_str(), change.value.as_deref()));
        let frame = frame(entries)?;
        if self.file.is_none() || self.length > self.compacted.saturating_mul(2).saturating_add(SPARE_BYTES) {
            // Of a file that was renamed and is perhaps not durable nothing must be built upon.
            self.file = None;
            let state = self.state()?;
            self.rewrite(&state)?;
        }
        let Some(file) = self.file.take() else { return Err(io::Error::other("the log is not open")) };
        file.append(&frame)?;
        file.sync_data()?;
        self.length += frame.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn state(&self) -> io::Result<State> {
        let bytes = self.read(self.length)?;
        let (state, end) = replay(&bytes)?;
        match end == bytes.len() {
            true => Ok(state),
            false => Err(io::Error::other("the log of rules has changed on disk")),
        }
    }

    /// At most so many bytes of the log; none where there is no log.
    fn read(&self, length_max: u64) -> io::Result<Vec<u8>> {
        let file = match self.fs.open(&self.folder.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(file.len()?.min(length_max)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn set_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join("state.damaged");
        tracing::error!(path = %path.display(), "the state of rules is damaged; what is behind is set aside");
        self.is_damaged = true;
        let file = self.fs.create(&path)?;
        file.append(bytes)?;
        file.sync_data()
    }

    fn rewrite(&mut self, state: &State) -> io::Result<()> {
        let (temporary, path) = (self.folder.join("state.tmp"), self.folder.join(NAME));
        let file = self.fs.create(&temporary)?;
        file.append(MAGIC)?;
        let entries: Vec<_> =
            state.iter().map(|(key, value)| (key.as_str(), Some(value.as_slice()))).collect();
        let mut length = MAGIC.len() as u64;
        for some in entries.chunks(ENTRIES_PER_FRAME) {
            let frame = frame(some.iter().copied())?;
            file.append(&frame)?;
            length += frame.len() as u64;
        }
        file.sync_data()?;
        self.fs.rename(&temporary, &path)?;
        // From here on a reader meets the new file, whether the folder can be synced or not.
        (self.length, self.compacted) = (length, length);
        self.fs.sync_dir(&self.folder)?;
        self.file = Some(file);
        Ok(())
    }
}

/// What the frames say, and where the first one begins that does not check.
fn replay(bytes: &[u8]) -> io::Result<(State, usize)> {
    let mut state = State::new();
    let mut at = MAGIC.len().min(bytes.len());
    while let Some(payload) = bytes.get(at..).and_then(payload) {
        let mut rest = payload;
        while !rest.is_empty() {
            let (key, value) = take_entry(&mut rest)
                .ok_or_else(|| io::Error::other("a frame of the log of rules holds no entries"))?;
            match value {
                Some(value) => state.insert(key.to_owned(), value.to_vec()),
                None => state.remove(key),
            };
        }
        at += HEADER_BYTES + payload.len();
    }
    Ok((state, at))
}

/// The payload of the frame at the start of `bytes`, if a whole one that checks is there.
fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let length = claimed(bytes)?;
    let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    (length > 0 && checksum(CrcAlgorithm::Crc32Iscsi, payload) == u64::from(sum)).then_some(payload)
}

fn claimed(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?))
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX)
}

/// Whether what is left is at most the one frame that a crash may have cut short.
fn is_torn(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
        || claimed(rest).is_some_and(|length| HEADER_BYTES + length >= rest.len())
        || rest.len() < HEADER_BYTES
}

fn frame<'a>(entries: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    for (key, value) in entries {
        let key_length = u16::try_from(key.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&key_length.to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        match value {
            Some(value) => {
                let length = u32::try_from(value.len()).map_err(io::Error::other)?;
                bytes.push(1);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(value);
            }
            None => bytes.push(0),
        }
    }
    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    if payload.len() > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a commit of rules has {} bytes", payload.len())));
    }
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    // The algorithm has 32 bits.
    let sum = checksum(CrcAlgorithm::Crc32Iscsi, payload) as u32;
    let (first, second) = header.split_at_mut(4);
    first.copy_from_slice(&length.to_le_bytes());
    second.copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let key_length = usize::from(u16::from_le_bytes(take(rest, 2)?.try_into().ok()?));
    let key = std::str::from_utf8(take(rest, key_length)?).ok()?;
    if take(rest, 1)? == [0] {
        return Some((key, None));
    }
    let length = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    Some((key, Some(take(rest, usize::try_from(length).ok()?)?)))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests;
