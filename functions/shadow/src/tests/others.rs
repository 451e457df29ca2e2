use std::collections::BTreeMap;

use fieldline_model::{Books, LaneBooks, RangeSet, Reason, SeqRange, ThingName};
use proptest::prelude::*;

use super::*;
use crate::{Presence, gone, health, presence};

fn event(connected: bool, at_ms: i64, session: u64) -> Presence {
    let thing = ThingName::new("gw-1").unwrap();
    Presence { thing, connected, at: Timestamp::from_millis(DAY_MS + at_ms).unwrap(), session }
}

const HOUR: i64 = 3_600_000;

#[test]
fn a_late_event_does_not_overwrite_a_newer_one() {
    // (events in the order in which they come, who is right in the end)
    let table = [
        (vec![event(true, 0, 1)], 0),
        (vec![event(true, 0, 1), event(false, 5, 1)], 1),
        // The disconnect of the old connection comes after the connect of the new one.
        (vec![event(true, 0, 1), event(true, 9, 2), event(false, 8, 1)], 1),
        (vec![event(true, 0, 1), event(true, 9, 2), event(false, 10, 1)], 1),
        (vec![event(false, 5, 1), event(true, 0, 1)], 0),
        (vec![event(true, 5, 1), event(true, 5, 1)], 0),
        // AWS begins to count anew after an hour.
        (vec![event(true, 0, 40), event(false, 5, 40), event(true, 2 * HOUR, 0)], 2),
        (vec![event(true, 2 * HOUR, 0), event(false, 5, 40)], 0),
    ];
    for (events, right) in table {
        runtime().block_on(async {
            let shelf = Shelf::default();
            for event in &events {
                presence(event, &shelf).await.unwrap();
            }
            let right = &events[right];
            let expected = json!({
                "connected": right.connected, "last_seen": right.at.millis(), "session": right.session,
            });
            assert_eq!(shelf.reported("gw-1~presence"), expected, "{events:?}");
        });
    }
}

proptest! {
    #[test]
    fn events_in_any_order_and_again_come_to_the_last_one(
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..12_usize, 0..6),
    ) {
        let events: Vec<Presence> =
            (0..12).map(|n| event(n % 2 == 0, n * 1_000, n as u64 / 2)).collect();
        runtime().block_on(async {
            let shelf = Shelf::default();
            for place in order.into_iter().chain(again) {
                presence(&events[place], &shelf).await.unwrap();
            }
            assert_eq!(shelf.reported("gw-1~presence")["connected"], json!(false));
            assert_eq!(shelf.reported("gw-1~presence")["last_seen"], json!(DAY_MS + 11_000));
        });
    }
}

#[test]
fn a_thing_of_an_earlier_life_is_gone_unless_it_is_back() {
    runtime().block_on(async {
        let shelf = Shelf::default();
        let thing = ThingName::new("gw-1").unwrap();
        assert_eq!(gone(&thing, 9, &shelf).await.unwrap(), Written::Unchanged);
        presence(&event(true, 0, 8), &shelf).await.unwrap();
        gone(&thing, 9, &shelf).await.unwrap();
        let expected = json!({ "connected": false, "last_seen": DAY_MS, "session": 8 });
        assert_eq!(shelf.reported("gw-1~presence"), expected);
        presence(&event(true, 1, 9), &shelf).await.unwrap();
        assert_eq!(gone(&thing, 9, &shelf).await.unwrap(), Written::Unchanged);
    });
}

fn books(buffered: u64) -> Books {
    let ranges = |first, last| RangeSet::from(vec![SeqRange::new(first, last)]);
    Books {
        accepted: 150,
        filtered: 40,
        quarantined: BTreeMap::from([(Reason::TooOld, 10)]),
        lanes: vec![LaneBooks {
            epoch: 7,
            class: Class::Live,
            last_seq: 100,
            buffered: ranges(101 - buffered, 100),
            stored: ranges(21, 100 - buffered),
            dropped: BTreeMap::from([("drop-oldest".to_owned(), ranges(1, 19))]),
            damaged: ranges(20, 20),
        }],
    }
}

#[test]
fn health_is_what_waits_and_what_was_lost_and_is_told_on_change() {
    runtime().block_on(async {
        let (shelf, gateway) = (Shelf::default(), GatewayId::new("gw-1").unwrap());
        let at = |ms| Timestamp::from_millis(DAY_MS + ms).unwrap();
        health(&gateway, &books(20), at(0), &shelf).await.unwrap();
        let expected = json!({
            "waiting": { "live": 20 }, "dropped": { "drop-oldest": 19 }, "damaged": 1,
            "quarantined": { "too-old": 10 }, "unaccounted": 0, "at": DAY_MS,
        });
        assert_eq!(shelf.reported("gw-1~health"), expected);
        // The same, later; and others, earlier.
        assert_eq!(health(&gateway, &books(20), at(9), &shelf).await.unwrap(), Written::Unchanged);
        assert_eq!(health(&gateway, &books(10), at(-9), &shelf).await.unwrap(), Written::Unchanged);
        let mut fewer = books(10);
        fewer.lanes[0].dropped.clear();
        fewer.lanes[0].dropped.insert("other".to_owned(), RangeSet::from(vec![SeqRange::new(1, 19)]));
        health(&gateway, &fewer, at(10), &shelf).await.unwrap();
        let reported = shelf.reported("gw-1~health");
        assert_eq!(reported["waiting"], json!({ "live": 10 }));
        assert_eq!(reported["dropped"], json!({ "other": 19 }));
        assert_eq!(shelf.updates(), 2);
    });
}
