//! Books that gateways report, on their way into the ledger.

use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::{Books, GatewayId, Timestamp};
use fieldline_mqtt::{PublishError, Routing};
use fieldline_store::Ledger;
use tokio::sync::{mpsc, watch};

use crate::answer::Answer;
use crate::counters::Counters;
use crate::reported::Reported;
use crate::stop;
use crate::waiting::Place;

/// A gateway's books as they came.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) gateway: GatewayId,
    pub(crate) payload: Bytes,
    pub(crate) received: Timestamp,
    pub(crate) answer: Answer,
    pub(crate) place: Place,
}

/// Where books are handed in. The bound on what waits is that of [`crate::waiting`].
#[derive(Debug, Clone)]
pub(crate) struct BooksDesk {
    reports: mpsc::UnboundedSender<Report>,
}

impl BooksDesk {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (reports, line) = mpsc::unbounded_channel();
        (Self { reports }, line)
    }

    pub(crate) fn offer(&self, report: Report) {
        if self.reports.send(report).is_err() {
            tracing::debug!("books came too late for this run");
        }
    }
}

/// Records books until `stopping`, and then what has been handed in.
pub(crate) async fn run(
    mut line: mpsc::UnboundedReceiver<Report>,
    ledger: Arc<dyn Ledger>,
    reported: Reported,
    counters: Counters,
    mut stopping: watch::Receiver<bool>,
) {
    let mut open = true;
    loop {
        tokio::select! {
            report = line.recv() => match report {
                Some(report) => record(report, ledger.as_ref(), &reported, &counters).await,
                None => return,
            },
            () = stop::told(&mut stopping), if open => {
                open = false;
                line.close();
            }
        }
    }
}

async fn record(report: Report, ledger: &dyn Ledger, reported: &Reported, counters: &Counters) {
    let Report { gateway, payload, received, answer, place } = report;
    match serde_json::from_slice::<Books>(&payload) {
        Err(error) => {
            tracing::warn!(%gateway, error = &error as &dyn std::error::Error, "books cannot be read");
            answer.reject(PublishError::PayloadFormatInvalid);
        }
        Ok(books) => match ledger.record_books(&gateway, books.clone(), received).await {
            Ok(()) => {
                reported.books(&gateway, books, received);
                counters.books.increment(1);
                answer.accept(Routing::Consume);
            }
            Err(error) => {
                counters.deferred.increment(1);
                tracing::error!(%gateway, error = &error as &dyn std::error::Error, "books were not recorded");
                answer.reject(PublishError::ImplementationSpecific);
            }
        },
    }
    drop(place);
}
