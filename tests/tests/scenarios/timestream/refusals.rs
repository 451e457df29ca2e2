//! Readings that Timestream does not take: each for itself, with its reason.

use std::io::{Read, Write};

use fieldline_tests::timestream::Clock;
use fieldline_wire::Limits;
use serde_json::{Value as Json, json};

use super::*;

/// The readings of a part that was set aside: device, metric and times.
fn within(part: &SetAside) -> Result<Vec<(String, String, Vec<i64>)>> {
    let block = Block::decode(&part.bytes, &Limits::default())?;
    assert_eq!((block.first_seq, block.class), (101, Class::Live));
    let columns = block.columns.into_iter();
    Ok(columns.map(|column| (column.device.to_string(), column.metric.to_string(), column.times)).collect())
}

/// A clock that the test sets.
fn settable() -> (Arc<AtomicI64>, Clock) {
    let now = Arc::new(AtomicI64::new(NOON + 8 * HOUR));
    let clock = Arc::clone(&now);
    (now, Arc::new(move || clock.load(Ordering::Relaxed)))
}

#[test]
fn what_is_too_old_or_in_the_future_is_set_aside_and_the_rest_stored() -> Result<()> {
    let (now, clock) = settable();
    let stub = Stub::start(Options { clock, retention: retention(6, 30, false), ..options() })?;
    run(async {
        let points = points(&stub.url()).await?;
        let (old, future) = (NOON - HOUR, NOON + 9 * HOUR);
        let times = [old, NOON + 5 * HOUR, future, NOON + 6 * HOUR];
        let columns = vec![
            column("d", "a", &times, Values::Float(vec![1.0, 2.0, 3.0, 4.0])),
            column("d", "b", &times, Values::Integer(vec![1, 2, 3, 4])),
        ];
        let parts = put(&points, columns, 1).await?;
        let reasons: Vec<&str> = parts.iter().map(|part| part.reason.as_str()).collect();
        assert_eq!(reasons, ["in-the-future", "too-old"]);
        for (part, time) in parts.iter().zip([future, old]) {
            let expected = ["a", "b"].map(|metric| ("d".to_owned(), metric.to_owned(), vec![time]));
            assert_eq!(within(part)?, expected);
        }
        let found = series(&points, "d", "a").await?;
        assert_eq!(
            found.iter().map(|point| point.value.clone()).collect::<Vec<_>>(),
            [float(2.0), float(4.0)]
        );
        // An hour later the future has come, and the part can be fed in again.
        now.store(NOON + 10 * HOUR, Ordering::Relaxed);
        let again = Block::decode(&parts[0].bytes, &Limits::default())?;
        assert_eq!(points.put(&placed(again, 1)).await?, []);
        assert_eq!(series(&points, "d", "b").await?.len(), 3);
        Ok(())
    })
}

#[test]
fn with_writes_to_the_magnetic_store_old_readings_are_stored() -> Result<()> {
    let stub = Stub::start(Options { retention: retention(1, 30, true), ..options() })?;
    run(async {
        let points = points(&stub.url()).await?;
        let times = [NOON - 40 * 24 * HOUR, NOON - 20 * 24 * HOUR, NOON + 8 * HOUR, -1, i64::MIN, i64::MAX];
        let values = Values::Float(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let parts = put(&points, vec![column("d", "a", &times, values)], 1).await?;
        let reasons: Vec<&str> = parts.iter().map(|part| part.reason.as_str()).collect();
        assert_eq!(reasons, ["in-the-future", "too-old"]);
        assert_eq!(within(&parts[1])?[0].2, [times[0], -1, i64::MIN]);
        assert_eq!(series(&points, "d", "a").await?.len(), 2);
        Ok(())
    })
}

#[test]
fn one_bad_reading_takes_no_other_with_it() -> Result<()> {
    let stub = Stub::start(Options { value_chars_max: 200, ..options() })?;
    run(async {
        let points = points(&stub.url()).await?;
        let times: Vec<i64> = (0..250).map(|at| NOON + at).collect();
        let mut texts = vec!["fine".to_owned(); 250];
        // Longer than this one takes a value: it refuses the whole call.
        texts[137] = "x".repeat(1_000);
        let columns = vec![
            column("d", "note", &times, Values::Text(texts)),
            column("d", "a", &times, Values::Float(vec![1.5; 250])),
            column("d", "b", &times, Values::Boolean(vec![true; 250])),
        ];
        let parts = put(&points, columns.clone(), 1).await?;
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].reason, "refused-by-timestream");
        assert_eq!(within(&parts[0])?, [("d".to_owned(), "note".to_owned(), vec![times[137]])]);
        assert_eq!(series(&points, "d", "note").await?.len(), 249);
        assert_eq!(series(&points, "d", "a").await?.len(), 250);
        assert_eq!(series(&points, "d", "b").await?.len(), 250);
        let writes = stub.counts().writes;
        assert!(writes < 30, "bisecting takes {writes} calls");
        assert_eq!(put(&points, columns, 1).await?, parts, "the redelivery says the same");
        Ok(())
    })
}

