use std::collections::BTreeMap;

use fieldline_shadow::STATE_BYTES_MAX;
use proptest::prelude::*;

use super::*;
use crate::newest::AHEAD_NANOS_MAX;
use crate::revise::ATTEMPTS_MAX;
use crate::{Error, Sample, UNCHANGED_MS};

fn float(metric: &str, at_ms: i64, value: f64) -> Block {
    block([reading(metric, at_ms, ValueRef::Float(value))])
}

#[test]
fn the_newest_value_of_each_metric_is_shown_by_one_update() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let first = block([
            reading("temperature", 2, ValueRef::Float(21.5)),
            reading("temperature", 1, ValueRef::Float(99.0)),
            reading("mode", 0, ValueRef::Text("on")),
            reading("mode.x{a=b}", 0, ValueRef::Boolean(true)),
            reading("count", 0, ValueRef::Integer(-3)),
        ]);
        let second = float("temperature", 3, 22.5);
        show(&shelf, &[second, first]).await;
        let expected = json!({
            "temperature": shown(22.5, 3), "mode": shown("on", 0),
            "mode.x{a=b}": shown(true, 0), "count": shown(-3, 0),
        });
        assert_eq!(shelf.reported("press-4~telemetry"), expected);
        assert_eq!(shelf.updates(), 1);
    });
}

#[test]
fn late_data_and_what_comes_again_change_nothing() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        show(&shelf, &[float("t", 10, 1.0)]).await;
        for (at_ms, value) in [(10, 1.0), (9, 5.0), (-86_400_000, 7.0)] {
            assert_eq!(show(&shelf, &[float("t", at_ms, value)]).await, [Written::Unchanged], "{at_ms}");
        }
        assert_eq!(shelf.reported("press-4~telemetry"), json!({ "t": shown(1.0, 10) }));
        assert_eq!(shelf.updates(), 1);
    });
}

#[test]
fn a_value_that_stays_is_told_once_a_minute_and_then_only_its_time() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        show(&shelf, &[block([reading("t", 0, ValueRef::Integer(21))])]).await;
        let just_not = float("t", UNCHANGED_MS - 1, 21.0);
        assert_eq!(show(&shelf, &[just_not]).await, [Written::Unchanged]);
        show(&shelf, &[float("t", UNCHANGED_MS, 21.0)]).await;
        assert_eq!(shelf.reported("press-4~telemetry"), json!({ "t": shown(21, UNCHANGED_MS) }));
    });
}

#[test]
fn what_is_bad_not_finite_or_from_the_future_is_not_shown() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let ahead_ms = AHEAD_NANOS_MAX / 1_000_000;
        let bad = ReadingRef { quality: Quality::Bad, ..reading("t", 5, ValueRef::Float(-1.0)) };
        let unsure = ReadingRef { quality: Quality::Uncertain, ..reading("u", 5, ValueRef::Float(1.5)) };
        show(
            &shelf,
            &[block([
                reading("t", 1, ValueRef::Float(2.0)),
                bad,
                unsure,
                reading("n", 1, ValueRef::Float(f64::NAN)),
                reading("limit", ahead_ms, ValueRef::Boolean(true)),
                reading("beyond", ahead_ms + 1, ValueRef::Boolean(true)),
            ])],
        )
        .await;
        let expected = json!({ "t": shown(2.0, 1), "u": shown(1.5, 5), "limit": shown(true, ahead_ms) });
        assert_eq!(shelf.reported("press-4~telemetry"), expected);
    });
}

#[test]
fn times_are_kept_to_the_microsecond() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let at = |nanos, value| {
            let time = received().saturating_add_nanos(nanos);
            block([ReadingRef { time, ..reading("t", 0, ValueRef::Integer(value)) }])
        };
        show(&shelf, &[at(2_345, 1)]).await;
        assert_eq!(shelf.reported("press-4~telemetry")["t"]["at"], json!(DAY_MS as f64 + 0.002));
        show(&shelf, &[at(1_999, 2)]).await;
        assert_eq!(shelf.reported("press-4~telemetry")["t"]["value"], 1);
        show(&shelf, &[at(3_000, 3)]).await;
        assert_eq!(shelf.reported("press-4~telemetry")["t"]["value"], 3);
    });
}

#[test]
fn a_shadow_that_another_writes_meanwhile_is_read_again() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        show(&shelf, &[float("t", 1, 1.0)]).await;
        // Another shows something newer of `t`, and a user desires something.
        let other = json!({ "state": { "reported": { "t": shown(3.0, 3) }, "desired": { "mode": "on" } } });
        shelf.meddling.lock().unwrap().push(other);
        show(&shelf, &[float("t", 2, 2.0), float("u", 2, 5.0)]).await;
        let expected = json!({ "t": shown(3.0, 3), "u": shown(5.0, 2) });
        assert_eq!(shelf.reported("press-4~telemetry"), expected);
        let id = telemetry_id();
        let document = shelf.get(&id).await.unwrap().unwrap();
        assert_eq!(document.desired, fields(json!({ "mode": "on" })));
    });
}

#[test]
fn a_shadow_that_others_write_all_the_time_is_given_up() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        show(&shelf, &[float("t", 1, 1.0)]).await;
        let meddling: Vec<Value> =
            (0..ATTEMPTS_MAX).map(|n| json!({ "state": { "desired": { "n": n } } })).collect();
        shelf.meddling.lock().unwrap().extend(meddling[1..].iter().cloned());
        show(&shelf, &[float("t", 2, 2.0)]).await;
        shelf.meddling.lock().unwrap().extend(meddling);
        let mut newest = Newest::default();
        newest.add(&float("t", 3, 3.0), received());
        let outcome = telemetry(&press(), &newest.devices[&press()], &shelf).await;
        assert!(matches!(outcome, Err(Error::Contended { .. })), "{outcome:?}");
    });
}

