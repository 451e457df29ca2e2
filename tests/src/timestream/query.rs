//! `Query`: statements, and their answers page by page.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::evaluate;
use super::refusal::Refusal;
use super::sql::{self, Statement};
use super::table::{Datum, Table, Tables};

/// Bytes of a statement.
const STATEMENT_BYTES_MAX: usize = 256 << 10;
/// Answers that are kept for their next pages; the oldest go first.
const ANSWERS_MAX: u64 = 64;

/// Answers of which pages are still to be fetched.
#[derive(Debug, Default)]
pub(super) struct Results {
    counter: u64,
    kept: BTreeMap<u64, Vec<Vec<Datum>>>,
}

/// One page of an answer.
pub(super) fn run(
    tables: &Tables,
    results: &mut Results,
    input: &Value,
    now: i64,
    rows_max: usize,
) -> Result<Value, Refusal> {
    let asked = input["MaxRows"].as_u64().unwrap_or(1_000);
    if !(1..=1_000).contains(&asked) {
        return Err(Refusal::validation("MaxRows lies between 1 and 1000"));
    }
    let (id, offset) = match input["NextToken"].as_str() {
        Some(token) => read_token(token).ok_or_else(|| Refusal::validation("the token is not valid"))?,
        None => {
            let rows = rows(tables, input["QueryString"].as_str().unwrap_or_default(), now)?;
            results.counter += 1;
            results.kept.insert(results.counter, rows);
            let oldest = results.counter.saturating_sub(ANSWERS_MAX);
            results.kept.retain(|id, _| *id > oldest);
            (results.counter, 0)
        }
    };
    let rows = results.kept.get(&id).ok_or_else(|| Refusal::validation("the token has expired"))?;
    let end =
        offset.saturating_add(usize::try_from(asked).unwrap_or(usize::MAX).min(rows_max)).min(rows.len());
    let page = rows.get(offset..end).unwrap_or_default();
    let data = |row: &Vec<Datum>| json!({ "Data": row.iter().map(Datum::json).collect::<Vec<_>>() });
    let mut answer = json!({
        "QueryId": id.to_string(),
        "Rows": page.iter().map(data).collect::<Vec<_>>(),
        "ColumnInfo": rows.first().map(|row| vec![json!({ "Type": { "ScalarType": "VARCHAR" } }); row.len()]).unwrap_or_default(),
    });
    if end < rows.len() {
        answer["NextToken"] = json!(format!("{id}/{end}"));
    } else {
        results.kept.remove(&id);
    }
    Ok(answer)
}

fn read_token(token: &str) -> Option<(u64, usize)> {
    let (id, offset) = token.split_once('/')?;
    Some((id.parse().ok()?, offset.parse().ok()?))
}

fn rows(tables: &Tables, statement: &str, now: i64) -> Result<Vec<Vec<Datum>>, Refusal> {
    if statement.len() > STATEMENT_BYTES_MAX {
        return Err(Refusal::validation("the statement is longer than 256 KiB"));
    }
    match sql::parse(statement)? {
        Statement::Describe { database, table } => Ok(describe(find(tables, &database, &table)?)),
        Statement::Select(select) => {
            evaluate::select(find(tables, &select.database, &select.table)?, &select, now)
        }
    }
}

/// Here a missing table is a mistake in the statement.
fn find<'a>(tables: &'a Tables, database: &str, table: &str) -> Result<&'a Table, Refusal> {
    tables
        .table(database, table)
        .map_err(|_missing| Refusal::validation(format!("The table {database}.{table} does not exist.")))
}

fn describe(table: &Table) -> Vec<Vec<Datum>> {
    let row = |name: &str, kind: &str, role: &str| {
        [name, kind, role].map(|text| Datum::Varchar(text.to_owned())).to_vec()
    };
    let mut rows: Vec<Vec<Datum>> =
        table.dimensions.iter().map(|name| row(name, "varchar", "DIMENSION")).collect();
    rows.push(row("measure_name", "varchar", "MEASURE_NAME"));
    rows.push(row("time", "timestamp", "TIMESTAMP"));
    rows.extend(table.columns.iter().map(|(name, kind)| row(name, kind, "MULTI")));
    rows
}
