//! Whether what is found can have come of what was asked.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, ensure};

use super::book::{Answer, Change, Request, Round, Said};
use super::shadow::{Document, Snapshot};

/// The requests for one shadow, and where they must lead to.
struct Replay<'a> {
    /// Updates whose version is known.
    updates: BTreeMap<u64, &'a Document>,
    /// Versions that are known to have been deleted.
    deletions: HashSet<u64>,
    /// For each client what is unanswered, in its order. It was done or not.
    open: Vec<Vec<&'a Change>>,
    heard: Vec<(u64, &'a Said)>,
    found: &'a Snapshot,
}

/// A place on the way.
#[derive(Debug, Clone)]
struct Step {
    snapshot: Snapshot,
    /// How many of each client's open requests lie behind.
    taken: Vec<usize>,
    /// The known deletion of this version lies behind.
    deleted: bool,
}

impl Round {
    /// Replays what was asked of a shadow between `before` and `found`.
    ///
    /// # Errors
    /// No order of the requests leads there: something is lost, doubled, torn or invented.
    pub(crate) fn check(&self, shadow: usize, before: &Snapshot, found: &Snapshot) -> Result<()> {
        let mut replay = Replay {
            updates: BTreeMap::new(),
            deletions: HashSet::new(),
            open: Vec::new(),
            heard: Vec::new(),
            found,
        };
        for request in self.requests.iter().filter(|request| request.shadow == shadow) {
            replay.take(request)?;
        }
        let heard = self.heard.iter().filter(|heard| heard.shadow == shadow);
        replay.heard = heard.map(|heard| (heard.version, &heard.said)).collect();
        let known = replay.updates.keys().next_back().copied().unwrap_or(0).max(before.version);
        ensure!(found.version >= known, "version {known} was accepted, {} is there", found.version);
        ensure!(
            replay.leads(before),
            "from {before:?}\nno order of the requests leads to {found:?}\naccepted {:?}\nopen {:?}",
            replay.updates,
            replay.open
        );
        Ok(())
    }
}

impl<'a> Replay<'a> {
    fn take(&mut self, request: &'a Request) -> Result<()> {
        match (request.answer, &request.change) {
            (Some(Answer::Refused), _) => {}
            (Some(Answer::Done(version)), Change::Update { state, version: asked }) => {
                ensure!(asked.is_none_or(|asked| asked + 1 == version), "{request:?} should be refused");
                ensure!(self.updates.insert(version, state).is_none(), "version {version} was given twice");
            }
            (Some(Answer::Done(version)), Change::Delete) => {
                ensure!(self.deletions.insert(version), "version {version} was deleted twice");
            }
            (None, change) => {
                self.open.resize_with(self.open.len().max(request.client + 1), Vec::new);
                self.open[request.client].push(change);
            }
        }
        Ok(())
    }

    /// Whether some order leads from `before` to what was found.
    fn leads(&self, before: &Snapshot) -> bool {
        let first = Step { snapshot: before.clone(), taken: vec![0; self.open.len()], deleted: false };
        let (mut ahead, mut seen) = (vec![first], HashSet::new());
        while let Some(step) = ahead.pop() {
            if !seen.insert(format!("{step:?}")) {
                continue;
            }
            if step.snapshot == *self.found && self.may_leave(&step) {
                return true;
            }
            ahead.extend(self.after(&step));
        }
        false
    }

    /// Whether all that is known of this version has been done.
    fn may_leave(&self, step: &Step) -> bool {
        step.deleted || !self.deletions.contains(&step.snapshot.version)
    }

    fn after(&self, step: &Step) -> Vec<Step> {
        let version = step.snapshot.version;
        if !self.may_leave(step) && step.snapshot.document.is_some() {
            let snapshot = Snapshot { version, document: None };
            return vec![Step { snapshot, deleted: true, ..step.clone() }];
        }
        let mut steps: Vec<Step> =
            (0..self.open.len()).filter_map(|client| self.after_open(step, client)).collect();
        if let Some(state) = self.updates.get(&(version + 1)) {
            steps.extend(self.updated(step, state));
        }
        steps
    }

    /// The next open request of a client is done, or refused.
    fn after_open(&self, step: &Step, client: usize) -> Option<Step> {
        let change = self.open.get(client)?.get(*step.taken.get(client)?)?;
        let mut taken = step.clone();
        taken.taken[client] += 1;
        let Snapshot { version, document } = &step.snapshot;
        match change {
            Change::Delete if document.is_some() => {
                taken.snapshot.document = None;
                Some(taken)
            }
            Change::Update { state, version: asked } if asked.is_none_or(|asked| asked == *version) => {
                // A version that is known belongs to whom it was given.
                if self.updates.contains_key(&(version + 1)) { None } else { self.updated(&taken, state) }
            }
            Change::Delete | Change::Update { .. } => Some(taken),
        }
    }

    /// The next version, if it is what was heard of it, and not more than was found.
    fn updated(&self, step: &Step, state: &Document) -> Option<Step> {
        let version = step.snapshot.version + 1;
        if !self.may_leave(step) || version > self.found.version {
            return None;
        }
        let previous = step.snapshot.document.clone().unwrap_or_default();
        let current = previous.clone().merged(state);
        for (_, said) in self.heard.iter().filter(|(heard, _)| *heard == version) {
            let right = match said {
                Said::Documents { previous: was, current: is } => *was == previous && *is == current,
                Said::Delta(delta) => *delta == current.delta(),
            };
            if !right {
                return None;
            }
        }
        let snapshot = Snapshot { version, document: Some(current) };
        Some(Step { snapshot, taken: step.taken.clone(), deleted: false })
    }
}
