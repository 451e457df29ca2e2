//! Statements on tables.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::refusal::Refusal;
use super::sql::{Expression, Select};
use super::table::{Datum, Key, Stored, Table};

const DAY: i64 = 24 * 3_600_000_000_000;

/// A row of a table.
#[derive(Clone, Copy)]
struct Row<'a> {
    table: &'a Table,
    key: &'a Key,
    stored: &'a Stored,
}

impl Row<'_> {
    fn column(&self, name: &str) -> Result<Datum, Refusal> {
        if name == "time" {
            return Ok(Datum::Timestamp(self.key.time));
        }
        if self.table.dimensions.contains(name) {
            return Ok(self.key.dimensions.get(name).cloned().map_or(Datum::Null, Datum::Varchar));
        }
        if self.table.columns.contains_key(name) {
            return Ok(self.stored.measures.get(name).cloned().unwrap_or(Datum::Null));
        }
        Err(Refusal::validation(format!("Column '{name}' does not exist")))
    }
}

/// The rows of an answer.
pub(super) fn select(table: &Table, select: &Select, now: i64) -> Result<Vec<Vec<Datum>>, Refusal> {
    check_columns(table, select)?;
    let kept = now.saturating_sub(table.retention.magnetic_days.saturating_mul(DAY));
    let mut rows = Vec::new();
    for (key, stored) in table.records.iter().filter(|(key, _)| key.time >= kept) {
        let row = Row { table, key, stored };
        let wanted = select.condition.as_ref().map(|condition| evaluate(condition, &row)).transpose()?;
        if wanted.is_none_or(|wanted| wanted == Datum::Boolean(true)) {
            rows.push(row);
        }
    }
    let mut answer = if select.group.is_empty() && !select.items.iter().any(is_aggregate) {
        single(select, &rows)?
    } else {
        grouped(select, &rows)?
    };
    answer.truncate(select.limit.unwrap_or(usize::MAX));
    Ok(answer)
}

/// A column that does not exist is an error, also where there are no rows.
fn check_columns(table: &Table, select: &Select) -> Result<(), Refusal> {
    let known =
        |name: &str| name == "time" || table.dimensions.contains(name) || table.columns.contains_key(name);
    let mut waiting: Vec<&Expression> = select.items.iter().chain(&select.condition).collect();
    let mut names: Vec<&String> = select.group.iter().chain(&select.order).collect();
    while let Some(expression) = waiting.pop() {
        match expression {
            Expression::Column(name) => names.push(name),
            Expression::Text(_) | Expression::Number(_) => {}
            Expression::Call(_, all) | Expression::And(all) | Expression::Or(all) => waiting.extend(all),
            Expression::Case(one, other) | Expression::Compare(one, _, other) => {
                waiting.extend([one.as_ref(), other.as_ref()]);
            }
            Expression::Like { value, .. } | Expression::IsNull { value, .. } => waiting.push(value),
            Expression::In(value, all) => {
                waiting.push(value);
                waiting.extend(all);
            }
        }
    }
    match names.into_iter().find(|name| !known(name)) {
        Some(name) => Err(Refusal::validation(format!("Column '{name}' does not exist"))),
        None => Ok(()),
    }
}