/// Metrics `m000`, `m001`, … of which the last has a text that fills the shadow to `bytes`.
fn filling(bytes: usize) -> (Block, usize) {
    let names: Vec<String> = (0..40).map(|n| format!("m{n:03}")).collect();
    let size = |texts: &[String]| {
        let entries = names.iter().zip(texts).map(|(name, text)| (name.clone(), shown(text.clone(), 0)));
        json!({ "reported": entries.collect::<Map<_, _>>() }).to_string().len()
    };
    let mut texts = vec!["x".repeat(150); 40];
    let missing = bytes - size(&texts);
    texts[39].push_str(&"y".repeat(missing));
    assert_eq!(size(&texts), bytes);
    let readings = names.iter().zip(&texts).map(|(name, text)| reading(name, 0, ValueRef::Text(text)));
    (block(readings), names.len())
}

#[test]
fn as_much_as_a_shadow_holds_is_shown_and_beyond_it_the_oldest_goes() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let (full, metrics) = filling(STATE_BYTES_MAX);
        assert_eq!(show(&shelf, &[full]).await, [Written::Updated { dropped: 0 }]);
        assert_eq!(fields(shelf.reported("press-4~telemetry")).len(), metrics);

        let shelf = Shelf::default();
        let (beyond, metrics) = filling(STATE_BYTES_MAX + 1);
        assert_eq!(show(&shelf, std::slice::from_ref(&beyond)).await, [Written::Updated { dropped: 1 }]);
        let reported = fields(shelf.reported("press-4~telemetry"));
        assert_eq!(reported.len(), metrics - 1);
        assert!(!reported.contains_key("m039"), "of one age the last by name goes");
        // The same again is dropped again, and costs no update.
        assert_eq!(show(&shelf, &[beyond]).await, [Written::Unchanged]);
        // What is newer takes the room of what is older.
        let text = "z".repeat(1024);
        show(&shelf, &[block([reading("z", 1, ValueRef::Text(&text))])]).await;
        let reported = fields(shelf.reported("press-4~telemetry"));
        assert!(reported.contains_key("z") && !reported.contains_key("m038"), "{:?}", reported.keys());
        assert!(reported.contains_key("m000"));
    });
}

#[test]
fn what_is_desired_takes_of_the_room() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let request = json!({ "state": { "desired": { "text": "d".repeat(8_000) } } });
        shelf.apply(&telemetry_id(), &request).unwrap();
        let readings = ["a", "b", "c", "d", "e", "f"].map(|name| reading(name, 0, ValueRef::Integer(1)));
        let written = show(&shelf, &[block(readings)]).await;
        assert!(matches!(written[..], [Written::Updated { dropped: 1.. }]), "{written:?}");
        assert!(shelf.reported("press-4~telemetry")["a"].is_object());
    });
}

#[test]
fn what_others_wrote_in_its_place_is_no_reading_and_gives_way() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let request = json!({ "state": { "reported": { "t": 5, "u": { "value": [1], "at": "x" } } } });
        shelf.apply(&telemetry_id(), &request).unwrap();
        show(&shelf, &[float("t", 0, 1.0), float("u", 0, 2.0)]).await;
        let expected = json!({ "t": shown(1.0, 0), "u": shown(2.0, 0) });
        assert_eq!(shelf.reported("press-4~telemetry"), expected);
    });
}

/// Times lie so far apart that an unchanged value is told anew.
fn blocks() -> impl Strategy<Value = Vec<Vec<(u8, i64, i64)>>> {
    let reading = (0..4_u8, 0..30_i64, 0..3_i64);
    prop::collection::vec(prop::collection::vec(reading, 1..8), 1..8)
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_blocks_comes_to_the_newest_of_each_metric(
        blocks in blocks(),
        order in prop::collection::vec((any::<prop::sample::Index>(), 1..3_usize), 0..12),
    ) {
        let names = ["a", "b", "c", "d"];
        let mut expected: BTreeMap<&str, Sample> = BTreeMap::new();
        let blocks: Vec<Block> = blocks
            .iter()
            .map(|readings| block(readings.iter().map(|&(name, minute, value)| {
                reading(names[usize::from(name)], -minute * UNCHANGED_MS, ValueRef::Integer(value))
            })))
            .collect();
        for column in blocks.iter().flat_map(|block| &block.columns) {
            let sample = crate::newest_of(column, received()).unwrap();
            let name = names.into_iter().find(|name| *name == column.metric.as_str()).unwrap();
            match expected.get(name) {
                Some(held) if !sample.supersedes(held) => {}
                _ => drop(expected.insert(name, sample)),
            }
        }
        runtime().block_on(async {
            let shelf = Shelf::default();
            // Some come first, in any order, alone or together; then all, backwards.
            for (index, count) in order {
                let first = index.index(blocks.len());
                show(&shelf, &blocks[first..(first + count).min(blocks.len())]).await;
            }
            for block in blocks.iter().rev() {
                show(&shelf, std::slice::from_ref(block)).await;
            }
            let reported = fields(shelf.reported("press-4~telemetry"));
            assert_eq!(reported.len(), expected.len());
            for (name, sample) in expected {
                assert_eq!(reported[name]["at"], json!(sample.at_us / 1_000), "{name}");
                assert_eq!(reported[name]["value"], serde_json::to_value(&sample.value).unwrap(), "{name}");
            }
            // And again: not one more update.
            let updates = shelf.updates();
            for block in &blocks {
                show(&shelf, std::slice::from_ref(block)).await;
            }
            assert_eq!(shelf.updates(), updates);
        });
    }
}
