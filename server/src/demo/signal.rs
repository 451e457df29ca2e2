//! What a simulated device measures: pure functions of seed and time.

use fieldline_model::{Timestamp, Value};
use serde::Deserialize;

/// How a signal behaves. Times of day are UTC.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// Follows the day: `mean + swing · cos(2π (hour − peak_hour) / 24)`, plus noise.
    Daily {
        /// The mean of the day.
        mean: f64,
        /// Half the distance from the lowest to the highest of the day.
        swing: f64,
        /// When it is highest.
        peak_hour: f64,
        /// Standard deviation of the noise.
        noise: f64,
        /// The step of the sensor.
        resolution: f64,
    },
    /// RMS velocity of a machine, in mm/s; grows by half over `wear_days`, then the bearing is new.
    Vibration {
        /// While it runs.
        running: f64,
        /// While it stands.
        resting: f64,
        /// From a new bearing to a worn one.
        wear_days: f64,
        /// The step of the sensor.
        resolution: f64,
    },
    /// Counts up while the machine runs.
    Counter {
        /// Pieces a minute.
        per_minute: f64,
    },
    /// Whether the machine runs.
    Running {},
    /// A door contact: true while it is open.
    Contact {
        /// How often it is opened.
        per_hour: f64,
        /// For how long, in seconds.
        lasts_s: f64,
    },
    /// A fault code: `ok`, or one of `codes` for a while.
    Fault {
        /// The codes.
        codes: Vec<String>,
        /// How often.
        per_day: f64,
        /// For how long, in seconds.
        lasts_s: f64,
    },
}

impl Kind {
    /// Its word in a demo file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Daily { .. } => "daily",
            Self::Vibration { .. } => "vibration",
            Self::Counter { .. } => "counter",
            Self::Running {} => "running",
            Self::Contact { .. } => "contact",
            Self::Fault { .. } => "fault",
        }
    }
}

/// One signal of one device.
#[derive(Debug, Clone)]
pub struct Signal {
    kind: Kind,
    /// Noise that belongs to this signal alone.
    seed: u64,
    /// What all signals of one machine share: when it runs.
    machine_seed: u64,
}

impl Signal {
    /// A signal of the machine with `machine_seed`.
    pub fn new(kind: Kind, machine_seed: u64, metric: &str) -> Self {
        Self { kind, seed: mix(machine_seed ^ hash(metric)), machine_seed }
    }

    /// The value at `time`; the same for the same seed and time, in whatever order it is asked.
    pub fn sample(&self, time: Timestamp) -> Value {
        let seconds = time.nanos() as f64 / 1e9;
        match &self.kind {
            Kind::Daily { mean, swing, peak_hour, noise, resolution } => {
                let angle = (seconds / 3600.0 - peak_hour) / 24.0 * std::f64::consts::TAU;
                let value = mean + swing * angle.cos() + self.noise(seconds, *noise);
                Value::Float(stepped(value, *resolution))
            }
            Kind::Vibration { running, resting, wear_days, resolution } => {
                let age = (seconds / 86_400.0 / wear_days.max(0.01)).rem_euclid(1.0);
                let level =
                    if runs(self.machine_seed, seconds) { running * (1.0 + age / 2.0) } else { *resting };
                let value = level * (1.0 + self.noise(seconds, 0.04));
                Value::Float(stepped(value.max(0.0), *resolution))
            }
            Kind::Counter { per_minute } => Value::Integer(self.counted(seconds, *per_minute)),
            Kind::Running {} => Value::Boolean(runs(self.machine_seed, seconds)),
            Kind::Contact { per_hour, lasts_s } => {
                let slot_s = 3600.0 / per_hour.max(0.001);
                Value::Boolean(self.event(seconds, slot_s, *lasts_s).is_some())
            }
            Kind::Fault { codes, per_day, lasts_s } => {
                let slot_s = 86_400.0 / per_day.max(0.001);
                let code = self
                    .event(seconds, slot_s, *lasts_s)
                    .and_then(|draw| codes.get((draw % codes.len().max(1) as u64) as usize));
                Value::Text(code.map_or("ok", String::as_str).to_owned())
            }
        }
    }

    /// Slow drift (a new level every ten minutes, blended) and a quick part for every sample.
    fn noise(&self, seconds: f64, deviation: f64) -> f64 {
        let slot = (seconds / 600.0).floor();
        let part = seconds / 600.0 - slot;
        let level = |slot: f64| normal(mix(self.seed ^ (slot as i64 as u64)));
        let slow = level(slot) * (1.0 - part) + level(slot + 1.0) * part;
        let quick = normal(mix(self.seed.rotate_left(17) ^ ((seconds * 1000.0) as i64 as u64)));
        deviation * (0.8 * slow + 0.6 * quick)
    }

    /// One event in each slot, somewhere in it; its number while it lasts.
    fn event(&self, seconds: f64, slot_s: f64, lasts_s: f64) -> Option<u64> {
        let slot = (seconds / slot_s).floor();
        let draw = mix(self.seed ^ (slot as i64 as u64));
        let begins = slot * slot_s + unit(draw) * (slot_s - lasts_s).max(0.0);
        (begins..begins + lasts_s).contains(&seconds).then_some(mix(draw))
    }

