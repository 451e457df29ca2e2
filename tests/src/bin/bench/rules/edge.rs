//! From a reading to the command of a rule on the gateway, with everything durable, while other devices publish.

use anyhow::{Context as _, Result};
use fieldline_tests::publisher::runtime;
use fieldline_tests::{Oracle, Site, relay};

/// How often the relay is switched.
const TIMES: i64 = 1_000;

/// The 99th percentile in milliseconds, beside so many messages a second of other devices.
pub(super) fn p99_ms(messages_per_second: f64) -> Result<f64> {
    let mut site = Site::prepare()?;
    site.agent.set("rules", relay::HOT);
    site.server.start()?;
    site.agent.start()?;
    let others = (messages_per_second > 0.0)
        .then(|| Oracle::start(site.agent.mqtt_address(), 4, messages_per_second))
        .transpose()?;
    let (took, _) = runtime()?.block_on(relay::switch(site.agent.mqtt_address(), TIMES))?;
    others.map(Oracle::finish).transpose()?;
    site.finish()?;
    let p99 = took.get(took.len() * 99 / 100).context("nothing was measured")?;
    Ok(p99.as_secs_f64() * 1e3)
}
