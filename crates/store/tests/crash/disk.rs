//! A disk that knows which bytes and names are durable.

use std::collections::BTreeMap;
use std::path::Path;

use crate::record::Event;

/// What a power cut tears: bytes that are written together or not at all.
const SECTOR: usize = 512;

/// What becomes of unsynced data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// It reached the disk.
    Kept,
    /// It did not.
    Dropped,
    /// Some sectors of it did.
    Torn,
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    /// Since the last sync, in order: writes, and truncations without bytes.
    pending: Vec<(usize, Option<Vec<u8>>)>,
}

/// Files of one folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    contents: Vec<Content>,
    /// What a process sees.
    names: BTreeMap<String, usize>,
    /// What is there after a power cut.
    durable_names: BTreeMap<String, usize>,
}

impl Disk {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { file, offset, bytes } => {
                self.content(file).pending.push((*offset, Some(bytes.clone())));
            }
            Event::Truncate { file, length } => self.content(file).pending.push((*length, None)),
            Event::Sync { file } => {
                let content = self.content(file);
                content.durable = content.after(Unsynced::Kept, &mut || false);
                content.pending.clear();
            }
            Event::SyncFolder => self.durable_names = self.names.clone(),
            Event::Unlink { file } => {
                self.names.remove(file);
            }
            Event::Acknowledged(_) => {}
        }
    }

    fn content(&mut self, file: &str) -> &mut Content {
        let next = self.contents.len();
        let at = *self.names.entry(file.to_owned()).or_insert(next);
        if at == next {
            self.contents.push(Content::default());
        }
        &mut self.contents[at]
    }

    /// Writes out what is there after a power cut now.
    pub(crate) fn cut(&self, folder: &Path, unsynced: Unsynced, seed: u64) {
        let mut state = seed;
        let mut coin = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 63 == 1
        };
        // A name that is durable for one who syncs may be lost for another: both are tried.
        let names = match unsynced {
            Unsynced::Dropped => &self.durable_names,
            Unsynced::Kept | Unsynced::Torn => &self.names,
        };
        for (name, at) in names {
            // The index of the write-ahead log is not data: it is made anew after a restart.
            if !name.ends_with("-shm") {
                let bytes = self.contents[*at].after(unsynced, &mut coin);
                std::fs::write(folder.join(name), bytes).unwrap();
            }
        }
    }
}

impl Content {
    fn after(&self, unsynced: Unsynced, coin: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if unsynced == Unsynced::Dropped {
            return bytes;
        }
        let mut happens = || unsynced == Unsynced::Kept || coin();
        for (at, written) in &self.pending {
            match written {
                None if happens() => bytes.resize(*at, 0),
                None => {}
                Some(written) => put(&mut bytes, *at, written, &mut happens),
            }
        }
        bytes
    }
}

/// Writes sector by sector. A sector that does not happen within a file that grows is zeros.
fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8], happens: &mut impl FnMut() -> bool) {
    let mut start = 0;
    while start < written.len() {
        let end = (start + SECTOR - (at + start) % SECTOR).min(written.len());
        if happens() {
            if bytes.len() < at + end {
                bytes.resize(at + end, 0);
            }
            bytes[at + start..at + end].copy_from_slice(&written[start..end]);
        }
        start = end;
    }
}
