//! A disk in memory that tells what is written from what is durable, fails and crashes on demand.
//!
//! Each file has live bytes, which a running program reads, and durable bytes, which are left after a
//! power cut: what [`File::sync_data`] has covered. Each folder has live names and durable names: a new,
//! renamed or removed name is durable after [`Fs::sync_dir`], and so is a new folder in the folder
//! above it. This is what POSIX promises; real file systems often do more.
//!
//! Every operation that changes the disk has a number, counted from 0; reading has none, because a
//! crash there is a crash at the next change. A test runs its workload once to count, then again for
//! each number with [`SimFs::crash_at`] or [`SimFs::fail`], and looks at what [`SimFs::reboot`] leaves.
//!
//! ```
//! use std::path::Path;
//! use fieldline_journal::sim::{Outcome, SimFs};
//! use fieldline_journal::Fs;
//!
//! let disk = SimFs::new();
//! let file = disk.create(Path::new("/log"))?;
//! disk.sync_dir(Path::new("/"))?;
//! file.append(b"safe")?;
//! file.sync_data()?;
//! file.append(b", not safe")?;
//! let after = disk.reboot(Outcome::Dropped, 0);
//! assert_eq!(after.file(Path::new("/log")).as_deref(), Some(&b"safe"[..]));
//! # Ok::<(), std::io::Error>(())
//! ```

mod disk;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fs::{File, Fs};
use disk::{Disk, Random};

/// What a crash does to what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is there, and still not durable, as after the death of the process alone: the next
    /// crash may take it.
    Kept,
    /// None of it is there.
    Dropped,
    /// Of a file: a prefix, or any of its 512-byte sectors, with zeros or noise for the others. Of
    /// the changes to a folder's names: the first so many.
    Torn,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kept, Self::Dropped, Self::Torn];
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device does not answer.
    Eio,
    /// The disk is full.
    NoSpace,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Eio => rustix::io::Errno::IO.into(),
            Fault::NoSpace => rustix::io::Errno::NOSPC.into(),
        }
    }
}

/// What was done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Fs::create_dir_all`].
    CreateDirAll,
    /// [`Fs::create`].
    Create,
    /// [`Fs::rename`]; its path is the old one.
    Rename,
    /// [`Fs::remove`].
    Remove,
    /// [`Fs::remove_dir`].
    RemoveDir,
    /// [`Fs::sync_dir`].
    SyncDir,
    /// [`Fs::lock`].
    Lock,
    /// [`File::append`].
    Append,
    /// [`File::sync_data`].
    SyncData,
}

/// One operation that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What was to be done.
    pub kind: Kind,
    /// To which file or folder.
    pub path: PathBuf,
}

/// The simulated disk; a clone is another handle to the same one. Paths are absolute.
#[derive(Debug, Clone)]
pub struct SimFs {
    machine: Arc<Mutex<Machine>>,
}

#[derive(Debug)]
struct Machine {
    disk: Disk,
    locks: BTreeSet<PathBuf>,
    history: Vec<Operation>,
    crash_at: Option<u64>,
    crashed: bool,
    faults: Vec<(Range<u64>, Fault)>,
    faulty_kinds: Vec<(Kind, Fault)>,
    space: Option<u64>,
}

impl Default for SimFs {
    fn default() -> Self {
        Self::new()
    }
}

