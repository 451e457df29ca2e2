//! Secrets, from files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The longest secret.
const BYTES_MAX: u64 = 4096;

/// A secret that shows nowhere.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// A file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{0} can be read by others: chmod 0600 {0}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Nothing stands in it, or too much.
    #[error("{} must hold 1 to {BYTES_MAX} bytes, a line's end apart", .path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
}

impl Secret {
    /// Reads the secret of a file: all its bytes, but for line ends behind them.
    ///
    /// # Errors
    /// It cannot be read, others can read it (its mode must be 0600 or stricter), or it is empty or longer
    /// than 4 KiB.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::Open { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.is_empty() || bytes.len() as u64 > BYTES_MAX {
            return Err(SecretError::Size { path: path.to_owned() });
        }
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};

    use super::*;

    fn file(contents: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, contents).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            let (_folder, path) = file(b"hush", mode);
            let read = Secret::read(&path);
            assert_eq!(read.is_ok(), fine, "{mode:o}: {read:?}");
        }
    }

    #[test]
    fn line_ends_do_not_belong_to_it_and_it_has_bounds() {
        let (_folder, path) = file(b" hush \r\n", 0o600);
        assert_eq!(Secret::read(&path).unwrap().bytes(), b" hush ");
        for (contents, fine) in [(vec![b'a'; 4096], true), (vec![b'a'; 4097], false), (b"\n".to_vec(), false)]
        {
            let (_folder, path) = file(&contents, 0o600);
            assert_eq!(Secret::read(&path).is_ok(), fine, "{} bytes", contents.len());
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Secret::read(folder.path()), Err(SecretError::Read { .. })));
    }

    #[test]
    fn it_does_not_show() {
        assert_eq!(format!("{:?}", Secret::from(b"hush".as_slice())), "Secret(…)");
    }
}
