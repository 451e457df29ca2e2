//! The rules in force, of files that are looked at once a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fieldline_model::Timestamp;
use fieldline_rules::{Documents, Engine, Host, Limits};
use fieldline_store::StoreError;

use super::{Account, RuleFile};
use crate::PortError;

/// How long files are taken for what they were, in nanoseconds.
const FRESH: i64 = 60 * 1_000_000_000;
/// Files there may be.
const FILES_MAX: usize = 1_000;

/// A file as it was last read.
#[derive(Debug, Clone)]
struct Known {
    version: String,
    /// None: it could not be used, and never could.
    documents: Option<Documents>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: BTreeMap<String, Known>,
    /// Counts up with each change; 0 before the first.
    version: u64,
    documents: Arc<Documents>,
    looked: Option<i64>,
}

impl Files {
    /// The rules in force, and which edition they are.
    pub(super) fn documents(&self) -> (u64, Arc<Documents>) {
        (self.version, Arc::clone(&self.documents))
    }

    /// Reads what has changed. When that fails the rules stay as they were, once there are any.
    ///
    /// # Errors
    /// They could not be read, and never could.
    pub(super) async fn refresh(&mut self, account: &dyn Account, now: Timestamp) -> Result<(), PortError> {
        let now = now.nanos();
        if self.looked.is_some_and(|looked| (looked..looked.saturating_add(FRESH)).contains(&now)) {
            return Ok(());
        }
        match self.look(account).await {
            Ok(()) => self.looked = Some(now),
            Err(error) if self.version == 0 => return Err(error),
            Err(error) => tracing::warn!(error = &*error, "the rules could not be read again"),
        }
        Ok(())
    }

    async fn look(&mut self, account: &dyn Account) -> Result<(), PortError> {
        let mut files = account.files().await?;
        if files.len() > FILES_MAX {
            tracing::error!(
                count = files.len(),
                "too many files of rules; the first {FILES_MAX} by name are taken"
            );
            files.sort_by(|a, b| a.name.cmp(&b.name));
            files.truncate(FILES_MAX);
        }
        let mut known = BTreeMap::new();
        let mut texts = BTreeMap::new();
        for RuleFile { name, version } in files {
            let file = match self.known.get(&name).filter(|known| known.version == version) {
                Some(known) => known.clone(),
                None => {
                    let (text, documents) = match account.text(&name).await {
                        Ok(text) => {
                            let documents = parse(&name, &text);
                            (text, documents)
                        }
                        // Too large, or no text: of this file alone.
                        Err(error) if is_refused(&error) => (String::new(), Err(error.to_string())),
                        Err(error) => return Err(error),
                    };
                    let documents = documents
                        .inspect_err(|reason| {
                            tracing::warn!(file = name, reason, "a file of rules cannot be used")
                        })
                        .ok();
                    texts.insert(name.clone(), text);
                    Known { version, documents }
                }
            };
            known.insert(name, file);
        }
        if self.version > 0 && texts.is_empty() && known.len() == self.known.len() {
            return Ok(());
        }
        let refused = refused(&known);
        for (name, text) in texts {
            let Some(file) = known.get_mut(&name) else { continue };
            if file.documents.is_some() && !refused.contains(&name) {
                account.accept(&name, &text).await?;
                continue;
            }
            // What it said before stays in force, also in a process that never saw it.
            file.documents = match self.known.get(&name).and_then(|before| before.documents.clone()) {
                Some(before) => Some(before),
                None => account.accepted(&name).await?.and_then(|text| parse(&name, &text).ok()),
            };
        }
        let rules = known.values().filter_map(|file| file.documents.as_ref()).flat_map(|it| it.rules.clone());
        self.documents = Arc::new(Documents { rules: rules.collect() });
        self.known = known;
        self.version += 1;
        tracing::info!(files = self.known.len(), rules = self.documents.rules.len(), "rules were read");
        Ok(())
    }
}

/// Whether the store has answered, and will not answer otherwise.
fn is_refused(error: &PortError) -> bool {
    matches!(error.downcast_ref::<StoreError>(), Some(StoreError::Rejected { .. }))
}

fn parse(name: &str, text: &str) -> Result<Documents, String> {
    let read = if name.ends_with(".json") { Documents::from_json(text) } else { Documents::from_toml(text) };
    read.map_err(|error| error.to_string())
}

/// The files with a rule that the engine refuses.
fn refused(known: &BTreeMap<String, Known>) -> BTreeSet<String> {
    let files = || known.iter().filter_map(|(name, file)| Some((name, file.documents.as_ref()?)));
    let documents = Documents { rules: files().flat_map(|(_, it)| it.rules.clone()).collect() };
    let mut engine = Engine::new(Host::Server, Limits::default());
    let refused = engine.load(Timestamp::EPOCH, &documents, &mut Vec::new()).refused;
    for (rule, reason) in &refused {
        tracing::warn!(rule, reason, "a rule cannot be used");
    }
    let names: BTreeSet<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    let of = |it: &Documents| it.rules.iter().any(|rule| names.contains(rule.name.as_str()));
    files().filter(|(_, it)| of(it)).map(|(name, _)| name.clone()).collect()
}
