use super::*;

fn read_senml(text: &str) -> Vec<String> {
    let mut parsed = Parsed::default();
    senml(text.as_bytes(), &CONTEXT, &mut parsed).unwrap();
    told(&parsed)
}

fn error_of(text: &str) -> String {
    senml(text.as_bytes(), &CONTEXT, &mut Parsed::default()).unwrap_err().to_string()
}

#[test]
fn the_examples_of_rfc_8428_are_read() {
    // Section 5.1.1.
    assert_eq!(read(r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]"#), ["press-4 value=23.1@0"]);
    // Section 5.1.2.
    let two = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1}, {"n":"current","u":"A","v":1.2}]"#;
    assert_eq!(read(two), ["press-4 voltage=120.1@0", "press-4 current=1.2@0"]);
    // Section 5.1.2, with times; 2010-06-08T18:01:16.001Z.
    let times = r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,
        "n":"voltage","u":"V","v":120.1}, {"n":"current","t":-5,"v":1.2}, {"n":"current","t":-4,"v":1.3}]"#;
    let mut parsed = Parsed::default();
    senml(times.as_bytes(), &CONTEXT, &mut parsed).unwrap();
    let seconds: Vec<_> = parsed.rows.iter().map(|reading| reading.time.to_string()).collect();
    assert_eq!(seconds, ["2010-06-08T18:01:16.001Z", "2010-06-08T18:01:11.001Z", "2010-06-08T18:01:12.001Z"]);
    // Section 5.1.4 and 5.1.5, shortened: a boolean, a text, data, a sum.
    let kinds = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
        {"n":"label","vs":"Machine Room"}, {"n":"open","vb":false}, {"n":"nfc","vd":"aGkgCg"}, {"n":"power","s":7}]"#;
    assert_eq!(
        read(kinds),
        [
            "press-4 temp=23.1@0",
            "press-4 label=\"Machine Room\"@0",
            "press-4 open=false@0",
            "press-4 nfc=\"aGkgCg\"@0",
            "press-4 power.sum=7i@0",
        ]
    );
}

#[test]
fn base_fields_hold_from_their_record_on() {
    let pack = r#"[{"bn": "a.", "bt": -10, "bv": 100}, {"n": "x", "v": 1}, {"n": "y", "t": 3, "v": 0.5},
        {"bn": "b.", "bs": 5, "n": "z"}]"#;
    assert_eq!(
        read(pack),
        ["press-4 a.x=101i@-10", "press-4 a.y=100.5@-7", "press-4 b.z=100i@-10", "press-4 b.z.sum=5i@-10"]
    );
}

#[test]
fn the_device_is_taken_off_the_name() {
    let name = |n: &str| read_senml(&format!("[{{\"n\": \"{n}\", \"v\": 1}}]")).concat();
    for n in ["press-4/temp", "press-4:temp", "press-4.temp", "urn:dev:mac:0024befffe804ff1_temp", "temp"] {
        assert_eq!(name(n), "press-4 temp=1i@0", "{n}");
    }
    assert_eq!(name("press-4"), "press-4 value=1i@0");
    assert_eq!(name("press-42/a/b"), "press-4 press-42.a.b=1i@0");
    assert_eq!(name("a#b"), "!bad-name a#b");
}

#[test]
fn names_of_several_devices_keep_what_tells_them_apart() {
    let pack =
        r#"[{"n": "urn:dev:ow:1:temp", "v": 1}, {"n": "urn:dev:ow:2:temp", "v": 2}, {"n": "x", "v": "bad"}]"#;
    assert_eq!(
        read(pack),
        ["press-4 urn:dev:ow:1:temp=1i@0", "press-4 urn:dev:ow:2:temp=2i@0", "!bad-value x"]
    );
}

#[test]
fn one_bad_record_leaves_the_others() {
    let pack = r#"[{"n": "a", "v": "1"}, {"n": "b", "vb": 1}, {"n": "c", "vs": 2}, {"n": "d", "v": 1, "t": "x"},
        {"n": "e", "v": 18446744073709551616}, {"n": "f", "v": 1, "t": 1e20}, {"n": "g", "v": 7}]"#;
    assert_eq!(
        read(pack),
        [
            "press-4 g=7i@0",
            "!bad-value a",
            "!bad-value b",
            "!bad-value c",
            "!bad-time d",
            "!integer-range e",
            "!bad-time f"
        ]
    );
}

#[test]
fn a_pack_that_cannot_be_understood_says_which_record() {
    assert_eq!(
        error_of(r#"[{"n": "a", "v": 1}, {"n": "b", "x_": 1}]"#),
        "not SenML at record 2: the field x_ must be understood, and is not"
    );
    assert_eq!(
        error_of(r#"[{"bver": 11, "n": "b", "v": 1}]"#),
        "not SenML at record 1: bver is 11; versions up to 10 are known"
    );
    assert_eq!(error_of(r#"[{"v": 1}]"#), "not SenML at record 1: there is neither n nor bn");
    assert_eq!(error_of(r#"[{"bn": 5}]"#), "not SenML at record 1: bn is no text");
    assert!(error_of(r#"[{"n": "a"}, 5]"#).starts_with("not JSON at line 1"));
}

#[test]
fn times_near_zero_are_relative_and_others_are_not() {
    let at = |t: &str| {
        let mut parsed = Parsed::default();
        senml(format!("[{{\"n\": \"a\", \"v\": 1, \"t\": {t}}}]").as_bytes(), &CONTEXT, &mut parsed).unwrap();
        parsed.rows.get(0).map(|reading| reading.time.nanos())
    };
    assert_eq!(at("268435455"), Some(NOW.nanos() + 268_435_455_000_000_000));
    assert_eq!(at("268435456"), Some(268_435_456_000_000_000));
    assert_eq!(at("1795341600.000000001"), Some(NOW.nanos() + 1));
}
