use std::collections::BTreeMap;
use std::time::Duration;

use fieldline_filter::{Aggregate, Filter, Range, Rule, WindowRule};
use fieldline_model::{Class, Pattern, Quality, ReadingRef, Reason, Timestamp, ValueRef};
use fieldline_wire::Rows;

use super::completion::Completion;
use super::counts::{LeftOut, Note};
use super::{Batch, Intake, Offer};
use crate::config::Limits;
use crate::mapping::{Mapping, PayloadFormat};

/// 2026-11-22T10:00:00Z.
const NOW: Timestamp = Timestamp::from_nanos(1_795_341_600_000_000_000);

fn at(seconds: i64) -> Timestamp {
    NOW.saturating_add_nanos(seconds * 1_000_000_000)
}

fn rows(readings: &[(&str, &str, i64, f64)]) -> Rows {
    let mut rows = Rows::new();
    for (device, metric, seconds, value) in readings {
        let (time, value) = (at(*seconds), ValueRef::Float(*value));
        rows.push(ReadingRef { device, metric, time, value, quality: Quality::Good });
    }
    rows
}

fn intake(rules: Vec<Rule>, limits: Limits) -> Intake {
    Intake::new(Filter::new(rules).unwrap(), &limits, Note::default())
}

fn offer(intake: &Intake, rows: &Rows, mapping: Option<&Mapping>, now: Timestamp) {
    let offer = Offer { rows, rejects: &[], topic: "telemetry/x", mapping, now };
    intake.offer(&offer, Completion::Nobody);
}

fn take(intake: &Intake) -> Batch {
    let mut batch = Batch::default();
    assert!(intake.take(&mut batch, None));
    batch
}

/// `accepted` is everything and no reading is counted twice.
fn assert_balanced(batch: &Batch) {
    let counts = &batch.counts;
    let parts = counts.filtered_count()
        + counts.quarantined.values().sum::<u64>()
        + counts.sequenced.values().sum::<u64>();
    assert_eq!(counts.accepted, parts);
}

#[test]
fn readings_beyond_the_horizon_are_set_aside_and_the_others_kept() {
    let limits = Limits {
        past_max: Duration::from_secs(3600),
        future_max: Duration::from_secs(60),
        ..Limits::default()
    };
    let intake = intake(vec![], limits);
    offer(
        &intake,
        &rows(&[("a", "t", -3601, 1.0), ("a", "t", -3600, 2.0), ("a", "t", 60, 3.0), ("a", "t", 61, 4.0)]),
        None,
        NOW,
    );
    let batch = take(&intake);
    assert_eq!(batch.lanes[1].len(), 2);
    assert_eq!(batch.counts.quarantined, BTreeMap::from([(Reason::TooOld, 1), (Reason::TooNew, 1)]));
    assert_eq!(batch.quarantine.len(), 2);
    assert_balanced(&batch);
}

#[test]
fn a_clock_that_was_never_set_judges_nothing() {
    let intake = intake(vec![], Limits::default());
    offer(&intake, &rows(&[("a", "t", 0, 1.0)]), None, Timestamp::from_nanos(5));
    assert_eq!(take(&intake).lanes[1].len(), 1);
}

#[test]
fn new_metrics_stop_at_the_limit_and_known_ones_go_on() {
    let limits = Limits { metrics_per_device_max: 2, devices_max: 2, ..Limits::default() };
    let intake = intake(vec![], limits);
    let readings = [
        ("a", "m1", 0, 1.0),
        ("a", "m2", 0, 1.0),
        ("a", "m3", 0, 1.0),
        ("a", "m1", 1, 1.0),
        ("b", "m1", 0, 1.0),
        ("c", "m1", 0, 1.0),
    ];
    offer(&intake, &rows(&readings), None, NOW);
    let batch = take(&intake);
    assert_eq!(batch.lanes[1].len(), 4);
    assert_eq!(batch.counts.quarantined, BTreeMap::from([(Reason::Cardinality, 2)]));
    assert_eq!(intake.series_count(), 3);
    assert_balanced(&batch);
}

