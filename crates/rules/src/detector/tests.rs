use std::time::Duration;

use fieldline_model::{Metric, Timestamp};
use proptest::prelude::*;

use crate::feature::Series;
use crate::{Extent, FeatureSpec, Function, Input};

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;

fn spec(function: Function, extent: Option<Extent>, parameters: &[f64]) -> FeatureSpec {
    let input = Input { device: None, metric: Metric::new("x").unwrap() };
    FeatureSpec { function, input, extent, parameters: parameters.to_vec() }
}

fn minutes(minutes: u64) -> Option<Extent> {
    Some(Extent::Duration(Duration::from_secs(minutes * 60)))
}

fn all() -> Vec<FeatureSpec> {
    vec![
        spec(Function::RobustZ, minutes(60), &[]),
        spec(Function::Stuck, minutes(60), &[]),
        spec(Function::Spike, None, &[]),
        spec(Function::Ewma, None, &[0.1]),
        spec(Function::Cusum, None, &[]),
        spec(Function::Seasonal, None, &[]),
        spec(Function::Anomaly, None, &[]),
        spec(Function::Trend, minutes(360), &[]),
        spec(Function::HoursTo, minutes(360), &[50.0]),
    ]
}

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// A repeatable noise of about ±1.
fn noise(n: i64) -> f64 {
    let mut state = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^= state >> 31;
    state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((state >> 40) as f64 / 8_388_608.0) - 1.0
}

/// The last value and explanation after a sample a minute.
fn after(spec: &FeatureSpec, values: impl Iterator<Item = f64>) -> (Option<f64>, Option<String>) {
    let mut series = Series::new(100_000);
    let number = series.require(spec).unwrap();
    let mut time = 0;
    for value in values {
        time += MINUTE;
        series.observe(at(time), value);
    }
    (series.value(number, at(time)), series.explain(number, at(time)))
}

#[test]
fn what_is_usual_scores_low_and_what_is_not_scores_high() {
    let usual = || (0..300).map(noise);
    for (function, extent, parameters, odd) in [
        (Function::RobustZ, minutes(60), &[][..], vec![30.0]),
        (Function::Spike, None, &[], vec![30.0]),
        (Function::Ewma, None, &[0.1], (0..60).map(|n| 3.0 + noise(n)).collect()),
        (Function::Cusum, None, &[], (0..60).map(|n| 2.0 + noise(n)).collect()),
        (Function::Stuck, minutes(60), &[], vec![0.5; 60]),
    ] {
        let spec = spec(function, extent, parameters);
        let (low, _) = after(&spec, usual());
        assert!(low.unwrap() < 0.5, "{function:?}: {low:?}");
        let (high, why) = after(&spec, usual().chain(odd));
        assert!(high.unwrap() > 0.8, "{function:?}: {high:?} {why:?}");
        assert!(
            why.is_some_and(|why| why.chars().any(|character| character.is_ascii_digit())),
            "{function:?}"
        );
    }
}

#[test]
fn a_slow_drift_is_no_spike_and_a_spike_no_drift() {
    let rising = (0..400).map(|n| n as f64 * 0.1 + noise(n));
    let (spike, _) = after(&spec(Function::Spike, None, &[]), rising);
    assert!(spike.unwrap() < 0.5, "{spike:?}");
    let spiked = (0..300).map(|n| if n == 250 { 1e6 } else { noise(n) });
    let (drift, _) = after(&spec(Function::Cusum, None, &[]), spiked);
    assert!(drift.unwrap() < 0.5, "{drift:?}");
}

#[test]
fn a_trend_is_found_among_wild_values_and_tells_when_it_arrives() {
    let worn =
        || (0..360).map(|n| if n % 10 == 3 { 1e4 } else { 20.0 + n as f64 / 60.0 * 2.0 + noise(n) * 0.2 });
    let (slope, why) = after(&spec(Function::Trend, minutes(360), &[]), worn());
    assert!((slope.unwrap() - 2.0).abs() < 0.2, "{slope:?}");
    assert!(why.unwrap().contains("per hour"));
    let (hours, why) = after(&spec(Function::HoursTo, minutes(360), &[50.0]), worn());
    assert!((hours.unwrap() - 9.0).abs() < 1.0, "{hours:?}");
    assert!(why.clone().unwrap().starts_with("reaches 50 in about 9 h"), "{why:?}");
    let (away, _) = after(&spec(Function::HoursTo, minutes(360), &[10.0]), worn());
    assert_eq!(away, None, "the trend leads away");
    let (flat, _) = after(&spec(Function::HoursTo, minutes(360), &[50.0]), (0..360).map(noise));
    assert_eq!(flat, None, "a slope that is none leads nowhere");
}

