//! The books, as the agent and the server tell them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fieldline_model::Books;
use serde_json::Value;

use crate::http::Http;
use crate::wait::until;

/// What the agent behind `http` says of its readings.
///
/// # Errors
/// It does not answer.
pub fn of_agent(http: Http) -> Result<Books> {
    let status = http.json("/status")?;
    serde_json::from_value(status["books"].clone()).context("the status has no books")
}

/// The server's ledger of one gateway.
///
/// # Errors
/// It does not answer, or knows no such gateway.
pub fn of_gateway(http: Http, gateway: &str) -> Result<Value> {
    let ledger = http.json("/api/v1/ledger")?;
    let gateways = ledger["gateways"].as_array().context("the ledger has no gateways")?;
    let found = gateways.iter().find(|entry| entry["gateway"] == gateway);
    found.cloned().with_context(|| format!("the ledger does not know {gateway}: {ledger}"))
}

/// Waits until the agent has nothing that waits for the store, its books balance, and the server's
/// ledger says the same of it: nothing buffered, nothing missing, balanced.
///
/// # Errors
/// That does not come about; what was said last is in the error.
pub fn settle(agent: Http, server: Http, gateway: &str, patience: Duration) -> Result<Books> {
    let books = until("an empty journal", patience, || {
        let books = of_agent(agent)?;
        let waiting: u64 = books.lanes.iter().map(|lane| lane.buffered.count()).sum();
        ensure!(waiting == 0, "{waiting} readings wait");
        Ok(Some(books))
    })?;
    ensure!(books.balance() == 0, "the agent's books are off by {}: {books:?}", books.balance());
    until("a balanced ledger on the server", Duration::from_secs(20), || {
        let entry = of_gateway(server, gateway)?;
        let good = entry["balance"] == 0 && entry["missing"] == 0 && entry["buffered"] == 0;
        ensure!(good, "{entry}");
        // A report that is older than what we have just read of the agent proves nothing.
        let reported = entry["accepted"].as_u64().unwrap_or(0);
        ensure!(reported >= books.accepted, "the report is old, {} are accepted: {entry}", books.accepted);
        Ok(Some(()))
    })?;
    Ok(books)
}
