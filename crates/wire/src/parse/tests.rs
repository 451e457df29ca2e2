use fieldline_model::{Quality, ValueRef};

use super::*;

mod any;
mod line;
mod senml;

const NOW: Timestamp = Timestamp::from_nanos(1_795_341_600_000_000_000);
const CONTEXT: Context<'_> = Context { device: "press-4", now: NOW };

/// `metric=value@seconds after NOW`, and the rejects as `!reason metric`.
fn told(parsed: &Parsed) -> Vec<String> {
    let value = |value: ValueRef<'_>| match value {
        ValueRef::Boolean(value) => format!("{value}"),
        ValueRef::Integer(value) => format!("{value}i"),
        ValueRef::Float(value) => format!("{value:?}"),
        ValueRef::Text(value) => format!("{value:?}"),
    };
    let rows = parsed.rows.iter().map(|reading| {
        let seconds = (reading.time.nanos() - NOW.nanos()) as f64 / 1e9;
        format!("{} {}={}@{seconds}", reading.device, reading.metric, value(reading.value))
    });
    let rejects = parsed
        .rejects
        .iter()
        .map(|reject| format!("!{} {}", reject.reason, reject.metric.as_deref().unwrap_or("-")));
    rows.chain(rejects).collect()
}

fn read(text: &str) -> Vec<String> {
    let mut parsed = Parsed::default();
    payload(text.as_bytes(), &CONTEXT, &mut parsed).unwrap();
    told(&parsed)
}

fn error(text: &[u8]) -> String {
    payload(text, &CONTEXT, &mut Parsed::default()).unwrap_err().to_string()
}

#[test]
fn an_object_is_a_reading_for_each_key() {
    assert_eq!(
        read(
            r#" {"temperature": 21.5, "running": true, "count": -7, "mode": "a\u00e4\n", "ts": "2026-11-22T10:00:02.5Z"}"#
        ),
        [
            "press-4 temperature=21.5@2.5",
            "press-4 running=true@2.5",
            "press-4 count=-7i@2.5",
            "press-4 mode=\"aä\\n\"@2.5",
        ]
    );
    assert_eq!(read("{}"), [""; 0]);
}

#[test]
fn times_are_rfc_3339_or_whole_milliseconds() {
    let at = |ts: &str| read(&format!("{{\"ts\": {ts}, \"a\": 1}}"));
    assert_eq!(at("\"2026-11-22T11:00:01+01:00\""), ["press-4 a=1i@1"]);
    assert_eq!(at("1795341601500"), ["press-4 a=1i@1.5"]);
    for bad in
        ["1795341601.5", "\"yesterday\"", "null", "9223372036854775807", "true", "\"2026-13-22T10:00:00Z\""]
    {
        assert_eq!(at(bad), ["!bad-time a"], "{bad}");
    }
}

#[test]
fn a_bad_time_takes_its_object_and_no_other() {
    assert_eq!(
        read(r#"[{"a": 1, "ts": 1795341600000}, {"b": 2, "ts": "?", "c": 3}, {"d": 4}]"#),
        ["press-4 a=1i@0", "press-4 d=4i@0", "!bad-time b", "!bad-time c"]
    );
}

#[test]
fn one_bad_reading_leaves_the_others() {
    let text = format!(
        r#"{{"a": null, "b": {{"x": [1]}}, "c": [2], "d": 9223372036854775808, "e": 1e999, "f/g": 1, "": 2,
        "h": "{}", "i": 9223372036854775807, "j": "{}", "k": -9223372036854775809, "l": "\ud800"}}"#,
        "x".repeat(1025),
        "x".repeat(1024),
    );
    let told = read(&text);
    assert_eq!(told[0], "press-4 i=9223372036854775807i@0");
    assert!(told[1].starts_with("press-4 j=\"xxx"));
    assert_eq!(
        told[2..],
        [
            "!bad-value a",
            "!bad-value b",
            "!bad-value c",
            "!integer-range d",
            "!bad-value e",
            "!bad-name f/g",
            "!bad-name ",
            "!text-too-long h",
            "!integer-range k",
            "!bad-value l",
        ]
    );
}

