//! Damaged and hostile blocks: an error or what was written, never a panic, never much memory.

use prost::Message;

use super::super::message::Columns;
use super::*;

fn limits() -> Limits {
    Limits { decompressed_bytes_max: 100_000, readings_max: 1000, columns_max: 10 }
}

fn small_block() -> Block {
    let mut builder = builder();
    for i in 0..50 {
        builder.push(float("device", "metric", i * 1000, i as f64 * 0.1));
        builder.push(ReadingRef { value: ValueRef::Text("on"), ..float("device", "state", i * 1000, 0.0) });
    }
    builder.finish().unwrap()
}

/// A block around `columns`, with a checksum that fits.
fn sealed(columns: &Columns, readings: u64) -> Vec<u8> {
    let block = Block {
        stream: stream(),
        class: Class::Live,
        first_seq: 1,
        last_seq: readings,
        columns: vec![],
        order: Vec::new(),
    };
    envelope::seal(&block, &columns.encode_to_vec(), 0)
}

fn one_column() -> Columns {
    Columns {
        devices: vec!["d".to_owned()],
        metrics: vec!["m".to_owned()],
        device_steps: vec![0],
        metric_steps: vec![0],
        time_steps: vec![0],
        encodings: vec![4],
        time_counts: vec![3],
        time_units: vec![0],
        time_firsts: vec![0],
        time_rests: vec![0, 0],
        number_firsts: vec![0],
        number_rests: vec![1, 1],
        ..Columns::default()
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = small_block().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Block::decode(&damaged, &limits()).is_err(), "bit {bit} of byte {at}");
            assert!(BlockHeader::read(&damaged).is_err(), "bit {bit} of byte {at}");
        }
        assert!(Block::decode(&bytes[..at], &limits()).is_err(), "cut at {at}");
    }
}

#[test]
fn a_later_version_is_told_from_damage() {
    let mut bytes = small_block().encode();
    bytes[3] = 2;
    assert_eq!(Block::decode(&bytes, &limits()), Err(BlockError::Version { version: 2 }));
    assert_eq!(Block::decode(b"{\"json\": 1}", &limits()), Err(BlockError::NotABlock));
    bytes[3] = 1;
    bytes[20] ^= 1;
    assert_eq!(Block::decode(&bytes, &limits()), Err(BlockError::Checksum));
}

#[test]
fn each_limit_holds_at_its_value_and_not_one_below() {
    let block = small_block();
    let bytes = block.encode();
    let raw = envelope::open(&bytes).unwrap().columns_bytes as usize;
    let exact = Limits { decompressed_bytes_max: raw, readings_max: 100, columns_max: 2 };
    assert_eq!(Block::decode(&bytes, &exact), Ok(block));
    for below in [
        Limits { decompressed_bytes_max: raw - 1, ..exact },
        Limits { readings_max: 99, ..exact },
        Limits { columns_max: 1, ..exact },
    ] {
        assert!(matches!(Block::decode(&bytes, &below), Err(BlockError::Limit { .. })), "{below:?}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_unpacks() {
    let bomb = zstd::bulk::compress(&vec![0; 50_000_000], 3).unwrap();
    for told in [50_000_000, 50_000] {
        let block = small_block();
        let bytes = envelope::seal(&block, &bomb, told);
        assert!(Block::decode(&bytes, &limits()).is_err(), "{told}");
    }
}

#[test]
fn columns_that_share_times_do_not_multiply_without_limit() {
    let mut columns = one_column();
    columns.time_counts = vec![1000];
    columns.time_rests = vec![0; 999];
    columns.device_steps = vec![0; 10];
    columns.metric_steps = vec![0; 10];
    columns.time_steps = vec![0; 10];
    columns.encodings = vec![1; 10];
    let error = Block::decode(&sealed(&columns, 10_000), &limits()).unwrap_err();
    assert_eq!(error, BlockError::Limit { what: "readings", found: 10_000, max: 1000 });
}

#[test]
fn texts_that_repeat_do_not_multiply_without_limit() {
    let mut columns = one_column();
    columns.encodings = vec![2];
    columns.time_counts = vec![1000];
    columns.time_rests = vec![0; 999];
    columns.number_firsts.clear();
    columns.number_rests.clear();
    columns.texts = vec!["x".repeat(1000)];
    columns.text_choices = vec![0; 1000];
    let error = Block::decode(&sealed(&columns, 1000), &limits()).unwrap_err();
    assert!(matches!(error, BlockError::Limit { what: "bytes of text", .. }), "{error}");
}

#[test]
fn columns_that_do_not_fit_together_are_refused() {
    let good = one_column();
    assert!(Block::decode(&sealed(&good, 3), &limits()).is_ok());
    assert!(Block::decode(&sealed(&good, 4), &limits()).is_err());
    let wrong: [fn(&mut Columns); 16] = [
        |c| c.devices.clear(),
        |c| c.devices[0] = "a b".to_owned(),
        |c| c.metrics[0] = "a/b".to_owned(),
        |c| c.device_steps.push(0),
        |c| c.device_steps[0] = -1,
        |c| c.metric_steps[0] = 1,
        |c| c.time_steps[0] = i32::MIN,
        |c| c.encodings[0] = u32::MAX,
        |c| c.encodings[0] = 0,
        |c| c.time_counts[0] = u32::MAX,
        |c| c.time_units[0] = 20,
        |c| c.time_rests.push(0),
        |c| c.number_rests.push(0),
        |c| c.quality_columns.push(0),
        |c| c.exception_steps.push(0),
        |c| c.booleans.push(0),
    ];
    for (i, break_it) in wrong.into_iter().enumerate() {
        let mut columns = good.clone();
        break_it(&mut columns);
        let result = Block::decode(&sealed(&columns, 3), &limits());
        assert!(result.is_err(), "{i}: {result:?}");
    }
}

#[test]
fn a_block_of_unequal_columns_is_refused() {
    let mut block = small_block();
    block.columns[0].times.pop();
    assert!(Block::decode(&block.encode(), &limits()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Block::decode(&bytes, &limits()).is_err());
        let mut bytes = bytes;
        bytes.splice(0..0, *b"FLB\x01");
        prop_assert!(Block::decode(&bytes, &limits()).is_err());
    }

    /// With a checksum that fits, as a hostile gateway would send it.
    #[test]
    fn arbitrary_columns_are_survived(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        rows in rows(),
    ) {
        let block = build(&rows, 1);
        let (packed, raw_bytes) = encode::columns(&block.columns, &block.order);
        let mut raw = match raw_bytes {
            0 => packed,
            raw_bytes => zstd::bulk::decompress(&packed, raw_bytes as usize).unwrap(),
        };
        for (at, byte) in flips {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        let bytes = envelope::seal(&block, &raw, 0);
        if let Ok(decoded) = Block::decode(&bytes, &limits()) {
            let count: usize = decoded.columns.iter().map(|column| column.times.len()).sum();
            prop_assert_eq!(count, rows.len());
            for column in &decoded.columns {
                prop_assert_eq!(column.values.len(), column.times.len());
            }
        }
    }
}
