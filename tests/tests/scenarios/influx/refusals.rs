//! What the database never takes, and what it refuses altogether.

use fieldline_store::InfluxToken;
use fieldline_tests::random::Random;
use fieldline_wire::Limits;

use super::*;

const DAY: i64 = 86_400_000_000_000;

/// The reasons, and the metrics and values of what was set aside.
fn aside(parts: &[SetAside]) -> Result<Vec<(String, String, usize)>> {
    let mut found = Vec::new();
    for part in parts {
        let block = Block::decode(&part.bytes, &Limits::default())?;
        for column in block.columns {
            found.push((part.reason.clone(), column.metric.to_string(), column.values.len()));
        }
    }
    found.sort();
    Ok(found)
}

fn expect(parts: &[SetAside], expected: &[(&str, &str, usize)]) -> Result<()> {
    let found = aside(parts)?;
    let expected: Vec<_> = expected.iter().map(|e| (e.0.to_owned(), e.1.to_owned(), e.2)).collect();
    ensure!(found == expected, "set aside: {found:?}");
    Ok(())
}

fn floats(count: usize) -> Values {
    Values::Float((0..count).map(|at| at as f64 + 0.5).collect())
}

#[test]
fn a_refused_reading_takes_no_other_with_it() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some((server, points)) = plant(folder.path(), &Options::default())? else { return Ok(()) };
    // Another program has made `value` an integer here, in the week around noon.
    server.write(PLANT, "taken value=1i 1795348800000000000")?;
    server.ask("", "CREATE DATABASE short WITH DURATION 1d")?;
    let short = InfluxPoints::new(config(&server.url(), "short"))?;
    let times: Vec<i64> = (0..50).map(|at| NOON + at).collect();
    runtime()?.block_on(async {
        let columns = || -> Result<_> {
            Ok(vec![
                column("before", &times, floats(50))?,
                column("taken", &times, floats(50))?,
                column("taken", &[NOON + 99], Values::Integer(vec![7]))?,
                // Three shards; only in the first one is it taken.
                column("taken", &[NOON + 98, NOON + 7 * DAY, NOON + 14 * DAY], floats(3))?,
                column("behind", &[i64::MIN, i64::MAX, NOON], floats(3))?,
            ])
        };
        let parts = put(&points, columns()?, (1, true)).await?;
        let of_taken = ("field-type-conflict", "taken");
        expect(
            &parts,
            &[(of_taken.0, of_taken.1, 1), (of_taken.0, of_taken.1, 50), ("time-out-of-range", "behind", 2)],
        )?;
        let counts = (read(&points, "before").await?.len(), read(&points, "behind").await?.len());
        ensure!(counts == (50, 1), "the others are stored: {counts:?}");
        ensure!(read(&points, "taken").await?.len() == 3, "other kinds and other weeks are stored");
        let again = put(&points, columns()?, (1, true)).await?;
        ensure!(aside(&again)? == aside(&parts)?, "the same again: {again:?}");

        let now = clock().nanos();
        let times = [now - 3 * DAY, now - 2 * DAY, now - 1_000, now];
        let parts = put(&short, vec![column("m", &times, floats(4))?], (1, true)).await?;
        expect(&parts, &[("too-old", "m", 2)])?;
        ensure!(read(&short, "m").await?.len() == 2, "what is kept is there");
        Ok(())
    })
}

#[test]
fn a_limit_on_series_sets_new_ones_aside() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let options = Options { series_max: Some(2), ..Options::default() };
    let Some((_server, points)) = plant(folder.path(), &options)? else { return Ok(()) };
    runtime()?.block_on(async {
        let known = vec![column("a", &[NOON], floats(1))?, column("b", &[NOON], floats(1))?];
        ensure!(put(&points, known, (1, true)).await?.is_empty(), "two series fit");
        let more = vec![
            column("a", &[NOON + 1, NOON + 2], floats(2))?,
            column("c", &[NOON, NOON + 1], floats(2))?,
            column("b", &[NOON + 1], floats(1))?,
        ];
        let parts = put(&points, more, (2, true)).await?;
        expect(&parts, &[("over-a-limit-of-the-database", "c", 2)])?;
        let counts = (read(&points, "a").await?.len(), read(&points, "b").await?.len());
        ensure!(counts == (3, 2), "known series go on: {counts:?}");
        Ok(())
    })
}

#[test]
fn requests_that_are_too_large_are_halved() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let options = Options { body_bytes_max: Some(500), ..Options::default() };
    let Some((_server, points)) = plant(folder.path(), &options)? else { return Ok(()) };
    let mut random = Random::new(5);
    let times: Vec<i64> = (0..500).map(|at| NOON + at).collect();
    let values: Vec<f64> = times.iter().map(|_| random.below(1 << 50) as f64 / 3.0).collect();
    let text: String = (0..1_000).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
    runtime()?.block_on(async {
        let columns = vec![
            column("m", &times, Values::Float(values))?,
            column("long", &[NOON, NOON + 1], Values::Text(vec![text, "short".to_owned()]))?,
        ];
        let parts = put(&points, columns, (1, true)).await?;
        expect(&parts, &[("too-large-for-the-database", "long", 1)])?;
        let counts = (read(&points, "m").await?.len(), read(&points, "long").await?.len());
        ensure!(counts == (500, 1), "all that fits is stored: {counts:?}");
        Ok(())
    })
}

#[test]
fn a_refusal_says_what_to_do_and_keeps_the_password() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let password = "pa55-of-the-test";
    let options = Options { password: Some(password.to_owned()), ..Options::default() };
    let Some((server, _)) = plant(folder.path(), &options)? else { return Ok(()) };
    server.ask("", "CREATE USER stranger WITH PASSWORD 'pa55-of-the-test'")?;
    let with = |token: &str, database: &str| {
        let token = InfluxToken::new(token);
        InfluxPoints::new(InfluxConfig { token, ..config(&server.url(), database) })
    };
    let table = [
        ("", PLANT, "give a token (or user:password)"),
        ("admin:wrong", PLANT, "give a token (or user:password)"),
        ("stranger:pa55-of-the-test", PLANT, "let the token read and write \"plant\""),
        ("admin:pa55-of-the-test", "nowhere", "CREATE DATABASE \"nowhere\""),
    ];
    runtime()?.block_on(async {
        for (token, database, hint) in table {
            let points = with(token, database)?;
            let written = put(&points, vec![column("m", &[NOON], floats(1))?], (1, true)).await;
            let read = read(&points, "m").await.map(drop);
            let asked = read.err().and_then(|error| error.downcast::<StoreError>().ok());
            for error in [written.err(), asked] {
                let error = error.with_context(|| format!("{token} may not use {database}"))?;
                ensure!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
                let said = chain(&error);
                ensure!(said.contains(hint) && !said.contains("pa55"), "{token}: {said}");
            }
        }
        let points = with("admin:pa55-of-the-test", PLANT)?;
        ensure!(put(&points, vec![column("m", &[NOON], floats(1))?], (1, true)).await?.is_empty(), "stored");
        ensure!(read(&points, "m").await?.len() == 1, "and read");
        Ok(())
    })
}
