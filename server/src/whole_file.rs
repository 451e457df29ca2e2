//! Small files that are there whole or not at all, and on the disk when the call returns.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a file with a secret in it.
pub(crate) const PRIVATE: u32 = 0o600;
/// The mode of a file for everybody.
pub(crate) const PUBLIC: u32 = 0o644;

/// Writes `path`, over what is there. Its folder is made, for its owner only, if there is none.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let (folder, new) = write_beside(path, text, mode)?;
    std::fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

/// As [`replace`], but what is there stays: then the error is [`io::ErrorKind::AlreadyExists`].
pub(crate) fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let (folder, new) = write_beside(path, text, mode)?;
    // A rename would replace what somebody else has put there meanwhile; a link does not.
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new)?;
    linked?;
    File::open(folder)?.sync_all()
}

fn write_beside<'a>(path: &'a Path, text: &str, mode: u32) -> io::Result<(&'a Path, PathBuf)> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // What an interrupted run left may have another mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok((folder, new))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_or_left_alone_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/key");
        create(&path, "first", PRIVATE).unwrap();
        std::fs::write(folder.path().join("below/key.new"), "half").unwrap();
        let error = create(&path, "second", PRIVATE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        replace(&path, "third", PRIVATE).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
