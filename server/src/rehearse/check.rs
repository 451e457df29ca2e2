//! What is wrong, or odd, about files of rules.

use std::collections::BTreeSet;

use anyhow::bail;
use fieldline_rules::{Finding, FindingSeverity, check as find};

use super::documents;
use crate::cli::RulesCheckArgs;
use crate::client::{Api, encoded};
use crate::commands::print;

/// `fieldline rules check`
pub(crate) async fn check(args: &RulesCheckArgs) -> anyhow::Result<()> {
    let documents = documents(&args.files)?;
    let known = match &args.server {
        Some(server) => Some(metrics(&Api::new(server)?).await?),
        None => None,
    };
    let knows = known.as_ref().map(|known| |metric: &str| known.contains(metric));
    let findings = find(&documents, knows.as_ref().map(|knows| knows as &dyn Fn(&str) -> bool));
    let errors = findings.iter().filter(|finding| finding.severity == FindingSeverity::Error).count();
    if args.json {
        print(&format!("{}\n", serde_json::to_string(&findings)?))?;
    } else {
        let lines: String = findings.iter().map(line).collect();
        print(&format!("{lines}{} rules, {errors} that cannot be used\n", documents.rules.len()))?;
    }
    if errors > 0 {
        bail!("not all of these rules can be used");
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let place = finding.position.map(|at| format!(", line {}, column {}", at.line, at.column));
    let severity = match finding.severity {
        FindingSeverity::Error => "error",
        FindingSeverity::Warning => "warning",
        FindingSeverity::Note => "note",
    };
    format!("{}: {severity}: {}{}: {}\n", finding.rule, finding.key, place.unwrap_or_default(), finding.text)
}

/// All metrics that any device has sent.
async fn metrics(api: &Api) -> anyhow::Result<BTreeSet<String>> {
    let mut metrics = BTreeSet::new();
    let answer = api.get("/api/v1/devices").await?;
    for device in answer["devices"].as_array().into_iter().flatten() {
        let path =
            format!("/api/v1/devices/{}/latest", encoded(device["device"].as_str().unwrap_or_default()));
        let latest = api.get(&path).await?;
        let names = latest["metrics"].as_array().into_iter().flatten();
        metrics.extend(names.filter_map(|metric| Some(metric["metric"].as_str()?.to_owned())));
    }
    Ok(metrics)
}
