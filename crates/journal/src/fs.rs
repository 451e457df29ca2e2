//! The disk, as narrow as the journal needs it, so that tests can crash it at every operation.

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::Error;

/// A file system. [`DiskFs`] is the real one, [`crate::sim::SimFs`] one that crashes on demand.
pub trait Fs: Send + Sync + Debug {
    /// Makes a folder and those above it; no error if it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file for appending; an old one of that name is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Gives a file another name, atomically; durable after [`Fs::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable after [`Fs::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, which is made if need be; `WouldBlock` if another has it.
    /// It is given back when the guard is dropped.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Writes all bytes at the end.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Reads into `buffer` from `offset`; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFs;

impl Fs for DiskFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

impl File for fs::File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A bad block on a disk makes so many bytes unreadable, from a multiple of it on.
const BLOCK_BYTES: usize = 4096;

/// Reads a small file whole.
pub(crate) fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads like [`File::read_at`]; where the disk cannot read a block, `0xff` stands for its bytes, so
/// that a bad block costs the records on it and no others, and is not taken for space never written.
pub(crate) fn read_around(file: &dyn File, buffer: &mut [u8], offset: u64) -> usize {
    if let Ok(read) = file.read_at(buffer, offset) {
        return read;
    }
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        let to_boundary = BLOCK_BYTES - (at % BLOCK_BYTES as u64) as usize;
        let end = buffer.len().min(done + to_boundary);
        let Some(block) = buffer.get_mut(done..end) else { break };
        match file.read_at(block, at) {
            Ok(read) if read < block.len() => return done + read,
            Ok(_) => {}
            Err(_) => block.fill(0xff),
        }
        done = end;
    }
    done
}

/// Makes a folder and those above it, and their names durable.
///
/// # Errors
/// The file system's.
pub fn create_folder(fs: &dyn Fs, folder: &Path) -> io::Result<()> {
    let is_missing = |path: &&Path| {
        !path.as_os_str().is_empty()
            && fs.read_dir(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    fs.create_dir_all(folder)?;
    for made in missing {
        match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => fs.sync_dir(above)?,
            _ => fs.sync_dir(Path::new("."))?,
        }
    }
    Ok(())
}

/// Writes a small file so that either the old one or the new one is there, whole, after any crash.
pub(crate) fn replace(fs: &dyn Fs, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let (temporary, path) = (folder.join(format!("{name}.tmp")), folder.join(name));
    let file = fs.create(&temporary).map_err(Error::io("create", &temporary))?;
    file.append(bytes).map_err(Error::io("write", &temporary))?;
    file.sync_data().map_err(Error::io("sync", &temporary))?;
    fs.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
    fs.sync_dir(folder).map_err(Error::io("sync", folder))
}