#[test]
fn a_quiet_night_is_usual_and_the_same_at_noon_is_not() {
    let mut series = Series::new(1_000);
    let number = series.require(&spec(Function::Seasonal, None, &[])).unwrap();
    let busy = |time: i64| if (8..18).contains(&(time / HOUR % 24)) { 50.0 } else { 5.0 };
    let weeks = 4 * 7 * 24 * HOUR;
    for time in (0..weeks).step_by((10 * MINUTE) as usize) {
        series.observe(at(time), busy(time) + noise(time / MINUTE));
    }
    // The day after is a Thursday, as the epoch was.
    let night = weeks + 3 * HOUR;
    series.observe(at(night), 5.2);
    assert!(series.value(number, at(night)).unwrap() < 0.5);
    let noon = weeks + 12 * HOUR;
    series.observe(at(noon), 5.2);
    assert!(series.value(number, at(noon)).unwrap() > 0.9);
    let why = series.explain(number, at(noon)).unwrap();
    assert!(why.ends_with("MAD below the usual Thursday 12:00 UTC"), "{why}");
}

#[test]
fn what_was_never_like_this_is_an_anomaly_and_a_spike_or_the_usual_is_none() {
    let anomaly = spec(Function::Anomaly, None, &[]);
    // A day of 288 samples, six weeks of them.
    let usual = |n: i64| f64::from((n % 288 < 140) as u8) * 20.0 + noise(n);
    let week = 7 * 288;
    let scores = |values: &mut dyn Iterator<Item = f64>| {
        let mut series = Series::new(1_000);
        let number = series.require(&anomaly).unwrap();
        let times = (1..).map(|n| at(n * MINUTE));
        let scores = values.zip(times).map(|(value, time)| {
            series.observe(time, value);
            series.value(number, time)
        });
        scores.collect::<Vec<_>>()
    };
    let calm = scores(&mut (0..6 * week).map(usual));
    assert!(calm[..1_500].iter().all(Option::is_none), "nothing is said before the past is known");
    assert!(calm[1_700..].iter().all(|score| score.unwrap() < 0.5));
    let spiked = scores(&mut (0..2 * week).map(|n| if n == 3_000 { 60.0 } else { usual(n) }));
    assert!(spiked[1_700..].iter().all(|score| score.unwrap() < 0.5), "one wild value is a spike");
    // The nights stay as warm as the days.
    let failing = scores(&mut (0..2 * week).map(|n| if n >= 3_600 { 30.0 + noise(n) } else { usual(n) }));
    let found = failing.iter().position(|score| score.is_some_and(|score| score >= 0.5)).unwrap();
    assert!((3_600..3_640).contains(&found), "{found}");
    let (_, why) = after(&anomaly, (0..3_640).map(|n| if n >= 3_600 { 30.0 } else { usual(n) }));
    assert!(why.clone().unwrap().contains("times as far from anything like it"), "{why:?}");
}

#[test]
fn what_is_learned_stays_small() {
    let mut series = Series::new(1_000);
    series.require(&spec(Function::Anomaly, None, &[])).unwrap();
    let mut kept = Vec::new();
    for n in 0..20_000 {
        series.observe(at(n * MINUTE), noise(n) * 1e9);
        keep(&mut kept, &mut series);
    }
    let learned: usize =
        kept.iter().filter(|(number, _)| *number >= 1 << 31).map(|(_, bytes)| bytes.len()).sum();
    assert!(learned < 7 * 1024, "{learned} bytes");
}

/// Keeps chunks as a host does.
fn keep(kept: &mut Vec<(u32, Vec<u8>)>, series: &mut Series) {
    for (number, bytes) in series.changes() {
        kept.retain(|(known, _)| *known != number);
        kept.extend(bytes.map(|bytes| (number, bytes)));
    }
}

fn series() -> Series {
    let mut series = Series::new(500);
    for spec in all() {
        series.require(&spec).unwrap();
    }
    series
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn restarts_change_no_bit_and_scores_stay_between_zero_and_one(
        steps in prop::collection::vec((1_i64..4 * HOUR, prop_oneof![
            -1e3_f64..1e3, Just(0.0), Just(f64::MAX), Just(f64::MIN), Just(1e-300)
        ], 0_u8..10), 1..400)
    ) {
        let (mut undisturbed, mut restarted, mut kept) = (series(), series(), Vec::new());
        let mut time = 0;
        for (step, value, fate) in steps {
            time += step;
            undisturbed.observe(at(time), value);
            restarted.observe(at(time), value);
            keep(&mut kept, &mut restarted);
            if fate == 0 {
                restarted = series();
                restarted.restore(&kept).unwrap();
            }
            for (number, spec) in all().iter().enumerate() {
                let (one, other) = (undisturbed.value(number, at(time)), restarted.value(number, at(time)));
                prop_assert_eq!(one.map(f64::to_bits), other.map(f64::to_bits), "{:?}", spec.function);
                if !matches!(spec.function, Function::Trend | Function::HoursTo) {
                    prop_assert!(one.is_none_or(|score| (0.0..=1.0).contains(&score)), "{:?}: {:?}", spec.function, one);
                }
            }
        }
    }
}
