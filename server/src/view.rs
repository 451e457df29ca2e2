//! What the query commands print. Everything here is text in, text out.

mod alarms;
mod commands;
mod ledger;
mod series;
mod table;
mod things;

pub use alarms::{alarm, alarm_history, alarms, rules};
pub use commands::{command, command_step, commands};
pub use ledger::ledger;
pub use series::{csv, devices, latest, points, series_table, time};
pub use table::Table;
pub use things::things;
