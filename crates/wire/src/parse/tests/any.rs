//! Arbitrary and damaged payloads: no panic, and nothing that breaks a rule comes out.

use fieldline_model::{DeviceId, TEXT_BYTES_MAX};
use proptest::prelude::*;

use super::*;

const SEEDS: [&str; 5] = [
    r#"[{"temperature": 21.5, "on": true, "mode": "a\u00e4", "ts": "2026-11-22T10:00:00.5Z"}, {"n": -7e3, "ts": 1795341600000}]"#,
    r#"[{"bn": "urn:dev:ow:1:", "bt": 1.2e9, "bv": 1, "n": "a", "v": 1}, {"n": "b", "vs": "x", "t": -5}, {"n": "c", "vb": true, "s": 2}]"#,
    "cpu,host=web.x,cpu=0,a\\ b=c\\,d usage=12.5,n=3i,u=4u,t=t,s=\"a \\\" b\\\\\" 1795341600000000000\n# c\nm,device=d f=1\n",
    r#"{"a": 1, "b": [1, {"c": 2}], "quality": "bad", "ts": null}"#,
    "-12.5e3",
];

fn assert_sound(bytes: &[u8]) {
    let metric = Metric::new("m").unwrap();
    for way in 0..6 {
        let mut parsed = Parsed::default();
        let lines = LineContext { now: NOW, precision: Precision::Milliseconds, device: None };
        let result = match way {
            0 => payload(bytes, &CONTEXT, &mut parsed),
            1 => json(bytes, &CONTEXT, &mut parsed),
            2 => senml(bytes, &CONTEXT, &mut parsed),
            3 => line(bytes, &lines, &mut parsed),
            4 => line(bytes, &LineContext { device: Some("d"), ..lines }, &mut parsed),
            _ => scalar(bytes, &CONTEXT, &metric, &mut parsed),
        };
        if let Err(error) = result {
            assert!(error.to_string().len() < 300, "{error}");
        }
        assert!(parsed.rows.len() + parsed.rejects.len() <= bytes.len());
        for reading in parsed.rows.iter() {
            assert_eq!(DeviceId::check(reading.device), Ok(()));
            assert_eq!(Metric::check(reading.metric), Ok(()));
            match reading.value {
                ValueRef::Float(value) => assert!(value.is_finite()),
                ValueRef::Text(text) => assert!(text.len() <= TEXT_BYTES_MAX),
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_sound(&bytes);
    }

    #[test]
    fn arbitrary_text_of_the_formats_characters_is_survived(text in "[\\[\\]{}\",:= \\\\\n#a-en0-9.ti+_-]{0,80}") {
        assert_sound(text.as_bytes());
    }

    #[test]
    fn damaged_payloads_are_survived(
        seed in 0..SEEDS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>()), 1..6),
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, kind, byte) in changes {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => { bytes.remove(at); }
                2 => bytes.insert(at.min(bytes.len()), byte),
                _ => bytes.truncate(at),
            }
        }
        assert_sound(&bytes);
    }
}

/// `cargo test -p fieldline-wire --release -- --ignored --nocapture parsing_speed`
#[test]
#[ignore = "measures; of use in release mode only"]
fn parsing_speed() {
    let object = r#"{"temperature": 21.53, "humidity": 45.5, "running": true, "count": 12345, "ts": "2026-11-22T10:00:00.123Z"}"#;
    let record = r#"{"n": "temperature", "u": "Cel", "t": -5, "v": 21.53}"#;
    let lines = "cpu,host=web,cpu=0 usage=12.5,idle=87.5,count=3i 1795341600000000000\n";
    let sets = [
        ("json", format!("[{}]", vec![object; 100].join(",")), 400),
        ("json, single", object.to_owned(), 4),
        ("senml", format!("[{}]", vec![record; 400].join(",")), 400),
        ("line protocol", lines.repeat(100), 300),
    ];
    let mut parsed = Parsed::default();
    for (name, text, readings) in sets {
        let mut best = f64::MAX;
        for _ in 0..200 {
            parsed.clear();
            let start = std::time::Instant::now();
            for _ in 0..10 {
                parsed.clear();
                payload(text.as_bytes(), &CONTEXT, &mut parsed).unwrap();
            }
            best = best.min(start.elapsed().as_secs_f64() / 10.0);
        }
        assert_eq!(parsed.rows.len(), readings);
        println!("{name}: {:.0} ns a reading", best * 1e9 / readings as f64);
    }
}
