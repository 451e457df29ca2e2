//! How rules fare, told to operators: in the log, and as metrics of the function.

use std::collections::BTreeMap;

use fieldline_lambda::{Metric, emit};
use fieldline_model::GatewayId;
use fieldline_rules::{Action, Documents, Host};

use crate::Runner;

/// What was told already of the rules of one gateway.
#[derive(Debug, Default)]
pub(super) struct Fares {
    /// Errors by rule.
    errors: BTreeMap<String, u64>,
    /// Rules that were said to be disabled, and for how many devices.
    disabled: BTreeMap<String, usize>,
    undelivered: u64,
    unwatched: u64,
}

/// What came of the rules since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) errors: u64,
    pub(super) disabled: u64,
    pub(super) undelivered: u64,
    pub(super) unwatched: u64,
}

impl Fares {
    /// Tells what is new.
    pub(super) fn tell(&mut self, gateway: &GatewayId, runner: &Runner) {
        let news = self.news(gateway, runner);
        if news != News::default() {
            let metrics = [
                Metric::count("RuleErrors", news.errors),
                Metric::count("RulesDisabled", news.disabled),
                Metric::count("EffectsUndelivered", news.undelivered),
                Metric::count("RulesUnwatched", news.unwatched),
            ];
            emit("rules", &metrics, &[]);
        }
    }

    pub(super) fn news(&mut self, gateway: &GatewayId, runner: &Runner) -> News {
        let mut news = News::default();
        for state in runner.rules() {
            let rule = state.rule.name;
            let errors = self.errors.insert(rule.clone(), state.errors).unwrap_or_default();
            news.errors += state.errors.saturating_sub(errors);
            let devices = state.instances_disabled;
            if devices == 0 || self.disabled.insert(rule.clone(), devices) == Some(devices) {
                continue;
            }
            news.disabled += 1;
            let reason = state.disabled.as_deref().unwrap_or("too many errors in a row");
            let all = state.disabled.is_some();
            tracing::error!(%gateway, rule, devices, all, reason, "a rule is disabled for devices");
        }
        let undelivered = runner.undelivered();
        let undelivered = undelivered.refused + undelivered.dropped;
        news.undelivered = undelivered.saturating_sub(std::mem::replace(&mut self.undelivered, undelivered));
        let crowding = runner.crowding();
        let unwatched = crowding.devices + crowding.instances + crowding.samples;
        news.unwatched = unwatched.saturating_sub(std::mem::replace(&mut self.unwatched, unwatched));
        news
    }
}

/// Says of rules what cannot be had here.
pub(super) fn warn_of_what_there_is_not(gateway: &GatewayId, documents: &Documents) {
    for rule in documents.rules.iter().filter(|rule| rule.runs == Host::Server) {
        if rule.actions.iter().any(|action| matches!(action, Action::Derive { .. })) {
            let rule = &rule.name;
            tracing::warn!(%gateway, rule, "what the rule derives is seen by other rules, and stored nowhere");
        }
        if !rule.groups.is_empty() {
            let rule = &rule.name;
            tracing::warn!(%gateway, rule, "groups are not known here: the rule is about no device");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use fieldline_model::{Class, Quality, ReadingRef, Timestamp, ValueRef};
    use fieldline_rules::{Change, Effect, Limits};

    use super::*;
    use crate::{CommitError, DeliveryError, Outlet, PortError, StateStore};

    /// Keeps nothing, and refuses every effect.
    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl StateStore for Nowhere {
        async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError> {
            Ok(Vec::new())
        }

        async fn commit(&self, _changes: Vec<Change>) -> Result<(), CommitError> {
            Ok(())
        }
    }

    #[async_trait]
    impl Outlet for Nowhere {
        async fn deliver(&self, _effect: &Effect) -> Result<(), DeliveryError> {
            Err(DeliveryError::Never("there is nobody".into()))
        }
    }

    #[test]
    fn errors_and_what_was_given_up_are_told_once() {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(told_once());
    }

    async fn told_once() {
        let rules =
            r#"{"rules": [{"name": "bad", "when": "1.0 / t > 0.5"}, {"name": "any", "when": "t == 0.0"}]}"#;
        let documents: Documents = serde_json::from_str(rules).unwrap();
        let (state, outlet) = (Arc::new(Nowhere), Arc::new(Nowhere));
        let now = Timestamp::from_millis(1_000).unwrap();
        let opened = Runner::open(Host::Server, Limits::default(), state, outlet, now).await;
        let mut runner = opened.unwrap();
        runner.load(now, &documents).await.unwrap();
        let gateway = GatewayId::new("gw-1").unwrap();
        let mut fares = Fares::default();
        for n in 0..12 {
            let time = Timestamp::from_millis(n).unwrap();
            let value = ValueRef::Float(0.0);
            let reading = ReadingRef { device: "d", metric: "t", time, value, quality: Quality::Good };
            runner.readings(now, std::iter::once((Class::Live, reading))).await.unwrap();
        }
        let news = fares.news(&gateway, &runner);
        assert_eq!(news, News { errors: 10, disabled: 1, undelivered: 1, unwatched: 0 });
        assert_eq!(fares.news(&gateway, &runner), News::default());
    }
}
