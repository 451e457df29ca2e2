//! Readings that reach the server without a gateway: the server's own stream.
//!
//! Everything that waits while one commit is under way goes into the next one, and is answered when
//! that is durable.

use std::sync::Arc;

use bytes::Bytes;
use fieldline_model::{Class, GatewayId, Reason, StreamId};
use fieldline_mqtt::{PublishError, Routing};
use fieldline_store::{Ledger, ReceivedBlock, StoreError, TimeSeriesStore};
use fieldline_wire::parse::Reject;
use fieldline_wire::{BlockBuilder, Rows};
use tokio::sync::{mpsc, oneshot, watch};

use crate::answer::Answer;
use crate::broker::now;
use crate::counters::Counters;
use crate::quarantine::QuarantineDesk;
use crate::registry::Sightings;
use crate::rules_desk::RulesDesk;
use crate::stop;
use crate::waiting::Place;

/// Readings of one commit at most; what is beyond waits for the next.
const COMMIT_READINGS_MAX: usize = 262_144;
/// Readings of one block at most.
const BLOCK_READINGS_MAX: u64 = 32_768;
/// Estimated bytes of one block at most, well below what a decoder takes.
const BLOCK_BYTES_MAX: usize = 512 * 1024;

/// Who waits for the commit.
#[derive(Debug)]
pub(crate) enum Done {
    /// A device, for its PUBACK.
    Device(Answer),
    /// An HTTP request, for its answer.
    Request(oneshot::Sender<Result<(), NotStored>>),
    /// The rules, which evaluate it themselves and must not wait for themselves.
    Derived(oneshot::Sender<Result<(), NotStored>>),
}

/// Why readings were not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// The store did not take them; they should be sent again.
    Failed,
    /// A device is not known, and only known ones may publish.
    UnknownDevice,
}