/// A call by somebody else.
fn foreign(stub: &Stub, operation: &str, body: &Json) -> Result<()> {
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(stub.address())?;
    let head = format!(
        "POST / HTTP/1.0\r\nx-amz-target: Timestream_20181101.{operation}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    Ok(())
}

/// Somebody has made `temperature` a column of texts.
#[test]
fn a_column_of_another_type_keeps_no_reading_out() -> Result<()> {
    let stub = stub()?;
    foreign(
        &stub,
        "WriteRecords",
        &json!({ "DatabaseName": DATABASE, "TableName": "readings", "Records": [{
            "Dimensions": [{ "Name": "who", "Value": "else" }],
            "MeasureName": "other", "MeasureValueType": "MULTI", "Time": (NOON / 1_000_000).to_string(),
            "MeasureValues": [{ "Name": "temperature", "Value": "warm", "Type": "VARCHAR" }],
        }] }),
    )?;
    run(async {
        let points = points(&stub.url()).await?;
        let columns = vec![
            column("d", "temperature", &[NOON, NOON + 1], Values::Float(vec![1.5, 2.5])),
            column("d", "b", &[NOON, NOON + 1], Values::Boolean(vec![true, false])),
        ];
        assert_eq!(put(&points, columns.clone(), 3).await?, []);
        let expected = [good(float(1.5)), good(float(2.5))];
        assert_eq!(texts(&points, "d", "temperature").await?, expected);
        assert_eq!(texts(&points, "d", "b").await?.len(), 2);
        assert_eq!(put(&points, columns, 3).await?, [], "a second time changes nothing");
        assert_eq!(texts(&points, "d", "temperature").await?, expected);
        Ok(())
    })
}

/// A table of Timestream has 1,024 columns for ever. What comes after that is set aside, and named.
#[test]
fn a_table_without_room_for_columns_sets_aside_and_loses_nothing() -> Result<()> {
    let stub = Stub::start(Options { measures_max: 5, ..options() })?;
    run(async {
        let points = points(&stub.url()).await?;
        let columns: Vec<Column> = (0..12_i64)
            .map(|at| {
                column("d", &format!("m{at:02}"), &[NOON, NOON + at], Values::Float(vec![at as f64, 0.5]))
            })
            .collect();
        let (first, rest) = columns.split_at(2);
        assert_eq!(put(&points, first.to_vec(), 1).await?, []);
        let parts = put(&points, rest.to_vec(), 2).await?;
        let mut found: Vec<(String, i64)> = Vec::new();
        for part in &parts {
            assert_eq!(part.reason, "refused-by-timestream");
            let within = within(part)?.into_iter();
            found.extend(
                within.flat_map(|(_, metric, times)| times.into_iter().map(move |at| (metric.clone(), at))),
            );
        }
        for column in &columns {
            let metric = column.metric.as_str();
            let stored = series(&points, "d", metric).await?;
            found.extend(stored.iter().map(|point| (metric.to_owned(), point.time.nanos())));
        }
        found.sort_unstable();
        let expected = columns
            .iter()
            .flat_map(|column| column.times.iter().map(|time| (column.metric.as_str().to_owned(), *time)));
        let mut expected: Vec<(String, i64)> = expected.collect();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(found, expected, "each reading is in one place, stored or set aside");
        assert!(!parts.is_empty(), "the table has room after all");
        Ok(())
    })
}
