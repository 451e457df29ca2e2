//! Asking: statements, their answers page by page, and which columns there are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_timestreamquery::Client;
use aws_sdk_timestreamquery::error::SdkError;
use aws_sdk_timestreamquery::types::Row;
use fieldline_model::Metric;
use fieldline_store::StoreError;

use super::column::{self, Kind};
use super::sql::identifier;
use super::{TimestreamConfig, fails};

/// Rows in a page of an answer.
const ROWS_MAX: i32 = 1_000;

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) config: TimestreamConfig,
}

/// A row of an answer; `None` stands for `NULL`.
pub(super) type Cells<'a> = [Option<&'a str>];

impl Reader {
    /// The table, as SQL names it.
    pub(super) fn table(&self) -> String {
        format!("{}.{}", identifier(&self.config.database), identifier(&self.config.table))
    }

    /// Asks, and hands over row by row until the answer ends or `each` breaks.
    pub(super) async fn ask(
        &self,
        statement: &str,
        mut each: impl FnMut(&Cells<'_>) -> ControlFlow<()> + Send,
    ) -> Result<(), StoreError> {
        tracing::trace!(statement, "query");
        let mut token = None;
        loop {
            let call = self.client.query().query_string(statement).max_rows(ROWS_MAX);
            let answer = call.set_next_token(token.take()).send().await;
            let answer = answer.map_err(|error| fails(SdkError::into_service_error(error)))?;
            for row in &answer.rows {
                if each(&cells(row)).is_break() {
                    return Ok(());
                }
            }
            match answer.next_token {
                // A page may be empty while the query still runs.
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The columns that the table has now.
    pub(super) async fn schema(&self) -> Result<Schema, StoreError> {
        let mut schema = Schema::default();
        self.ask(&format!("DESCRIBE {}", self.table()), |row| {
            if let [Some(name), Some(kind), Some(role), ..] = row {
                schema.add(name, kind, role);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(schema)
    }
}

fn cells(row: &Row) -> Vec<Option<&str>> {
    row.data.iter().map(|datum| datum.scalar_value.as_deref()).collect()
}

/// The columns of the table, as far as they are ours.
#[derive(Debug, Default)]
pub(super) struct Schema {
    /// The metrics of wide records, and which columns each has.
    pub(super) wide: BTreeMap<Metric, Vec<Kind>>,
    /// The columns of narrow records.
    pub(super) narrow: Vec<Kind>,
    /// Whether there is a column of qualities.
    pub(super) quality: bool,
    device: bool,
    place: bool,
    metric: bool,
}

impl Schema {
    fn add(&mut self, name: &str, sql_type: &str, role: &str) {
        match (role.eq_ignore_ascii_case("dimension"), name) {
            (true, column::DEVICE) => self.device = true,
            (true, column::METRIC) => self.metric = true,
            (false, column::PLACE) => self.place = true,
            (false, column::QUALITY) => self.quality = true,
            (false, name) => {
                let fits = |kind: &Kind| sql_type.eq_ignore_ascii_case(kind.sql_type());
                if let Some(kind) = column::parse_reading(name).filter(fits) {
                    self.narrow.push(kind);
                } else if let Some((metric, kind)) = column::parse(name).filter(|(_, kind)| fits(kind)) {
                    self.wide.entry(metric).or_default().push(kind);
                }
            }
            _ => {}
        }
    }

    /// Whether anything has been written yet: the columns come with the first record.
    pub(super) fn is_empty(&self) -> bool {
        !self.device || !self.place || (self.wide.is_empty() && !self.has_narrow())
    }

    /// The columns of these metrics in wide records, quoted.
    pub(super) fn columns(&self, wanted: impl Fn(&Metric) -> bool) -> Vec<(&Metric, String)> {
        let mut columns = Vec::new();
        for (metric, kinds) in self.wide.iter().filter(|(metric, _)| wanted(metric)) {
            let base = column::base(metric.as_str()).unwrap_or_default();
            let name = |kind: &Kind| identifier(&format!("{base}{}", kind.suffix()));
            columns.extend(kinds.iter().map(|kind| (metric, name(kind))));
        }
        columns
    }

    /// Whether there are narrow records.
    pub(super) fn has_narrow(&self) -> bool {
        self.metric && !self.narrow.is_empty()
    }
}
