use fieldline_model::{Class, GatewayId, Quality, StreamId};

use super::*;

fn column(device: &str, metric: &str, times: &[i64], values: Values) -> Column {
    Column {
        device: DeviceId::new(device).unwrap(),
        metric: Metric::new(metric).unwrap(),
        times: times.to_vec(),
        values,
        qualities: Vec::new(),
    }
}

fn block(columns: Vec<Column>) -> Block {
    let count: usize = columns.iter().map(|column| column.times.len()).sum();
    let stream = StreamId { gateway: GatewayId::new("gw").unwrap(), epoch: 1 };
    Block { stream, class: Class::Live, first_seq: 1, last_seq: count as u64, columns, order: Vec::new() }
}

fn names(record: &Record) -> Vec<&str> {
    record.measures.iter().map(|measure| measure.name.as_str()).collect()
}

#[test]
fn columns_that_share_device_and_time_become_one_record() {
    let block = block(vec![
        column("press-4", "temperature", &[1, 2, 3], Values::Float(vec![1.0, 2.0, 3.0])),
        column("press-4", "count", &[1, 2], Values::Integer(vec![7, 8])),
        column("press-5", "temperature", &[1], Values::Float(vec![9.0])),
    ]);
    let records = Source::new(&block).records();
    let shapes: Vec<_> =
        records.iter().map(|record| (record.device.as_str(), record.time, names(record))).collect();
    assert_eq!(
        shapes,
        [
            ("press-4", 1, vec!["count__int", "temperature"]),
            ("press-4", 2, vec!["count__int", "temperature"]),
            ("press-4", 3, vec!["temperature"]),
            ("press-5", 1, vec!["temperature"]),
        ]
    );
    assert_eq!(records[0].name, records[1].name);
    assert!(records[0].name.starts_with("set-"));
    assert_eq!(records[2].name, "temperature");
}

#[test]
fn the_later_reading_of_a_block_stands() {
    let mut last = column("d", "m", &[5, 5], Values::Float(vec![1.0, 2.0]));
    last.qualities = vec![Quality::Good, Quality::Bad];
    let records = Source::new(&block(vec![last])).records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].cells, [Cell { column: 0, at: 1 }]);
    assert_eq!(records[0].measures[0].value, "2");
    assert_eq!((names(&records[0]), records[0].measures[1].value.as_str()), (vec!["m", "quality"], "m=bad"));
    // Of two kinds the one whose column comes later.
    let kinds = block(vec![
        column("d", "m", &[5], Values::Float(vec![1.0])),
        column("d", "m", &[5], Values::Text(vec!["x".to_owned()])),
    ]);
    let records = Source::new(&kinds).records();
    assert_eq!((records.len(), names(&records[0])), (1, vec!["m__text"]));
}

#[test]
fn records_stay_below_the_limits_of_timestream() {
    let text = "x".repeat(1024);
    let mut columns: Vec<Column> =
        (0..3).map(|at| column("d", &format!("t{at}"), &[1], Values::Text(vec![text.clone()]))).collect();
    columns.extend((0..600).map(|at| column("d", &format!("n{at}"), &[1], Values::Boolean(vec![true]))));
    columns.push(column("d", &"l".repeat(256), &[1], Values::Text(vec![text.clone()])));
    columns.push(column(&"d".repeat(128), &"k".repeat(250), &[1], Values::Text(vec![text])));
    let block = block(columns);
    let source = Source::new(&block);
    let records = source.records();
    let cells: usize = records.iter().map(|record| record.cells.len()).sum();
    assert_eq!(cells, 605);
    for record in &records {
        assert!(record.measures.len() <= 255);
        assert!(metered_bytes(record, false) <= 2_048, "{}", metered_bytes(record, false));
        for narrow in source.narrowed(record).unwrap_or_default() {
            assert!(metered_bytes(&narrow, false) <= 2_048);
            assert!(source.narrowed(&narrow).is_none());
        }
    }
    let narrow: Vec<_> = records.iter().filter_map(|record| record.metric.as_ref()).collect();
    assert_eq!(narrow, [&Metric::new(&"l".repeat(256)).unwrap()]);
}

/// What a set of columns is called must not change: a redelivery after an upgrade has to find its own
/// records.
#[test]
fn names_of_sets_are_fixed() {
    let block = block(vec![
        column("d", "a", &[1], Values::Float(vec![1.0])),
        column("d", "b", &[1], Values::Float(vec![f64::NAN])),
    ]);
    let records = Source::new(&block).records();
    assert_eq!(names(&records[0]), ["a", "b__odd"]);
    assert_eq!(records[0].name, "set-56df11f7f10e88a4");
}

#[test]
fn bytes_in_the_bill() {
    for (metrics, what) in [(1, "one metric"), (5, "five metrics"), (20, "twenty metrics")] {
        let seconds: Vec<i64> = (0..600).map(|at| 1_795_348_800_000_000_000 + at * 1_000_000_000).collect();
        let columns = (0..metrics).map(|at| {
            let values = Values::Float(seconds.iter().map(|_| 21.375).collect());
            column("press-04", &format!("temperature_{at:02}"), &seconds, values)
        });
        let block = block(columns.collect());
        let records = Source::new(&block).records();
        let batches = records.chunks(super::super::batch::RECORDS_MAX);
        let kilobytes: usize = batches
            .map(|batch| {
                let bytes: usize = batch.iter().map(|record| metered_bytes(record, true)).sum();
                (bytes + "device".len() + "press-04".len()).div_ceil(1024)
            })
            .sum();
        let readings = 600 * metrics;
        let bytes = kilobytes as f64 * 1024.0 / readings as f64;
        println!(
            "{what} of a device at each time: {} records, {bytes:.1} bytes billed for a reading, ${:.2} for a billion at $0.50 for a million KiB",
            records.len(),
            bytes / 1024.0 * 1e9 * 0.5e-6,
        );
        assert!(bytes < [90.0, 50.0, 35.0][usize::from(metrics > 1) + usize::from(metrics > 5)]);
    }
}
