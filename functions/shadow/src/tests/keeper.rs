use std::collections::BTreeMap;

use fieldline_model::Value as Measured;
use proptest::prelude::*;

use super::*;
use crate::{Due, Keeper, KeeperConfig, UNCHANGED_MS};

const PERIOD_MS: i64 = 10_000;

fn keeper(series_max: usize) -> Keeper {
    Keeper::new(KeeperConfig { period_ms: PERIOD_MS, series_max, overdue_max: 100 })
}

fn of(device: &str, metric: &str, at_ms: i64, value: i64) -> Block {
    block([ReadingRef { device, ..reading(metric, at_ms, ValueRef::Integer(value)) }])
}

fn values(due: &[Due]) -> BTreeMap<(String, String), Measured> {
    let metrics = due.iter().flat_map(|(device, metrics)| metrics.iter().map(move |found| (device, found)));
    metrics
        .map(|(device, (metric, sample))| ((device.to_string(), metric.to_string()), sample.value.clone()))
        .collect()
}

fn only(device: &str, metric: &str, value: i64) -> BTreeMap<(String, String), Measured> {
    BTreeMap::from([((device.to_owned(), metric.to_owned()), Measured::Integer(value))])
}

#[test]
fn a_device_is_shown_once_in_a_period_and_its_last_value_always() {
    let mut keeper = keeper(100);
    keeper.note(&of("a", "t", 0, 1), received());
    assert_eq!(values(&keeper.due(0, 9)), only("a", "t", 1));
    assert!(keeper.due(1, 9).is_empty());
    // It changes twice, and falls silent.
    keeper.note(&of("a", "t", 1, 2), received());
    keeper.note(&of("a", "t", 2, 3), received());
    assert!(keeper.due(PERIOD_MS - 1, 9).is_empty());
    assert_eq!(values(&keeper.due(PERIOD_MS, 9)), only("a", "t", 3));
    assert!(keeper.due(9 * PERIOD_MS, 9).is_empty());
}

#[test]
fn what_is_late_known_or_back_to_what_it_was_is_not_due() {
    let mut keeper = keeper(100);
    keeper.note(&of("a", "t", 10, 1), received());
    assert_eq!(keeper.due(0, 9).len(), 1);
    for (at_ms, value) in [(10, 1), (9, 7), (11, 2), (12, 1), (11, 5), (10 + UNCHANGED_MS - 1, 1)] {
        keeper.note(&of("a", "t", at_ms, value), received());
    }
    assert!(keeper.due(PERIOD_MS, 9).is_empty());
    keeper.note(&of("a", "t", 10 + UNCHANGED_MS, 1), received());
    assert_eq!(values(&keeper.due(2 * PERIOD_MS, 9)), only("a", "t", 1));
}

#[test]
fn what_could_not_be_shown_is_due_again_with_what_came_since() {
    let mut keeper = keeper(100);
    keeper.note(&of("a", "t", 0, 1), received());
    let due = keeper.due(0, 9);
    keeper.note(&of("a", "t", 1, 2), received());
    due.into_iter().for_each(|due| keeper.take_back(due));
    assert!(keeper.due(PERIOD_MS - 1, 9).is_empty());
    assert_eq!(values(&keeper.due(PERIOD_MS, 9)), only("a", "t", 2));
}

#[test]
fn as_many_devices_as_asked_for_are_due_and_the_others_next_time() {
    let mut keeper = keeper(100);
    for device in ["a", "b", "c"] {
        keeper.note(&of(device, "t", 0, 1), received());
    }
    let (mut first, second) = (keeper.due(0, 2), keeper.due(0, 2));
    assert_eq!((first.len(), second.len()), (2, 1));
    first.extend(second);
    assert_eq!(values(&first).len(), 3);
    keeper.note(&of("a", "t", 1, 2), received());
    assert_eq!(values(&keeper.rest()), only("a", "t", 2));
}

#[test]
fn the_limit_is_kept_and_one_more_forgets_who_is_silent_but_not_what_it_said() {
    let mut keeper = keeper(4);
    for (turn, device) in ["a", "b", "c", "d"].into_iter().enumerate() {
        keeper.note(&of(device, "t", turn as i64, 1), received());
    }
    assert_eq!(keeper.due(0, 9).len(), 4);
    keeper.note(&of("a", "t", 9, 2), received());
    keeper.note(&of("b", "t", 9, 2), received());
    // `c` and `d` have been silent for longest, and have nothing to show; `e` has.
    keeper.note(&of("e", "t", 9, 5), received());
    let due = values(&keeper.due(0, 9));
    assert_eq!(due, only("e", "t", 5));
    // Whoever is forgotten with something to show is shown before its time.
    keeper.note(&of("f", "t", 9, 6), received());
    keeper.note(&of("g", "t", 9, 7), received());
    keeper.note(&of("h", "t", 9, 8), received());
    let mut shown = values(&keeper.due(1, 9));
    shown.extend(values(&keeper.due(PERIOD_MS, 9)));
    for device in ["a", "b", "f", "g", "h"] {
        assert!(shown.contains_key(&(device.to_owned(), "t".to_owned())), "{device}: {shown:?}");
    }
    assert_eq!(keeper.lost(), 0);
}

#[test]
fn of_forgotten_devices_as_much_waits_as_may_and_the_rest_is_counted() {
    for (overdue_max, lost) in [(3, 0), (2, 1)] {
        let mut keeper = Keeper::new(KeeperConfig { period_ms: PERIOD_MS, series_max: 2, overdue_max });
        let names = ["x", "y", "z"];
        keeper.note(&block(names.map(|name| reading(name, 0, ValueRef::Integer(1)))), received());
        assert_eq!(keeper.lost(), lost);
        assert_eq!(values(&keeper.due(0, 9)).len(), overdue_max);
        assert_eq!(values(&keeper.due(0, 9)).len(), 0);
    }
}

proptest! {
    /// Whatever comes, and whenever it is asked: in the end the shadows show the newest of each metric.
    #[test]
    fn shadows_come_to_the_newest_however_small_the_keeper(
        notes in prop::collection::vec((0..5_usize, 0..3_usize, 0..40_i64, 0..3_i64, any::<bool>()), 1..60),
        series_max in 2..20_usize,
    ) {
        let (devices, metrics) = (["a", "b", "c", "d", "e"], ["x", "y", "z"]);
        let shelf = Shelf::default();
        let mut keeper = keeper(series_max);
        let mut expected: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
        runtime().block_on(async {
            let mut now_ms = 0;
            for (device, metric, minute, value, ask) in notes {
                let (device, metric) = (devices[device], metrics[metric]);
                let at_ms = -minute * UNCHANGED_MS;
                keeper.note(&of(device, metric, at_ms, value), received());
                let newest = expected.entry((device, metric)).or_insert((at_ms, value));
                *newest = (*newest).max((at_ms, value));
                now_ms += 3_000;
                let due = if ask { keeper.due(now_ms, 2) } else { Vec::new() };
                for (device, metrics) in due {
                    telemetry(&device, &metrics, &shelf).await.unwrap();
                }
            }
            for (device, metrics) in keeper.rest() {
                telemetry(&device, &metrics, &shelf).await.unwrap();
            }
        });
        prop_assert_eq!(keeper.lost(), 0);
        for ((device, metric), (at_ms, value)) in expected {
            let reported = shelf.reported(&format!("{device}~telemetry"));
            prop_assert_eq!(&reported[metric], &shown(value, at_ms), "{} {}", device, metric);
        }
    }
}
