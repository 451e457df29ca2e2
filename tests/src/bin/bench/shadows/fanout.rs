//! One change, many that hear of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fieldline_model::ShadowPart;
use fieldline_mqtt::Event;
use fieldline_tests::Server;
use fieldline_tests::publisher::runtime;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::device::{subscribed, topic};

const PATIENCE: Duration = Duration::from_secs(60);
/// Changes that are measured; the median is taken.
const CHANGES: usize = 11;

/// From the request by HTTP until the last of `listeners` has the delta, in milliseconds.
pub(crate) fn last_ms(server: &Server, listeners: usize) -> Result<f64> {
    let (address, http) = (server.mqtt_address(), server.http());
    let thing = format!("heard-by-{listeners}");
    let filters = [topic(&thing, ShadowPart::Delta)?];
    runtime()?.block_on(async {
        let (tell, mut heard) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for number in 0..listeners {
            let mut connection = subscribed(address, &format!("listener-{number}"), &filters).await?;
            let tell = tell.clone();
            tasks.spawn(async move {
                while let Ok(event) = connection.next().await {
                    let Event::Message { message, id, .. } = event else { continue };
                    let document: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                    if tell.send((document["state"]["turn"].as_u64(), Instant::now())).is_err() {
                        return;
                    }
                    if let Some(id) = id {
                        connection.acknowledge(id);
                    }
                }
            });
        }
        let mut times = Vec::new();
        for turn in 0..CHANGES as u64 {
            let body = json!({ "state": { "desired": { "turn": turn } } }).to_string();
            let (path, began) = (format!("/things/{thing}/shadow"), Instant::now());
            let post = move || http.post(&path, "application/json", body.as_bytes());
            let answer = tokio::task::spawn_blocking(post);
            let mut last = began;
            for _ in 0..listeners {
                let (what, when) = timeout(PATIENCE, heard.recv()).await?.context("a listener has gone")?;
                ensure!(what == Some(turn), "turn {turn} is expected, {what:?} was heard");
                last = last.max(when);
            }
            ensure!(answer.await??.status == 200, "the update is refused");
            times.push((last - began).as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        times.get(CHANGES / 2).copied().context("a median")
    })
}
