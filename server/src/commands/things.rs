//! `fieldline things`: what is registered.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::print;
use crate::cli::{ThingArgs, ThingsAddArgs, ThingsArgs, ThingsCommand, ThingsListArgs};
use crate::client::{Api, encoded};
use crate::view;

/// Things, or devices, that are asked for at once.
const PAGE: usize = 1_000;

/// Runs one of the commands.
///
/// # Errors
/// The server cannot be asked, or says no.
pub async fn things(args: &ThingsArgs) -> anyhow::Result<()> {
    match &args.command {
        None => list(&args.list).await,
        Some(ThingsCommand::Show(args)) => show(args).await,
        Some(ThingsCommand::Add(args)) => add(args).await,
        Some(ThingsCommand::Remove(args)) => remove(args).await,
    }
}

async fn list(args: &ThingsListArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let things = all(&api, "things").await?;
    if args.json {
        return print(&format!("{}\n", json!({ "things": things })));
    }
    let devices = all(&api, "devices").await?;
    let text = |object: &Value, key: &str| object[key].as_str().map(str::to_owned);
    let seen: BTreeMap<String, String> =
        devices.iter().filter_map(|device| Some((text(device, "device")?, text(device, "last")?))).collect();
    print(&view::things(&things, &seen))
}

/// All pages of a list.
async fn all(api: &Api, list: &str) -> anyhow::Result<Vec<Value>> {
    let (mut found, mut path) = (Vec::new(), format!("/api/v1/{list}?limit={PAGE}"));
    loop {
        let mut page = api.get(&path).await?;
        if let Some(items) = page.get_mut(list).and_then(Value::as_array_mut) {
            found.append(items);
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/{list}?limit={PAGE}&next={}", encoded(next)),
            None => return Ok(found),
        }
    }
}

async fn show(args: &ThingArgs) -> anyhow::Result<()> {
    let answer = Api::new(&args.server.server)?.get(&format!("/api/v1/things/{}", args.thing)).await?;
    print(&format!("{answer:#}\n"))
}

async fn add(args: &ThingsAddArgs) -> anyhow::Result<()> {
    let attributes: Map<String, Value> =
        args.attributes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut request = json!({ "thing": args.thing, "attributes": attributes });
    if let Some(type_name) = &args.type_name {
        request["type"] = json!(type_name);
    }
    Api::new(&args.server.server)?.send(Method::POST, "/api/v1/things", &request).await?;
    Ok(())
}

async fn remove(args: &ThingArgs) -> anyhow::Result<()> {
    let path = format!("/api/v1/things/{}", args.thing);
    Api::new(&args.server.server)?.send(Method::DELETE, &path, &Value::Null).await?;
    Ok(())
}