#[test]
fn a_quality_is_one_of_three_words_and_else_a_metric() {
    let mut parsed = Parsed::default();
    json(br#"[{"a": 1, "quality": "bad"}, {"quality": 87}]"#, &CONTEXT, &mut parsed).unwrap();
    let qualities: Vec<_> =
        parsed.rows.iter().map(|reading| (reading.metric.to_owned(), reading.quality)).collect();
    assert_eq!(qualities, [("a".to_owned(), Quality::Bad), ("quality".to_owned(), Quality::Good)]);
}

#[test]
fn elements_that_are_no_objects_are_refused_alone() {
    assert_eq!(
        read(r#"[1, {"a": 1}, [{"b": 2}], "x", null, -1, 0.5, true]"#),
        [&["press-4 a=1i@0"][..], &["!bad-value -"; 7]].concat()
    );
}

#[test]
fn floats_are_read_to_the_bit() {
    for text in
        ["0.1", "123456789.123456789", "2.2250738585072011e-308", "-0.0", "1e-400", "9007199254740993.0"]
    {
        let mut parsed = Parsed::default();
        json(format!("{{\"a\": {text}}}").as_bytes(), &CONTEXT, &mut parsed).unwrap();
        let Some(ValueRef::Float(value)) = parsed.rows.get(0).map(|reading| reading.value) else {
            panic!("{text}")
        };
        assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
    }
}

#[test]
fn what_cannot_be_read_as_a_whole_says_where_and_why() {
    assert_eq!(
        error(br#"{"a": NaN}"#),
        "not JSON at line 1, column 7: NaN and Infinity are no JSON; leave the value out"
    );
    assert_eq!(
        error(b"{\"a\": 1,\n \"b\": -Infinity}"),
        "not JSON at line 2, column 8: NaN and Infinity are no JSON; leave the value out"
    );
    assert_eq!(error(br#"{"a": 1"#), "not JSON at line 1, column 7: EOF while parsing an object");
    assert_eq!(error(br#"{"a": 1} x"#), "not JSON at line 1, column 10: trailing characters");
    assert_eq!(error(b"{\"a\": \"\xff\"}"), "not UTF-8 from byte 7 on");
    let scalar = json(b"5", &CONTEXT, &mut Parsed::default()).unwrap_err();
    assert!(scalar.to_string().starts_with("telemetry is a JSON object"), "{scalar}");
    assert!(error("[".repeat(100_000).as_bytes()).contains("EOF"));
    assert_eq!(
        read(&format!("{{\"a\": {}1{}, \"b\": 2}}", "[".repeat(99_999), "]".repeat(99_999)))[0],
        "press-4 b=2i@0"
    );
}

#[test]
fn only_the_first_rejects_tell_details() {
    let mut parsed = Parsed::default();
    let text = format!("[{}{{}}]", "{\"a\": null},".repeat(1000));
    json(text.as_bytes(), &CONTEXT, &mut parsed).unwrap();
    assert_eq!(parsed.rejects.len(), 1000);
    assert!(!parsed.rejects[63].detail.is_empty() && parsed.rejects[64].detail.is_empty());
}

#[test]
fn a_scalar_is_what_it_looks_like() {
    let metric = Metric::new("m").unwrap();
    let one = |text: &[u8]| {
        let mut parsed = Parsed::default();
        scalar(text, &CONTEXT, &metric, &mut parsed).map(|()| told(&parsed).concat())
    };
    let table: [(&str, &str); 16] = [
        ("21.5", "press-4 m=21.5@0"),
        (" 42\n", "press-4 m=42i@0"),
        ("true", "press-4 m=true@0"),
        ("-1e3", "press-4 m=-1000.0@0"),
        ("\"a \\\"b\\\"\"", "press-4 m=\"a \\\"b\\\"\"@0"),
        ("bare text", "press-4 m=\"bare text\"@0"),
        ("\"open", "press-4 m=\"\\\"open\"@0"),
        ("10-4", "press-4 m=\"10-4\"@0"),
        ("-", "press-4 m=\"-\"@0"),
        ("NaN", "!bad-value m"),
        ("-inf", "!bad-value m"),
        ("null", "!bad-value m"),
        ("{\"a\": 1}", "!bad-value m"),
        ("[1]", "!bad-value m"),
        ("99999999999999999999", "!integer-range m"),
        ("1e999", "!bad-value m"),
    ];
    for (text, expected) in table {
        assert_eq!(one(text.as_bytes()).unwrap(), expected, "{text}");
    }
    assert_eq!(one("x".repeat(1025).as_bytes()).unwrap(), "!text-too-long m");
    assert_eq!(one(b" ").unwrap_err().to_string(), "an empty payload is no value");
    assert_eq!(one(b"a\xff").unwrap_err(), ParseError::Utf8 { byte: 1 });
}

#[test]
fn a_payload_is_taken_for_what_it_is() {
    let table = [
        (r#"{"n": "a", "v": 1}"#, Format::Json),
        (r#" [{"temperature": 1}]"#, Format::Json),
        (r#"[{"n": 1, "v": 2}]"#, Format::Json),
        (r#"[{"v": 2, "s": 3}]"#, Format::Json),
        (r#"[{"n": "a", "v": 1}]"#, Format::Senml),
        ("\n[ {\"bn\": \"urn:dev:ow:1\", \"u\": \"Cel\", \"v\": 1}, ???", Format::Senml),
        ("[]", Format::Json),
        ("[", Format::Json),
        ("cpu usage=1", Format::Line),
        ("", Format::Line),
    ];
    for (text, format) in table {
        assert_eq!(detect(text.as_bytes()), format, "{text}");
    }
}
