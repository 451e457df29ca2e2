//! `fieldline config`: what gateways are told from afar, and what they say of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::http::Method;
use fieldline_model::GatewayId;
use serde_json::{Value, json};

use crate::cli::{ConfigArgs, ConfigCommand, DiffArgs, PushArgs, RollbackArgs, ShowArgs};
use crate::client::Api;
use crate::view;

/// How often the gateway's word is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Runs one of the commands.
///
/// # Errors
/// The server cannot be asked, the file cannot be read, or the gateway does not take the configuration.
pub async fn configure(args: &ConfigArgs) -> anyhow::Result<()> {
    match &args.command {
        ConfigCommand::Push(args) => push(args).await,
        ConfigCommand::Diff(args) => diff(args).await,
        ConfigCommand::Show(args) => show(args).await,
        ConfigCommand::History(args) => history(args).await,
        ConfigCommand::Rollback(args) => roll_back(args).await,
    }
}

fn path(gateway: &GatewayId) -> String {
    format!("/api/v1/things/{gateway}/config")
}

async fn push(args: &PushArgs) -> anyhow::Result<()> {
    let document = document(&args.file)?;
    let api = Api::new(&args.server.server)?;
    let pushed = api.send(Method::PUT, &path(&args.gateway), &document).await?;
    println!("pushed as number {}", pushed["number"]);
    if args.no_wait { Ok(()) } else { wait(&api, &args.gateway, &pushed, args.timeout).await }
}

async fn roll_back(args: &RollbackArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let wanted = args.number.map_or(json!({}), |number| json!({ "number": number }));
    let pushed = api.send(Method::POST, &format!("{}/rollback", path(&args.gateway)), &wanted).await?;
    println!("number {} is pushed again, as number {}", pushed["rollback_of"], pushed["number"]);
    if args.no_wait { Ok(()) } else { wait(&api, &args.gateway, &pushed, args.timeout).await }
}

/// Waits until the gateway says what became of it, and prints what it says on the way.
async fn wait(api: &Api, gateway: &GatewayId, pushed: &Value, timeout: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < timeout {
        let state = api.get(&path(gateway)).await?;
        let reported = &state["shadow"]["reported"]["config"];
        if reported["sha256"] == pushed["sha256"] {
            let status = reported["status"].as_str().unwrap_or_default();
            if status != last {
                println!("{gateway}: {status}");
                status.clone_into(&mut last);
            }
            match status {
                "applied" => return Ok(()),
                "rejected" | "reverted" => {
                    bail!("{gateway} does not use it: {}", reported["reason"].as_str().unwrap_or("no reason"))
                }
                _ => {}
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let waited = humantime::format_duration(timeout);
    bail!(
        "{gateway} has not said anything for {waited}; it takes the configuration when it is connected \
         (fieldline config show {gateway})"
    )
}

async fn diff(args: &DiffArgs) -> anyhow::Result<()> {
    let new = document(&args.file)?;
    let state = Api::new(&args.server.server)?.get(&path(&args.gateway)).await?;
    let old = state["pushed"]["document"].clone();
    let lines = differences(&old, &new);
    match lines.is_empty() {
        true => println!("no difference"),
        false => lines.iter().for_each(|line| println!("{line}")),
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let state = Api::new(&args.server.server)?.get(&path(&args.gateway)).await?;
    if args.json {
        println!("{state}");
        return Ok(());
    }
    let (pushed, reported) = (&state["pushed"], &state["shadow"]["reported"]["config"]);
    match pushed["number"].as_u64() {
        None => println!("nothing was pushed to {}", args.gateway),
        Some(number) => println!("number {number}, pushed {}", view::time(&pushed["pushed_ms"])),
    }
    for (path, value) in leaves(&pushed["document"]) {
        println!("  {path} = {value}");
    }
    let same = reported["sha256"] == pushed["sha256"];
    match reported["status"].as_str() {
        None => println!("{} has said nothing yet", args.gateway),
        Some(status) => {
            let of = if same { "this" } else { "another one" };
            let reason = reported["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
            println!("{} says of {of}: {status}{reason}", args.gateway);
        }
    }
    Ok(())
}

async fn history(args: &ShowArgs) -> anyhow::Result<()> {
    let answer = Api::new(&args.server.server)?.get(&format!("{}/history", path(&args.gateway))).await?;
    if args.json {
        println!("{answer}");
        return Ok(());
    }
    let mut table = view::Table::new(&[">number", "pushed", "sha256", "rollback of"]);
    for entry in answer["entries"].as_array().into_iter().flatten() {
        let digest: String = entry["sha256"].as_str().unwrap_or_default().chars().take(12).collect();
        let back = entry["rollback_of"].as_u64().map_or_else(String::new, |number| number.to_string());
        table.row(vec![entry["number"].to_string(), view::time(&entry["pushed_ms"]), digest, back]);
    }
    print!("{}", table.render());
    Ok(())
}

/// Reads the file: JSON where it ends in `.json`, otherwise TOML.
fn document(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let read = if file.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(anyhow::Error::from)
    } else {
        toml::from_str(&text).map_err(anyhow::Error::from)
    };
    read.with_context(|| format!("{} is not as it should be", file.display()))
}

/// Every value with its path, such as `sync.linger` or `filter.0.metric`.
fn leaves(document: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect("", document, &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(&below(key), value, found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| collect(&below(&at.to_string()), value, found));
        }
        Value::Null => {}
        leaf => drop(found.insert(path.to_owned(), leaf.to_string())),
    }
}

/// `- path = old` and `+ path = new`, in the order of paths.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (leaves(old), leaves(new));
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut lines = Vec::new();
    for path in paths {
        let (before, after) = (old.get(path), new.get(path));
        if before != after {
            lines.extend(before.map(|value| format!("- {path} = {value}")));
            lines.extend(after.map(|value| format!("+ {path} = {value}")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_leaf_by_leaf() {
        let old = json!({ "sync": { "linger": "1s", "server": "a" }, "filter": [{ "metric": "t" }] });
        let new = json!({ "sync": { "linger": "2s", "server": "a" }, "limits": { "devices_max": 5 } });
        let expected = [
            r#"- filter.0.metric = "t""#,
            "+ limits.devices_max = 5",
            r#"- sync.linger = "1s""#,
            r#"+ sync.linger = "2s""#,
        ];
        assert_eq!(differences(&old, &new), expected);
        assert!(differences(&new, &new).is_empty());
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (toml, json) = (folder.path().join("a.toml"), folder.path().join("a.json"));
        std::fs::write(&toml, "[sync]\nlinger = \"1s\"\n[[filter]]\nmetric = \"t\"\ndeadband = 0.5\n")
            .unwrap();
        std::fs::write(&json, r#"{"filter": [{"metric": "t", "deadband": 0.5}], "sync": {"linger": "1s"}}"#)
            .unwrap();
        assert_eq!(document(&toml).unwrap(), document(&json).unwrap());
        std::fs::write(&toml, "[sync\n").unwrap();
        assert!(format!("{:#}", document(&toml).unwrap_err()).contains("a.toml is not as it should be"));
    }
}
