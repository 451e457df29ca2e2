//! What operators have put aside: by rule and device, so that it outlasts the alarm at which they did
//! (ANSI/ISA-18.2: shelving and out-of-service belong to the alarm, not to one time that it was raised).

use std::collections::{BTreeMap, BTreeSet};

use super::Change;
use crate::Aside;

/// How its keys begin.
pub(super) const PREFIX: &str = "aside/";
/// Rules and devices that are put aside at a time.
const ASIDE_MAX: usize = 10_000;

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Rule and device as one name.
pub(super) fn pair(rule: &str, device: &str) -> String {
    format!("{rule}/{device}")
}

/// The rule and the device that an alarm's id names, or the name of a pair.
pub(super) fn parts(id: &str) -> Option<(&str, &str)> {
    let (rule, rest) = id.split_once('/')?;
    Some((rule, rest.split_once('/').map_or(rest, |(device, _)| device)))
}

/// All that is put aside.
#[derive(Debug, Default)]
pub(super) struct Asides {
    entries: BTreeMap<String, Aside>,
    until: BTreeSet<(i64, String)>,
    dirty: BTreeSet<String>,
}

impl Asides {
    pub(super) fn restore(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let aside: Aside = serde_json::from_slice(value).map_err(|_| "it is nothing put aside")?;
        let pair = pair(&aside.rule, aside.device.as_str());
        self.until.extend(aside.shelved.as_ref().map(|shelved| (shelved.until.nanos(), pair.clone())));
        self.entries.insert(pair, aside);
        Ok(())
    }

    pub(super) fn get(&self, pair: &str) -> Option<&Aside> {
        self.entries.get(pair)
    }

    pub(super) fn list(&self) -> Vec<Aside> {
        self.entries.values().cloned().collect()
    }

    /// What is put aside from now on; what is neither shelved nor suppressed is in sight again.
    pub(super) fn put(&mut self, aside: Aside) -> Result<(), Full> {
        let pair = pair(&aside.rule, aside.device.as_str());
        let before = self.entries.remove(&pair);
        if before.is_none() && self.entries.len() >= ASIDE_MAX {
            return Err(Full);
        }
        if let Some(shelved) = before.and_then(|before| before.shelved) {
            self.until.remove(&(shelved.until.nanos(), pair.clone()));
        }
        self.dirty.insert(pair.clone());
        if let Some(shelved) = &aside.shelved {
            self.until.insert((shelved.until.nanos(), pair.clone()));
        }
        if aside.shelved.is_some() || aside.suppressed.is_some() {
            self.entries.insert(pair, aside);
        }
        Ok(())
    }

    /// When something comes back into sight by itself.
    pub(super) fn next(&self) -> Option<i64> {
        self.until.first().map(|(until, _)| *until)
    }

    /// What comes back into sight.
    pub(super) fn due(&self, now: i64) -> Vec<Aside> {
        let due = self.until.iter().take_while(|(until, _)| *until <= now);
        due.filter_map(|(_, pair)| self.entries.get(pair).cloned()).collect()
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        let value = |pair: &String| self.entries.get(pair).and_then(|aside| serde_json::to_vec(aside).ok());
        dirty.iter().map(|pair| Change { key: format!("{PREFIX}{pair}"), value: value(pair) }).collect()
    }
}
