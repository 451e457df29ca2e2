//! All texts of all rules, compiled on one thread.

use crate::condition::{Condition, ConditionError, Kind};
use crate::template::Template;
use crate::{Action, Rule};

/// The texts of one rule.
pub(super) struct Compiled {
    pub(super) when: Result<Condition, ConditionError>,
    pub(super) clear: Option<Result<Condition, ConditionError>>,
    /// Of the actions that derive: the number of the action and its expression.
    pub(super) values: Vec<(usize, Result<Condition, ConditionError>)>,
    /// Of the actions that notify: the number of the action and its message.
    pub(super) messages: Vec<(usize, Result<Template, ConditionError>)>,
}

impl Compiled {
    /// What could be compiled, with its key.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (String, &Condition)> {
        let when = self.when.as_ref().ok().map(|condition| ("when".to_owned(), condition));
        let clear = self.clear.as_ref().and_then(|clear| clear.as_ref().ok());
        let values = self.values.iter().filter_map(|(action, value)| {
            value.as_ref().ok().map(|condition| (format!("then[{action}].value"), condition))
        });
        when.into_iter().chain(clear.map(|condition| ("clear".to_owned(), condition))).chain(values)
    }
}

pub(super) fn compile(rules: &[Rule]) -> Vec<Compiled> {
    let sources: Vec<(&str, Kind)> = rules.iter().flat_map(sources_of).collect();
    let texts: Vec<&str> = rules.iter().flat_map(|rule| messages_of(rule).map(|(_, text)| text)).collect();
    let mut conditions = Condition::compile_all(&sources).into_iter();
    let mut templates = Template::compile_all(&texts).into_iter();
    let mut next =
        move || conditions.next().unwrap_or_else(|| Err(ConditionError::at_start("it was not compiled")));
    let compiled = rules.iter().map(|rule| Compiled {
        when: next(),
        clear: rule.clear.as_ref().map(|_| next()),
        values: values_of(rule).map(|(action, _)| (action, next())).collect(),
        messages: messages_of(rule).filter_map(|(action, _)| Some((action, templates.next()?))).collect(),
    });
    compiled.collect()
}

fn sources_of(rule: &Rule) -> impl Iterator<Item = (&str, Kind)> {
    let when = [(rule.when.as_str(), Kind::Truth)].into_iter();
    let clear = rule.clear.as_deref().map(|clear| (clear, Kind::Truth));
    when.chain(clear).chain(values_of(rule).map(|(_, value)| (value, Kind::Value)))
}

fn values_of(rule: &Rule) -> impl Iterator<Item = (usize, &str)> {
    rule.actions.iter().enumerate().filter_map(|(index, action)| match action {
        Action::Derive { value, .. } => Some((index, value.as_str())),
        _ => None,
    })
}

fn messages_of(rule: &Rule) -> impl Iterator<Item = (usize, &str)> {
    rule.actions.iter().enumerate().filter_map(|(index, action)| match action {
        Action::Notify { message, .. } => Some((index, message.as_str())),
        _ => None,
    })
}
