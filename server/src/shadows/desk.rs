//! Requests that come by MQTT.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fieldline_model::{ShadowPart, ShadowTopic};
use fieldline_mqtt::{PublishError, Routing};
use fieldline_shadow::{Error, Update};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::{Refused, Service, now_s};
use crate::answer::Answer;
use crate::stop;
use crate::waiting::Place;

/// Requests of one client that may be under way, as AWS IoT has it.
const IN_FLIGHT_MAX: usize = 10;
/// Requests of one client beyond those that may wait to be told so. What comes then is refused without a reply,
/// so that whoever asks without end fills no line that others stand in.
const THROTTLED_MAX: usize = 250;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) client: String,
    pub(crate) topic: ShadowTopic,
    pub(crate) payload: Bytes,
    pub(crate) answer: Answer,
    pub(crate) place: Place,
}

/// A request in the line.
#[derive(Debug)]
pub(crate) enum Handed {
    /// It is done when its turn comes.
    Work(Request, Turn),
    /// It is too many, and is told so on its topic; the token that it came with.
    Throttled(ShadowTopic, Option<String>, Turn),
}

/// Where requests are handed in. The bound on what waits is that of [`crate::waiting`].
#[derive(Debug, Clone)]
pub(crate) struct ShadowDesk {
    requests: mpsc::UnboundedSender<Handed>,
    in_flight: InFlight,
}

/// How many requests of each client are under way, and how many wait to be told that they are too many.
#[derive(Debug, Clone, Default)]
struct InFlight(Arc<Mutex<HashMap<String, [usize; 2]>>>);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Work = 0,
    Throttled = 1,
}

/// One of a client's turns, given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    in_flight: InFlight,
    client: String,
    kind: Kind,
}

impl InFlight {
    fn turn(&self, client: &str) -> Option<Turn> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [work, throttled] = clients.entry(client.to_owned()).or_default();
        let (kind, count) = match (*work, *throttled) {
            (..IN_FLIGHT_MAX, _) => (Kind::Work, work),
            (_, ..THROTTLED_MAX) => (Kind::Throttled, throttled),
            _ => return None,
        };
        *count += 1;
        Some(Turn { in_flight: self.clone(), client: client.to_owned(), kind })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut clients = self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some([work, throttled]) = clients.get_mut(&self.client) {
            match self.kind {
                Kind::Work => *work -= 1,
                Kind::Throttled => *throttled -= 1,
            }
            if *work + *throttled == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

impl ShadowDesk {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Handed>) {
        let (requests, line) = mpsc::unbounded_channel();
        (Self { requests, in_flight: InFlight::default() }, line)
    }

    pub(crate) fn offer(&self, request: Request) {
        let Some(turn) = self.in_flight.turn(&request.client) else {
            tracing::debug!(client = request.client, "far too many requests for shadows");
            return request.answer.reject(PublishError::QuotaExceeded);
        };
        let handed = match turn.kind {
            Kind::Work => Handed::Work(request, turn),
            Kind::Throttled => {
                // Nothing of it is kept, so that it is acknowledged before its reply.
                let Request { topic, payload, answer, .. } = request;
                answer.accept(Routing::Route);
                Handed::Throttled(topic, Update::token_of(&payload), turn)
            }
        };
        if self.requests.send(handed).is_err() {
            tracing::debug!("a shadow's request came too late for this run");
        }
    }
}

/// Does what is handed in until `stopping`, and then what is left. Requests reach the store in their
/// order, and those that wait together share a commit.
pub(crate) async fn run(
    mut line: mpsc::UnboundedReceiver<Handed>,
    service: Service,
    mut stopping: watch::Receiver<bool>,
) {
    let mut open = true;
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = under_way.next() => {}
            request = line.recv() => match request {
                Some(Handed::Work(request, turn)) => under_way.push(done(&service, request, turn)),
                Some(Handed::Throttled(topic, client_token, _turn)) => {
                    refuse(&service, &topic, Refused { error: Error::Throttled, client_token });
                }
                None if under_way.is_empty() => return,
                None => while under_way.next().await.is_some() {},
            },
            () = stop::told(&mut stopping), if open => {
                open = false;
                line.close();
            }
        }
    }
}

/// The client hears its PUBACK when all is done, and the replies before.
async fn done(service: &Service, request: Request, turn: Turn) {
    let Request { topic, payload, answer, place, .. } = request;
    let outcome = service.handle(&topic.shadow, topic.operation, &payload).await;
    // Before the reply: who has heard it may ask anew.
    drop(turn);
    match outcome {
        Ok(reply) => service.publish(&topic.with(ShadowPart::Accepted), &reply),
        Err(refused) => refuse(service, &topic, refused),
    }
    answer.accept(Routing::Route);
    drop(place);
}

fn refuse(service: &Service, topic: &ShadowTopic, Refused { error, client_token }: Refused) {
    tracing::debug!(%topic, %error, "a shadow's request was refused");
    let document = error.document(now_s(), client_token.as_deref());
    service.publish(&topic.with(ShadowPart::Rejected), &document);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_ten_turns_and_some_refusals_and_gets_them_back() {
        let in_flight = InFlight::default();
        let take = |count: usize, kind: Kind| -> Vec<Turn> {
            let turns: Vec<Turn> = (0..count).map(|_| in_flight.turn("a").unwrap()).collect();
            assert!(turns.iter().all(|turn| turn.kind == kind));
            turns
        };
        let mut work = take(IN_FLIGHT_MAX, Kind::Work);
        let throttled = take(THROTTLED_MAX, Kind::Throttled);
        assert!(in_flight.turn("a").is_none());
        assert_eq!(in_flight.turn("b").unwrap().kind, Kind::Work);
        work.pop();
        work.extend(take(1, Kind::Work));
        drop(throttled);
        drop(take(1, Kind::Throttled));
        work.clear();
        assert!(in_flight.0.lock().unwrap().is_empty());
    }
}
