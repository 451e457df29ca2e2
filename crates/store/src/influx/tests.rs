use fieldline_model::{Class, GatewayId, Metric, Quality, StreamId, Timestamp};
use fieldline_wire::{Block, Column, Limits, Values};

use super::entry::{Entry, set_aside, standing};
use super::line::{Check, Lines, TIME_MAX, TIME_MIN};
use super::reason::Reason;
use super::*;

fn column(metric: &str, times: &[i64], values: Values) -> Column {
    Column {
        device: DeviceId::new("press-4").unwrap(),
        metric: Metric::new(metric).unwrap(),
        times: times.to_vec(),
        values,
        qualities: vec![],
    }
}

fn block(columns: Vec<Column>) -> Block {
    let count: usize = columns.iter().map(|column| column.values.len()).sum();
    let stream = StreamId { gateway: GatewayId::new("gw").unwrap(), epoch: 7 };
    Block {
        stream,
        class: Class::Live,
        first_seq: 11,
        last_seq: 10 + count as u64,
        columns,
        order: Vec::new(),
    }
}

fn lines(block: &Block, dialect: InfluxDialect) -> String {
    let mut lines = Lines::new(block, 5, dialect);
    let mut out = String::new();
    standing(block).into_iter().for_each(|entry| lines.push(entry, &mut out));
    out
}

#[test]
fn each_kind_has_a_field_of_its_own() {
    let mut floats = column("a,b c", &[1, 2, 3, 4], Values::Float(vec![21.5, -0.0, f64::NAN, 1e300]));
    floats.qualities = vec![Quality::Good, Quality::Bad, Quality::Good, Quality::Good];
    let block = block(vec![
        floats,
        column("a,b c", &[5], Values::Integer(vec![i64::MIN])),
        column("a,b c", &[6], Values::Boolean(vec![true])),
        column("a\\", &[7], Values::Text(vec!["a\"b\\c\nd".to_owned()])),
    ]);
    let expected = "a\\,b\\ c,device=press-4 value=21.5,place=5i,kind=0i,quality=0i 1
a\\,b\\ c,device=press-4 value=-0,place=5i,kind=0i,quality=2i 2
a\\,b\\ c,device=press-4 value_bits=9221120237041090560i,place=5i,kind=4i,quality=0i 3
a\\,b\\ c,device=press-4 value=1e300,place=5i,kind=0i,quality=0i 4
a\\,b\\ c,device=press-4 value_int=-9223372036854775808i,place=5i,kind=1i,quality=0i 5
a\\,b\\ c,device=press-4 value_bool=true,place=5i,kind=2i,quality=0i 6
a%5C,device=press-4 value_text=\"a\\\"b\\\\c\nd\",place=5i,kind=3i,quality=0i 7
";
    assert_eq!(lines(&block, InfluxDialect::V1), expected);
}

#[test]
fn within_a_block_the_last_of_the_last_column_stands() {
    let block = block(vec![
        column("m", &[9, 1, 9], Values::Float(vec![1.0, 2.0, 3.0])),
        column("n", &[9], Values::Float(vec![4.0])),
        column("m", &[1], Values::Integer(vec![5])),
    ]);
    let found: Vec<(u32, u32)> = standing(&block).iter().map(|entry| (entry.column, entry.row)).collect();
    assert_eq!(found, [(2, 0), (0, 2), (1, 0)]);
}

#[test]
fn victoriametrics_gets_numbers_and_milliseconds() {
    let mut integers = column("m", &[-1, 7_999_999], Values::Integer(vec![1, -3]));
    integers.qualities = vec![Quality::Good, Quality::Uncertain];
    let block = block(vec![integers, column("b", &[0], Values::Boolean(vec![true]))]);
    let expected = "m,device=press-4 value=1 -1
m,device=press-4 value=-3,quality=1 7
b,device=press-4 value=1 0
";
    assert_eq!(lines(&block, InfluxDialect::VictoriaMetrics), expected);
}

fn reasons(block: &Block, dialect: InfluxDialect, retention: Option<u64>) -> Vec<Option<Reason>> {
    let retention = retention.map(std::time::Duration::from_secs);
    let check = Check { block, dialect, now: Timestamp::from_nanos(1_000_000_000_000_000), retention };
    let standing = standing(block);
    (0..standing.len()).map(|at| check.refuses(standing[at], standing.get(at + 1))).collect()
}