impl Done {
    fn settle(self, outcome: Result<(), NotStored>) {
        match (self, outcome) {
            (Self::Device(answer), Ok(())) => answer.accept(Routing::Route),
            (Self::Device(answer), Err(NotStored::Failed)) => {
                answer.reject(PublishError::ImplementationSpecific);
            }
            (Self::Device(answer), Err(NotStored::UnknownDevice)) => {
                answer.reject(PublishError::NotAuthorized);
            }
            // A client that has hung up needs no answer.
            (Self::Request(sender) | Self::Derived(sender), outcome) => drop(sender.send(outcome)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Offer {
    rows: Rows,
    done: Done,
    _place: Place,
}

/// The entrance of the own stream. Cheap to clone. The bound on what waits is that of
/// [`crate::waiting`].
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    offers: mpsc::UnboundedSender<Offer>,
    gateway: GatewayId,
    quarantine: QuarantineDesk,
    counters: Counters,
    sightings: Sightings,
}

impl Direct {
    pub(crate) fn new(
        gateway: GatewayId,
        quarantine: QuarantineDesk,
        counters: Counters,
        sightings: Sightings,
    ) -> (Self, mpsc::UnboundedReceiver<Offer>) {
        let (offers, line) = mpsc::unbounded_channel();
        (Self { offers, gateway, quarantine, counters, sightings }, line)
    }

    /// Hands readings in; `done` is told when they are stored, or not told at shutdown.
    pub(crate) fn offer(&self, rows: Rows, done: Done, place: Place) {
        if !self.sightings.admit(&rows) {
            self.counters.unknown_devices.increment(rows.len() as u64);
            done.settle(Err(NotStored::UnknownDevice));
            return;
        }
        if self.offers.send(Offer { rows, done, _place: place }).is_err() {
            tracing::debug!("readings came too late for this run");
        }
    }

    /// Counts and keeps what could not be read.
    pub(crate) fn set_aside(&self, reason: Reason, count: u64, topic: &str, payload: &Bytes, detail: &str) {
        self.counters.quarantined(reason, count);
        tracing::debug!(topic, %reason, count, detail, "quarantined");
        self.quarantine.offer(&self.gateway, reason, payload, now());
    }

    /// As [`Direct::set_aside`] for the readings of a payload that were refused one by one.
    pub(crate) fn set_aside_rejects(&self, rejects: &[Reject], topic: &str, payload: &Bytes) {
        for reason in Reason::ALL {
            let mut refused = rejects.iter().filter(|reject| reject.reason == reason);
            if let Some(first) = refused.next() {
                self.set_aside(reason, 1 + refused.count() as u64, topic, payload, &first.detail);
            }
        }
    }
}

/// The own stream: numbers readings, packs them, writes them and has the rules evaluate them.
pub(crate) struct OwnStream {
    store: Arc<dyn TimeSeriesStore>,
    ledger: Arc<dyn Ledger>,
    rules: RulesDesk,
    counters: Counters,
    sightings: Sightings,
    stream: StreamId,
    next_seq: u64,
}

impl OwnStream {
    pub(crate) async fn open(
        gateway: &GatewayId,
        store: Arc<dyn TimeSeriesStore>,
        ledger: Arc<dyn Ledger>,
        rules: RulesDesk,
        counters: Counters,
        sightings: Sightings,
    ) -> Result<Self, StoreError> {
        let own = ledger.own_stream(gateway, now()).await?;
        Ok(Self { store, ledger, rules, counters, sightings, stream: own.stream, next_seq: own.next_seq })
    }

    /// Works the line until `stopping`, and then what is in it.
    pub(crate) async fn run(
        mut self,
        mut line: mpsc::UnboundedReceiver<Offer>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let (stored, batches) = mpsc::unbounded_channel();
        let evaluation = tokio::spawn(evaluate(batches, self.rules.clone()));
        let mut open = true;
        loop {
            tokio::select! {
                offer = line.recv() => match offer {
                    Some(offer) => self.commit(offer, &mut line, &stored).await,
                    None => break,
                },
                () = stop::told(&mut stopping), if open => {
                    open = false;
                    line.close();
                }
            }
        }
        drop(stored);
        if let Err(error) = evaluation.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the evaluation ended badly");
        }
    }

    /// One commit for everything that waits.
    async fn commit(
        &mut self,
        first: Offer,
        line: &mut mpsc::UnboundedReceiver<Offer>,
        stored: &mpsc::UnboundedSender<Batch>,
    ) {
        let mut readings = first.rows.len();
        let mut offers = vec![first];
        while readings < COMMIT_READINGS_MAX {
            let Ok(offer) = line.try_recv() else { break };
            readings += offer.rows.len();
            offers.push(offer);
        }
        match self.store_all(&offers).await {
            Ok(blocks) => hand_on(blocks, offers, stored),
            // One that the store can never take must not hold up the others.
            Err(StoreError::Refused { .. }) if offers.len() > 1 => {
                for offer in offers {
                    match self.store_all(std::slice::from_ref(&offer)).await {
                        Ok(blocks) => hand_on(blocks, vec![offer], stored),
                        Err(_told) => offer.done.settle(Err(NotStored::Failed)),
                    }
                }
            }
            Err(_) => offers.into_iter().for_each(|offer| offer.done.settle(Err(NotStored::Failed))),
        }
    }

    /// One block after the other, so that a failure leaves no hole in the stream.
    async fn store_all(&mut self, offers: &[Offer]) -> Result<Vec<Arc<ReceivedBlock>>, StoreError> {
        let blocks = self.pack(offers);
        for block in &blocks {
            let readings = block.block.seqs().count();
            if let Err(error) = self.store.write(Arc::clone(block)).await {
                self.counters.deferred.increment(1);
                tracing::error!(error = &error as &dyn std::error::Error, "readings were not stored");
                // A failed commit may have come through all the same: the ledger knows.
                if let Ok(own) = self.ledger.own_stream(&self.stream.gateway, now()).await {
                    (self.stream, self.next_seq) = (own.stream, own.next_seq);
                }
                return Err(error);
            }
            self.next_seq += readings;
            self.counters.direct_readings.increment(readings);
            self.sightings.of_block(block);
        }
        Ok(blocks)
    }

    fn pack(&self, offers: &[Offer]) -> Vec<Arc<ReceivedBlock>> {
        let received = now();
        let mut blocks = Vec::new();
        let mut keep = |builder: BlockBuilder| {
            if let Some(block) = builder.finish() {
                blocks.push(Arc::new(ReceivedBlock::new(block, received)));
            }
        };
        let mut builder = BlockBuilder::new(self.stream.clone(), Class::Live, self.next_seq);
        let readings = offers.iter().flat_map(|offer| offer.rows.iter());
        for (next, reading) in (self.next_seq..).zip(readings) {
            if builder.count() >= BLOCK_READINGS_MAX || builder.estimated_bytes() >= BLOCK_BYTES_MAX {
                let full = std::mem::replace(
                    &mut builder,
                    BlockBuilder::new(self.stream.clone(), Class::Live, next),
                );
                keep(full);
            }
            builder.push(reading);
        }
        keep(builder);
        blocks
    }
}

/// What is stored, and who waits until the rules have seen it.
struct Batch {
    blocks: Vec<Arc<ReceivedBlock>>,
    offers: Vec<Offer>,
}

/// What waits for the rules is bounded as what waits for the store: an offer keeps its place. What the rules
/// themselves have derived is settled by being stored.
fn hand_on(blocks: Vec<Arc<ReceivedBlock>>, offers: Vec<Offer>, stored: &mpsc::UnboundedSender<Batch>) {
    let (derived, offers): (Vec<Offer>, Vec<Offer>) =
        offers.into_iter().partition(|offer| matches!(offer.done, Done::Derived(_)));
    derived.into_iter().for_each(|offer| offer.done.settle(Ok(())));
    if !offers.is_empty() && stored.send(Batch { blocks, offers }).is_err() {
        tracing::debug!("readings were stored too late for this run's rules");
    }
}

async fn evaluate(mut batches: mpsc::UnboundedReceiver<Batch>, rules: RulesDesk) {
    while let Some(Batch { blocks, offers }) = batches.recv().await {
        let outcome = rules.evaluate(blocks).await.map_err(|_not_kept| NotStored::Failed);
        offers.into_iter().for_each(|offer| offer.done.settle(outcome));
    }
}
