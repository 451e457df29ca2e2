//! The folder of shadows: one small file for each, written whole, so that damage to one costs no other.
//!
//! `docs/formats/shadow-proxy.md` has the format. What is put is on disk when [`Cabinet::commit`] has returned
//! `Ok`: each file is written beside the old one, synced and renamed, and the folder is synced once for all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, checksum};
use fieldline_journal::{Fs, create_folder};
use fieldline_model::{ShadowId, ShadowName, ThingName};

use super::record::Record;

/// The first word of a file.
const MAGIC: &str = "FLSHADOW1";
/// How the names of files end. No id has a dot, so that no shadow takes the name of another kind of file.
const SUFFIX: &str = ".json";
/// A file that is larger than this is none of ours, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folder.
#[derive(Debug)]
pub(crate) struct Cabinet {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    /// What was put and is not committed. A blank record removes its file.
    changed: BTreeMap<ShadowId, Record>,
    /// A renamed file may not be durable: nothing is answered before the folder has been synced.
    folder_unsynced: bool,
    /// Files that were set aside because they cannot be read.
    pub(crate) damaged: u64,
}

impl Cabinet {
    /// Opens the folder, which is made if need be, and tells which shadows are in it.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn open(fs: Arc<dyn Fs>, folder: PathBuf) -> io::Result<(Self, Vec<ShadowId>)> {
        create_folder(fs.as_ref(), &folder)?;
        let mut shadows = Vec::new();
        for name in fs.read_dir(&folder)? {
            if name.ends_with(".tmp") {
                // Of a write that a crash has cut short.
                fs.remove(&folder.join(&name))?;
            } else if let Some(shadow) = shadow_of(&name) {
                shadows.push(shadow);
            }
        }
        // A crash may have come between the making of the folder and its sync.
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs.sync_dir(above)?;
        }
        let cabinet = Self { fs, folder, changed: BTreeMap::new(), folder_unsynced: true, damaged: 0 };
        Ok((cabinet, shadows))
    }

    /// A shadow as it was put, or as it is on disk; a blank record if there is none. A file that cannot be
    /// read as one is set aside.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(crate) fn load(&mut self, shadow: &ShadowId) -> io::Result<Record> {
        if let Some(record) = self.changed.get(shadow) {
            return Ok(record.clone());
        }
        let path = self.path(shadow);
        let file = match self.fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(error) => return Err(error),
        };
        let length = file.len()?.min(FILE_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        // A block that cannot be read is damage to this shadow alone.
        let read = file.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        match parse(&bytes) {
            Some(record) => Ok(record),
            None => self.set_aside(shadow, &path),
        }
    }

    fn set_aside(&mut self, shadow: &ShadowId, path: &Path) -> io::Result<Record> {
        tracing::error!(%shadow, path = %path.display(), "a shadow's file is damaged and is set aside");
        self.fs.rename(path, &path.with_extension("damaged"))?;
        self.folder_unsynced = true;
        self.damaged += 1;
        Ok(Record::default())
    }

    /// Takes a changed shadow, for the next commit.
    pub(crate) fn put(&mut self, shadow: &ShadowId, record: Record) {
        self.changed.insert(shadow.clone(), record);
    }

    /// Makes what was put durable. After an error all of it is forgotten, and what is on disk counts.
    ///
    /// # Errors
    /// The disk cannot be written; the shadows that are forgotten.
    pub(crate) fn commit(&mut self) -> Result<(), (io::Error, Vec<ShadowId>)> {
        let changed = std::mem::take(&mut self.changed);
        self.write(&changed).map_err(|error| (error, changed.into_keys().collect()))
    }

    fn write(&mut self, changed: &BTreeMap<ShadowId, Record>) -> io::Result<()> {
        for (shadow, record) in changed {
            let path = self.path(shadow);
            if *record == Record::default() {
                match self.fs.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            } else {
                let temporary = path.with_extension("tmp");
                let file = self.fs.create(&temporary)?;
                file.append(&render(record)?)?;
                file.sync_data()?;
                self.fs.rename(&temporary, &path)?;
            }
            self.folder_unsynced = true;
        }
        if self.folder_unsynced {
            self.fs.sync_dir(&self.folder)?;
            self.folder_unsynced = false;
        }
        Ok(())
    }

    fn path(&self, shadow: &ShadowId) -> PathBuf {
        self.folder.join(format!("{shadow}{SUFFIX}"))
    }
}

/// `thing.json`, or `thing~name.json`. No id has a slash, a dot or a tilde.
fn shadow_of(name: &str) -> Option<ShadowId> {
    let stem = name.strip_suffix(SUFFIX)?;
    let (thing, name) = match stem.split_once('~') {
        Some((thing, name)) => (thing, Some(ShadowName::new(name).ok()?)),
        None => (stem, None),
    };
    Some(ShadowId { thing: ThingName::new(thing).ok()?, name })
}

fn render(record: &Record) -> io::Result<Vec<u8>> {
    let body = serde_json::to_string(record)?;
    Ok(format!("{MAGIC} {:08x}\n{body}\n", sum(body.as_bytes())).into_bytes())
}

