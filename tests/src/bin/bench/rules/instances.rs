//! The memory of an instance.

use anyhow::Result;
use fieldline_model::{Class, Quality, ReadingRef, Timestamp, ValueRef};
use fieldline_tests::memory::status_bytes;

/// How many instances are made.
const INSTANCES: usize = 50_000;

/// Bytes that an instance of a threshold rule adds, with what is known of its device, all counted.
///
/// What is let go of at the end of a run is kept by the allocator, so each run holds on to its engine.
pub(super) fn bytes() -> Result<f64> {
    let mut engine = super::engine(std::iter::once("temperature > 1000.0".to_owned()))?;
    let devices: Vec<String> = (0..INSTANCES).map(|n| format!("device-{n}")).collect();
    let mut effects = Vec::new();
    let before = status_bytes(std::process::id(), "VmRSS")?;
    for device in &devices {
        let reading = ReadingRef {
            device,
            metric: "temperature",
            time: Timestamp::from_nanos(1_700_000_000_000_000_000),
            value: ValueRef::Float(20.0),
            quality: Quality::Good,
        };
        engine.observe(reading.time, Class::Live, reading, &mut effects);
        drop(engine.take_changes());
    }
    let after = status_bytes(std::process::id(), "VmRSS")?;
    anyhow::ensure!(
        engine.rules().iter().map(|rule| rule.instances).sum::<usize>() == INSTANCES,
        "instances"
    );
    std::mem::forget(engine);
    Ok(after.saturating_sub(before) as f64 / INSTANCES as f64)
}
