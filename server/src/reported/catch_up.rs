//! What a server that was killed has stored and not shown.

use std::sync::Arc;

use fieldline_model::{DeviceId, Metric, ThingName};
use fieldline_store::{DeviceQuery, Latest, Ledger, Point, TimeSeriesStore};
use shadow::{Metrics, PortError, Sample, Things, gone, telemetry};

use crate::broker::now;

/// Where the stored readings and gateways are.
pub(crate) struct Stored {
    pub(crate) readings: Arc<dyn TimeSeriesStore>,
    pub(crate) ledger: Arc<dyn Ledger>,
}

/// Goes through all devices and gateways, one after the other, so that it is in nobody's way: what is stored
/// of each is shown, and that it is connected only where it is. Where all is well nothing is written.
pub(super) async fn run(stored: &Stored, things: &dyn Things, life: u64, shows_telemetry: bool) {
    if let Err(error) = go_through(stored, things, life, shows_telemetry).await {
        let error = error.as_ref() as &dyn std::error::Error;
        tracing::error!(error, "some shadows may show less than is stored, until their devices send again");
    }
}

async fn go_through(
    stored: &Stored,
    things: &dyn Things,
    life: u64,
    shows_telemetry: bool,
) -> Result<(), PortError> {
    for gateway in stored.ledger.ledger(None).await? {
        gone(&ThingName::new(gateway.gateway.as_str())?, life, things).await?;
    }
    let mut query = DeviceQuery::default();
    loop {
        let page = stored.readings.devices(&query).await?;
        for info in page.devices {
            if shows_telemetry {
                show(&info.device, stored.readings.as_ref(), things).await?;
            }
            gone(&ThingName::new(info.device.as_str())?, life, things).await?;
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
