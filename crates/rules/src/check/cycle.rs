//! Rules that wait for each other, and metrics that are made of each other.

use std::collections::HashMap;

use super::texts::Compiled;
use crate::{Action, Rule};

/// By the number of a rule: the key, and the circle that it is part of.
pub(super) type Circles = HashMap<usize, (&'static str, String)>;

/// Circles of `unless_firing`.
pub(super) fn of_dependencies(rules: &[Rule]) -> Circles {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    let edges: Vec<Vec<usize>> = rules
        .iter()
        .map(|rule| {
            rule.unless_firing.iter().filter_map(|other| places.get(other.as_str()).copied()).collect()
        })
        .collect();
    let told = |circle: Vec<usize>| {
        let path: Vec<&str> =
            circle.iter().chain(circle.first()).filter_map(|at| names.get(*at).copied()).collect();
        format!("rules wait for each other: {}", path.join(" -> "))
    };
    circles(&edges).into_iter().map(|(at, circle)| (at, ("unless_firing", told(circle)))).collect()
}

/// Circles of derived metrics, whichever device they are of: each evaluation would cause another one.
pub(super) fn of_derivations(rules: &[Rule], compiled: &[Compiled]) -> Circles {
    let mut makers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        for action in &rule.actions {
            if let Action::Derive { metric, .. } = action {
                makers.entry(metric).or_default().push(index);
            }
        }
    }
    let derives = |rule: &Rule| rule.actions.iter().any(|action| matches!(action, Action::Derive { .. }));
    let edges: Vec<Vec<usize>> = rules
        .iter()
        .zip(compiled)
        .map(|(rule, compiled)| {
            let inputs = compiled.conditions().filter(|_| derives(rule)).flat_map(|(_, c)| c.inputs());
            inputs.filter_map(|input| makers.get(input.metric.as_str())).flatten().copied().collect()
        })
        .collect();
    let told = |circle: Vec<usize>| {
        let path: Vec<&str> = circle
            .iter()
            .chain(circle.first())
            .filter_map(|at| rules.get(*at))
            .map(|r| r.name.as_str())
            .collect();
        format!("the metric is made of itself, by the rules {}", path.join(" -> "))
    };
    circles(&edges).into_iter().map(|(at, circle)| (at, ("then", told(circle)))).collect()
}

/// Each circle once, at the first of its nodes that is met; depth first, without recursion.
fn circles(edges: &[Vec<usize>]) -> HashMap<usize, Vec<usize>> {
    let mut done = vec![false; edges.len()];
    let mut found = HashMap::new();
    for start in 0..edges.len() {
        // The path from the start, and which edge of each of its nodes comes next.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let at = *node;
            let target = edges.get(at).and_then(|targets| targets.get(*next)).copied();
            *next += 1;
            match target {
                _ if done.get(at).copied().unwrap_or(true) => {
                    path.pop();
                }
                None => {
                    if let Some(done) = done.get_mut(at) {
                        *done = true;
                    }
                    path.pop();
                }
                Some(target) => match path.iter().position(|(node, _)| *node == target) {
                    Some(from) => {
                        let circle: Vec<usize> = path.iter().skip(from).map(|(node, _)| *node).collect();
                        found.entry(target).or_insert(circle);
                    }
                    None => path.push((target, 0)),
                },
            }
        }
    }
    found
}
