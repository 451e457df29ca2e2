//! `fieldline rules check|test`, `filters test`, `analyze`: what would have happened, told from stored or
//! recorded readings before anything is put in force.

mod alarms;
mod analyze;
mod check;
mod filters;
mod history;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use fieldline_chart::Chart;
use fieldline_rules::{Action, Condition, Documents, Input, Kind, Rule};

use crate::cli::{FiltersArgs, FiltersCommand};

pub(crate) use alarms::test;
pub use analyze::analyze;
pub(crate) use check::check;

/// How wide and high a chart is in an SVG file, in pixels.
const PIXELS: (u32, u32) = (1200, 400);

/// `fieldline filters`
///
/// # Errors
/// The file cannot be read or used, or the server cannot be asked.
pub async fn filters(args: &FiltersArgs) -> anyhow::Result<()> {
    match &args.command {
        FiltersCommand::Test(args) => filters::test(args).await,
    }
}

/// The rules of all files together.
fn documents(files: &[PathBuf]) -> anyhow::Result<Documents> {
    let mut all = Documents::default();
    for file in files {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let read = if file.extension().is_some_and(|extension| extension == "json") {
            Documents::from_json(&text)
        } else {
            Documents::from_toml(&text)
        };
        all.rules.extend(read.with_context(|| file.display().to_string())?.rules);
    }
    Ok(all)
}

fn write_svg(chart: &Chart, file: &Path) -> anyhow::Result<()> {
    let svg = chart.to_svg(PIXELS.0, PIXELS.1)?;
    std::fs::write(file, svg).with_context(|| format!("cannot write {}", file.display()))
}

/// The series that a rule looks at, in its conditions and in what it derives.
fn inputs(rule: &Rule) -> anyhow::Result<Vec<Input>> {
    let conditions = [Some(&rule.when), rule.clear.as_ref()].into_iter().flatten();
    let mut sources: Vec<(&str, Kind)> = conditions.map(|source| (source.as_str(), Kind::Truth)).collect();
    sources.extend(rule.actions.iter().filter_map(|action| match action {
        Action::Derive { value, .. } => Some((value.as_str(), Kind::Value)),
        _ => None,
    }));
    let mut inputs = BTreeSet::new();
    for ((source, _), compiled) in sources.iter().zip(Condition::compile_all(&sources)) {
        let condition = compiled.map_err(|error| anyhow!("rule {}: {source}: {error}", rule.name))?;
        inputs.extend(condition.inputs().iter().cloned());
    }
    Ok(inputs.into_iter().collect())
}
