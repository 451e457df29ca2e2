//! What the query commands print. Everything here is text in, text out.

mod chart;
mod commands;
mod ledger;
mod series;
mod table;

pub use chart::chart;
pub use commands::{command, command_step, commands};
pub use ledger::ledger;
pub use series::{csv, devices, latest, points, series_table};
pub use table::Table;