impl SimFs {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with(Disk::new(), None)
    }

    fn with(disk: Disk, space: Option<u64>) -> Self {
        let machine = Machine {
            disk,
            locks: BTreeSet::new(),
            history: Vec::new(),
            crash_at: None,
            crashed: false,
            faults: Vec::new(),
            faulty_kinds: Vec::new(),
            space,
        };
        Self { machine: Arc::new(Mutex::new(machine)) }
    }

    /// How many operations there were so far; the next one has this number.
    pub fn operations(&self) -> u64 {
        self.machine().history.len() as u64
    }

    /// The operations so far.
    pub fn history(&self) -> Vec<Operation> {
        self.machine().history.clone()
    }

    /// Crashes at the operation with this number: it does nothing, and it and all after it fail.
    pub fn crash_at(&self, operation: u64) {
        self.machine().crash_at = Some(operation);
    }

    /// Whether the crash has come.
    pub fn has_crashed(&self) -> bool {
        self.machine().crashed
    }

    /// Lets the operations with these numbers fail, beside those that fail already.
    ///
    /// A failing append writes half of its bytes. A failing sync leaves what was not synced out of
    /// every later sync: the system has marked the pages clean. Everything else does nothing.
    pub fn fail(&self, operations: Range<u64>, fault: Fault) {
        self.machine().faults.push((operations, fault));
    }

    /// Lets every operation of a kind fail, as [`SimFs::fail`] does.
    pub fn fail_every(&self, kind: Kind, fault: Fault) {
        self.machine().faulty_kinds.push((kind, fault));
    }

    /// Lets nothing fail any more.
    pub fn heal(&self) {
        let mut machine = self.machine();
        machine.faults.clear();
        machine.faulty_kinds.clear();
    }

    /// Limits the bytes of all files together; an append that does not fit writes what fits and
    /// fails with [`Fault::NoSpace`]. Survives a reboot.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.machine().space = bytes;
    }

    /// Bytes of all files that have a name.
    pub fn used(&self) -> u64 {
        self.machine().disk.used()
    }

    /// The paths of all files, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        self.machine().disk.paths().into_iter().map(PathBuf::from).collect()
    }

    /// The live bytes of a file.
    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let mut machine = self.machine();
        let at = machine.disk.open(path).ok()?;
        machine.disk.content(at).ok().map(|content| content.bytes().to_vec())
    }

    /// Replaces the bytes of a file, durably and without counting as an operation; `false` if there
    /// is no such file.
    pub fn replace(&self, path: &Path, bytes: Vec<u8>) -> bool {
        let mut machine = self.machine();
        let Ok(at) = machine.disk.open(path) else { return false };
        machine.disk.content(at).map(|content| content.replace(bytes)).is_ok()
    }

    /// Lets every read that touches these bytes of a file fail with [`Fault::Eio`]; `false` if there
    /// is no such file.
    pub fn spoil(&self, path: &Path, bytes: Range<usize>) -> bool {
        let mut machine = self.machine();
        let Ok(at) = machine.disk.open(path) else { return false };
        machine.disk.content(at).map(|content| content.spoil(bytes)).is_ok()
    }

    /// Crashes the machine now, if it has not crashed, and gives the disk that it finds when it starts
    /// again: no lock held, nothing failing, operations counted from 0. What is on it is durable but
    /// for what [`Outcome::Kept`] says. The same seed gives the same disk, as often as it is asked.
    #[must_use]
    pub fn reboot(&self, outcome: Outcome, seed: u64) -> Self {
        let mut machine = self.machine();
        machine.crashed = true;
        Self::with(machine.disk.reboot(outcome, &mut Random(seed)), machine.space)
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, path: &Path, node: usize) -> Box<dyn File> {
        Box::new(Handle { machine: Arc::clone(&self.machine), path: path.to_owned(), node })
    }
}

impl Machine {
    fn is_up(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the machine has crashed")) } else { Ok(()) }
    }

    /// Counts an operation and says whether it comes off.
    fn begin(&mut self, kind: Kind, path: &Path) -> io::Result<()> {
        self.is_up()?;
        let number = self.history.len() as u64;
        self.crashed = self.crash_at == Some(number);
        self.is_up()?;
        self.history.push(Operation { kind, path: path.to_owned() });
        let numbered = self.faults.iter().find(|(range, _)| range.contains(&number)).map(|(_, fault)| *fault);
        let of_kind = self.faulty_kinds.iter().find(|(faulty, _)| *faulty == kind).map(|(_, fault)| *fault);
        numbered.or(of_kind).map_or(Ok(()), |fault| Err(fault.into()))
    }

    fn append(&mut self, node: usize, bytes: &[u8]) -> io::Result<()> {
        let free = self.space.map_or(u64::MAX, |space| space.saturating_sub(self.disk.used()));
        let fits = usize::try_from(free).unwrap_or(usize::MAX).min(bytes.len());
        self.disk.content(node)?.append(bytes.get(..fits).unwrap_or_default());
        if fits < bytes.len() { Err(Fault::NoSpace.into()) } else { Ok(()) }
    }
}

impl Fs for SimFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin(Kind::CreateDirAll, path)?;
        machine.disk.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let machine = self.machine();
        machine.is_up()?;
        machine.disk.read_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut machine = self.machine();
        machine.begin(Kind::Create, path)?;
        let node = machine.disk.create(path, true)?;
        drop(machine);
        Ok(self.handle(path, node))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut machine = self.machine();
        machine.is_up()?;
        let node = machine.disk.open(path)?;
        drop(machine);
        Ok(self.handle(path, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin(Kind::Rename, from)?;
        machine.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin(Kind::Remove, path)?;
        machine.disk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin(Kind::RemoveDir, path)?;
        machine.disk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin(Kind::SyncDir, path)?;
        machine.disk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut machine = self.machine();
        machine.begin(Kind::Lock, path)?;
        machine.disk.create(path, false)?;
        if !machine.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { machine: Arc::clone(&self.machine), path: path.to_owned() }))
    }
}

/// An open file; it stays readable when its name is gone.
#[derive(Debug)]
struct Handle {
    machine: Arc<Mutex<Machine>>,
    path: PathBuf,
    node: usize,
}

