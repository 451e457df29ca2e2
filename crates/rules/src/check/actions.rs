//! What a rule does.

use std::collections::HashSet;

use fieldline_model::{CommandName, Metric};

use super::Report;
use super::texts::Compiled;
use crate::Action;
use crate::condition::display;
use crate::nearest::misspelt;
use crate::template::WORDS;

/// The most actions of a rule.
const ACTIONS_MAX: usize = 32;

pub(super) fn check(report: &mut Report<'_>, compiled: &Compiled) {
    let rule = report.rule;
    if rule.actions.len() > ACTIONS_MAX {
        report.error("then", format!("a rule has at most {ACTIONS_MAX} actions"));
    }
    for (index, action) in rule.actions.iter().enumerate() {
        let key = |part: &str| format!("then[{index}].{part}");
        match action {
            Action::Notify { target, .. } if target.is_empty() => report.error(&key("target"), "it is empty"),
            Action::Command { command, .. } => {
                if let Err(error) = CommandName::check(command) {
                    report.error(&key("command"), error.to_string());
                }
            }
            Action::Desired { state, .. } if state.is_empty() => {
                report.error(&key("state"), "it is empty, so nothing would be set");
            }
            Action::Derive { metric, .. } => {
                if let Err(error) = Metric::check(metric) {
                    report.error(&key("metric"), error.to_string());
                }
            }
            Action::Notify { .. } | Action::Desired { .. } => {}
        }
    }
    for (index, value) in &compiled.values {
        if let Err(error) = value {
            report.refused(&format!("then[{index}].value"), error);
        }
    }
    check_messages(report, compiled);
}

/// A message may show any metric; one that the rule does not name is perhaps misspelt.
fn check_messages(report: &mut Report<'_>, compiled: &Compiled) {
    let named: HashSet<String> =
        compiled.conditions().flat_map(|(_, condition)| condition.inputs()).map(display::input).collect();
    for (index, message) in &compiled.messages {
        let key = format!("then[{index}].message");
        let template = match message {
            Ok(template) => template,
            Err(error) => {
                report.refused(&key, error);
                continue;
            }
        };
        for input in template.inputs().iter().map(display::input).filter(|input| !named.contains(input)) {
            let known = named.iter().map(String::as_str).chain(WORDS);
            match misspelt(&input, known) {
                Some(known) => {
                    report.error(&key, format!("the rule names no {input:?}; did you mean {known:?}?"));
                }
                None => report.warning(&key, format!("the rule's conditions do not name {input:?}")),
            }
        }
    }
}
