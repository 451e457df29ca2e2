//! `fieldline shadow`: what a device reports and what it should be.

use anyhow::{Context, bail};
use axum::http::Method;
use edge_agent::ServerAddress;
use fieldline_model::{ShadowId, ShadowOperation, ShadowPart, ShadowTopic};
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS};
use serde_json::Value;

use super::print;
use crate::cli::{ShadowArgs, ShadowCommand, ShadowWatchArgs, WhichShadow};
use crate::client::{Api, encoded};
use crate::stop;

/// What of a shadow is watched, and the word before it.
const WATCHED: [(ShadowOperation, ShadowPart, &str); 3] = [
    (ShadowOperation::Update, ShadowPart::Delta, "delta"),
    (ShadowOperation::Update, ShadowPart::Documents, "documents"),
    (ShadowOperation::Delete, ShadowPart::Accepted, "deleted"),
];

/// Runs one of the commands.
///
/// # Errors
/// The server cannot be asked, or says no.
pub async fn shadow(args: &ShadowArgs) -> anyhow::Result<()> {
    match &args.command {
        ShadowCommand::Get(which) => ask(which, Method::GET, &Value::Null).await,
        ShadowCommand::Delete(which) => ask(which, Method::DELETE, &Value::Null).await,
        ShadowCommand::Update(args) => {
            let document = serde_json::from_str(&args.document).context("the document is no JSON")?;
            ask(&args.which, Method::POST, &document).await
        }
        ShadowCommand::Watch(args) => watch(args).await,
    }
}

async fn ask(which: &WhichShadow, method: Method, body: &Value) -> anyhow::Result<()> {
    let name = which.name.as_ref().map(|name| format!("?name={}", encoded(name.as_str())));
    let path = format!("/things/{}/shadow{}", which.thing, name.unwrap_or_default());
    let answer = Api::new(&which.server.server)?.send(method, &path, body).await?;
    print(&format!("{answer:#}\n"))
}

async fn watch(args: &ShadowWatchArgs) -> anyhow::Result<()> {
    let broker: ServerAddress = args.mqtt.parse()?;
    if broker.tls {
        bail!("--mqtt {}: a watch speaks plain MQTT only, to a server on this machine", args.mqtt);
    }
    let shadow = ShadowId { thing: args.thing.clone(), name: args.name.clone() };
    let topics = WATCHED.map(|(operation, part, word)| {
        (ShadowTopic { shadow: shadow.clone(), operation, part }.to_string(), word)
    });
    let options =
        ClientOptions::new(broker.host, broker.port, format!("fieldline-watch-{}", std::process::id()));
    let unreachable = || format!("no server answers at {}; name another with --mqtt", args.mqtt);
    let mut connection = Connection::open(&options).await.with_context(unreachable)?;
    connection.subscribe(&topics.each_ref().map(|(topic, _)| (topic.as_str(), QoS::AtLeastOnce)))?;
    let mut told = std::pin::pin!(stop::listen()?);
    loop {
        let event = tokio::select! {
            () = &mut told => return Ok(()),
            event = connection.next() => event?,
        };
        if let Event::Message { message, id, .. } = event {
            let word = topics.iter().find(|(topic, _)| *topic == *message.topic).map(|(_, word)| *word);
            let text = String::from_utf8_lossy(&message.payload);
            print(&format!("{} {text}\n", word.unwrap_or_default()))?;
            if let Some(id) = id {
                connection.acknowledge(id);
            }
        }
    }
}
