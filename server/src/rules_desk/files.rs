//! The files of rules: read when they change, and each taken whole or not at all.
//!
//! The last version of a file that could be used is kept in the store, so that it stays in force when the
//! file is broken, also over a restart.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use edge_agent::settings;
use fieldline_model::Timestamp;
use fieldline_rules::{Action, Documents, Engine, Host, Limits, Rule};
use fieldline_store::{Entry, EntryChange};
use serde::Serialize;

/// The kind of the entries that hold the versions in force.
pub(super) const KIND: &str = "rule-file";
/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files of all folders.
const FILES_MAX: usize = 1_000;

/// How a file fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileState {
    /// Its path.
    pub(crate) file: String,
    /// The rules of it that are in force.
    pub(crate) rules: Vec<String>,
    /// Why the file as it is now is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Fault>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// Where, as far as that is known; lines count from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// What, with the line.
    pub(crate) reason: String,
}

/// What tells a version of a file from another without reading it.
type Seen = (Option<SystemTime>, u64);

#[derive(Debug, Default)]
struct Known {
    /// None: it was not read in this run.
    seen: Option<Seen>,
    good: Option<Good>,
    error: Option<Fault>,
}

#[derive(Debug)]
struct Good {
    text: String,
    documents: Documents,
}

/// What a look at the folders has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Other rules are in force than before.
    pub(super) changed: bool,
    /// What is to be kept of it.
    pub(super) keep: Vec<EntryChange>,
}

/// The files, and what of them is in force.
#[derive(Debug)]
pub(super) struct Files {
    folders: Vec<PathBuf>,
    known: BTreeMap<String, Known>,
    targets: BTreeSet<String>,
    limits: Limits,
}

impl Files {
    /// Files of these folders, whose rules may tell these targets; `kept` are the entries of an earlier run.
    pub(super) fn new(
        folders: Vec<PathBuf>,
        kept: Vec<Entry>,
        targets: BTreeSet<String>,
        limits: Limits,
    ) -> Self {
        let mut known = BTreeMap::new();
        for Entry { key, value, .. } in kept {
            match parse(&key, &value) {
                Ok(documents) => {
                    let good = Some(Good { text: value, documents });
                    known.insert(key, Known { good, ..Known::default() });
                }
                Err(fault) => tracing::warn!(file = key, reason = fault.reason, "kept rules cannot be read"),
            }
        }
        Self { folders, known, targets, limits }
    }

    /// The rules in force, as the engine takes them.
    pub(super) fn documents(&self) -> Documents {
        Documents { rules: self.rules().cloned().collect() }
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.good().flat_map(|(_, good)| &good.documents.rules)
    }

    /// How the files fare, by path.
    pub(super) fn states(&self) -> Vec<FileState> {
        let names = |good: &Good| good.documents.rules.iter().map(|rule| rule.name.clone()).collect();
        let states = self.known.iter().map(|(file, known)| FileState {
            file: file.clone(),
            rules: known.good.as_ref().map(names).unwrap_or_default(),
            error: known.error.clone(),
        });
        states.collect()
    }

    /// Reads what has changed, or everything when `all` is said. Waits for the disk.
    pub(super) fn scan(&mut self, all: bool) -> Scan {
        let mut scan = Scan::default();
        let (found, complete) = self.found();
        for (path, seen) in &found {
            let known = self.known.entry(path.clone()).or_default();
            if !all && known.seen == Some(*seen) {
                continue;
            }
            known.seen = Some(*seen);
            match seen.1 > FILE_BYTES_MAX {
                true => self.refuse(path, too_large(seen.1)),
                false => self.read(path, &mut scan),
            }
        }
        self.read_again(&mut scan);
        if complete {
            let gone: Vec<String> =
                self.known.keys().filter(|path| !found.contains_key(*path)).cloned().collect();
            for path in gone {
                tracing::info!(file = path, "a file of rules is gone");
                self.known.remove(&path);
                scan.changed = true;
                scan.keep.push(EntryChange::Delete { kind: KIND.to_owned(), key: path });
            }
        }
        scan
    }

    /// A file may need what another one says, or gives up, that was read after it.
    fn read_again(&mut self, scan: &mut Scan) {
        if !scan.changed {
            return;
        }
        let broken = |(path, known): (&String, &Known)| {
            let in_bounds = known.seen.is_some_and(|seen| seen.1 <= FILE_BYTES_MAX);
            (known.error.is_some() && in_bounds).then(|| path.clone())
        };
        let broken: Vec<String> = self.known.iter().filter_map(broken).collect();
        broken.iter().for_each(|path| self.read(path, scan));
    }

