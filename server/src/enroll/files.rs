//! The folder of a gateway's files: its key, certificate, the CA of AWS and the agent's configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fieldline_aws::enroll::certificate_arn;
use fieldline_model::GatewayId;

use crate::whole_file::{self, PRIVATE};

/// Where Debian's and Alpine's packages of CA certificates put Amazon's root.
const SYSTEM_ROOTS: [&str; 2] =
    ["/etc/ssl/certs/Amazon_Root_CA_1.pem", "/etc/ssl/certs/ca-cert-Amazon_Root_CA_1.pem"];
/// Larger files are no certificate.
const CA_BYTES_MAX: u64 = 1 << 20;

/// The files and where they lie.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) key: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) ca: PathBuf,
    pub(super) config: PathBuf,
}

impl Files {
    /// The names, without looking at the disk.
    pub(super) fn below(folder: &Path, gateway: &GatewayId) -> Self {
        Self {
            key: folder.join(format!("{gateway}.key")),
            certificate: folder.join(format!("{gateway}.pem")),
            ca: folder.join("AmazonRootCA1.pem"),
            config: folder.join("agent.toml"),
        }
    }

    /// The ARN of the certificate that is there already.
    pub(super) fn enrolled(&self) -> anyhow::Result<Option<String>> {
        if !self.certificate.exists() {
            return Ok(None);
        }
        let text = read(&self.certificate)?;
        let arn = certificate_arn(&text).with_context(|| {
            format!(
                "{} is there but was not written by this command; move it away, or choose another folder with --out",
                self.certificate.display()
            )
        })?;
        ensure!(
            self.key.exists(),
            "{} is there but its key {} is not; put the key back, or move the certificate away to have a new one made",
            self.certificate.display(),
            self.key.display()
        );
        Ok(Some(arn.to_owned()))
    }
}

/// Reads a file.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file of mode 0600 that is there whole or not at all, and on the disk when this returns.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    whole_file::replace(path, text, PRIVATE).with_context(|| format!("cannot write {}", path.display()))
}

/// The file with Amazon's root: the given one, or the system's.
pub(super) fn find_ca(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let found = given
        .map(Path::to_owned)
        .or_else(|| SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists()));
    let path = found.context(
        "this system has no Amazon Root CA 1; get it (curl -O https://www.amazontrust.com/repository/AmazonRootCA1.pem) \
         and name it with --ca",
    )?;
    let about = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_pem = about.len() <= CA_BYTES_MAX && read(&path)?.contains("-----BEGIN CERTIFICATE-----");
    ensure!(is_pem, "{} is no certificate in PEM", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_for_their_owner_only_whatever_was_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hall-7/hall-7.key");
        std::fs::create_dir(folder.path().join("hall-7")).unwrap();
        std::fs::write(folder.path().join("hall-7/hall-7.key.new"), "half").unwrap();
        write(&path, "whole").unwrap();
        assert_eq!(read(&path).unwrap(), "whole");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!folder.path().join("hall-7/hall-7.key.new").exists());
    }

    #[test]
    fn what_is_there_is_taken_up_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::below(folder.path(), &GatewayId::new("hall-7").unwrap());
        assert_eq!(files.enrolled().unwrap(), None);
        let arn = "arn:aws:iot:eu-central-1:111122223333:cert/ab";
        write(&files.certificate, &format!("# {arn}\npem")).unwrap();
        assert!(files.enrolled().unwrap_err().to_string().contains("hall-7.key is not"));
        write(&files.key, "key").unwrap();
        assert_eq!(files.enrolled().unwrap().as_deref(), Some(arn));
        write(&files.certificate, "somebody else's").unwrap();
        assert!(files.enrolled().unwrap_err().to_string().contains("--out"));
    }

    #[test]
    fn a_ca_has_to_be_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(find_ca(Some(&path)).unwrap_err().to_string().contains("cannot read"));
        std::fs::write(&path, "<html>").unwrap();
        assert!(find_ca(Some(&path)).unwrap_err().to_string().contains("no certificate in PEM"));
    }
}
