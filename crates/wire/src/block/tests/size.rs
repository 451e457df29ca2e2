//! The sizes that we promise, on sets whose entropy is known.

use super::*;

/// Steele, Lea and Flood: Fast splittable pseudorandom number generators (OOPSLA 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Box–Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

const START: i64 = 1_795_341_600_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// `devices` × `metrics` series at 1 s, `per_series` readings each: a random walk of normal steps,
/// σ = 10 units of 0.01. `of` makes the value of the units.
fn random_walk(devices: usize, metrics: usize, per_series: usize, of: fn(i64) -> f64) -> BlockBuilder {
    let mut random = SplitMix(42);
    let mut walks = vec![0_i64; devices * metrics];
    let mut builder = builder();
    for second in 0..per_series {
        for (i, walk) in walks.iter_mut().enumerate() {
            *walk += (random.normal() * 10.0).round() as i64;
            let (device, metric) =
                (format!("device-{:04}", i / metrics), format!("metric-{:02}", i % metrics));
            builder.push(float(&device, &metric, START + second as i64 * SECOND, of(*walk)));
        }
    }
    builder
}

fn bytes_per_reading(builder: BlockBuilder) -> f64 {
    let (count, estimate) = (builder.count(), builder.estimated_bytes());
    let block = builder.finish().unwrap();
    let bytes = block.encode();
    assert_eq!(Block::decode(&bytes, &Limits::default()).unwrap(), block);
    let each = bytes.len() as f64 / count as f64;
    println!(
        "{count} readings, {} columns: {each:.4} B/reading ({} bytes, estimated {estimate})",
        block.columns.len(),
        bytes.len()
    );
    each
}

#[test]
fn the_random_walk_set_takes_at_most_three_quarters_of_a_byte() {
    assert!(bytes_per_reading(random_walk(100, 10, 60, |walk| walk as f64 * 0.01)) <= 0.75);
    assert!(bytes_per_reading(random_walk(1000, 1, 60, |walk| walk as f64 / 100.0)) <= 0.75);
}

/// 48 real-looking series, each with its own jitter of ±20 ms: temperature, humidity, pressure,
/// state, counter, power.
fn mixed(rounds: i64) -> BlockBuilder {
    let mut random = SplitMix(7);
    let mut state = vec![(200.0_f64, 0_i64); 48];
    let mut builder = builder();
    for round in 0..rounds {
        for (i, (walk, counter)) in state.iter_mut().enumerate() {
            let device = format!("sensor-{:02}", i / 6);
            let jitter = (random.normal() * 10.0).round() as i64 * 1_000_000;
            *walk += random.normal() * 0.7;
            *counter += (random.uniform() * 4.0) as i64;
            let (metric, value) = match i % 6 {
                0 => ("temperature", ValueRef::Float((*walk).round() / 10.0)),
                1 => ("humidity", ValueRef::Float(walk.round() / 2.0)),
                2 => ("pressure", ValueRef::Float((100_000.0 + walk.round()) / 100.0)),
                3 => ("running", ValueRef::Boolean((round / 40) % 2 == 0)),
                4 => ("count", ValueRef::Integer(*counter)),
                _ => ("power", ValueRef::Float((5000.0 + 60.0 * random.normal()).round() / 10.0)),
            };
            let time = Timestamp::from_nanos(START + round * 10 * SECOND + jitter);
            builder.push(ReadingRef { device: &device, metric, time, value, quality: Quality::Good });
        }
    }
    builder
}

#[test]
fn small_blocks_of_mixed_readings_stay_small() {
    assert!(bytes_per_reading(mixed(208)) <= 2.0);
    assert!(bytes_per_reading(mixed(10)) <= 3.2);
    assert!(bytes_per_reading(mixed(1)) <= 10.0);
}

#[test]
fn regular_readings_of_a_tenth_cost_next_to_nothing() {
    let mut builder = builder();
    for i in 0..10_000_i64 {
        let x = (200.0 + 50.0 * (i as f64 / 500.0).sin()).round() / 10.0;
        builder.push(float("d", "temperature", START + i * SECOND, x));
    }
    assert!(bytes_per_reading(builder) <= 0.4);
}

#[test]
fn what_the_builder_fills_to_96_kib_can_be_read_back() {
    let text = "x".repeat(1024);
    for value in [ValueRef::Integer(1), ValueRef::Text(&text), ValueRef::Text("on"), ValueRef::Boolean(true)]
    {
        let mut builder = builder();
        let mut i = 0;
        while builder.estimated_bytes() < 96 << 10 {
            builder.push(ReadingRef { value, ..float("d", "m", START + i * SECOND, 0.0) });
            i += 1;
        }
        assert!(bytes_per_reading(builder) < 2.0);
    }
}

/// `cargo test -p fieldline-wire --release -- --ignored --nocapture speed`
#[test]
#[ignore = "measures; of use in release mode only"]
fn speed() {
    let rows = |builder: BlockBuilder| {
        let block = builder.finish().unwrap();
        let mut rows = crate::Rows::new();
        for at in 0..block.columns[0].times.len() {
            for column in &block.columns {
                let Values::Float(values) = &column.values else { continue };
                rows.push(float(
                    column.device.as_str(),
                    column.metric.as_str(),
                    column.times[at],
                    values[at],
                ));
            }
        }
        (block, rows)
    };
    let (block, rows) = rows(random_walk(100, 10, 60, |walk| walk as f64 * 0.01));
    let rate = |what: &str, work: &mut dyn FnMut()| {
        let mut best = f64::MAX;
        for _ in 0..15 {
            let start = std::time::Instant::now();
            work();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let each = best / rows.len() as f64;
        println!("{what}: {:.1} M readings/s, {:.0} ns each", 1e-6 / each, each * 1e9);
    };
    let bytes = block.encode();
    let mut record = Vec::new();
    rate("build", &mut || {
        let mut builder = builder();
        rows.iter().for_each(|reading| builder.push(reading));
        assert!(builder.finish().is_some());
    });
    rate("encode", &mut || assert!(!block.encode().is_empty()));
    rate("decode", &mut || assert!(Block::decode(&bytes, &Limits::default()).is_ok()));
    rate("peek (a whole block)", &mut || assert!(BlockHeader::read(std::hint::black_box(&bytes)).is_ok()));
    rate("record encode", &mut || {
        record.clear();
        crate::record::encode(rows.iter(), &mut record);
    });
    println!("record: {:.1} B/reading", record.len() as f64 / rows.len() as f64);
    rate("record decode", &mut || {
        assert_eq!(crate::record::decode(&record).unwrap().filter(Result::is_ok).count(), rows.len());
    });
    let few: Vec<_> = rows.iter().take(3).collect();
    rate("a record for every three", &mut || {
        for _ in 0..rows.len() / 3 {
            record.clear();
            crate::record::encode(few.iter().copied(), &mut record);
        }
    });
}
