//! The names of objects: `readings/day=2026-11-22/gateway=gw-1/….parquet`.

use fieldline_model::Timestamp;
use fieldline_wire::Block;

/// What all days have in front.
pub(super) const DAYS: &str = "readings/day=";
const DAY_NANOS: i64 = 86_400_000_000_000;

/// The number of the UTC day of a time; day 0 is 1970-01-01.
pub(super) fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY_NANOS)
}

/// A day as `2026-11-22`: these sort as the days do.
pub(super) fn day_name(day: i64) -> String {
    // The first day that a time can lie in has begun before the first time.
    let begin = Timestamp::from_nanos(day.saturating_mul(DAY_NANOS));
    begin.to_string().chars().take(10).collect()
}

/// Where the objects of a day lie.
pub(super) fn day_prefix(name: &str) -> String {
    format!("{DAYS}{name}/")
}

/// The object of a block's readings of a day. The same block at the same place has the same name.
pub(super) fn of_block(block: &Block, day: i64, place: u64) -> String {
    let (stream, class) = (&block.stream, block.class.as_str());
    let folder = format!("{}gateway={}/", day_prefix(&day_name(day)), escaped(stream.gateway.as_str()));
    let (first, last) = (block.first_seq, block.last_seq);
    format!("{folder}{:014x}-{first}-{last}-{class}-{place:016x}.parquet", stream.epoch)
}

/// As Hive writes a partition's value: what is neither a letter nor a digit nor one of `_ . -`, by `%` and
/// two hexadecimal digits for each byte.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match char::from(byte) {
            char if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-') => escaped.push(char),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use fieldline_model::{Class, GatewayId, StreamId};

    use super::*;

    #[test]
    fn days_begin_at_midnight_on_both_sides_of_the_epoch() {
        let table = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (DAY_NANOS - 1, "1970-01-01"),
            (1_795_348_800_000_000_000, "2026-11-22"),
            (i64::MIN, "1677-09-21"),
            (i64::MAX, "2262-04-11"),
        ];
        for (time, name) in table {
            assert_eq!(day_name(day_of(time)), name, "{time}");
        }
    }

    #[test]
    fn a_block_has_one_name_for_each_day_and_place() {
        let stream = StreamId { gateway: GatewayId::new("urn:gw_1").unwrap(), epoch: 0x1f };
        let block = Block { stream, class: Class::Live, first_seq: 1, last_seq: 30, columns: Vec::new() };
        let expected =
            "readings/day=1970-01-02/gateway=urn%3Agw_1/0000000000001f-1-30-live-00000000000000ff.parquet";
        assert_eq!(of_block(&block, 1, 255), expected);
    }
}
