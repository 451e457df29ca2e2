//! Names and values that are almost anything, and names that want more than to be a name.

use fieldline_store::{DeviceQuery, Glob, TimeSeriesStore};

use super::*;

const METRICS: [&str; 22] = [
    "temperature",
    "cpu.usage{cpu=0}",
    "with space",
    " ",
    "a\"b",
    "a'b",
    "a\"\"; DROP TABLE \"fieldline\".\"readings\" --",
    "' OR '1'='1",
    "a\\",
    "100%",
    "time",
    "device",
    "metric",
    "place",
    "quality",
    "reading",
    "ts_non_existent_col",
    "measure_value::double",
    "a__int",
    "Temperatur außen °C",
    "温度",
    "*",
];

fn block_of_names(long: &str) -> Block {
    let names = METRICS.iter().copied().chain([long]);
    let columns = names.enumerate().flat_map(|(at, name)| {
        let times = [NOON + at as i64 * 1_000, NOON + 1_000_000];
        let kinds = [
            Values::Float(vec![at as f64, f64::NAN]),
            // Each pair has a mean that does not depend on how it is summed up.
            Values::Integer(if at % 8 == 1 {
                vec![i64::MAX, i64::MAX - 1]
            } else {
                vec![i64::MIN, i64::MIN + 1]
            }),
            Values::Boolean(vec![true, false]),
            Values::Text(vec![String::new(), "a \"b\"\n'c' ⚠".to_owned()]),
        ];
        let kind = kinds[at % 4].clone();
        let mut column = column("press:4_a-b", name, &times, kind);
        if at % 3 == 0 {
            column.qualities = vec![Quality::Uncertain, Quality::Bad];
        }
        [column]
    });
    block(columns.collect())
}

#[test]
fn every_name_and_value_comes_back_as_it_was() -> Result<()> {
    let stub = stub()?;
    run(async {
        let (store, model) = (store(points(&stub.url()).await?), MemoryStore::new());
        let long = "ä".repeat(128);
        let received = Arc::new(ReceivedBlock::new(block_of_names(&long), Timestamp::from_nanos(NOON)));
        model.write(Arc::clone(&received)).await?;
        store.write(Arc::clone(&received)).await?;
        contract::assert_same(&store, &model).await;
        // Again, under another place.
        assert_eq!(store.points().put(&placed(received.block.clone(), 1 << 61)).await?, []);
        contract::assert_same(&store, &model).await;
        for name in METRICS.iter().copied().chain([long.as_str()]).filter(|name| *name != "*") {
            let query = SeriesQuery::one("press:4_a-b", name);
            let found = store.series(&query).await?;
            let expected = TimeSeriesStore::series(&model, &query).await?;
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{name}");
            assert_eq!(found.series.len(), 1, "{name}");
        }
        Ok(())
    })
}

#[test]
fn bits_of_floats_survive() -> Result<()> {
    let stub = stub()?;
    run(async {
        let points = points(&stub.url()).await?;
        let bits = [
            0x0000_0000_0000_0000,
            0x8000_0000_0000_0000,
            0x0000_0000_0000_0001,
            0x000f_ffff_ffff_ffff,
            0x7fef_ffff_ffff_ffff,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            0xfff8_0000_0000_0001,
            0x7ff0_0000_0000_0001,
            0x3fd5_5555_5555_5555,
            0x4340_0000_0000_0001_u64,
        ];
        let times: Vec<i64> = (0..bits.len() as i64).map(|at| NOON + at).collect();
        let values = Values::Float(bits.iter().map(|bits| f64::from_bits(*bits)).collect());
        put(&points, vec![column("d", "raw", &times, values)], 1).await?;
        let found = series(&points, "d", "raw").await?;
        let found: Vec<u64> = found
            .iter()
            .map(|point| match point.value {
                Value::Float(value) => value.to_bits(),
                ref other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, bits);
        Ok(())
    })
}

#[test]
fn hostile_patterns_find_nothing_and_change_nothing() -> Result<()> {
    let stub = stub()?;
    run(async {
        let points = points(&stub.url()).await?;
        put(&points, vec![column("press_4", "a", &[NOON], Values::Float(vec![1.0]))], 1).await?;
        put(&points, vec![column("pressX4", "a", &[NOON], Values::Float(vec![2.0]))], 2).await?;
        stub.take_statements();
        let hostile = [
            "x' OR '1'='1",
            "'; DROP TABLE readings; --",
            "*' OR \"device\" LIKE '%",
            "%",
            "*\\",
            "\u{0}*",
            "*\"*",
            "press?4*",
            "ä*",
            "",
        ];
        for pattern in hostile {
            for metric in ["*", "a"] {
                let page = PointStore::series(&points, &SeriesQuery::one(pattern, metric)).await?;
                assert!(page.series.is_empty(), "{pattern:?}");
            }
            let query = DeviceQuery { device: Glob::new(pattern), ..DeviceQuery::default() };
            assert!(PointStore::devices(&points, &query).await?.devices.is_empty(), "{pattern:?}");
        }
        assert_eq!(stub.take_statements(), [""; 0], "none of them becomes a statement");
        for metric in ["\" IS NULL OR \"a", "a' OR '1'='1", "b*'; --", "*\"", "\n"] {
            let page = PointStore::series(&points, &SeriesQuery::one("*", metric)).await?;
            assert!(page.series.is_empty(), "{metric:?}");
        }
        // The `_` of a name is no wildcard.
        let page = PointStore::series(&points, &SeriesQuery::one("press_*", "*")).await?;
        let names: Vec<&str> = page.series.iter().map(|series| series.device.as_str()).collect();
        assert_eq!(names, ["press_4"]);
        Ok(())
    })
}
