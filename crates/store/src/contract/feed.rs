//! Random blocks, the same for the same seed.

use fieldline_model::{Class, DeviceId, GatewayId, Metric, Quality, Reading, StreamId, Timestamp, Value};
use fieldline_wire::{Block, BlockBuilder};

const MINUTE: i64 = 60_000_000_000;
/// Times lie on both sides of this.
const NOON: i64 = 1_795_348_800_000_000_000;
/// Readings of one stream.
const READINGS: usize = 400;

/// Steps and spans to ask for: whole hours, odd ones, long ones, and one that cuts through.
pub(super) const WINDOWS: [(i64, i64, i64); 4] = [
    (60 * MINUTE, NOON - 6_000 * MINUTE, NOON + 6_000 * MINUTE),
    (7 * MINUTE + 1, NOON - 300 * MINUTE, NOON + 300 * MINUTE),
    (24 * 60 * MINUTE, i64::MIN, i64::MAX),
    (60 * MINUTE, NOON + 11 * MINUTE, NOON + 95 * MINUTE),
];

/// Random readings of three streams, cut into blocks that arrive in disorder.
#[derive(Debug)]
pub struct Feed {
    state: u64,
}

impl Feed {
    /// A feed for a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    /// Blocks of three streams; in the end, all readings have come.
    pub fn blocks(&mut self) -> Vec<Block> {
        let streams: Vec<(StreamId, Vec<Reading>)> = (0..3)
            .map(|number| {
                let gateway = GatewayId::new(&format!("gw-{}", number % 2)).expect("a good name");
                let epoch = self.next() >> 11;
                (StreamId { gateway, epoch }, (0..READINGS).map(|at| self.reading(at)).collect())
            })
            .collect();
        let mut blocks = Vec::new();
        for _ in 0..60 {
            let (stream, readings) = &streams[self.below(3)];
            let start = self.below(READINGS);
            let length = 1 + self.below(40);
            blocks.extend(cut(stream, readings, start, length));
        }
        // Now what an agent does after a restart: everything again, cut otherwise.
        for (stream, readings) in &streams {
            let mut start = 0;
            while start < READINGS {
                let length = 1 + self.below(90);
                blocks.extend(cut(stream, readings, start, length));
                start += length;
            }
        }
        blocks
    }

    /// Readings of one stream in the order in which the gateway accepted them; one kind for each metric.
    pub(super) fn readings(&mut self, count: usize) -> Vec<Reading> {
        (0..count).map(|at| self.reading(at)).filter(|reading| reading.metric.as_str() != "mixed").collect()
    }

    fn reading(&mut self, at: usize) -> Reading {
        let device = format!("device-{}", self.below(2));
        let metric = ["float", "integer", "boolean", "text", "mixed", "raw"][self.below(6)];
        // Mostly on, sometimes back: times repeat, so that there is something to overwrite.
        let minutes = if self.below(4) == 0 { self.below(400) } else { at } as i64 - 200;
        let jitter = if self.below(10) == 0 { self.below(1_000_000) as i64 } else { 0 };
        let quality = match self.below(20) {
            0 => Quality::Bad,
            1 => Quality::Uncertain,
            _ => Quality::Good,
        };
        Reading {
            device: DeviceId::new(&device).expect("a good name"),
            metric: Metric::new(metric).expect("a good name"),
            time: Timestamp::from_nanos(NOON + minutes * MINUTE + jitter),
            value: self.value(metric),
            quality,
        }
    }

    fn value(&mut self, metric: &str) -> Value {
        let odd = [f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 3.0, 1.0 / 3.0, -1e300];
        match metric {
            "float" => Value::Float((self.below(20_000) as f64 - 10_000.0) / 100.0),
            "raw" if self.below(8) == 0 => Value::Float(odd[self.below(odd.len())]),
            "raw" => Value::Float(f64::from_bits(self.next() >> 2)),
            "integer" if self.below(50) == 0 => Value::Integer(i64::MAX - self.below(3) as i64),
            "integer" => Value::Integer(self.below(1_000) as i64 - 500),
            "boolean" => Value::Boolean(self.below(2) == 0),
            "text" => Value::Text(["idle", "run", "fault ⚠", ""][self.below(4)].to_owned()),
            _ => {
                let kind = ["float", "integer", "boolean", "text"][self.below(4)];
                self.value(kind)
            }
        }
    }
}

/// The block of `length` readings from position `start` on.
pub(super) fn cut(stream: &StreamId, readings: &[Reading], start: usize, length: usize) -> Option<Block> {
    let end = start.saturating_add(length).min(readings.len());
    let mut builder = BlockBuilder::new(stream.clone(), Class::Live, start as u64 + 1);
    for reading in readings.get(start..end)? {
        builder.push(reading.as_ref());
    }
    builder.finish()
}
