use std::time::Duration;

use fieldline_model::{Quality, ReadingRef, Timestamp, Value, ValueRef};
use proptest::prelude::*;

use crate::{Aggregate, Filtered, Outside, Range, Rule, SeriesFilter, Verdict, WindowRule};

fn reading(millis: i64, value: ValueRef<'_>) -> ReadingRef<'_> {
    ReadingRef {
        device: "press-4",
        metric: "temperature",
        time: Timestamp::from_millis(millis).unwrap(),
        value,
        quality: Quality::Good,
    }
}

/// Feeds numbers a second apart and says which passed.
fn passed(rule: &Rule, values: &[f64]) -> Vec<bool> {
    let mut state = SeriesFilter::default();
    (0..)
        .zip(values)
        .map(|(second, value)| {
            let verdict = state.observe(Some(rule), reading(second * 1000, ValueRef::Float(*value)));
            matches!(verdict, Verdict::Pass(_))
        })
        .collect()
}

#[test]
fn an_absolute_deadband_compares_with_the_last_value_sent() {
    let rule = Rule { deadband: Some(1.0), ..Rule::default() };
    assert_eq!(
        passed(&rule, &[10.0, 10.9, 11.0, 11.1, 11.1, 10.2, 10.0]),
        [true, false, false, true, false, false, true]
    );
}

#[test]
fn a_percent_deadband_is_a_share_of_the_last_value_sent() {
    let rule = Rule { deadband_percent: Some(10.0), ..Rule::default() };
    assert_eq!(
        passed(&rule, &[100.0, 110.0, 110.1, 100.0, 99.0, -99.0]),
        [true, false, true, false, true, true]
    );
}

#[test]
fn silence_sends_an_unchanged_value_and_period_holds_a_changed_one_back() {
    let silence = Rule { deadband: Some(1.0), silence_max: Some(Duration::from_secs(3)), ..Rule::default() };
    assert_eq!(passed(&silence, &[5.0; 8]), [true, false, false, true, false, false, true, false]);
    let period = Rule { period_min: Some(Duration::from_secs(2)), ..Rule::default() };
    assert_eq!(passed(&period, &[1.0, 2.0, 3.0, 4.0, 5.0]), [true, false, true, false, true]);
}

#[test]
fn booleans_and_texts_pass_when_they_change() {
    let rule = Rule { deadband: Some(0.0), ..Rule::default() };
    let mut state = SeriesFilter::default();
    let values = [
        ValueRef::Boolean(true),
        ValueRef::Boolean(true),
        ValueRef::Boolean(false),
        ValueRef::Text("a"),
        ValueRef::Text("a"),
    ];
    let verdicts: Vec<bool> = (0..)
        .zip(values)
        .map(|(second, value)| {
            matches!(state.observe(Some(&rule), reading(second * 1000, value)), Verdict::Pass(_))
        })
        .collect();
    assert_eq!(verdicts, [true, false, true, true, false]);
}

#[test]
fn a_change_of_quality_passes_and_a_late_reading_passes_without_a_trace() {
    let rule = Rule { deadband: Some(5.0), ..Rule::default() };
    let mut state = SeriesFilter::default();
    let mut observe = |millis, value, quality| {
        let mut reading = reading(millis, ValueRef::Float(value));
        reading.quality = quality;
        matches!(state.observe(Some(&rule), reading), Verdict::Pass(_))
    };
    assert!(observe(10_000, 1.0, Quality::Good));
    assert!(observe(11_000, 1.0, Quality::Bad));
    assert!(observe(5_000, 100.0, Quality::Bad), "late");
    assert!(!observe(12_000, 2.0, Quality::Bad), "still judged against 1.0");
}

#[test]
fn a_value_outside_its_range_is_rejected_or_clamped_and_marked() {
    let range = |outside| Rule { range: Some(Range { min: 0.0, max: 10.0, outside }), ..Rule::default() };
    let observe = |outside, value| SeriesFilter::default().observe(Some(&range(outside)), reading(0, value));
    assert_eq!(
        observe(Outside::Reject, ValueRef::Float(10.0)),
        Verdict::Pass((ValueRef::Float(10.0), Quality::Good))
    );
    assert_eq!(observe(Outside::Reject, ValueRef::Float(10.1)), Verdict::OutOfRange);
    assert_eq!(observe(Outside::Reject, ValueRef::Integer(-1)), Verdict::OutOfRange);
    assert_eq!(
        observe(Outside::Clamp, ValueRef::Float(-3.0)),
        Verdict::Pass((ValueRef::Float(0.0), Quality::Uncertain))
    );
    assert_eq!(observe(Outside::Clamp, ValueRef::Float(f64::NAN)), Verdict::OutOfRange);
    assert_eq!(
        observe(Outside::Reject, ValueRef::Text("x")),
        Verdict::Pass((ValueRef::Text("x"), Quality::Good))
    );
}

const ALL: [Aggregate; 7] = [
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::Mean,
    Aggregate::Sum,
    Aggregate::Count,
    Aggregate::First,
    Aggregate::Last,
];

fn windowed(every_ms: u64) -> Rule {
    let window = WindowRule { every: Duration::from_millis(every_ms), aggregates: ALL.to_vec() };
    Rule { window: Some(window), ..Rule::default() }
}

#[test]
fn a_window_sends_its_figures_when_the_next_begins() {
    let rule = windowed(10_000);
    let mut state = SeriesFilter::default();
    for (millis, value) in [(2_000, 4.0), (1_000, 1.0), (9_999, 7.0)] {
        let verdict = state.observe(Some(&rule), reading(millis, ValueRef::Float(value)));
        assert_eq!(verdict, Verdict::Filtered(Filtered::Window));
    }
    let Verdict::WindowClosed(figures) = state.observe(Some(&rule), reading(10_000, ValueRef::Float(99.0)))
    else {
        panic!("the window stayed open")
    };
    let values: Vec<Value> = figures.iter().map(|figure| figure.value.clone()).collect();
    let float = Value::Float;
    assert_eq!(
        values,
        [float(1.0), float(7.0), float(4.0), float(12.0), Value::Integer(3), float(1.0), float(7.0)]
    );
    assert!(figures.iter().all(|figure| figure.time == Timestamp::EPOCH));
    let late = state.observe(Some(&rule), reading(9_000, ValueRef::Float(5.0)));
    assert!(matches!(late, Verdict::Pass(_)), "late for a window that is out");
}

#[test]
fn a_silent_series_closes_its_window_by_the_clock_and_a_kept_window_goes_on() {
    let rule = windowed(1_000);
    let mut state = SeriesFilter::default();
    state.observe(Some(&rule), reading(1_500, ValueRef::Integer(3)));
    let kept = state.open_window().unwrap().clone();
    let mut restarted = SeriesFilter::default();
    restarted.restore_window(kept);
    restarted.observe(Some(&rule), reading(1_600, ValueRef::Integer(5)));
    assert!(restarted.close_window_before(Some(&rule), Timestamp::from_millis(1_999).unwrap()).is_empty());
    let figures = restarted.close_window_before(Some(&rule), Timestamp::from_millis(2_000).unwrap());
    assert_eq!(figures[4].value, Value::Integer(2));
    assert!(restarted.open_window().is_none());
}

proptest! {
    #[test]
    fn every_reading_of_a_window_is_in_exactly_one_aggregate_or_passes(
        steps in prop::collection::vec((0i64..100_000, -100i32..100), 1..200),
    ) {
        let rule = windowed(7_000);
        let mut state = SeriesFilter::default();
        let (mut sent, mut aggregated) = (0, 0);
        let mut count = |figures: Vec<crate::Output>| {
            for figure in figures.iter().filter(|figure| figure.aggregate == Aggregate::Count) {
                if let Value::Integer(n) = figure.value { aggregated += n }
            }
        };
        for (millis, value) in &steps {
            match state.observe(Some(&rule), reading(*millis, ValueRef::Float(f64::from(*value)))) {
                Verdict::Pass(_) => sent += 1,
                Verdict::WindowClosed(figures) => count(figures),
                _ => {}
            }
        }
        count(state.close_window_before(Some(&rule), Timestamp::MAX));
        prop_assert_eq!(sent + aggregated, steps.len() as i64);
    }
}
