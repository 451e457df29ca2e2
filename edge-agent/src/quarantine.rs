//! What was set aside, kept on disk so that an engineer can see it: JSON lines in two files of
//! bounded size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fieldline_model::{ReadingRef, Reason, Timestamp, ValueRef};
use fieldline_wire::parse::Reject;
use serde::Serialize;

/// A file that has grown past this is put aside; the one put aside before goes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// So much of an unreadable payload is kept.
const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// One thing that was set aside.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) reason: Reason,
    pub(crate) topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    detail: String,
}

impl Entry {
    /// A message that cannot be read; bytes that are not UTF-8 are shown as U+FFFD.
    pub(crate) fn of_message(
        payload: &[u8],
        reason: Reason,
        topic: &str,
        detail: String,
        at: Timestamp,
    ) -> Self {
        let head = payload.get(..PAYLOAD_BYTES_MAX).unwrap_or(payload);
        let value = Some(String::from_utf8_lossy(head).into_owned());
        Self { at, reason, topic: topic.to_owned(), device: None, metric: None, time: None, value, detail }
    }

    /// A reading that a parser turned away.
    pub(crate) fn of_reject(reject: &Reject, topic: &str, at: Timestamp) -> Self {
        Self {
            at,
            reason: reject.reason,
            topic: topic.to_owned(),
            device: reject.device.clone(),
            metric: reject.metric.clone(),
            time: None,
            value: None,
            detail: reject.detail.clone(),
        }
    }

    /// A reading that was well formed but not acceptable.
    pub(crate) fn of_reading(row: ReadingRef<'_>, reason: Reason, topic: &str, at: Timestamp) -> Self {
        let value = match row.value {
            ValueRef::Boolean(value) => value.to_string(),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Float(value) => value.to_string(),
            ValueRef::Text(value) => value.to_owned(),
        };
        Self {
            at,
            reason,
            topic: topic.to_owned(),
            device: Some(row.device.to_owned()),
            metric: Some(row.metric.to_owned()),
            time: Some(row.time),
            value: Some(value),
            detail: String::new(),
        }
    }
}

impl Entry {
    /// About what it takes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        let texts = [self.device.as_ref(), self.metric.as_ref(), self.value.as_ref()];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        texts + self.topic.len() + self.detail.len() + 128
    }
}

/// The two files.
#[derive(Debug)]
pub(crate) struct Quarantine {
    path: PathBuf,
    old: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Quarantine {
    /// `quarantine.jsonl` and `quarantine.1.jsonl` in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("quarantine.jsonl");
        Self { path, old: folder.join("quarantine.1.jsonl"), file: None, bytes: 0 }
    }

    /// Writes entries and syncs them.
    pub(crate) fn keep(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let written = self.append(&lines);
        if written.is_err() {
            // Whatever state the file is in, the next attempt opens it anew.
            self.file = None;
        }
        written
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes > FILE_BYTES_MAX {
            self.file = None;
            std::fs::rename(&self.path, &self.old)?;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                self.bytes = file.metadata()?.len();
                file
            }
        };
        let file = self.file.insert(file);
        file.write_all(lines)?;
        file.sync_data()?;
        self.bytes += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_lines_of_json_and_the_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::new(folder.path());
        let payload = vec![b'x'; 100_000];
        let entry =
            Entry::of_message(&payload, Reason::Malformed, "telemetry/a", "no JSON".into(), Timestamp::EPOCH);
        let batch = vec![entry; 100];
        for _ in 0..60 {
            quarantine.keep(&batch).unwrap();
        }
        let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        let slack = 100 * 5_000;
        assert!(size("quarantine.jsonl") <= FILE_BYTES_MAX + slack);
        assert!(size("quarantine.1.jsonl") <= FILE_BYTES_MAX + slack);
        let text = std::fs::read_to_string(folder.path().join("quarantine.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["reason"], "malformed");
    }
}
