//! What each function takes for a point of one series.

use std::time::Instant;

use anyhow::Result;
use fieldline_model::{Class, Quality, ReadingRef, Timestamp, ValueRef};

/// Name and expression; a point a second, windows of ten minutes.
pub(super) const ALL: [(&str, &str); 13] = [
    ("a threshold alone", "x > 1e9"),
    ("avg", "avg(x, '10m') > 1e9"),
    ("max", "max(x, '10m') > 1e9"),
    ("stddev", "stddev(x, '10m') > 1e9"),
    ("p95", "p95(x, '10m') > 1e9"),
    ("robust_z", "robust_z(x, '10m') > 1e9"),
    ("ewma", "ewma(x, 0.1) > 1e9"),
    ("cusum", "cusum(x) > 1e9"),
    ("seasonal", "seasonal(x) > 1e9"),
    ("anomaly", "anomaly(x) > 1e9"),
    ("stuck", "stuck(x, '10m') > 1e9"),
    ("spike", "spike(x) > 1e9"),
    ("trend", "trend(x, '10m') > 1e9"),
];

/// Nanoseconds for a point, all that the engine does for it included.
pub(super) fn nanos(expression: &str) -> Result<f64> {
    let mut engine = super::engine(std::iter::once(expression.to_owned()))?;
    let mut effects = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let (warm, measured) = (2_000, 20_000);
    let mut start = Instant::now();
    for n in 0..warm + measured {
        if n == warm {
            start = Instant::now();
        }
        // xorshift64* (Vigna, 2016) for the noise of a measurement.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let noise = (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f64 / 16_777_216.0;
        let reading = ReadingRef {
            device: "device",
            metric: "x",
            time: Timestamp::from_nanos(1_700_000_000_000_000_000 + n * 1_000_000_000),
            value: ValueRef::Float((n as f64 / 500.0).sin() * 5.0 + noise),
            quality: Quality::Good,
        };
        engine.observe(reading.time, Class::Live, reading, &mut effects);
        if n % 100 == 0 {
            drop(engine.take_changes());
        }
    }
    Ok(start.elapsed().as_nanos() as f64 / measured as f64)
}
