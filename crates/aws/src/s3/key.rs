//! The names of objects: `readings/day=2026-11-22/gateway=gw-1/….parquet`.

use fieldline_model::Timestamp;
use fieldline_wire::Block;
use sha2::{Digest, Sha256};

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

/// The folder and the last part of a name.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// What the names of merged objects begin with. It stands behind all hexadecimal digits: a listing that
/// takes several calls, and meets an object after that was deleted, also meets what it was merged into.
const MERGED: &str = "merged-";

/// The object that these become, which are of one folder and in their order. It stands behind them in a
/// listing, and the same inputs have the same name.
pub(super) fn of_merged(inputs: &[&str]) -> Option<String> {
    let (folder, _) = split(inputs.first()?);
    let level = inputs.iter().filter_map(|key| level(key)).max()? + 1;
    let hash = hash(inputs.iter().copied());
    Some(format!("{folder}/{MERGED}{level:08x}-{hash}.parquet"))
}

/// Where catalogs lie; the last by name is the newest.
pub(super) const CATALOG: &str = "readings/catalog/";

/// The catalog that follows another one.
pub(super) fn of_catalog(newest: Option<&str>, hash: &str) -> String {
    let number = newest.and_then(|key| u64::from_str_radix(split(key).1.get(..16)?, 16).ok());
    format!("{CATALOG}{:016x}-{hash}.parquet", number.unwrap_or(0).saturating_add(1))
}

/// 128 bits of the SHA-256 of lines.
pub(super) fn hash<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for line in lines {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// How often readings of an object have been merged; `None` if the name is none of ours.
pub(super) fn level(key: &str) -> Option<u32> {
    let (_, name) = split(key);
    match name.strip_prefix(MERGED) {
        Some(rest) => u32::from_str_radix(rest.get(..8)?, 16).ok(),
        None => {
            let (epoch, rest) = name.split_once('-')?;
            let good = epoch.len() >= 14 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
            (good && rest.ends_with(".parquet")).then_some(0)
        }
    }
}

/// Whether a text is a day, as [`day_name`] writes it.
pub(super) fn is_day(text: &str) -> bool {
    format!("{text}T00:00:00Z")
        .parse::<Timestamp>()
        .is_ok_and(|begin| day_name(day_of(begin.nanos())) == text)
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
        let block = Block {
            stream,
            class: Class::Live,
            first_seq: 1,
            last_seq: 30,
            columns: Vec::new(),
            order: Vec::new(),
        };
        let expected =
            "readings/day=1970-01-02/gateway=urn%3Agw_1/0000000000001f-1-30-live-00000000000000ff.parquet";
        assert_eq!(of_block(&block, 1, 255), expected);
        assert_eq!(level(expected), Some(0));
    }

    #[test]
    fn what_is_merged_stands_behind_its_parts_and_is_the_same_for_the_same() {
        let first = "readings/day=1970-01-02/gateway=a/ffffffffffffff-1-30-live-00000000000000ff.parquet";
        let second = "readings/day=1970-01-02/gateway=a/00000000000001-1-30-live-00000000000000ff.parquet";
        let once = of_merged(&[first, second]).unwrap();
        let twice = of_merged(&[second, &once]).unwrap();
        assert!(first < once.as_str() && once < twice, "{once} {twice}");
        assert_eq!(Some(once), of_merged(&[first, second]));
        assert_eq!((level(&twice), level("a/b/note.parquet"), level("merged-")), (Some(2), None, None));
    }

    #[test]
    fn a_day_is_a_day() {
        assert!(is_day("2026-11-22") && is_day("1969-12-31"));
        for bad in ["", "2026-11-31", "2026-1-1", "2026-11-22/", "../2026", "2026-11-22T"] {
            assert!(!is_day(bad), "{bad}");
        }
    }
}
