//! Recordings that are not part of the repository: CSV files with the columns `timestamp` and `value`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fieldline_model::Timestamp;

use crate::programs;

/// The recordings, sorted by name; none where there are none, which is said.
///
/// # Errors
/// The folder cannot be read.
pub fn files() -> Result<Vec<PathBuf>> {
    let beside = || programs::repository().parent().map(|folder| folder.join("shared").join("data"));
    let folder = std::env::var_os("FIELDLINE_RECORDINGS").map(PathBuf::from).or_else(beside);
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        println!("skipped: no recordings here; FIELDLINE_RECORDINGS names a folder of CSV files");
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "csv") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Milliseconds and the text of the value, as the rows stand in the file.
///
/// # Errors
/// A row that is none.
pub fn rows(file: &Path) -> Result<Vec<(i64, String)>> {
    let mut rows = Vec::new();
    for record in csv::Reader::from_path(file)?.records() {
        let record = record?;
        let (time, value) = (record.get(0).context("a time")?, record.get(1).context("a value")?);
        let time: Timestamp = format!("{}Z", time.replace(' ', "T")).parse()?;
        rows.push((time.millis(), value.to_owned()));
    }
    Ok(rows)
}