    /// One file: what it says now is in force, or else what it said before.
    fn read(&mut self, path: &str, scan: &mut Scan) {
        let before =
            self.known.get(path).and_then(|known| known.good.as_ref()).map(|good| good.text.as_str());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.refuse(path, Fault { line: None, reason: error.to_string() }),
        };
        if before == Some(text.as_str()) {
            if let Some(known) = self.known.get_mut(path) {
                known.error = None;
            }
            return;
        }
        match parse(path, &text).and_then(|documents| self.check(path, &text, documents)) {
            Err(fault) => self.refuse(path, fault),
            Ok(documents) => {
                tracing::info!(file = path, rules = documents.rules.len(), "rules were read");
                scan.changed = true;
                let value = text.clone();
                scan.keep.push(EntryChange::Put(Entry {
                    kind: KIND.to_owned(),
                    key: path.to_owned(),
                    value,
                }));
                let known = self.known.entry(path.to_owned()).or_default();
                (known.good, known.error) = (Some(Good { text, documents }), None);
            }
        }
    }

    fn refuse(&mut self, path: &str, fault: Fault) {
        let known = self.known.entry(path.to_owned()).or_default();
        let former = known.good.is_some();
        tracing::warn!(file = path, reason = fault.reason, former, "a file of rules cannot be used");
        known.error = Some(fault);
    }

    /// Whether each rule of a file can be used, and has its name for itself.
    fn check(&self, path: &str, text: &str, documents: Documents) -> Result<Documents, Fault> {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for (file, good) in self.good().filter(|(file, _)| *file != path) {
            names.extend(good.documents.rules.iter().map(|rule| (rule.name.as_str(), file)));
        }
        for rule in &documents.rules {
            if let Some(target) = unknown_target(rule, &self.targets).filter(|_| rule.runs == Host::Server) {
                let reason = format!(
                    "rule {:?}: there is no target {target:?}; configure [targets.{target}] in fieldline.toml",
                    rule.name
                );
                return Err(at_rule(text, &rule.name, reason));
            }
            if let Some(other) = names.insert(&rule.name, path) {
                let reason = format!("the rule {:?} is there already, in {other}", rule.name);
                return Err(at_rule(text, &rule.name, reason));
            }
        }
        for host in [Host::Server, Host::Edge] {
            if self.refused(host, &documents).is_none() {
                continue;
            }
            // It may need rules of the other files.
            let others = self.good().filter(|(file, _)| *file != path);
            let others = others.flat_map(|(_, good)| good.documents.rules.iter().cloned());
            let rules = documents.rules.iter().cloned().chain(others).collect();
            if let Some((name, reason)) = self.refused(host, &Documents { rules }) {
                return Err(at_rule(text, &name, format!("rule {name:?}: {reason}")));
            }
        }
        Ok(documents)
    }

    /// The first rule that an engine refuses. The engine is there for the trial only: what it takes, the one in
    /// force takes.
    fn refused(&self, host: Host, documents: &Documents) -> Option<(String, String)> {
        let mut engine = Engine::new(host, self.limits.clone());
        engine.load(Timestamp::EPOCH, documents, &mut Vec::new()).refused.into_iter().next()
    }

    fn good(&self) -> impl Iterator<Item = (&str, &Good)> {
        self.known.iter().filter_map(|(path, known)| Some((path.as_str(), known.good.as_ref()?)))
    }

    /// The files of all folders, and whether all folders could be read.
    fn found(&self) -> (BTreeMap<String, Seen>, bool) {
        let (mut found, mut complete) = (BTreeMap::new(), true);
        for folder in &self.folders {
            let listed = match std::fs::read_dir(folder) {
                Ok(listed) => listed,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "a folder of rules cannot be read");
                    complete = false;
                    continue;
                }
            };
            for file in listed.flatten().filter(|file| is_rules(&file.path())) {
                let (Ok(data), Ok(path)) =
                    (std::fs::metadata(file.path()), file.path().into_os_string().into_string())
                else {
                    continue;
                };
                if data.is_file() && found.len() < FILES_MAX {
                    found.insert(path, (data.modified().ok(), data.len()));
                }
            }
        }
        (found, complete)
    }
}

/// Editors leave files beside ours that begin with a dot, or end otherwise.
fn is_rules(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "toml" || extension == "json")
}

fn too_large(bytes: u64) -> Fault {
    Fault { line: None, reason: format!("the file has {bytes} bytes; {FILE_BYTES_MAX} are taken at most") }
}

fn parse(path: &str, text: &str) -> Result<Documents, Fault> {
    if path.ends_with(".json") {
        return serde_json::from_str(text).map_err(|error| Fault {
            line: Some(error.line()),
            reason: format!("line {}: {error}", error.line()),
        });
    }
    settings::parse(text).map_err(|reason| Fault { line: line_of(&reason), reason })
}

/// The line that a text such as `line 3: …` names.
fn line_of(reason: &str) -> Option<usize> {
    reason.strip_prefix("line ")?.split_once(':')?.0.parse().ok()
}

/// A fault of a rule, at the line that names it.
fn at_rule(text: &str, name: &str, reason: String) -> Fault {
    let quoted = [format!("\"{name}\""), format!("'{name}'")];
    let names =
        |line: &str| line.contains("name") && quoted.iter().any(|quoted| line.contains(quoted.as_str()));
    match text.lines().enumerate().filter(|(_, line)| names(line)).last() {
        Some((at, _)) => Fault { line: Some(at + 1), reason: format!("line {}: {reason}", at + 1) },
        None => Fault { line: None, reason },
    }
}

/// A target that a rule tells and that is not there.
fn unknown_target<'a>(rule: &'a Rule, targets: &BTreeSet<String>) -> Option<&'a str> {
    rule.actions.iter().find_map(|action| match action {
        Action::Notify { target, .. } if !targets.contains(target) => Some(target.as_str()),
        _ => None,
    })
}
