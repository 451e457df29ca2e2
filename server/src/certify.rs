//! `fieldline certs`: the site's own authority, and certificates for devices and gateways.
//!
//! The authority lies in the server's data folder and is made without the server. Everything else is the
//! registry's, and goes through AWS IoT's control plane of the running server: a certificate has one state,
//! in one place. A device's key is made here and never leaves this machine.

mod files;

use anyhow::{Context as _, bail};
use axum::http::{Method, StatusCode};
use fieldline_policy::builtin;
use serde_json::{Value, json};

use self::files::Files;
use crate::certs::{self, Authority};
use crate::cli::{CertsArgs, CertsCommand, InitArgs, IssueArgs, ListArgs, RevokeArgs};
use crate::client::{Api, ClientError, encoded};
use crate::view;

/// Policies that are made when they are first needed.
const BUILT_IN: [(&str, &str); 2] =
    [("fieldline-device", builtin::DEVICE), ("fieldline-gateway", builtin::GATEWAY)];

/// Runs one of the commands.
///
/// # Errors
/// Files cannot be read or written, or the server says no.
pub async fn certify(args: &CertsArgs) -> anyhow::Result<()> {
    match &args.command {
        CertsCommand::Init(args) => init(args),
        CertsCommand::Issue(args) => issue(args).await,
        CertsCommand::Revoke(args) => revoke(args).await,
        CertsCommand::List(args) => list(args).await,
    }
}

fn init(args: &InitArgs) -> anyhow::Result<()> {
    let folder = certs::folder(&args.data);
    if args.renew {
        Authority::open(&folder)?.renew_server(&args.names)?;
        println!("the server's certificate is made anew for {}", args.names.join(", "));
    } else {
        Authority::init(&folder, &args.names)?;
        println!("the authority is in {}; keep ca.key there safe", folder.display());
    }
    println!("Next: restart `fieldline serve`. It then listens for devices with certificates on port 8883.");
    println!("      fieldline certs issue press-4 makes one.");
    Ok(())
}

async fn issue(args: &IssueArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let thing = args.thing.as_str();
    let files = Files::at(args.out.clone().unwrap_or_else(|| thing.into()), thing);
    let request = files.request(thing)?;
    let signed = api
        .send(
            Method::POST,
            "/certificates?setAsActive=true",
            &json!({ "certificateSigningRequest": request }),
        )
        .await
        .context("the server did not sign")?;
    let word = |key: &str| signed[key].as_str().with_context(|| format!("the server's answer has no {key}"));
    let (arn, certificate) = (word("certificateArn")?, word("certificatePem")?);
    let made = api.send(Method::POST, &format!("/things/{thing}"), &json!({})).await;
    unless(made, StatusCode::CONFLICT)?;
    let principal = [("x-amzn-principal", arn)];
    api.send_with(Method::PUT, &format!("/things/{thing}/principals"), &principal, &Value::Null).await?;
    for policy in policies(&api, args).await? {
        let path = format!("/target-policies/{}", encoded(policy));
        api.send(Method::PUT, &path, &json!({ "target": arn })).await?;
    }
    let ca = api.get("/api/v1/authority").await?;
    files.write(certificate, ca["certificate"].as_str().unwrap_or_default())?;
    println!("{}", word("certificateId")?);
    println!("{}", files.explain());
    Ok(())
}

/// The policies to attach; the built-in ones are made where they are not there yet.
async fn policies<'a>(api: &Api, args: &'a IssueArgs) -> anyhow::Result<Vec<&'a str>> {
    if let Some(own) = &args.policy {
        return Ok(vec![own]);
    }
    let wanted = BUILT_IN.iter().take(if args.gateway { 2 } else { 1 });
    let mut names = Vec::new();
    for (name, document) in wanted {
        let body = json!({ "policyDocument": document });
        unless(api.send(Method::POST, &format!("/policies/{name}"), &body).await, StatusCode::CONFLICT)?;
        names.push(*name);
    }
    Ok(names)
}

/// What has been there before is as good as what is made now.
fn unless(outcome: Result<Value, ClientError>, status: StatusCode) -> Result<(), ClientError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(ClientError::Refused { status: found, .. }) if found == status => Ok(()),
        Err(error) => Err(error),
    }
}

async fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let is_id = args.which.len() == 64 && args.which.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ids = if is_id { vec![args.which.clone()] } else { of_thing(&api, &args.which).await? };
    if ids.is_empty() {
        bail!("{} has no certificate", args.which);
    }
    for id in ids {
        api.send(Method::PUT, &format!("/certificates/{id}?newStatus=REVOKED"), &Value::Null).await?;
        println!("{id} is revoked");
    }
    Ok(())
}

/// The ids of a thing's certificates: its principals are ARNs that end in `cert/<id>`.
async fn of_thing(api: &Api, thing: &str) -> anyhow::Result<Vec<String>> {
    let answer = api.get(&format!("/things/{}/principals", encoded(thing))).await?;
    let arns = answer["principals"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(arns.filter_map(|arn| Some(arn.rsplit_once("cert/")?.1.to_owned())).collect())
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.server.server)?;
    let mut found: Vec<Value> = Vec::new();
    let mut marker = String::new();
    loop {
        let page = api.get(&format!("/certificates?pageSize=250{marker}")).await?;
        found.extend(page["certificates"].as_array().into_iter().flatten().cloned());
        match page["nextMarker"].as_str() {
            Some(next) => marker = format!("&marker={}", encoded(next)),
            None => break,
        }
    }
    if args.json {
        println!("{}", Value::Array(found));
        return Ok(());
    }
    let mut table = view::Table::new(&["certificate", "status", "thing", "created"]);
    for certificate in &found {
        let id = certificate["certificateId"].as_str().unwrap_or_default();
        let arn = certificate["certificateArn"].as_str().unwrap_or_default();
        let principal = [("x-amzn-principal", arn)];
        let things = api.get_with("/principals/things", &principal).await?;
        let names: Vec<&str> =
            things["things"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let created_ms = certificate["creationDate"].as_f64().unwrap_or_default() * 1_000.0;
        let status = certificate["status"].as_str().unwrap_or_default().to_owned();
        table.row(vec![id.to_owned(), status, names.join(" "), view::time(&json!(created_ms as i64))]);
    }
    print!("{}", table.render());
    Ok(())
}
