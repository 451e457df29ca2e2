use fieldline_model::{GatewayId, ReadingRef, Timestamp, ValueRef};
use proptest::prelude::*;

use super::*;

mod golden;
mod hostile;
mod size;

fn stream() -> StreamId {
    StreamId { gateway: GatewayId::new("gw-1").unwrap(), epoch: 0x1f_ffff_ffff_ffff }
}

fn builder() -> BlockBuilder {
    BlockBuilder::new(stream(), Class::Live, 1)
}

fn float<'a>(device: &'a str, metric: &'a str, nanos: i64, value: f64) -> ReadingRef<'a> {
    ReadingRef {
        device,
        metric,
        time: Timestamp::from_nanos(nanos),
        value: ValueRef::Float(value),
        quality: Quality::Good,
    }
}

/// Values by their bits, which `==` on NaN cannot compare.
fn bits(block: &Block) -> Vec<String> {
    let of = |column: &Column| match &column.values {
        Values::Float(values) => {
            let values: Vec<_> = values.iter().map(|x| x.to_bits()).collect();
            format!(
                "{} {} {:?} {:x?} {:?}",
                column.device, column.metric, column.times, values, column.qualities
            )
        }
        _ => format!("{column:?}"),
    };
    block.columns.iter().map(of).collect()
}

fn assert_round_trip(block: &Block) {
    let bytes = block.encode();
    let decoded = Block::decode(&bytes, &Limits::default()).unwrap();
    assert_eq!(bits(&decoded), bits(block));
    assert_eq!((&decoded.stream, decoded.class, decoded.seqs()), (&block.stream, block.class, block.seqs()));
    let header = BlockHeader::read(&bytes).unwrap();
    assert_eq!(
        (header.stream, header.first_seq, header.last_seq),
        (decoded.stream, block.first_seq, block.last_seq)
    );
}

#[test]
fn special_floats_come_back_to_the_bit() {
    let special = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        5e-324,
        f64::MIN_POSITIVE,
        f64::MAX,
        9_007_199_254_740_993.0,
        0.1 + 0.2,
    ];
    let mut builder = builder();
    for (metric, ordinary) in [("alone", 0), ("beside decimals", 100)] {
        for (i, x) in special.into_iter().enumerate() {
            builder.push(float("d", metric, i as i64, x));
        }
        for i in 0..ordinary {
            builder.push(float("d", metric, i, i as f64 / 10.0));
        }
    }
    for i in 0..40 {
        let x = if i % 5 == 3 { special[i / 5 % 7] } else { i as f64 * 0.01 };
        builder.push(float("d", "a few among many", i as i64, x));
        builder.push(float("d", "and across columns", i as i64, if i == 39 { f64::NAN } else { 1.5 }));
    }
    assert_round_trip(&builder.finish().unwrap());
}

#[test]
fn whole_numbers_among_fractions_share_their_column_and_keep_their_order() {
    let mut builder = builder();
    let values = [ValueRef::Integer(1), ValueRef::Float(1.5), ValueRef::Integer(2), ValueRef::Text("on")];
    for value in values {
        builder.push(ReadingRef { value, ..float("d", "m", 9, 0.0) });
    }
    assert_eq!(builder.count(), 4);
    let block = builder.finish().unwrap();
    let kinds: Vec<_> = block.columns.iter().map(|column| column.values.clone()).collect();
    let expected = [Values::Float(vec![1.0, 1.5, 2.0]), Values::Text(vec!["on".to_owned()])];
    assert_eq!(kinds, expected);
    assert_round_trip(&block);
}

