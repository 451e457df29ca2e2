//! One connection to the server: blocks out, the store's acknowledgements in.

mod answers;
mod letters;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use fieldline_model::{AckMessage, GatewayTopic, RuleTopic};
use fieldline_mqtt::{Connection, Event, Message, MessageId, PublishError, QoS, RequestId, Token};
use tokio::sync::watch;

use self::answers::Unanswered;
use super::pace::Pace;
use super::pack::{Packed, Packer};
use super::plan::{Carryover, Kind, Pick, Plan, Waiting};
use super::uplink::{Ended, Uplink, changed, stopped};
use crate::books;
use crate::clock;

/// How long nothing is sent after the server has refused a block: it is busy or its disk is full.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The state of one connection.
pub(crate) struct Link<'a> {
    uplink: &'a Uplink,
    connection: Connection,
    plan: Plan,
    pace: Pace,
    packer: Packer,
    ingest_topic: String,
    ack_topic: String,
    /// When the live readings that wait are sent; `None` if none wait.
    live_due: Option<Instant>,
    /// When the backlog may go on; `None` if nothing of it waits for its pace.
    backlog_due: Option<Instant>,
    /// Messages that the server has not answered yet.
    unanswered: HashMap<Token, Unanswered>,
    /// Nothing is sent before this.
    paused_until: Option<Instant>,
    books_due: Instant,
    books_sent: Option<Vec<u8>>,
    /// Subscriptions of correspondents that the server has not answered yet.
    asked: HashMap<RequestId, Vec<String>>,
    /// Whether correspondents know that the link is up.
    told_up: bool,
}

impl<'a> Link<'a> {
    pub(crate) fn new(uplink: &'a Uplink, connection: Connection) -> Self {
        let settings = &uplink.settings;
        let now = Instant::now();
        let waiting = waiting(uplink);
        let mut plan = Plan::new(&waiting, settings.in_flight_max, settings.ack_timeout)
            .after(std::mem::take(&mut *lock(&uplink.carryover)));
        for lane in &waiting {
            if let Some(seq) = uplink.committed.live_from(lane.epoch, settings.live_lag_max / 2) {
                plan.begin_live_at(lane.epoch, seq);
            }
        }
        Self {
            uplink,
            connection,
            plan,
            pace: Pace::new(settings.bytes_per_second.as_u64(), settings.messages_per_second, now),
            packer: Packer::new(uplink.gateway.clone(), settings.bytes_per_second.as_u64()),
            ingest_topic: RuleTopic::Ingest(uplink.gateway.clone()).to_string(),
            ack_topic: GatewayTopic::Ack(uplink.gateway.clone()).to_string(),
            live_due: Some(now),
            backlog_due: None,
            unanswered: HashMap::new(),
            paused_until: None,
            books_due: now,
            books_sent: None,
            asked: HashMap::new(),
            told_up: false,
        }
    }

