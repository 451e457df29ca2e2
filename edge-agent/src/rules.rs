//! Rules on the gateway: what may be configured, where their state lies, and what their effects mean here.
//!
//! `docs/decisions/0012-rules-at-the-gateway.md` says which readings they see, and why none is lost.

mod desk;
mod host;
mod local;
mod log;
mod outlet;
mod recent;

pub(crate) use desk::Desk;
pub use desk::{RuleShown, Rules};
pub(crate) use host::Host as RulesHost;
pub(crate) use outlet::LocalOutlet;

use fieldline_rules::{Action, Documents, FindingSeverity, Host, Rule};

/// Checks rules that are to run on a gateway.
///
/// # Errors
/// What is wrong with the first that cannot be used: its name, the key, and the place in a condition.
pub(crate) fn check(rules: &[Rule]) -> Result<(), String> {
    // Without rules no compiler is started.
    if rules.is_empty() {
        return Ok(());
    }
    if let Some(rule) = rules.iter().find(|rule| rule.runs != Host::Edge) {
        return Err(format!("rules: {}: runs: rules of a gateway have runs = \"edge\"", rule.name));
    }
    if let Some(rule) = rules.iter().find(|rule| !rule.groups.is_empty()) {
        return Err(format!("rules: {}: groups: a gateway does not know them; name the devices", rule.name));
    }
    let notifies = |rule: &&Rule| rule.actions.iter().any(|action| matches!(action, Action::Notify { .. }));
    if let Some(rule) = rules.iter().find(notifies) {
        return Err(format!(
            "rules: {}: then: a gateway has no targets; let a rule of the server notify when alarm.{}.active",
            rule.name, rule.name
        ));
    }
    let findings = fieldline_rules::check(&Documents { rules: rules.to_vec() }, None);
    match findings.into_iter().find(|finding| finding.severity == FindingSeverity::Error) {
        Some(finding) => {
            let place = finding.position.map(|position| format!(" {position}")).unwrap_or_default();
            Err(format!("rules: {}: {}{place}: {}", finding.rule, finding.key, finding.text))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Option<String> {
        check(&Documents::from_toml(text).unwrap().rules).err()
    }

    #[test]
    fn what_is_wrong_is_told_with_rule_key_and_place() {
        for (rest, words) in [
            ("when = 'temperature > > 80.0'\nruns = 'edge'", &["hot: when", "line 1"][..]),
            ("when = 'temperature > 80.0'", &["hot: runs", "edge"]),
            ("when = 'temperature > 80.0'\nruns = 'edge'\ngroups = ['a']", &["hot: groups"]),
            (
                "when = 'temperature > 80.0'\nruns = 'edge'\nthen = [{ notify = { target = 'ops', message = 'x' } }]",
                &["hot: then", "alarm.hot.active"],
            ),
        ] {
            let error = refusal(&format!("[[rules]]\nname = 'hot'\n{rest}")).expect(rest);
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert_eq!(refusal("[[rules]]\nname = 'hot'\nwhen = 'temperature > 80.0'\nruns = 'edge'"), None);
    }
}
