//! A disk that tells what has been synced from what has not.

use std::collections::BTreeMap;
use std::path::Path;

use crate::trace::Operation;

const SECTOR: usize = 512;

/// What becomes of data that was not synced when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    Kept,
    Dropped,
    /// Each sector that changed is on the disk or not, as the seed says.
    Torn {
        seed: u64,
    },
}

#[derive(Debug, Clone, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
}

/// Files of one folder. Names live apart from contents: a file that was synced may still lose its
/// name while the folder has not been synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
}

impl Disk {
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, truncate } => {
                let id = self.id(name);
                if *truncate {
                    self.files[id].live.clear();
                }
            }
            Operation::Write { name, offset, bytes } => {
                let id = self.id(name);
                let (live, offset) = (&mut self.files[id].live, *offset as usize);
                live.resize(live.len().max(offset + bytes.len()), 0);
                live[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Operation::Truncate { name, length } => {
                let id = self.id(name);
                self.files[id].live.resize(*length as usize, 0);
            }
            Operation::Sync { name } => {
                let id = self.id(name);
                self.files[id].durable = self.files[id].live.clone();
            }
            Operation::SyncFolder => self.durable = self.live.clone(),
            Operation::Unlink { name } => {
                self.live.remove(name);
            }
            Operation::Rename { from, to } => {
                let id = self.live.remove(from).expect("a file that is renamed exists");
                self.live.insert(to.clone(), id);
            }
            Operation::Acknowledged { .. } => {}
        }
    }

    fn id(&mut self, name: &str) -> usize {
        if let Some(id) = self.live.get(name) {
            return *id;
        }
        self.files.push(File::default());
        self.live.insert(name.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    /// Puts into `folder` what is there after the power has failed.
    pub(crate) fn cut(&self, unsynced: Unsynced, folder: &Path) {
        let mut dice = Dice(match unsynced {
            Unsynced::Torn { seed } => seed | 1,
            Unsynced::Kept | Unsynced::Dropped => 1,
        });
        let names = match unsynced {
            Unsynced::Kept => &self.live,
            Unsynced::Dropped => &self.durable,
            Unsynced::Torn { .. } if dice.toss() => &self.live,
            Unsynced::Torn { .. } => &self.durable,
        };
        for (name, id) in names {
            let file = &self.files[*id];
            let bytes = match unsynced {
                Unsynced::Kept => file.live.clone(),
                Unsynced::Dropped => file.durable.clone(),
                Unsynced::Torn { .. } => torn(file, &mut dice),
            };
            std::fs::write(folder.join(name), bytes).expect("the temporary folder takes files");
        }
    }
}

fn torn(file: &File, dice: &mut Dice) -> Vec<u8> {
    let longer = file.live.len().max(file.durable.len());
    let mut bytes = Vec::with_capacity(longer);
    for start in (0..longer).step_by(SECTOR) {
        let part = |side: &[u8]| {
            let mut sector = side.get(start..side.len().min(start + SECTOR)).unwrap_or_default().to_vec();
            sector.resize(SECTOR.min(longer - start), 0);
            sector
        };
        let (live, durable) = (part(&file.live), part(&file.durable));
        bytes.extend(if live != durable && dice.toss() { live } else { durable });
    }
    let length = if dice.toss() { file.live.len() } else { file.durable.len() };
    // A shorter length only where the file shrank or grew without a sync: both are to be expected.
    bytes.truncate(length);
    bytes
}

/// Xorshift: the same tosses in every run.
struct Dice(u64);

impl Dice {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) & 1 == 1
    }
}