impl Handle {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for Handle {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.machine();
        if let Err(error) = machine.begin(Kind::Append, &self.path) {
            if !machine.crashed {
                machine.append(self.node, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
            }
            return Err(error);
        }
        machine.append(self.node, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut machine = self.machine();
        if let Err(error) = machine.begin(Kind::SyncData, &self.path) {
            if !machine.crashed {
                machine.disk.content(self.node)?.sync_fails();
            }
            return Err(error);
        }
        machine.disk.content(self.node)?.sync();
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut machine = self.machine();
        machine.is_up()?;
        machine.disk.content(self.node)?.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        let mut machine = self.machine();
        machine.is_up()?;
        Ok(machine.disk.content(self.node)?.bytes().len() as u64)
    }
}

struct Lock {
    machine: Arc<Mutex<Machine>>,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "/data/log";

    fn log_with(synced: &[u8], unsynced: &[u8]) -> (SimFs, Box<dyn File>) {
        let disk = SimFs::new();
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let file = disk.create(Path::new(LOG)).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        file.append(synced).unwrap();
        file.sync_data().unwrap();
        file.append(unsynced).unwrap();
        (disk, file)
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        let (disk, _file) = log_with(&[1; 700], &[2; 2000]);
        let full = disk.file(Path::new(LOG)).unwrap();
        let kept = disk.reboot(Outcome::Kept, 0);
        assert_eq!(kept.file(Path::new(LOG)).unwrap(), full);
        assert_eq!(kept.reboot(Outcome::Dropped, 0).file(Path::new(LOG)).unwrap(), [1; 700]);
        assert_eq!(disk.reboot(Outcome::Dropped, 0).file(Path::new(LOG)).unwrap(), [1; 700]);
        let mut lengths = BTreeSet::new();
        for seed in 0..100 {
            let after = disk.reboot(Outcome::Torn, seed);
            let bytes = after.file(Path::new(LOG)).unwrap();
            assert_eq!(bytes[..700], [1; 700]);
            lengths.insert(bytes.len());
        }
        assert!(lengths.len() > 20 && lengths.last() == Some(&2700), "{lengths:?}");
    }

    #[test]
    fn a_name_is_durable_once_its_folder_is_synced() {
        let (disk, _file) = log_with(b"x", b"");
        let (old, new) = (Path::new(LOG), Path::new("/data/new"));
        disk.rename(old, new).unwrap();
        assert_eq!(disk.reboot(Outcome::Dropped, 0).files(), [old]);
        let (disk, _file) = log_with(b"x", b"");
        disk.rename(old, new).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        disk.remove(new).unwrap();
        assert_eq!(disk.files(), Vec::<PathBuf>::new());
        assert_eq!(disk.reboot(Outcome::Dropped, 0).files(), [new]);
    }

    #[test]
    fn a_folder_that_nobody_synced_is_gone_with_all_that_is_in_it() {
        let disk = SimFs::new();
        disk.create_dir_all(Path::new("/a")).unwrap();
        disk.create(Path::new("/a/log")).unwrap().sync_data().unwrap();
        disk.sync_dir(Path::new("/a")).unwrap();
        assert!(disk.reboot(Outcome::Dropped, 0).files().is_empty());
    }

    #[test]
    fn what_a_failed_sync_left_out_no_later_sync_makes_durable() {
        let (disk, file) = log_with(b"safe", b"doomed");
        disk.fail(disk.operations()..disk.operations() + 1, Fault::Eio);
        assert!(file.sync_data().is_err());
        file.append(b"later").unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.file(Path::new(LOG)).unwrap(), b"safedoomedlater");
        assert_eq!(disk.reboot(Outcome::Dropped, 0).file(Path::new(LOG)).unwrap(), b"safe\0\0\0\0\0\0later");
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let (disk, file) = log_with(b"1234", b"");
        disk.set_space(Some(6));
        assert_eq!(file.append(b"5678").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.file(Path::new(LOG)).unwrap(), b"123456");
        disk.set_space(None);
        file.append(b"78").unwrap();
        assert_eq!(disk.used(), 8);
    }

    #[test]
    fn after_the_crash_everything_fails_and_a_reboot_frees_the_lock() {
        let disk = SimFs::new();
        let _lock = disk.lock(Path::new("/LOCK")).unwrap();
        assert_eq!(disk.lock(Path::new("/LOCK")).err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
        disk.crash_at(2);
        assert!(disk.create(Path::new("/x")).is_err() && disk.read_dir(Path::new("/")).is_err());
        let after = disk.reboot(Outcome::Kept, 0);
        assert!(after.lock(Path::new("/LOCK")).is_ok());
    }

    #[test]
    fn an_emptied_file_may_come_back_full() {
        let (disk, _file) = log_with(b"old", b"");
        disk.create(Path::new(LOG)).unwrap().append(b"new").unwrap();
        assert_eq!(disk.reboot(Outcome::Dropped, 0).file(Path::new(LOG)).unwrap(), b"old");
        assert_eq!(disk.reboot(Outcome::Kept, 0).file(Path::new(LOG)).unwrap(), b"new");
    }
}
