use proptest::prelude::*;

use super::*;

fn calendar(zone: &str, days: &[&str], from: &str, to: &str) -> Calendar {
    Calendar::new(&schedule(zone, days, from, to)).unwrap()
}

fn schedule(zone: &str, days: &[&str], from: &str, to: &str) -> Schedule {
    let days = days.iter().map(|day| (*day).to_owned()).collect();
    Schedule { zone: zone.to_owned(), days, from: from.to_owned(), to: to.to_owned() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_rule_is_in_force_within_its_windows() {
    // 2026-11-23 is a Monday.
    let office = calendar("Europe/Berlin", &["mon", "fri"], "08:00", "17:30");
    let night = calendar("Europe/Berlin", &["fri"], "22:00", "06:00");
    let whole = calendar("UTC", &["sat"], "00:00", "24:00");
    let table = [
        (&office, "2026-11-23T06:59:59Z", false),
        (&office, "2026-11-23T07:00:00Z", true),
        (&office, "2026-11-23T16:29:59.999Z", true),
        (&office, "2026-11-23T16:30:00Z", false),
        (&office, "2026-11-24T10:00:00Z", false),
        (&night, "2026-11-27T20:59:59Z", false),
        (&night, "2026-11-27T21:00:00Z", true),
        // Saturday's morning belongs to Friday's night, Friday's does not.
        (&night, "2026-11-28T04:59:59Z", true),
        (&night, "2026-11-28T05:00:00Z", false),
        (&night, "2026-11-27T04:00:00Z", false),
        (&whole, "2026-11-28T00:00:00Z", true),
        (&whole, "2026-11-28T23:59:59Z", true),
        (&whole, "2026-11-29T00:00:00Z", false),
    ];
    for (calendar, time, expected) in table {
        assert_eq!(calendar.in_force(at(time)), expected, "{calendar:?} at {time}");
    }
}

#[test]
fn summer_time_moves_the_windows() {
    let early = calendar("Europe/Berlin", &[], "02:30", "04:00");
    let table = [
        // 2026-03-29: 02:00 becomes 03:00, so 02:30 counts as 03:30 (01:30 UTC).
        ("2026-03-29T01:29:59Z", false),
        ("2026-03-29T01:30:00Z", true),
        ("2026-03-29T02:00:00Z", false),
        // 2026-10-25: 03:00 becomes 02:00; the first 02:30 is 00:30 UTC, 04:00 is 03:00 UTC.
        ("2026-10-25T00:29:59Z", false),
        ("2026-10-25T00:30:00Z", true),
        ("2026-10-25T02:59:59Z", true),
        ("2026-10-25T03:00:00Z", false),
    ];
    for (time, expected) in table {
        assert_eq!(early.in_force(at(time)), expected, "{time}");
    }
}

#[test]
fn the_next_change_is_told() {
    let night = calendar("America/New_York", &["sun"], "22:00", "06:00");
    assert_eq!(night.next_change(at("2026-11-23T12:00:00Z")), Some(at("2026-11-30T03:00:00Z")));
    assert_eq!(night.next_change(at("2026-11-30T03:00:00Z")), Some(at("2026-11-30T11:00:00Z")));
    let always = calendar("UTC", &[], "06:00", "06:00");
    assert!(always.in_force(at("2026-11-23T05:59:59Z")) && always.in_force(at("2026-11-23T06:00:00Z")));
    assert_eq!(always.next_change(at("2026-11-23T05:59:59Z")), None);
    for edge in [Timestamp::MIN, Timestamp::MAX] {
        let _changed = (night.in_force(edge), night.next_change(edge));
    }
}

#[test]
fn a_bad_schedule_is_refused_with_what_is_likely_meant() {
    let table = [
        (schedule("Europe/Berlim", &[], "08:00", "09:00"), "did you mean \"Europe/Berlin\"?"),
        (schedule("", &[], "08:00", "09:00"), "no time zone"),
        (schedule("UTC", &["monday"], "08:00", "09:00"), "mon tue wed"),
        (schedule("UTC", &[], "8:00", "09:00"), "no time of day"),
        (schedule("UTC", &[], "24:00:00", "09:00"), "no time of day"),
        (schedule("UTC", &[], "23:60", "09:00"), "no time of day"),
        (schedule("UTC", &[], "-1:00", "09:00"), "no time of day"),
        (schedule("UTC", &[], "", "09:00"), "no time of day"),
    ];
    for (schedule, reason) in table {
        let error = Calendar::new(&schedule).unwrap_err();
        assert!(error.0.contains(reason), "{schedule:?}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_changes_before_the_next_change(
        day in 0_i64..400, minute in 0_i64..1440, from in 0_u32..1440, to in 0_u32..1440, first in 0_usize..7,
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    ) {
        let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let (day_name, _) = DAYS[first];
        let calendar = calendar(zone, &[day_name, "wed"], &clock(from), &clock(to));
        let start = at("2026-01-01T00:00:00Z").saturating_add_nanos((day * 1440 + minute) * 60_000_000_000);
        let now = calendar.in_force(start);
        let next = calendar.next_change(start).unwrap();
        prop_assert!(next > start);
        prop_assert_eq!(calendar.in_force(next), !now);
        prop_assert_eq!(calendar.in_force(next.saturating_add_nanos(-1)), now);
        let between = Timestamp::from_nanos(start.nanos() + (next.nanos() - start.nanos()) / 3);
        prop_assert_eq!(calendar.in_force(between), now);
    }
}