fn parse(bytes: &[u8]) -> Option<Record> {
    let (head, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let body = body.strip_suffix('\n')?;
    let expected = head.strip_prefix(MAGIC)?.strip_prefix(' ')?;
    if expected != format!("{:08x}", sum(body.as_bytes())) {
        return None;
    }
    serde_json::from_str(body).ok()
}

fn sum(body: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc32Iscsi, body)
}

#[cfg(test)]
mod tests {
    use fieldline_journal::sim::{Fault, Kind, Outcome, SimFs};
    use fieldline_shadow::{Stored, Update};

    use super::*;

    fn shadow(text: &str) -> ShadowId {
        shadow_of(&format!("{text}.json")).unwrap()
    }

    fn record(count: u64) -> Record {
        let request = format!(r#"{{"state": {{"reported": {{"count": {count}}}}}}}"#);
        let applied = Update::parse(request.as_bytes()).unwrap().apply(&Stored::Absent, 7).unwrap();
        Record { local: Some(applied.shadow), ..Record::default() }
    }

    fn open(disk: &SimFs) -> (Cabinet, Vec<ShadowId>) {
        Cabinet::open(Arc::new(disk.clone()), PathBuf::from("/shadows")).unwrap()
    }

    #[test]
    fn names_of_files_are_those_of_shadows() {
        for name in ["a", "a:b_-", "a~$x", "-", "tmp~json"] {
            assert_eq!(shadow(name).to_string(), name);
        }
        for name in
            ["a.json.tmp", "a.damaged", "..json", "a~b~c.json", "../a.json", "~a.json", "a~.json", ".json"]
        {
            assert_eq!(shadow_of(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_committed_survives_a_crash_at_any_operation() {
        let ids = [shadow("a"), shadow("b~n")];
        let work = |cabinet: &mut Cabinet| {
            let mut durable = 0;
            for count in 1..=3 {
                for id in &ids {
                    cabinet.put(id, record(count));
                }
                match cabinet.commit() {
                    Ok(()) => durable = count,
                    Err(_) => break,
                }
            }
            durable
        };
        let disk = SimFs::new();
        let start = {
            open(&disk);
            disk.operations()
        };
        assert_eq!(work(&mut open(&disk).0), 3);
        let end = disk.operations();
        for crash in start..=end {
            for outcome in Outcome::ALL {
                let disk = SimFs::new();
                open(&disk);
                disk.crash_at(crash);
                let durable = Cabinet::open(Arc::new(disk.clone()), PathBuf::from("/shadows"))
                    .map_or(0, |(mut cabinet, _)| work(&mut cabinet));
                let (mut cabinet, _) = open(&disk.reboot(outcome, crash));
                for id in &ids {
                    let found = cabinet.load(id).unwrap();
                    let counts =
                        (durable..=durable + 1).map(|n| if n == 0 { Record::default() } else { record(n) });
                    assert!(
                        counts.into_iter().any(|one| one == found),
                        "{crash} {outcome:?} {durable} {found:?}"
                    );
                }
                assert_eq!(cabinet.damaged, 0);
            }
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_hides_no_other() {
        let disk = SimFs::new();
        let (mut cabinet, _) = open(&disk);
        cabinet.put(&shadow("a"), record(1));
        cabinet.put(&shadow("b"), record(2));
        cabinet.commit().unwrap();
        let mut bytes = disk.file(Path::new("/shadows/a.json")).unwrap();
        bytes[30] ^= 1;
        disk.replace(Path::new("/shadows/a.json"), bytes);
        let (mut cabinet, shadows) = open(&disk);
        assert_eq!(shadows.len(), 2);
        assert_eq!(cabinet.load(&shadow("a")).unwrap(), Record::default());
        assert_eq!(cabinet.load(&shadow("b")).unwrap(), record(2));
        assert_eq!(cabinet.damaged, 1);
        assert!(disk.files().iter().any(|path| path.ends_with("a.damaged")));
        cabinet.put(&shadow("a"), record(3));
        cabinet.commit().unwrap();
        assert_eq!(open(&disk).0.load(&shadow("a")).unwrap(), record(3));
    }

    #[test]
    fn a_full_disk_forgets_what_was_put_and_works_again() {
        let disk = SimFs::new();
        let (mut cabinet, _) = open(&disk);
        cabinet.put(&shadow("a"), record(1));
        cabinet.commit().unwrap();
        for kind in [Kind::Append, Kind::SyncData, Kind::Rename, Kind::Create] {
            disk.fail_every(kind, Fault::NoSpace);
            cabinet.put(&shadow("a"), record(2));
            assert_eq!(cabinet.commit().unwrap_err().1, [shadow("a")]);
            assert_eq!(cabinet.load(&shadow("a")).unwrap(), record(1), "{kind:?}");
            disk.heal();
        }
        cabinet.put(&shadow("a"), record(3));
        cabinet.commit().unwrap();
        assert_eq!(cabinet.load(&shadow("a")).unwrap(), record(3));
    }
}
