//! The disk of the simulation: what a running program sees, and what a power cut would leave.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Component, Path};

use super::Outcome;

/// A disk writes this much at once or not at all.
const SECTOR_BYTES: usize = 512;
const ROOT: usize = 0;

/// Files and folders by number; the first one is `/`.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Folder(Folder),
    File(Content),
}

/// The names in a folder, as they are and as they would be after a power cut.
#[derive(Debug, Clone, Default)]
struct Folder {
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// What has been done to `durable` to make it `live`, oldest first.
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

/// The bytes of an append-only file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    /// So many of the first bytes of `live` have been synced.
    synced: usize,
    /// Bytes of which a sync failed: the system has forgotten that it owes them to the disk.
    doomed: Vec<Range<usize>>,
    /// What is durable since before the file was emptied.
    before: Option<Vec<u8>>,
    /// Where reading fails.
    unreadable: Vec<Range<usize>>,
}

/// SplitMix64, so that a seed is all that a failure needs to be seen again.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `last`.
    fn up_to(&mut self, last: usize) -> usize {
        (self.next() % (last as u64 + 1)) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::Folder(Folder::default())] }
    }

    /// The number of a file or folder.
    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for name in names(path)? {
            let next = self.folder(at)?.live.get(name).copied();
            at = next.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The folder that holds a path, and the path's last name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(usize, &'a str)> {
        let name = path.file_name().and_then(OsStr::to_str).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    fn folder(&self, at: usize) -> io::Result<&Folder> {
        match self.nodes.get(at) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn folder_mut(&mut self, at: usize) -> io::Result<&mut Folder> {
        match self.nodes.get_mut(at) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn content(&mut self, at: usize) -> io::Result<&mut Content> {
        match self.nodes.get_mut(at) {
            Some(Node::File(content)) => Ok(content),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn open(&mut self, path: &Path) -> io::Result<usize> {
        let at = self.find(path)?;
        self.content(at).map(|_| at)
    }

    fn add(&mut self, parent: usize, name: &str, node: Node) -> io::Result<usize> {
        let at = self.nodes.len();
        self.folder_mut(parent)?.change(Change::Link(name.to_owned(), at));
        self.nodes.push(node);
        Ok(at)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names(path)? {
            at = match self.folder(at)?.live.get(name) {
                Some(found) => *found,
                None => self.add(at, name, Node::Folder(Folder::default()))?,
            };
        }
        self.folder(at).map(|_| ())
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(self.folder(self.find(path)?)?.live.keys().cloned().collect())
    }

    /// An empty file; one of that name is emptied if `truncate` says so.
    pub(super) fn create(&mut self, path: &Path, truncate: bool) -> io::Result<usize> {
        let (parent, name) = self.parent(path)?;
        let Some(at) = self.folder(parent)?.live.get(name).copied() else {
            return self.add(parent, name, Node::File(Content::default()));
        };
        if truncate {
            self.content(at)?.truncate();
        }
        Ok(at)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ((parent, old), (other, new)) = (self.parent(from)?, self.parent(to)?);
        if parent != other {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.find(from)?;
        self.folder_mut(parent)?.change(Change::Rename(old.to_owned(), new.to_owned()));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.open(path)?;
        let (parent, name) = self.parent(path)?;
        self.folder_mut(parent)?.change(Change::Unlink(name.to_owned()));
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        if !self.read_dir(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = self.parent(path)?;
        self.folder_mut(parent)?.change(Change::Unlink(name.to_owned()));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let at = self.find(path)?;
        let folder = self.folder_mut(at)?;
        folder.durable = folder.live.clone();
        folder.pending.clear();
        Ok(())
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        let mut bytes = 0;
        self.walk(ROOT, "", &mut |_, content| bytes += content.live.len() as u64);
        bytes
    }

    /// The paths of all files, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.walk(ROOT, "", &mut |path, _| paths.push(path.to_owned()));
        paths
    }

    fn walk(&self, at: usize, path: &str, visit: &mut dyn FnMut(&str, &Content)) {
        match self.nodes.get(at) {
            Some(Node::File(content)) => visit(path, content),
            Some(Node::Folder(folder)) => {
                for (name, child) in &folder.live {
                    self.walk(*child, &format!("{path}/{name}"), visit);
                }
            }
            None => {}
        }
    }

    /// What a machine finds that starts again.
    pub(super) fn reboot(&self, outcome: Outcome, random: &mut Random) -> Self {
        if outcome == Outcome::Kept {
            return self.clone();
        }
        let mut disk = Self { nodes: Vec::new() };
        self.copy(ROOT, outcome, random, &mut disk);
        disk
    }

    fn copy(&self, from: usize, outcome: Outcome, random: &mut Random, disk: &mut Self) -> usize {
        let at = disk.nodes.len();
        match self.nodes.get(from) {
            Some(Node::File(content)) => {
                disk.nodes.push(Node::File(Content::durable(content.reboot(outcome, random))));
            }
            Some(Node::Folder(folder)) => {
                disk.nodes.push(Node::Folder(Folder::default()));
                let mut found = BTreeMap::new();
                for (name, child) in folder.reboot(outcome, random) {
                    found.insert(name, self.copy(child, outcome, random, disk));
                }
                disk.nodes[at] =
                    Node::Folder(Folder { live: found.clone(), durable: found, pending: Vec::new() });
            }
            None => {}
        }
        at
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        apply(&change, &mut self.live);
        self.pending.push(change);
    }

    fn reboot(&self, outcome: Outcome, random: &mut Random) -> BTreeMap<String, usize> {
        let done = match outcome {
            Outcome::Kept => self.pending.len(),
            Outcome::Dropped => 0,
            Outcome::Torn => random.up_to(self.pending.len()),
        };
        let mut names = self.durable.clone();
        for change in self.pending.iter().take(done) {
            apply(change, &mut names);
        }
        names
    }
}

impl Content {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { synced: bytes.len(), live: bytes, ..Self::default() }
    }

    /// Replaces the file's content, durably.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        *self = Self::durable(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.live.extend_from_slice(bytes);
    }

    pub(super) fn spoil(&mut self, range: Range<usize>) {
        self.unreadable.push(range);
    }

    fn truncate(&mut self) {
        let durable = self.before.take().unwrap_or_else(|| {
            let mut bytes = self.written();
            bytes.truncate(self.synced);
            bytes
        });
        *self = Self { before: Some(durable), ..Self::default() };
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.live.len();
        self.before = None;
    }

    /// A sync that fails: the system marks the pages clean, and no later sync writes them.
    pub(super) fn sync_fails(&mut self) {
        let from = self.doomed.last().map_or(0, |range| range.end).max(self.synced);
        if from < self.live.len() {
            self.doomed.push(from..self.live.len());
        }
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.live.get(from..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if self.unreadable.iter().any(|bad| bad.start < from + length && from < bad.end) {
            return Err(super::Fault::Eio.into());
        }
        if let (Some(to), Some(bytes)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(bytes);
        }
        Ok(length)
    }

    /// What there is with zeros for what a failed sync has lost.
    fn written(&self) -> Vec<u8> {
        let mut bytes = self.live.clone();
        for range in &self.doomed {
            if let Some(lost) = bytes.get_mut(range.clone()) {
                lost.fill(0);
            }
        }
        bytes
    }

    fn reboot(&self, outcome: Outcome, random: &mut Random) -> Vec<u8> {
        match (&self.before, outcome) {
            (Some(before), Outcome::Dropped) => return before.clone(),
            (Some(before), Outcome::Torn) if random.coin() => return before.clone(),
            _ => {}
        }
        let mut bytes = self.written();
        match outcome {
            Outcome::Kept => {}
            Outcome::Dropped => bytes.truncate(self.synced),
            Outcome::Torn => self.tear(&mut bytes, random),
        }
        bytes
    }

    /// Leaves of what was not synced a prefix, or some of the sectors.
    fn tear(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let unsynced = bytes.len() - self.synced;
        if random.coin() {
            bytes.truncate(self.synced + random.up_to(unsynced));
        }
        if random.coin() {
            return;
        }
        let noise = random.up_to(3) == 0;
        let mut at = self.synced;
        while at < bytes.len() {
            let end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(bytes.len());
            if random.coin()
                && let Some(sector) = bytes.get_mut(at..end)
            {
                // A block that was allocated and not written holds zeros, or what stood there before.
                sector.fill_with(|| if noise { random.next() as u8 } else { 0 });
            }
            at = end;
        }
    }
}

fn apply(change: &Change, names: &mut BTreeMap<String, usize>) {
    match change {
        Change::Link(name, node) => {
            names.insert(name.clone(), *node);
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// The names of an absolute path.
fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
