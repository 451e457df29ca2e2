//! What others of the agent and the rules' host have in common: the rules that are wanted, and how they fare.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ::rules::Runner;
use fieldline_rules::{AlarmState, Documents, Rule};
use serde::{Deserialize, Serialize};

/// The rules of a gateway at one moment, as `/status` gives them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rules {
    /// The rules in force, by name.
    pub rules: Vec<RuleShown>,
    /// Alarms whose condition holds.
    pub active: usize,
    /// Effects that are yet to be carried out.
    pub waiting: usize,
    /// Effects that never will be, since the start.
    pub undelivered: u64,
    /// Why the state of rules is not what it was, if so.
    pub trouble: Option<String>,
}

/// A rule at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleShown {
    /// Its name.
    pub name: String,
    /// Instances.
    pub instances: usize,
    /// Evaluations since the start.
    pub evaluations: u64,
    /// Those that failed.
    pub errors: u64,
    /// Nanoseconds that evaluations took, extrapolated from samples.
    pub nanos: u64,
    /// Why it is disabled; none: it is in force.
    pub disabled: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    wanted: Mutex<Wanted>,
    /// Held while rules are evaluated.
    pub(super) runner: Mutex<Option<Runner>>,
    trouble: Mutex<Option<String>>,
    /// As it was told last.
    told: Mutex<Option<Rules>>,
}

#[derive(Debug, Default)]
struct Wanted {
    documents: Documents,
    is_new: bool,
}

impl Desk {
    /// Puts these rules in force with the next commit.
    pub(crate) fn want(&self, rules: Vec<Rule>) {
        *lock(&self.wanted) = Wanted { documents: Documents { rules }, is_new: true };
    }

    /// The rules, if they are not in force yet.
    pub(super) fn new_ones(&self) -> Option<Documents> {
        let wanted = lock(&self.wanted);
        wanted.is_new.then(|| wanted.documents.clone())
    }

    /// These are in force; others may be wanted by now.
    pub(super) fn settle(&self, documents: &Documents) {
        let mut wanted = lock(&self.wanted);
        wanted.is_new &= wanted.documents != *documents;
    }

    /// The runner has to be opened anew, and then needs its rules.
    pub(super) fn unsettle(&self) {
        lock(&self.wanted).is_new = true;
    }

    pub(super) fn trouble(&self, trouble: String) {
        *lock(&self.trouble) = Some(trouble);
    }

    /// How the rules fare; none where there are no rules. While rules are evaluated, as they fared when they were
    /// asked last; only the first time that is waited for.
    pub(crate) fn shown(&self) -> Option<Rules> {
        let mut told = lock(&self.told);
        let runner = match self.runner.try_lock() {
            Ok(runner) => runner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if told.is_some() => return told.clone(),
            Err(TryLockError::WouldBlock) => lock(&self.runner),
        };
        let Some(runner) = runner.as_ref() else {
            // They cannot be evaluated, and why is worth knowing.
            let trouble = lock(&self.trouble).clone();
            return trouble.map(|trouble| Rules { trouble: Some(trouble), ..Rules::default() });
        };
        let is_active = |state: AlarmState| {
            matches!(state, AlarmState::ActiveUnacknowledged | AlarmState::ActiveAcknowledged)
        };
        let shown = |rule: fieldline_rules::RuleState| RuleShown {
            name: rule.rule.name.to_string(),
            instances: rule.instances,
            evaluations: rule.evaluations,
            errors: rule.errors,
            nanos: rule.nanos,
            disabled: rule.disabled,
        };
        let undelivered = runner.undelivered();
        *told = Some(Rules {
            rules: runner.rules().into_iter().map(shown).collect(),
            active: runner.alarms().iter().filter(|alarm| is_active(alarm.state)).count(),
            waiting: runner.outbox(),
            undelivered: undelivered.refused + undelivered.dropped,
            trouble: lock(&self.trouble).clone(),
        });
        told.clone()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
