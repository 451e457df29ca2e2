use fieldline_model::Value;
use proptest::prelude::*;

use super::*;

type Row = (u8, u8, i64, Value, u8);

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        Just(Value::Float(-0.0)),
        ".{0,20}".prop_map(Value::Text),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let time = prop_oneof![any::<i64>(), Just(1_795_341_600_000_000_000)];
    prop::collection::vec((0_u8..9, 0_u8..9, time, value(), 0_u8..3), 0..100)
}

fn encoded(rows: &[Row]) -> Vec<u8> {
    let names: Vec<_> =
        rows.iter().map(|row| (format!("device-{}", row.0), format!("m {}", row.1))).collect();
    let readings =
        rows.iter().zip(&names).map(|((_, _, time, value, quality), (device, metric))| ReadingRef {
            device,
            metric,
            time: Timestamp::from_nanos(*time),
            value: value.as_ref(),
            quality: Quality::from_code(*quality).unwrap(),
        });
    let mut bytes = Vec::new();
    encode(readings, &mut bytes);
    bytes
}

fn bits(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Float(value) => format!("{:x}", value.to_bits()),
        other => format!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn any_readings_come_back_to_the_bit(rows in rows()) {
        let bytes = encoded(&rows);
        let decoded: Vec<_> = decode(&bytes).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(decoded.len(), rows.len());
        for (reading, (device, metric, time, value, quality)) in decoded.into_iter().zip(&rows) {
            prop_assert_eq!(reading.device, format!("device-{device}"));
            prop_assert_eq!(reading.metric, format!("m {metric}"));
            prop_assert_eq!(reading.time.nanos(), *time);
            prop_assert_eq!(bits(reading.value), bits(value.as_ref()));
            prop_assert_eq!(reading.quality.code(), *quality);
        }
    }

    #[test]
    fn arbitrary_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        bytes.insert(0, VERSION);
        let readings = decode(&bytes).unwrap();
        prop_assert!(readings.count() <= bytes.len());
    }

    #[test]
    fn damage_never_makes_a_name_that_breaks_its_rule(
        rows in rows(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = encoded(&rows);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for reading in decode(&bytes).into_iter().flatten().flatten() {
            prop_assert!(DeviceId::check(reading.device).is_ok());
            prop_assert!(Metric::check(reading.metric).is_ok());
        }
    }
}

#[test]
fn a_cut_record_is_an_error_or_the_readings_before_the_cut() {
    let row = |i: i64| (1, 2, i * 1000, Value::Float(0.1), 0);
    let bytes = encoded(&(0..10).map(row).collect::<Vec<_>>());
    for cut in 1..bytes.len() {
        let results: Vec<_> = decode(&bytes[..cut]).unwrap().collect();
        assert!(results.len() <= 10);
        assert!(results.iter().rev().skip(1).all(Result::is_ok), "only the last may be an error");
    }
    assert_eq!(decode(&[]).err(), Some(RecordError::Damaged { what: "it is empty" }));
    assert_eq!(decode(&[9, 0]).err(), Some(RecordError::Version { version: 9 }));
}

#[test]
fn a_series_is_spelled_out_once() {
    let rows: Vec<_> =
        (0..300).map(|i| (1, (i % 3) as u8, i / 3 * 1_000_000, Value::Boolean(true), 0)).collect();
    let bytes = encoded(&rows);
    // The table's number, the flags, and a time of three bytes for one reading in three.
    assert!(bytes.len() < 300 * 3 + 40, "{}", bytes.len());
}

#[test]
fn more_series_than_the_table_holds_come_back() {
    let rows: Vec<_> = (0..4000).map(|i| ((i % 251) as u8, (i % 7) as u8, i, Value::Integer(i), 1)).collect();
    let bytes = encoded(&rows);
    let decoded: Vec<_> = decode(&bytes).unwrap().map(Result::unwrap).collect();
    for (reading, row) in decoded.iter().zip(&rows) {
        assert_eq!(reading.device, format!("device-{}", row.0));
        assert_eq!(reading.metric, format!("m {}", row.1));
        assert_eq!(reading.value, row.3.as_ref());
    }
    assert_eq!(decoded.len(), 4000);
}
