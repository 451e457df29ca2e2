//! Passwords for brokers on site, out of files.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// MQTT takes no longer password, in bytes.
const BYTES_MAX: u64 = 65_535;

/// Where a file with a password may lie. A configuration from afar names files as well, and what is read goes out to
/// the broker that it names: without a bound any file of this machine could be fetched that way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// Wherever the gateway's own file says.
    #[default]
    Anywhere,
    /// In this folder or below it.
    Below(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// Reads a password; blanks and the end of the line after it are not part of it.
///
/// # Errors
/// The file cannot be read, is too large, or does not lie where it may.
pub(crate) fn read(path: &Path, place: &Place) -> anyhow::Result<Vec<u8>> {
    let found = match place {
        Place::Anywhere => path.to_owned(),
        Place::Below(folder) => below(path, folder).with_context(|| {
            // The same whatever there is elsewhere: who writes configurations is not told of it.
            format!("password_file {} is no file in remote.secrets_dir {}", path.display(), folder.display())
        })?,
        Place::Nowhere => {
            anyhow::bail!("remote.secrets_dir is not set, so that no password_file can be named")
        }
    };
    let mut text = String::new();
    let file = File::open(&found).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(BYTES_MAX + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let password = text.trim_end().as_bytes().to_vec();
    ensure!(text.len() as u64 <= BYTES_MAX, "{} is too large for a password", path.display());
    Ok(password)
}

/// The file as it is after `..` and links, if it is one below the folder.
fn below(path: &Path, folder: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(folder).ok()?;
    let found = fs::canonicalize(folder.join(path)).ok()?;
    // A pipe would never end.
    (found.starts_with(&folder) && found.is_file()).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_configuration_from_afar_reads_its_own_folder_only() {
        let root = tempfile::tempdir().unwrap();
        let secrets = root.path().join("secrets");
        fs::create_dir_all(secrets.join("plc")).unwrap();
        fs::write(secrets.join("plc/password"), "open sesame\n").unwrap();
        fs::write(root.path().join("gateway.key"), "the private key").unwrap();
        symlink(root.path().join("gateway.key"), secrets.join("link")).unwrap();
        symlink(root.path(), secrets.join("up")).unwrap();
        symlink("plc/password", secrets.join("inside")).unwrap();
        let place = Place::Below(secrets.clone());
        let absolute = secrets.join("plc/password");
        for good in [Path::new("plc/password"), Path::new("inside"), Path::new("plc/../inside"), &absolute] {
            assert_eq!(read(good, &place).unwrap(), b"open sesame", "{}", good.display());
        }
        let outside = root.path().join("gateway.key");
        let around = secrets.join("../gateway.key");
        let nowhere = root.path().join("nothing");
        let bad = ["../gateway.key", "link", "up/gateway.key", "plc", "", "/dev/zero"].map(Path::new);
        for bad in bad.into_iter().chain([outside.as_path(), &around, &nowhere]) {
            let error = format!("{:#}", read(bad, &place).unwrap_err());
            assert!(error.contains("is no file in remote.secrets_dir"), "{}: {error}", bad.display());
            assert!(!error.contains("private"), "{error}");
        }
        assert!(read(&absolute, &Place::Nowhere).is_err());
        assert_eq!(read(&outside, &Place::Anywhere).unwrap(), b"the private key");
    }

    #[test]
    fn a_password_has_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "x".repeat(65_535)).unwrap();
        assert_eq!(read(&path, &Place::Anywhere).unwrap().len(), 65_535);
        fs::write(&path, "x".repeat(65_536)).unwrap();
        assert!(read(&path, &Place::Anywhere).unwrap_err().to_string().contains("too large"));
    }
}