#[test]
fn what_a_dialect_cannot_hold_is_known_before() {
    let edges = [TIME_MIN - 1, TIME_MIN, TIME_MAX, TIME_MAX + 1];
    let found =
        reasons(&block(vec![column("m", &edges, Values::Float(vec![0.0; 4]))]), InfluxDialect::V1, None);
    assert_eq!(found, [Some(Reason::TimeOutOfRange), None, None, Some(Reason::TimeOutOfRange)]);

    let now = 1_000_000_000_000_000;
    let two_days = now + 172_800_000_000_000;
    let times = [-1, 1_000_000, 1_999_999, 2_000_000, two_days, two_days + 1_000_000];
    let block_of_times = block(vec![column("m", &times, Values::Float(vec![0.0; 6]))]);
    let found = reasons(&block_of_times, InfluxDialect::VictoriaMetrics, None);
    let (range, same) = (Some(Reason::TimeOutOfRange), Some(Reason::SameMillisecond));
    assert_eq!(found, [range, same, None, None, None, Some(Reason::InTheFuture)]);
    let found = reasons(&block_of_times, InfluxDialect::V2, Some(999_999));
    assert_eq!(found.iter().filter(|reason| **reason == Some(Reason::TooOld)).count(), 4);

    let exact = 1 << 53;
    let block = block(vec![
        column("f", &[1], Values::Float(vec![f64::INFINITY])),
        column("i", &[0, 1_000_000], Values::Integer(vec![exact, -exact - 1])),
        column("t", &[1], Values::Text(vec![String::new()])),
    ]);
    let expected = [Some(Reason::NotFinite), None, Some(Reason::NotExact), Some(Reason::Text)];
    assert_eq!(reasons(&block, InfluxDialect::VictoriaMetrics, None), expected);
    assert_eq!(reasons(&block, InfluxDialect::V3, None), [None; 4]);
}

#[test]
fn what_is_set_aside_is_a_block_of_its_own() {
    let mut first = column("m", &[9, 1, 8], Values::Float(vec![1.0, 2.0, 3.0]));
    first.qualities = vec![Quality::Good, Quality::Bad, Quality::Good];
    let block = block(vec![first, column("t", &[1], Values::Text(vec!["x".to_owned()]))]);
    let entry = |column, row| Entry { series: column, time: 0, column, row };
    let refused = [(entry(1, 0), Reason::TooOld), (entry(0, 1), Reason::TooOld), (entry(0, 0), Reason::Text)];
    let parts = set_aside(&block, &refused);
    let reasons: Vec<&str> = parts.iter().map(|part| part.reason.as_str()).collect();
    assert_eq!(reasons, ["too-old", "text-not-taken"]);
    let part = Block::decode(&parts[0].bytes, &Limits::default()).unwrap();
    assert_eq!((part.stream, part.class, part.first_seq, part.last_seq), (block.stream, block.class, 11, 12));
    let mut expected = column("m", &[1], Values::Float(vec![2.0]));
    expected.qualities = vec![Quality::Bad];
    assert_eq!(part.columns, [expected, column("t", &[1], Values::Text(vec!["x".to_owned()]))]);
}

#[test]
fn settings_are_checked_and_the_token_is_never_shown() {
    let good = InfluxConfig::new(InfluxDialect::V2, "http://127.0.0.1:8086", "plant");
    let secret = "s3cret-token";
    let config = InfluxConfig { token: InfluxToken::new(secret), ..good.clone() };
    let points = InfluxPoints::new(config).unwrap();
    assert!(!format!("{points:?}").contains(secret));
    assert!(!points.http.message(format!("bad {secret}").as_bytes()).contains(secret));
    for url in ["", "127.0.0.1:8086", "ftp://x", "http://", "http://u:p@x", "http://x?a=b"] {
        let config = InfluxConfig { url: url.to_owned(), ..good.clone() };
        let error = InfluxPoints::new(config).unwrap_err().to_string();
        assert!(!error.contains("u:p"), "{error}");
    }
    let config = InfluxConfig { token: InfluxToken::new("a\nb"), ..good.clone() };
    assert!(matches!(InfluxPoints::new(config), Err(InfluxConfigError::Token)));
    assert!(InfluxPoints::new(InfluxConfig { lines_max: 0, ..good.clone() }).is_err());
    assert!(InfluxPoints::new(InfluxConfig { database: String::new(), ..good }).is_err());
    assert!("v4".parse::<InfluxDialect>().is_err());
}