#[test]
fn a_whole_number_that_no_double_holds_keeps_a_column_of_its_own() {
    let mut builder = builder();
    let large = (1 << 53) + 1;
    for value in
        [ValueRef::Integer(large), ValueRef::Float(1.5), ValueRef::Integer(2), ValueRef::Integer(-large)]
    {
        builder.push(ReadingRef { value, ..float("d", "m", 9, 0.0) });
    }
    let block = builder.finish().unwrap();
    let kinds: Vec<_> = block.columns.iter().map(|column| column.values.clone()).collect();
    assert_eq!(kinds, [Values::Integer(vec![large, -large]), Values::Float(vec![1.5, 2.0])]);
    assert_round_trip(&block);
}

#[test]
fn qualities_are_kept_and_all_good_is_said_by_nothing() {
    let mut builder = builder();
    for (i, quality) in
        [Quality::Good, Quality::Bad, Quality::Bad, Quality::Uncertain].into_iter().enumerate()
    {
        builder.push(float("d", "good", i as i64, 1.0));
        builder.push(ReadingRef { quality, ..float("d", "mixed", i as i64, 1.0) });
    }
    let block = builder.finish().unwrap();
    assert_eq!(block.columns[0].qualities, []);
    assert_eq!(block.columns[1].qualities.len(), 4);
    assert_round_trip(&block);
}

#[test]
fn no_readings_make_no_block() {
    assert_eq!(builder().finish(), None);
}

fn value() -> impl Strategy<Value = fieldline_model::Value> {
    use fieldline_model::Value;
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        (-1000_i64..1000).prop_map(Value::Integer),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (-100_000_i64..100_000, 0..5_i32).prop_map(|(m, k)| Value::Float(m as f64 / 10_f64.powi(k))),
        (-100_000_i64..100_000).prop_map(|m| Value::Float(m as f64 * 0.01)),
        (-1000_i32..1000).prop_map(|m| Value::Float(f64::from(m as f32 / 10.0))),
        Just(Value::Float(-0.0)),
        "[a-zäß]{0,5}".prop_map(Value::Text),
    ]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        (0_i64..100).prop_map(|s| 1_795_341_600_000_000_000 + s * 1_000_000_000),
        0_i64..50
    ]
}

type Row = (u8, u8, i64, fieldline_model::Value, u8);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0_u8..3, 0_u8..3, time(), value(), 0_u8..3), 1..120)
}

fn build(rows: &[Row], first_seq: u64) -> Block {
    let mut builder = BlockBuilder::new(stream(), Class::Alarm, first_seq);
    for (device, metric, time, value, quality) in rows {
        let (device, metric) = (format!("device-{device}"), format!("metric {metric}"));
        builder.push(ReadingRef {
            device: &device,
            metric: &metric,
            time: Timestamp::from_nanos(*time),
            value: value.as_ref(),
            quality: Quality::from_code(*quality).unwrap(),
        });
    }
    builder.finish().unwrap()
}

proptest! {
    #[test]
    fn any_readings_come_back_to_the_bit(rows in rows(), first_seq in 1_u64..u64::MAX - 1000) {
        assert_round_trip(&build(&rows, first_seq));
    }

    #[test]
    fn a_column_of_any_floats_comes_back(values in prop::collection::vec(value(), 1..200)) {
        let mut builder = builder();
        for (i, value) in values.iter().enumerate() {
            builder.push(ReadingRef { value: value.as_ref(), ..float("d", "m", i as i64, 0.0) });
        }
        assert_round_trip(&builder.finish().unwrap());
    }

    #[test]
    fn the_estimate_is_not_below_the_size(rows in rows()) {
        let mut builder = builder();
        for (device, metric, time, value, quality) in &rows {
            let (device, metric) = (format!("device-{device}"), format!("metric {metric}"));
            builder.push(ReadingRef {
                device: &device,
                metric: &metric,
                time: Timestamp::from_nanos(*time),
                value: value.as_ref(),
                quality: Quality::from_code(*quality).unwrap(),
            });
        }
        let estimate = builder.estimated_bytes();
        let bytes = builder.finish().unwrap().encode().len();
        prop_assert!(bytes <= estimate, "{bytes} bytes, estimated {estimate}");
    }
}
