//! Reads a recorded CSV file row by row.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use fieldline_model::{Metric, Timestamp};
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::cli::ColumnArgs;

/// A file with a line of column names.
pub(crate) struct Recording {
    path: PathBuf,
    reader: csv::Reader<File>,
    record: csv::StringRecord,
    time_column: usize,
    columns: Vec<(usize, Metric)>,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// When, in nanoseconds since the epoch.
    pub(crate) nanos: i64,
    /// The values that are there, as they will stand in JSON.
    pub(crate) values: Vec<(Metric, String)>,
}

impl Recording {
    /// Opens the file and finds its columns.
    pub(crate) fn open(path: &Path, args: &ColumnArgs) -> anyhow::Result<Self> {
        let path = path.to_owned();
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(file);
        let names = reader.headers().with_context(|| format!("cannot read {}", path.display()))?.clone();
        let find = |name: &str| {
            names.iter().position(|column| column == name).ok_or_else(|| {
                let there: Vec<&str> = names.iter().collect();
                anyhow!("{} has no column {name:?}; there are: {}", path.display(), there.join(", "))
            })
        };
        let time_column = find(&args.time_column)?;
        let columns = if args.map.is_empty() {
            let others: Vec<(usize, &str)> =
                names.iter().enumerate().filter(|(index, _)| *index != time_column).collect();
            columns_by_name(&others, args.metric.as_ref())?
        } else {
            args.map
                .iter()
                .map(|(column, metric)| Ok((find(column)?, metric.clone())))
                .collect::<anyhow::Result<_>>()?
        };
        Ok(Self { path, reader, record: csv::StringRecord::new(), time_column, columns })
    }

    /// The next row; none at the end.
    pub(crate) fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        let more = self.reader.read_record(&mut self.record);
        let line = self.record.position().map_or(0, csv::Position::line);
        if !more.with_context(|| format!("cannot read {} after line {line}", self.path.display()))? {
            return Ok(None);
        }
        let text = self.record.get(self.time_column).unwrap_or_default();
        let nanos = parse_time(text)
            .ok_or_else(|| anyhow!("{}, line {line}: {text:?} is not a time", self.path.display()))?;
        let values = self
            .columns
            .iter()
            .filter_map(|(column, metric)| Some((metric.clone(), json_value(self.record.get(*column)?)?)))
            .collect();
        Ok(Some(Row { nanos, values }))
    }
}

/// One column may be named by `--metric`; several keep their own names.
fn columns_by_name(
    others: &[(usize, &str)],
    metric: Option<&Metric>,
) -> anyhow::Result<Vec<(usize, Metric)>> {
    match (others, metric) {
        ([], _) => bail!("the file has no column of values"),
        ([(index, _)], Some(metric)) => Ok(vec![(*index, metric.clone())]),
        (several, Some(_)) => {
            let names: Vec<&str> = several.iter().map(|(_, name)| *name).collect();
            bail!("the file has several columns ({}): use --map COLUMN=METRIC", names.join(", "))
        }
        (several, None) => several
            .iter()
            .map(|(index, name)| {
                let metric =
                    Metric::new(name).with_context(|| format!("column {name:?}: use --map COLUMN=METRIC"))?;
                Ok((*index, metric))
            })
            .collect(),
    }
}

