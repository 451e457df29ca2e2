//! What a server that was killed has stored and not shown.

use std::error::Error;
use std::sync::Arc;

use fieldline_model::{DeviceId, Metric, ShadowName, ThingName};
use fieldline_store::{DeviceQuery, Latest, Point, Shadows, TimeSeriesStore};
use shadow::{Metrics, PRESENCE, PortError, Sample, Things, gone, telemetry};

use crate::broker::now;

/// Things that are asked for at a time.
const PAGE: usize = 100;

/// Where the stored readings and shadows are.
pub(crate) struct Stored {
    pub(crate) readings: Arc<dyn TimeSeriesStore>,
    pub(crate) shadows: Arc<dyn Shadows>,
}

/// Goes through all things that are shown to be there or not, and through all devices, one after the other, so
/// that it is in nobody's way: that a thing is connected is shown only where it is, and what is stored of each
/// device is shown. Where all is well nothing is written, and what fails for one is done for the others.
pub(super) async fn run(stored: &Stored, things: &dyn Things, life: u64, shows_telemetry: bool) {
    let mut failed = 0;
    if let Err(error) = show_who_is_gone(stored.shadows.as_ref(), things, life, &mut failed).await {
        let error = error.as_ref() as &dyn Error;
        tracing::error!(error, "some things may be shown as connected, until they connect again");
    }
    if shows_telemetry && let Err(error) = show_readings(stored.readings.as_ref(), things, &mut failed).await
    {
        let error = error.as_ref() as &dyn Error;
        tracing::error!(error, "some shadows may show less than is stored, until their devices send again");
    }
    if failed > 0 {
        tracing::error!(failed, "some shadows show what was before the last start");
    }
}

/// Whoever has connected has the shadow, whether or not there are readings of it.
async fn show_who_is_gone(
    shadows: &dyn Shadows,
    things: &dyn Things,
    life: u64,
    failed: &mut usize,
) -> Result<(), PortError> {
    let presence = ShadowName::new(PRESENCE)?;
    let mut last: Option<ThingName> = None;
    loop {
        let page = shadows.things_with(&presence, last.as_ref(), PAGE).await?;
        for thing in &page {
            if let Err(error) = gone(thing, life, things).await {
                *failed += 1;
                tracing::debug!(%thing, error = &error as &dyn Error, "presence could not be shown");
            }
        }
        match page.into_iter().last() {
            Some(thing) => last = Some(thing),
            None => return Ok(()),
        }
    }
}

async fn show_readings(
    readings: &dyn TimeSeriesStore,
    things: &dyn Things,
    failed: &mut usize,
) -> Result<(), PortError> {
    let mut query = DeviceQuery::default();
    loop {
        let page = readings.devices(&query).await?;
        for info in page.devices {
            let device = info.device;
            if let Err(error) = show(&device, readings, things).await {
                *failed += 1;
                tracing::debug!(%device, error = error.as_ref() as &dyn Error, "readings could not be shown");
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn show(device: &DeviceId, store: &dyn TimeSeriesStore, things: &dyn Things) -> Result<(), PortError> {
    let metrics: Metrics = store.latest(device).await?.into_iter().filter_map(sample).collect();
    if !metrics.is_empty() {
        telemetry(device, &metrics, things).await?;
    }
    Ok(())
}

fn sample(latest: Latest) -> Option<(Metric, Sample)> {
    let Point { time, value, quality } = latest.point;
    Some((latest.metric, Sample::of(time, value.as_ref(), quality, now())?))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use fieldline_model::{ShadowId, Timestamp};
    use fieldline_store::MemoryStore;
    use serde_json::{Value, json};
    use shadow::{Document, Outcome, Presence, presence};

    use super::*;

    /// The shadows of a store, but one thing's cannot be reached.
    #[derive(Debug)]
    struct Flaky {
        store: Arc<MemoryStore>,
        broken: &'static str,
    }

    #[async_trait]
    impl Things for Flaky {
        async fn get(&self, shadow: &ShadowId) -> Result<Option<Document>, PortError> {
            if shadow.thing.as_str() == self.broken {
                return Err("out of reach".into());
            }
            let stored = self.store.shadow(shadow).await?;
            Ok(stored.shadow("").ok().map(|shadow| Document::of(shadow.document(0, None))))
        }

        async fn update(&self, shadow: &ShadowId, request: &Value) -> Result<Outcome, PortError> {
            let update = fieldline_shadow::Update::parse(request.to_string().as_bytes())?;
            self.store.update_shadow(shadow, update, 0).await??;
            Ok(Outcome::Done)
        }
    }

    async fn is_connected(store: &MemoryStore, thing: &ThingName) -> Value {
        let shadow = ShadowId { thing: thing.clone(), name: ShadowName::new(PRESENCE).ok() };
        let stored = store.shadow(&shadow).await.unwrap();
        stored.shadow("").unwrap().document(0, None)["state"]["reported"]["connected"].clone()
    }

    /// A thing of which there are no readings stayed connected for ever, and so did all that came after one
    /// whose shadow could not be reached.
    #[tokio::test]
    async fn things_without_readings_are_shown_to_be_gone_and_one_failure_is_one() {
        let store = Arc::new(MemoryStore::new());
        let all = Flaky { store: store.clone(), broken: "" };
        let thing = |number: usize| ThingName::new(&format!("lamp-{number:03}")).unwrap();
        let count = 2 * PAGE + 1;
        for number in 0..count {
            let (thing, at) = (thing(number), Timestamp::EPOCH);
            presence(&Presence { thing, connected: true, at, session: 5 }, &all).await.unwrap();
        }
        let stored = Stored { readings: store.clone(), shadows: store.clone() };
        run(&stored, &Flaky { store: store.clone(), broken: "lamp-001" }, 6, true).await;
        for number in 0..count {
            assert_eq!(is_connected(&store, &thing(number)).await, json!(number == 1), "{number}");
        }
        // Who has come back since stays.
        let (thing, at) = (thing(7), Timestamp::EPOCH);
        let back = Presence { thing: thing.clone(), connected: true, at, session: 6 };
        presence(&back, &all).await.unwrap();
        run(&stored, &all, 6, true).await;
        assert_eq!(is_connected(&store, &thing).await, json!(true));
    }
}