    /// What was made since [`FIRST_DAY`]: the machine's day is the same every day, so whole days
    /// need no adding up.
    fn counted(&self, seconds: f64, per_minute: f64) -> i64 {
        let days = (seconds / 86_400.0).floor();
        let into_day_s = seconds - days * 86_400.0;
        let running_s = |until_s: f64| -> f64 {
            (0..SLOTS_A_DAY)
                .filter(|slot| slot_runs(self.machine_seed, *slot))
                .map(|slot| (until_s - slot as f64 * SLOT_S).clamp(0.0, SLOT_S))
                .sum()
        };
        let total_s = (days - FIRST_DAY).max(0.0) * running_s(86_400.0) + running_s(into_day_s);
        (total_s * per_minute / 60.0).floor() as i64
    }
}

/// A machine runs or stands for whole quarters of an hour.
const SLOT_S: f64 = 900.0;
const SLOTS_A_DAY: u64 = 96;
/// 2026-01-01, in days since 1970: where the counters stood at zero.
const FIRST_DAY: f64 = 20_454.0;

fn runs(machine_seed: u64, seconds: f64) -> bool {
    slot_runs(machine_seed, (seconds.rem_euclid(86_400.0) / SLOT_S) as u64)
}

/// Nine quarters of an hour in ten; different ones on every machine.
fn slot_runs(machine_seed: u64, slot: u64) -> bool {
    unit(mix(machine_seed.rotate_left(31) ^ slot)) < 0.9
}

fn stepped(value: f64, resolution: f64) -> f64 {
    if resolution <= 0.0 {
        return value;
    }
    // Dividing by the whole number of steps in one keeps 0.1 from becoming 0.30000000000000004.
    let steps_in_one = 1.0 / resolution;
    (value / resolution).round() / steps_in_one
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, so that a name picks the same noise in every run and build.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1u64 << 53) as f64
}

/// Standard normal by Box and Muller.
fn normal(draw: u64) -> f64 {
    let (u, v) = (unit(draw).max(f64::MIN_POSITIVE), unit(mix(draw)));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_348_800;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_same_seed_and_time_give_the_same_value() {
        let kind = Kind::Daily { mean: 20.0, swing: 5.0, peak_hour: 15.0, noise: 0.2, resolution: 0.1 };
        let (one, other) = (Signal::new(kind.clone(), 1, "t"), Signal::new(kind, 2, "t"));
        let same = Signal::new(one.kind.clone(), 1, "t");
        assert_eq!(one.sample(at(NOON)), same.sample(at(NOON)));
        let differ = (0..100).filter(|s| one.sample(at(NOON + s)) != other.sample(at(NOON + s))).count();
        assert!(differ > 50, "{differ}");
    }

    #[test]
    fn the_day_is_warm_at_its_peak_and_cool_twelve_hours_later() {
        let kind = Kind::Daily { mean: 20.0, swing: 5.0, peak_hour: 12.0, noise: 0.1, resolution: 0.1 };
        let signal = Signal::new(kind, 7, "t");
        let number = |seconds| signal.sample(at(seconds)).as_ref().as_number().unwrap();
        assert!((number(NOON) - 25.0).abs() < 1.0);
        assert!((number(NOON + 43_200) - 15.0).abs() < 1.0);
        assert_eq!((number(NOON) * 10.0).fract(), 0.0, "a step of 0.1");
    }

    #[test]
    fn a_counter_never_goes_back_and_moves() {
        let signal = Signal::new(Kind::Counter { per_minute: 22.0 }, 9, "parts");
        let mut before = signal.sample(at(NOON));
        let start = before.clone();
        for second in (NOON..NOON + 2 * 86_400).step_by(61) {
            let now = signal.sample(at(second));
            let (Value::Integer(a), Value::Integer(b)) = (&before, &now) else { panic!("{now:?}") };
            assert!(a <= b, "{a} > {b} at {second}");
            before = now;
        }
        assert_ne!(before, start);
    }

    #[test]
    fn doors_open_and_faults_come_now_and_then() {
        let door = Signal::new(Kind::Contact { per_hour: 12.0, lasts_s: 20.0 }, 3, "door");
        let open = (NOON..NOON + 36_000).filter(|s| door.sample(at(*s)) == Value::Boolean(true)).count();
        assert!((1_800..3_000).contains(&open), "{open} of 36000 s");
        let codes = vec!["E1".to_owned(), "E2".to_owned()];
        let fault = Signal::new(Kind::Fault { codes, per_day: 24.0, lasts_s: 60.0 }, 3, "fault");
        let told = (NOON..NOON + 86_400).filter(|s| fault.sample(at(*s)) != Value::Text("ok".into())).count();
        assert!((1_000..1_900).contains(&told), "{told} of 86400 s");
    }

    #[test]
    fn a_machine_vibrates_only_while_it_runs() {
        let kind = Kind::Vibration { running: 2.0, resting: 0.1, wear_days: 10.0, resolution: 0.01 };
        let (vibration, running) =
            (Signal::new(kind, 5, "vibration"), Signal::new(Kind::Running {}, 5, "running"));
        for second in (NOON..NOON + 86_400).step_by(450) {
            let level = vibration.sample(at(second)).as_ref().as_number().unwrap();
            assert_eq!(
                level > 1.0,
                running.sample(at(second)) == Value::Boolean(true),
                "{level} at {second}"
            );
        }
    }
}