    /// Runs until the connection fails (an error) or a stop is asked for.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Ended> {
        let ended = self.work(stop).await;
        self.uplink.office.down();
        *lock(&self.uplink.carryover) = self.plan.into_carryover();
        if ended.is_ok() {
            self.connection.disconnect().await.context("cannot say goodbye")?;
        }
        ended
    }

    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<Ended> {
        let mut letters = self.uplink.office.open().await;
        tokio::select! {
            subscribed = self.subscribe() => subscribed?,
            // Nothing is sent yet, so nothing is cut short.
            () = stopped(&mut stop) => return Ok(Ended::Stopped),
        }
        self.uplink.board.update(|state| {
            state.connected_since = Some(clock::now());
            state.down_since = None;
            state.last_error = None;
            state.attempts = 0;
        });
        tracing::info!(server = %self.uplink.options.host, port = self.uplink.options.port, "link to the server is up");
        self.subscribe_for_correspondents()?;
        let mut commits = self.uplink.committed.watch();
        loop {
            self.check_answers()?;
            self.fill().await?;
            self.report().await?;
            let wake = self.next_wake();
            let takes_letters = self.takes_letters(Instant::now());
            tokio::select! {
                event = self.connection.next() => self.handle(event?).await?,
                changed = commits.changed() => {
                    changed.context("the committer has ended")?;
                    let linger = self.uplink.settings.linger;
                    self.live_due.get_or_insert_with(|| Instant::now() + linger);
                }
                () = tokio::time::sleep_until(wake.into()) => {}
                Some(letter) = letters.recv(), if takes_letters => self.post(letter)?,
                () = stopped(&mut stop) => return Ok(Ended::Stopped),
                () = changed(self.uplink.course.clone()) => return Ok(Ended::Course),
            }
        }
    }

    /// Sends what may go now: all live blocks that are due, then backlog as far as its pace allows.
    async fn fill(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let again = self.plan.overdue(now);
        if again > 0 {
            tracing::warn!(blocks = again, "no acknowledgement from the store; sending again");
            self.uplink.board.update(|state| state.blocks_sent_again += again as u64);
            self.live_may_go(now);
        }
        if self.paused_until.is_some_and(|until| until > now) {
            return Ok(());
        }
        self.paused_until = None;
        self.repeat_oldest(now)?;
        if self.live_due.is_some_and(|due| due <= now) {
            self.live_due = self.send_live().await?;
        }
        self.backlog_due = None;
        loop {
            let wait = self.pace.backlog_wait(Instant::now());
            if !wait.is_zero() {
                self.backlog_due = Some(Instant::now() + wait);
                break;
            }
            if self.live_due.is_some_and(|due| due <= Instant::now())
                || !self.send_next(Kind::Backlog).await?
            {
                break;
            }
        }
        let (in_flight, pacing) = (self.plan.in_flight(), self.backlog_due.is_some());
        self.uplink.board.update(|state| {
            state.in_flight = in_flight;
            state.pacing = pacing;
        });
        Ok(())
    }

    /// There is room again, or something to send again: live readings that waited for it go now, and not
    /// with the next that comes, which may be never. Those that are still being gathered keep their time.
    fn live_may_go(&mut self, now: Instant) {
        self.live_due.get_or_insert(now);
    }

    /// Sends all live blocks, or as many as go now: then the time of the next.
    async fn send_live(&mut self) -> anyhow::Result<Option<Instant>> {
        loop {
            let now = Instant::now();
            let wait = self.pace.wait(now);
            if !wait.is_zero() {
                return Ok(Some(now + wait));
            }
            if !self.send_next(Kind::Live).await? {
                return Ok(None);
            }
        }
    }

    /// Picks, packs and sends one block; `false` when there is none or no room for it.
    async fn send_next(&mut self, kind: Kind) -> anyhow::Result<bool> {
        if self.connection.vacancy() == 0 {
            return Ok(false);
        }
        let Some(pick) = self.plan.pick(&waiting(self.uplink), kind) else { return Ok(false) };
        match self.pack(pick).await? {
            Some(packed) => self.send(pick, packed),
            None => {
                // Nothing readable is left there; look again after the acknowledgement timeout.
                self.plan.sent(pick.epoch, pick.range, Instant::now());
                Ok(true)
            }
        }
    }

    fn send(&mut self, pick: Pick, packed: Packed) -> anyhow::Result<bool> {
        let (length, count) = (packed.bytes.len(), packed.range.count());
        let bytes = Bytes::from(packed.bytes);
        if let Some(token) = self.connection.publish(&self.ingest_topic, bytes, QoS::AtLeastOnce, false)? {
            let block = Some((pick.epoch, packed.range));
            self.unanswered.insert(token, Unanswered::new(block, length));
        }
        let now = Instant::now();
        self.plan.sent(pick.epoch, packed.range, now);
        self.pace.spend(length, now);
        self.uplink.board.update(|state| {
            state.blocks_sent += 1;
            state.readings_sent += count;
            state.bytes_sent += length as u64;
        });
        let lag_ms = clock::now().millis().saturating_sub(packed.oldest_ms);
        if pick.kind == Kind::Live && lag_ms > self.uplink.settings.live_lag_max.as_millis() as i64 {
            self.plan.demote_live(pick.epoch, pick.range.last);
        }
        Ok(true)
    }

    /// Reads and compresses on a thread that may block.
    async fn pack(&mut self, pick: Pick) -> anyhow::Result<Option<Packed>> {
        let journal = self.uplink.journal.clone();
        let mut packer = self.packer.clone();
        let (packer, packed) = tokio::task::spawn_blocking(move || {
            let packed = packer.pack(&journal, &pick);
            (packer, packed)
        })
        .await?;
        self.packer = packer;
        Ok(packed?)
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Message { message, id, .. } => self.take(&message, id).await,
            Event::Refused(token, reason) => self.refused(token, reason),
            Event::Published(token) => {
                self.unanswered.remove(&token);
                self.live_may_go(Instant::now());
            }
            Event::Subscribed { request, granted } => self.subscribed(request, &granted),
            Event::Unsubscribed { .. } => {}
        }
        Ok(())
    }

    /// A block that the server cannot read waits for its timeout, so that it does not hold up others;
    /// any other refusal means that the server is busy.
    fn refused(&mut self, token: Token, reason: PublishError) {
        let answered = self.unanswered.remove(&token).and_then(|message| message.block);
        let Some((epoch, range)) = answered else { return };
        if reason == PublishError::PayloadFormatInvalid {
            tracing::error!(epoch, %range, "the server cannot read a block; it stays in the journal");
            return;
        }
        tracing::warn!(?reason, %range, "the server is busy; a block is sent again");
        self.plan.refused(epoch, range);
        let again = Instant::now() + REFUSED_PAUSE;
        self.paused_until = Some(again);
        self.live_due = Some(again);
    }

    /// The store has something: the journal lets go of it, and then the message is acknowledged. Any other
    /// message is for whom it concerns.
    async fn take(&mut self, message: &Message, id: Option<MessageId>) {
        if *message.topic == *self.ack_topic {
            self.take_ack(message).await;
        } else {
            self.hear(message);
        }
        if let Some(id) = id {
            self.connection.acknowledge(id);
        }
    }

    async fn take_ack(&mut self, message: &Message) {
        match serde_json::from_slice::<AckMessage>(&message.payload) {
            Ok(ack) => self.release(ack).await,
            Err(error) => tracing::warn!(%error, topic = %message.topic, "cannot read an acknowledgement"),
        }
    }

    async fn release(&mut self, ack: AckMessage) {
        self.plan.acknowledged(ack.epoch, &ack.stored);
        self.live_may_go(Instant::now());
        self.uplink.board.update(|state| state.last_ack = Some(clock::now()));
        let journal = self.uplink.journal.clone();
        let released = tokio::task::spawn_blocking(move || {
            journal.release(ack.epoch, &ack.stored, clock::now().millis()).map(drop)
        })
        .await;
        match released {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = crate::committer::chain(&error), "cannot release journal records")
            }
            Err(error) => tracing::error!(%error, "releasing journal records was cut short"),
        }
    }

    /// Publishes the books when they have changed and their time has come.
    async fn report(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if now < self.books_due || self.connection.vacancy() == 0 {
            return Ok(());
        }
        let wait = self.pace.wait(now);
        if !wait.is_zero() {
            self.books_due = now + wait;
            return Ok(());
        }
        self.books_due = now + self.uplink.settings.books_every;
        let Some(books) = books::read(&self.uplink.committed, &self.uplink.journal) else { return Ok(()) };
        let payload = serde_json::to_vec(&books).context("cannot write the books")?;
        if self.books_sent.as_ref() == Some(&payload) {
            return Ok(());
        }
        let topic = RuleTopic::Books(self.uplink.gateway.clone()).to_string();
        let bytes = Bytes::from(payload.clone());
        if let Some(token) = self.connection.publish(&topic, bytes, QoS::AtLeastOnce, false)? {
            self.unanswered.insert(token, Unanswered::new(None, payload.len()));
        }
        self.pace.spend(payload.len(), now);
        self.books_sent = Some(payload);
        Ok(())
    }

    fn next_wake(&mut self) -> Instant {
        let now = Instant::now();
        let letters_due = Some(self.pace.wait(now)).filter(|wait| !wait.is_zero()).map(|wait| now + wait);
        [
            letters_due,
            self.live_due,
            self.backlog_due,
            self.paused_until,
            self.plan.next_due(),
            self.repeat_wake(),
        ]
        .into_iter()
        .flatten()
        .fold(self.books_due, Instant::min)
        .max(Instant::now() + Duration::from_millis(1))
    }
}

/// What every lane of the journal still holds.
fn lock(carryover: &Mutex<Carryover>) -> MutexGuard<'_, Carryover> {
    carryover.lock().unwrap_or_else(PoisonError::into_inner)
}

fn waiting(uplink: &Uplink) -> Vec<Waiting> {
    uplink
        .journal
        .lanes()
        .into_iter()
        .map(|lane| Waiting {
            epoch: lane.epoch,
            class: lane.class,
            last_seq: lane.last_seq,
            buffered: lane.buffered,
        })
        .collect()
}