fn single(select: &Select, rows: &[Row<'_>]) -> Result<Vec<Vec<Datum>>, Refusal> {
    let mut rows = rows.to_vec();
    if let [name] = select.order.as_slice() {
        let keyed: Result<Vec<_>, Refusal> = rows.iter().map(|row| Ok((row.column(name)?, *row))).collect();
        let mut keyed = keyed?;
        keyed.sort_by(|(one, _), (other, _)| order(one, other));
        rows = keyed.into_iter().map(|(_, row)| row).collect();
    } else if !select.order.is_empty() {
        return Err(Refusal::validation("several columns to order by are not understood here"));
    }
    rows.iter().map(|row| select.items.iter().map(|item| evaluate(item, row)).collect()).collect()
}

fn grouped(select: &Select, rows: &[Row<'_>]) -> Result<Vec<Vec<Datum>>, Refusal> {
    if !select.order.is_empty() && select.order != select.group {
        return Err(Refusal::validation("groups are ordered by what they are made of, here"));
    }
    let mut groups: BTreeMap<Vec<Option<String>>, Vec<Row<'_>>> = BTreeMap::new();
    for row in rows {
        let key: Result<Vec<_>, Refusal> = select
            .group
            .iter()
            .map(|name| match row.column(name)? {
                Datum::Varchar(text) => Ok(Some(text)),
                Datum::Null => Ok(None),
                other => Err(Refusal::validation(format!(
                    "groups of {} are not understood here",
                    other.type_name()
                ))),
            })
            .collect();
        groups.entry(key?).or_default().push(*row);
    }
    if select.group.is_empty() && groups.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    let item = |item: &Expression, key: &[Option<String>], rows: &[Row<'_>]| match item {
        Expression::Column(name) => {
            let at = select.group.iter().position(|group| group == name);
            let at = at.ok_or_else(|| Refusal::validation(format!("'{name}' must be in GROUP BY")))?;
            Ok(key.get(at).cloned().flatten().map_or(Datum::Null, Datum::Varchar))
        }
        other => aggregate(other, rows),
    };
    let answer = groups.iter().map(|(key, rows)| select.items.iter().map(|it| item(it, key, rows)).collect());
    answer.collect()
}

fn is_aggregate(expression: &Expression) -> bool {
    match expression {
        Expression::Call(name, arguments) => {
            ["COUNT", "MAX"].contains(&name.as_str()) || arguments.iter().any(is_aggregate)
        }
        _ => false,
    }
}

fn aggregate(expression: &Expression, rows: &[Row<'_>]) -> Result<Datum, Refusal> {
    let Expression::Call(name, arguments) = expression else {
        return Err(Refusal::validation("an item is neither a group nor an aggregate"));
    };
    let [argument] = arguments.as_slice() else {
        return Err(Refusal::validation("one argument is expected"));
    };
    if !["COUNT", "MAX"].contains(&name.as_str()) {
        return call(name, aggregate(argument, rows)?);
    }
    let values: Result<Vec<Datum>, Refusal> = rows.iter().map(|row| evaluate(argument, row)).collect();
    let values = values?.into_iter().filter(|value| *value != Datum::Null);
    Ok(match name.as_str() {
        "COUNT" => Datum::Bigint(values.count() as i64),
        _ => values.max_by(order).unwrap_or(Datum::Null),
    })
}

fn call(name: &str, argument: Datum) -> Result<Datum, Refusal> {
    match (name, argument) {
        ("TO_NANOSECONDS", Datum::Timestamp(nanos)) => Ok(Datum::Bigint(nanos)),
        ("FROM_NANOSECONDS", Datum::Bigint(nanos)) => Ok(Datum::Timestamp(nanos)),
        ("TO_NANOSECONDS" | "FROM_NANOSECONDS", Datum::Null) => Ok(Datum::Null),
        (name, argument) => {
            Err(Refusal::validation(format!("the function {name} is not known for {}", argument.type_name())))
        }
    }
}

fn evaluate(expression: &Expression, row: &Row<'_>) -> Result<Datum, Refusal> {
    Ok(match expression {
        Expression::Column(name) => row.column(name)?,
        Expression::Text(text) => Datum::Varchar(text.clone()),
        Expression::Number(number) => Datum::Bigint(*number),
        Expression::Call(name, arguments) => match arguments.as_slice() {
            [argument] => call(name, evaluate(argument, row)?)?,
            _ => return Err(Refusal::validation("one argument is expected")),
        },
        Expression::Case(condition, value) => match evaluate(condition, row)? {
            Datum::Boolean(true) => evaluate(value, row)?,
            _ => Datum::Null,
        },
        Expression::Compare(one, sign, other) => compare(&evaluate(one, row)?, sign, &evaluate(other, row)?)?,
        Expression::Like { value, pattern, escape } => match evaluate(value, row)? {
            Datum::Varchar(text) => Datum::Boolean(like(&text, pattern, *escape)?),
            _ => Datum::Null,
        },
        Expression::In(value, all) => {
            let value = evaluate(value, row)?;
            let mut found = Datum::Boolean(false);
            for other in all {
                if compare(&value, "=", &evaluate(other, row)?)? == Datum::Boolean(true) {
                    found = Datum::Boolean(true);
                }
            }
            found
        }
        Expression::IsNull { value, negated } => {
            Datum::Boolean((evaluate(value, row)? == Datum::Null) != *negated)
        }
        Expression::And(all) => fold(all, row, false)?,
        Expression::Or(all) => fold(all, row, true)?,
    })
}

/// `AND` and `OR` over three values: one `decisive` settles it, else an unknown one leaves it open.
fn fold(all: &[Expression], row: &Row<'_>, decisive: bool) -> Result<Datum, Refusal> {
    let mut unknown = false;
    for expression in all {
        match evaluate(expression, row)? {
            Datum::Boolean(value) if value == decisive => return Ok(Datum::Boolean(decisive)),
            Datum::Boolean(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Boolean(!decisive) })
}

fn compare(one: &Datum, sign: &str, other: &Datum) -> Result<Datum, Refusal> {
    if *one == Datum::Null || *other == Datum::Null {
        return Ok(Datum::Null);
    }
    if one.type_name() != other.type_name() {
        let (one, other) = (one.type_name(), other.type_name());
        return Err(Refusal::validation(format!("'{sign}' cannot be applied to {one}, {other}")));
    }
    let ordering = order(one, other);
    Ok(Datum::Boolean(match sign {
        "=" => ordering.is_eq(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    }))
}

fn order(one: &Datum, other: &Datum) -> Ordering {
    match (one, other) {
        (Datum::Varchar(one), Datum::Varchar(other)) => one.cmp(other),
        (Datum::Bigint(one), Datum::Bigint(other)) => one.cmp(other),
        (Datum::Timestamp(one), Datum::Timestamp(other)) => one.cmp(other),
        (Datum::Double(one), Datum::Double(other)) => one.total_cmp(other),
        (Datum::Boolean(one), Datum::Boolean(other)) => one.cmp(other),
        _ => Ordering::Equal,
    }
}

/// `%` is any text, `_` any letter, what follows `escape` itself.
fn like(text: &str, pattern: &str, escape: char) -> Result<bool, Refusal> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        parts.push(match char {
            '%' => Part::Any,
            '_' => Part::One,
            char if char == escape => match chars.next() {
                Some(next) if matches!(next, '%' | '_') || next == escape => Part::Letter(next),
                _ => {
                    return Err(Refusal::validation(
                        "Escape character must be followed by '%', '_' or itself",
                    ));
                }
            },
            char => Part::Letter(char),
        });
    }
    let text: Vec<char> = text.chars().collect();
    Ok(fits(&text, &parts))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Any,
    One,
    Letter(char),
}

fn fits(text: &[char], parts: &[Part]) -> bool {
    match (parts.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((Part::Any, parts)), None) => fits(text, parts),
        (Some((Part::Any, rest)), Some((_, tail))) => fits(text, rest) || fits(tail, parts),
        (Some((Part::One, parts)), Some((_, tail))) => fits(tail, parts),
        (Some((Part::Letter(letter), parts)), Some((char, tail))) => letter == char && fits(tail, parts),
        (Some(_), None) => false,
    }
}