#[test]
fn classes_go_to_their_lanes_and_impossible_values_are_set_aside() {
    let rule = |metric: &str, class| Rule { metric: metric.into(), class: Some(class), ..Rule::default() };
    let range = Some(Range { min: 0.0, max: 1.0, outside: Default::default() });
    let intake = intake(
        vec![rule("fire", Class::Alarm), rule("old", Class::History), Rule { range, ..Rule::default() }],
        Limits::default(),
    );
    offer(
        &intake,
        &rows(&[("a", "fire", 0, 1.0), ("a", "old", 0, 1.0), ("a", "t", 0, 0.5), ("a", "t", 1, 1.5)]),
        None,
        NOW,
    );
    let batch = take(&intake);
    assert_eq!(batch.lanes.each_ref().map(Rows::len), [1, 1, 0, 1]);
    assert_eq!(batch.counts.quarantined, BTreeMap::from([(Reason::OutOfRange, 1)]));
    assert_balanced(&batch);
}

#[test]
fn a_mapping_renames_and_leaves_out() {
    let mapping = Mapping {
        topic: "#".into(),
        device: "x".into(),
        metric: None,
        format: PayloadFormat::Auto,
        rename: BTreeMap::from([("tmp".to_owned(), "temperature".to_owned())]),
        ignore: vec![Pattern::from("debug*")],
    };
    let intake = intake(vec![], Limits::default());
    offer(&intake, &rows(&[("a", "tmp", 0, 1.0), ("a", "debug.heap", 0, 1.0)]), Some(&mapping), NOW);
    let batch = take(&intake);
    let kept: Vec<&str> = batch.lanes[1].iter().map(|reading| reading.metric).collect();
    assert_eq!(kept, ["temperature"]);
    assert_eq!(batch.counts.filtered, BTreeMap::from([(LeftOut::Ignored, 1)]));
    assert_balanced(&batch);
}

fn windowed() -> Vec<Rule> {
    let window =
        WindowRule { every: Duration::from_secs(10), aggregates: vec![Aggregate::Count, Aggregate::Mean] };
    vec![Rule { window: Some(window), ..Rule::default() }]
}

#[test]
fn an_open_window_rides_with_the_note_and_goes_on_after_a_restart() {
    let first = intake(windowed(), Limits::default());
    offer(&first, &rows(&[("a", "t", 0, 2.0), ("a", "t", 1, 4.0)]), None, NOW);
    let batch = take(&first);
    assert_eq!(batch.windows.len(), 1);
    let note =
        Note { counts: batch.counts.clone(), settled: BTreeMap::new(), windows: batch.windows.clone() };

    let second = Intake::new(Filter::new(windowed()).unwrap(), &Limits::default(), note);
    offer(&second, &rows(&[("a", "t", 2, 6.0)]), None, NOW);
    take(&second);
    second.tick(at(30));
    let batch = take(&second);
    let figures: Vec<_> =
        batch.lanes[1].iter().map(|reading| (reading.metric.to_owned(), reading.value)).collect();
    assert_eq!(
        figures,
        [("t.count".to_owned(), ValueRef::Integer(3)), ("t.mean".to_owned(), ValueRef::Float(4.0))]
    );
    assert!(batch.windows.is_empty());
    assert_balanced(&batch);
}

#[test]
fn a_window_whose_rule_is_gone_is_sent_at_once() {
    let first = intake(windowed(), Limits::default());
    offer(&first, &rows(&[("a", "t", 0, 2.0)]), None, NOW);
    let batch = take(&first);
    let note =
        Note { counts: batch.counts.clone(), settled: BTreeMap::new(), windows: batch.windows.clone() };
    let second = Intake::new(Filter::default(), &Limits::default(), note);
    assert_eq!(take(&second).lanes[1].len(), 2);
}

#[test]
fn windows_beyond_their_limit_pass_readings_as_they_are() {
    let intake = intake(windowed(), Limits { windows_max: 1, ..Limits::default() });
    offer(&intake, &rows(&[("a", "t", 0, 2.0), ("b", "t", 0, 3.0), ("a", "t", 1, 4.0)]), None, NOW);
    let batch = take(&intake);
    assert_eq!((batch.lanes[1].len(), batch.windows.len()), (1, 1));
    assert_balanced(&batch);
}

#[test]
fn a_stopped_intake_hands_out_what_it_has_and_then_nothing() {
    let intake = intake(vec![], Limits::default());
    offer(&intake, &rows(&[("a", "t", 0, 2.0)]), None, NOW);
    intake.stop();
    let mut batch = Batch::default();
    assert!(intake.take(&mut batch, None));
    assert!(!intake.take(&mut batch, None));
}