impl Row {
    /// Appends the row as a JSON object. Times keep every digit they had.
    pub(crate) fn write_json(&self, out: &mut String) {
        let time = Timestamp::from_nanos(self.nanos);
        if self.nanos % 1_000_000 == 0 {
            out.push_str(&format!("{{\"ts\":{}", time.millis()));
        } else {
            out.push_str(&format!("{{\"ts\":\"{time}\""));
        }
        for (metric, value) in &self.values {
            out.push(',');
            out.push_str(&serde_json::Value::from(metric.as_str()).to_string());
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
    }
}

/// The cell in JSON, in the form in which it is written: `73` stays whole, `73.0` does not become so.
/// Nothing, and what is no value (NaN), is none.
fn json_value(cell: &str) -> Option<String> {
    match cell {
        "" => None,
        "true" | "True" | "TRUE" => Some("true".to_owned()),
        "false" | "False" | "FALSE" => Some("false".to_owned()),
        number if is_json_number(number) => Some(number.to_owned()),
        other => match other.parse::<f64>() {
            // What other programs write and JSON does not take: `.5`, `+3`, `1.`, `007`.
            Ok(number) if number.is_finite() => serde_json::to_string(&number).ok(),
            Ok(_) => None,
            Err(_) => Some(serde_json::Value::from(other).to_string()),
        },
    }
}

fn is_json_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// `2013-12-02 21:15:00[.5]` (UTC), RFC 3339, or a number since the epoch, whose size tells its unit.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.nanos());
    }
    if let Ok(number) = text.parse::<i64>() {
        // Seconds reach 1e11 in the year 5138, milliseconds pass it in 1973: no overlap in between.
        let unit = match number.unsigned_abs() {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return number.checked_mul(unit);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Timestamp::from_seconds(seconds).ok().map(Timestamp::nanos);
    }
    let text = text.replacen('T', " ", 1);
    let whole = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let parts = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond]");
    let minutes = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let moment = PrimitiveDateTime::parse(&text, &whole)
        .or_else(|_| PrimitiveDateTime::parse(&text, &parts))
        .or_else(|_| PrimitiveDateTime::parse(&text, &minutes))
        .ok()?;
    i64::try_from(moment.assume_utc().unix_timestamp_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn open(path: &Path, more: &[&str]) -> anyhow::Result<Recording> {
        let text = path.to_str().unwrap();
        let flags = ["fieldline", "replay", text, "--device", "d"].into_iter().chain(more.iter().copied());
        match Cli::parse_from(flags).command {
            Command::Replay(args) => Recording::open(path, &args.columns),
            other => panic!("{other:?}"),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn values_keep_their_written_form() {
        let table = [
            ("73", Some("73")),
            ("73.0", Some("73.0")),
            ("-0.0", Some("-0.0")),
            ("74.93588199999998", Some("74.93588199999998")),
            ("1e3", Some("1e3")),
            (".5", Some("0.5")),
            ("007", Some("7.0")),
            ("true", Some("true")),
            ("", None),
            ("NaN", None),
            ("auto \"x\"", Some("\"auto \\\"x\\\"\"")),
        ];
        for (cell, expected) in table {
            assert_eq!(json_value(cell).as_deref(), expected, "{cell}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_recordings_have() {
        let expected = 1_386_018_900_000_000_000;
        for text in [
            "2013-12-02 21:15:00",
            "2013-12-02 21:15",
            "2013-12-02T21:15:00",
            "2013-12-02T21:15:00Z",
            "2013-12-02T22:15:00+01:00",
            "1386018900",
            "1386018900000",
            "1386018900000000",
            "1386018900000000000",
            "1386018900.0",
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(parse_time("2013-12-02 21:15:00.25"), Some(expected + 250_000_000));
        for wrong in ["", "yesterday", "2013-13-02 21:15:00"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_becomes_objects_with_their_times() {
        let file = file("timestamp,value\n2013-12-02 21:15:00,73\n2013-12-02 21:15:00.0005,73.0\n");
        let mut recording = open(file.path(), &["--metric", "speed"]).unwrap();
        let mut text = String::new();
        while let Some(row) = recording.next_row().unwrap() {
            row.write_json(&mut text);
        }
        assert_eq!(
            text,
            "{\"ts\":1386018900000,\"speed\":73}{\"ts\":\"2013-12-02T21:15:00.0005Z\",\"speed\":73.0}"
        );
    }

    #[test]
    fn columns_are_mapped_and_a_wrong_one_is_told() {
        let file = file("time,a,b\n1,2,3\n");
        let flags = ["--time-column", "time", "--map", "b=x"];
        let row = open(file.path(), &flags).unwrap().next_row().unwrap().unwrap();
        assert_eq!(row.values, vec![(Metric::new("x").unwrap(), "3".to_owned())]);
        let error = open(file.path(), &[]).err().unwrap().to_string();
        assert!(error.contains("no column \"timestamp\"; there are: time, a, b"), "{error}");
        let flags = ["--time-column", "time", "--metric", "x"];
        let error = open(file.path(), &flags).err().unwrap().to_string();
        assert!(error.contains("use --map"), "{error}");
    }

    #[test]
    fn a_bad_time_is_told_with_its_line() {
        let file = file("timestamp,value\n2013-12-02 21:15:00,1\nsoon,2\n");
        let mut recording = open(file.path(), &[]).unwrap();
        recording.next_row().unwrap();
        let error = recording.next_row().unwrap_err().to_string();
        assert!(error.contains("line 3: \"soon\" is not a time"), "{error}");
    }
}
