//! The mark that says which format a folder has.

use std::path::Path;

use crate::error::Error;
use crate::fs::{self, Fs};

/// The newest format that this program knows.
const FORMAT: u32 = 1;
const WORD: &str = "fieldline-journal";
const NAME: &str = "format";

/// Reads the folder's mark, or makes it. The mark says the same twice, so that no damage to it looks
/// like another format; a damaged one is no reason to refuse the readings and is written anew.
pub(crate) fn check(fs: &dyn Fs, folder: &Path) -> Result<(), Error> {
    let good = format!("{WORD} {FORMAT}\n{WORD} {FORMAT}\n");
    let names = fs.read_dir(folder).map_err(Error::io("list", folder))?;
    if !names.iter().any(|name| name == NAME) {
        return fs::replace(fs, folder, NAME, good.as_bytes());
    }
    let bytes = fs.open(&folder.join(NAME)).and_then(|file| fs::read_all(file.as_ref())).unwrap_or_default();
    if bytes == good.as_bytes() {
        return Ok(());
    }
    if let Some(found) = read(&String::from_utf8_lossy(&bytes)).filter(|found| *found > FORMAT) {
        return Err(Error::Newer { folder: folder.to_owned(), found, known: FORMAT });
    }
    if let Err(error) = fs::replace(fs, folder, NAME, good.as_bytes()) {
        tracing::warn!(%error, "cannot write the mark of the journal's format anew");
    }
    Ok(())
}

/// The format in a mark; `None` if its lines are not alike.
fn read(text: &str) -> Option<u32> {
    let mut formats = text.lines().map(|line| line.strip_prefix(WORD)?.trim().parse().ok());
    let first = formats.next()??;
    formats.all(|format| format == Some(first)).then_some(first)
}
