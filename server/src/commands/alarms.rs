//! `fieldline alarms` and `fieldline rules`.

use std::time::SystemTime;

use anyhow::{Context, bail};
use axum::http::Method;
use fieldline_model::Timestamp;
use serde_json::{Value, json};

use super::{moment, print};
use crate::cli::{
    AlarmArgs, AlarmsArgs, AlarmsCommand, AlarmsListArgs, HistoryArgs, RulesArgs, RulesCommand, RulesListArgs,
};
use crate::client::{Api, encoded};
use crate::{rehearse, view};

/// Lines of the history that are asked for at once.
const PAGE: usize = 1_000;

/// Runs one of the commands.
///
/// # Errors
/// The server cannot be asked, or says no.
pub async fn alarms(args: &AlarmsArgs) -> anyhow::Result<()> {
    match &args.command {
        None => list(&args.list).await,
        Some(AlarmsCommand::List(args)) => list(args).await,
        Some(AlarmsCommand::Ack(args)) => {
            operate(&args.alarm, "ack", json!({ "comment": args.comment })).await
        }
        Some(AlarmsCommand::Shelve(args)) => {
            operate(&args.alarm, "shelve", json!({ "for": args.hold, "reason": args.reason })).await
        }
        Some(AlarmsCommand::Unshelve(args)) => operate(args, "unshelve", json!({})).await,
        Some(AlarmsCommand::Suppress(args)) => {
            operate(&args.alarm, "suppress", json!({ "reason": args.reason })).await
        }
        Some(AlarmsCommand::Unsuppress(args)) => operate(args, "unsuppress", json!({})).await,
        Some(AlarmsCommand::Comment(args)) => {
            operate(&args.alarm, "comment", json!({ "comment": args.comment })).await
        }
        Some(AlarmsCommand::History(args)) => history(args).await,
    }
}

async fn list(args: &AlarmsListArgs) -> anyhow::Result<()> {
    let mut path = format!("/api/v1/alarms?limit={}", args.limit);
    let words = [
        ("device", args.device.as_ref().map(ToString::to_string)),
        ("state", args.state.clone()),
        ("severity", args.severity.map(|severity| severity.as_str().to_owned())),
    ];
    for (key, word) in words {
        if let Some(word) = word {
            path.push_str(&format!("&{key}={}", encoded(&word)));
        }
    }
    let answer = Api::new(&args.server.server)?.get(&path).await?;
    print(&if args.json { format!("{answer}\n") } else { view::alarms(&answer) })
}

async fn operate(args: &AlarmArgs, word: &str, mut wish: Value) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let aside = ["shelve", "unshelve", "suppress", "unsuppress"].contains(&word);
    let id = meant(&api, &args.alarm, aside).await?;
    let by = args.by.clone().or_else(user).context("say who you are with --by")?;
    wish["by"] = json!(by);
    let path = format!("/api/v1/alarms/{}/{word}", encoded(&id));
    let answer = api.send(Method::POST, &path, &wish).await?;
    print(&if args.json { format!("{answer}\n") } else { view::alarm(&answer) })
}

/// The id of the alarm that is meant: an id, a rule, or `<rule>/<device>`, where it is the only one. Rule and device
/// are enough where it is they that are put `aside`.
async fn meant(api: &Api, text: &str, aside: bool) -> anyhow::Result<String> {
    if text.matches('/').count() >= 2 {
        return Ok(text.to_owned());
    }
    let answer = api.get("/api/v1/alarms?limit=1000").await?;
    let alarms = answer["alarms"].as_array().map_or(&[][..], Vec::as_slice);
    let ids = alarms.iter().filter_map(|alarm| alarm["id"].as_str());
    let found: Vec<&str> = ids.filter(|id| id.starts_with(&format!("{text}/"))).collect();
    match found.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] if aside && text.contains('/') => Ok(text.to_owned()),
        [id, ..] if aside && text.contains('/') => Ok((*id).to_owned()),
        [] => bail!("no alarm of {text:?} is there; `fieldline alarms` lists them"),
        several => bail!("{text:?} has several alarms; name one of: {}", several.join(", ")),
    }
}

/// The user of this machine, as the shell has it.
fn user() -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty())
}

async fn history(args: &HistoryArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let mut path = format!("/api/v1/alarms/history?limit={}", args.limit.clamp(1, PAGE));
    if let Some(device) = &args.device {
        path.push_str(&format!("&device={}", encoded(device.as_str())));
    }
    for (key, text) in [("from", &args.from), ("to", &args.to)] {
        if let Some(text) = text {
            let moment = moment(text, Timestamp::from_system(SystemTime::now()));
            let moment = moment.with_context(|| format!("--{key}"))?;
            path.push_str(&format!("&{key}={}", encoded(&moment)));
        }
    }
    let (mut lines, mut next) = (Vec::new(), String::new());
    loop {
        let mut page = api.get(&format!("{path}{next}")).await?;
        if let Some(found) = page.get_mut("history").and_then(Value::as_array_mut) {
            lines.append(found);
        }
        match page["next"].as_str() {
            Some(cursor) if lines.len() < args.limit => next = format!("&next={}", encoded(cursor)),
            _ => break,
        }
    }
    lines.truncate(args.limit);
    print(&if args.json { format!("{}\n", json!({ "history": lines })) } else { view::alarm_history(&lines) })
}

/// Runs one of the commands.
///
/// # Errors
/// The server cannot be asked, or after a reload some file cannot be used.
pub async fn rules(args: &RulesArgs) -> anyhow::Result<()> {
    match &args.command {
        None => list_rules(&args.list, Method::GET, "/api/v1/rules").await.map(drop),
        Some(RulesCommand::List(args)) => list_rules(args, Method::GET, "/api/v1/rules").await.map(drop),
        Some(RulesCommand::Check(args)) => rehearse::check(args).await,
        Some(RulesCommand::Test(args)) => rehearse::test(args).await,
        Some(RulesCommand::Reload(args)) => {
            let bad = list_rules(args, Method::POST, "/api/v1/rules/reload").await?;
            match bad {
                0 => Ok(()),
                bad => bail!("{bad} of the files cannot be used as they are now"),
            }
        }
    }
}

/// Prints the rules, and gives the number of files that cannot be used.
async fn list_rules(args: &RulesListArgs, method: Method, path: &str) -> anyhow::Result<usize> {
    let answer = Api::new(&args.server.server)?.send(method, path, &Value::Null).await?;
    print(&if args.json { format!("{answer}\n") } else { view::rules(&answer) })?;
    let files = answer["files"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(files.iter().filter(|file| file.get("error").is_some()).count())
}
