use std::collections::BTreeMap;
use std::time::Duration;

use fieldline_model::Timestamp;
use proptest::prelude::*;

use crate::{Extent, FeatureSpec, Function, Input, Observed, Series};

const FUNCTIONS: [Function; 14] = [
    Function::Avg,
    Function::Min,
    Function::Max,
    Function::Sum,
    Function::Count,
    Function::Rate,
    Function::Delta,
    Function::Stddev,
    Function::P50,
    Function::P95,
    Function::P99,
    Function::Age,
    Function::Missing,
    Function::Changed,
];

fn spec(function: Function, extent: Extent) -> FeatureSpec {
    let input = Input { device: None, metric: "x".parse().unwrap() };
    FeatureSpec { function, input, extent: Some(extent), parameters: Vec::new() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn series(extent: Extent) -> Series {
    let mut series = Series::new(64);
    for function in FUNCTIONS {
        if function != Function::Missing || matches!(extent, Extent::Duration(_)) {
            series.require(&spec(function, extent)).unwrap();
        }
    }
    series
}

/// What a function is by its definition, over all samples that there ever were.
fn naive(function: Function, extent: Extent, all: &BTreeMap<i64, f64>, now: i64) -> Option<f64> {
    let past: Vec<(i64, f64)> = all.range(..=now).map(|(time, value)| (*time, *value)).collect();
    let first = match extent {
        Extent::Count(count) => past.len().saturating_sub(count as usize),
        Extent::Duration(long) => past.partition_point(|(time, _)| *time <= now - long.as_secs() as i64),
    };
    let window = &past[first..];
    let values: Vec<f64> = window.iter().map(|(_, value)| *value).collect();
    let (n, sum) = (values.len() as f64, values.iter().sum::<f64>());
    let newest = past.last();
    match function {
        Function::Count => return Some(n),
        Function::Age => return newest.map(|(time, _)| (now - time) as f64),
        Function::Missing => {
            let Extent::Duration(long) = extent else { return None };
            return newest.map(|(time, _)| f64::from(now - time >= long.as_secs() as i64));
        }
        Function::Changed => {
            return past.len().checked_sub(2).map(|i| f64::from(past[i].1 != past[i + 1].1));
        }
        _ => {}
    }
    if values.is_empty()
        || (values.len() < 2 && matches!(function, Function::Rate | Function::Delta | Function::Stddev))
    {
        return None;
    }
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    Some(match function {
        Function::Avg => sum / n,
        Function::Sum => sum,
        Function::Min => sorted[0],
        Function::Max => sorted[sorted.len() - 1],
        Function::Delta => values[values.len() - 1] - values[0],
        Function::Stddev => {
            (values.iter().map(|value| (value - sum / n).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
        }
        Function::Rate => {
            let steps =
                values.windows(2).map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] });
            steps.sum::<f64>() / (window[window.len() - 1].0 - window[0].0) as f64
        }
        Function::P50 => super::run::percentile(&sorted, 0.5)?,
        Function::P95 => super::run::percentile(&sorted, 0.95)?,
        _ => super::run::percentile(&sorted, 0.99)?,
    })
}

#[derive(Debug, Clone)]
enum Step {
    Observe(i64, f64),
    Read(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![(-50_i32..50).prop_map(|v| f64::from(v) / 4.0), -1e3_f64..1e3];
    let step = prop_oneof![
        6 => (-15_i64..12, value).prop_map(|(ahead, value)| Step::Observe(ahead, value)),
        3 => (0_i64..30).prop_map(Step::Read),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..200)
}

fn extents() -> impl Strategy<Value = Extent> {
    prop_oneof![
        (2_u32..30).prop_map(Extent::Count),
        (1_u64..60).prop_map(|seconds| Extent::Duration(Duration::from_secs(seconds))),
    ]
}

/// What a host has kept of the changes.
fn keep(stored: &mut BTreeMap<u32, Vec<u8>>, series: &mut Series) {
    for (number, bytes) in series.changes() {
        match bytes {
            Some(bytes) => stored.insert(number, bytes),
            None => stored.remove(&number),
        };
    }
}

fn values(series: &mut Series, now: i64) -> Vec<Option<u64>> {
    (0..FUNCTIONS.len()).map(|number| series.value(number, at(now)).map(f64::to_bits)).collect()
}

proptest! {
    #[test]
    fn functions_are_what_they_are_defined_to_be(steps in steps(), extent in extents()) {
        let mut series = series(extent);
        let mut undisturbed = series.clone();
        let (mut all, mut stored, mut newest) = (BTreeMap::new(), BTreeMap::new(), 0_i64);
        for step in steps {
            match step {
                Step::Observe(ahead, value) => {
                    let time = newest + ahead;
                    let observed = series.observe(at(time), value);
                    prop_assert_eq!(observed, undisturbed.observe(at(time), value));
                    prop_assert_eq!(series.samples().len(), undisturbed.samples().len());
                    if observed != Observed::TooOld {
                        all.insert(time, value);
                    }
                    newest = newest.max(time);
                    keep(&mut stored, &mut series);
                }
                Step::Read(ahead) => {
                    let now = newest + ahead;
                    prop_assert_eq!(values(&mut series, now), values(&mut undisturbed, now));
                    let specs = FUNCTIONS.iter().filter(|f| **f != Function::Missing || matches!(extent, Extent::Duration(_)));
                    for (number, function) in specs.enumerate() {
                        let (is, should) = (series.value(number, at(now)), naive(*function, extent, &all, now));
                        prop_assert_eq!(is.is_some(), should.is_some(), "{:?} {:?} {:?}", function, is, should);
                        let (is, should) = (is.unwrap_or(0.0), should.unwrap_or(0.0));
                        let close = (is - should).abs() <= 1e-6 * should.abs().max(1.0);
                        prop_assert!(close, "{:?}: {} instead of {}", function, is, should);
                    }
                }
                Step::Restart => {
                    let mut again = self::series(extent);
                    let chunks: Vec<_> = stored.clone().into_iter().collect();
                    again.restore(&chunks).unwrap();
                    series = again;
                }
            }
        }
    }

    #[test]
    fn sums_are_exact_for_any_finite_values(values in proptest::collection::vec(proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO, 0..40)) {
        let mut sum = super::exact::Exact::default();
        let mut squares = super::exact::Exact::default();
        for value in &values {
            sum.add(*value, false);
            squares.add_square(*value, false);
        }
        prop_assert!(sum.spread(&squares, values.len()) >= 0.0);
        for value in values.iter().skip(1) {
            sum.add(*value, true);
        }
        prop_assert_eq!(sum.sum() + 0.0, values.first().copied().unwrap_or(0.0) + 0.0);
    }
}

#[test]
fn a_new_sample_writes_one_chunk() {
    let mut series = Series::new(2_000);
    series.require(&spec(Function::Avg, Extent::Count(2_000))).unwrap();
    let mut sizes = Vec::new();
    for time in 0..1_000 {
        series.observe(at(time), 20.0 + (time % 7) as f64 / 4.0);
        let changes = series.changes();
        assert_eq!(changes.len(), 1, "{time}");
        sizes.push(changes[0].1.as_ref().unwrap().len());
    }
    assert_eq!(series.samples().len(), 1_000);
    assert!(series.changes().is_empty());
    println!("a chunk of 256 samples has {} bytes", sizes.iter().max().unwrap());
    assert!(*sizes.iter().max().unwrap() <= 256 * 12);
}

#[test]
fn what_is_not_finite_is_refused_and_counted() {
    let mut series = Series::new(10);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(series.observe(at(1), value), Observed::NotFinite);
    }
    assert_eq!((series.samples().refused(), series.samples().len()), (3, 0));
}
