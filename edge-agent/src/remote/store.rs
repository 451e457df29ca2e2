//! The file of the state: `<data>/config/state.json`, there whole or as it was before.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use fieldline_journal::{Fs, create_folder};

use super::state::State;

const FILE: &str = "state.json";
/// A larger file is none of ours, in bytes.
const BYTES_MAX: u64 = 2 << 20;

/// The folder of the file.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
}

impl Store {
    pub(crate) fn new(fs: Arc<dyn Fs>, folder: PathBuf) -> Self {
        Self { fs, folder }
    }

    /// What was saved last, and why it is not that, if it is not: a damaged file is set aside, and the gateway
    /// begins with its own file alone.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn load(&self) -> io::Result<(State, Option<String>)> {
        create_folder(self.fs.as_ref(), &self.folder)?;
        let path = self.folder.join(FILE);
        let file = match self.fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((State::default(), None)),
            Err(error) => return Err(error),
        };
        let length = file.len()?.min(BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        if let Some(state) = State::read(&bytes) {
            return Ok((state, None));
        }
        self.fs.rename(&path, &path.with_extension("damaged"))?;
        self.fs.sync_dir(&self.folder)?;
        let reason = format!("{} is damaged and was set aside", path.display());
        tracing::error!(path = %path.display(), "the configuration from afar is damaged and is set aside");
        Ok((State::default(), Some(reason)))
    }

    /// Makes the state durable.
    ///
    /// # Errors
    /// The disk cannot be written; what was saved before still counts.
    pub(crate) fn save(&self, state: &State) -> io::Result<()> {
        let bytes = serde_json::to_vec(state)?;
        let path = self.folder.join(FILE);
        let temporary = path.with_extension("tmp");
        let file = self.fs.create(&temporary)?;
        file.append(&bytes)?;
        file.sync_data()?;
        self.fs.rename(&temporary, &path)?;
        self.fs.sync_dir(&self.folder)
    }
}
