//! Requests that come by MQTT.

use bytes::Bytes;
use fieldline_model::{ShadowPart, ShadowTopic};
use fieldline_mqtt::{PublishError, Routing};
use fieldline_shadow::{Error, Turn, Turns, Update};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::{Refused, Service, now_s};
use crate::answer::Answer;
use crate::stop;
use crate::waiting::Place;

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
    turns: Turns,
}

impl ShadowDesk {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Handed>) {
        let (requests, line) = mpsc::unbounded_channel();
        (Self { requests, turns: Turns::default() }, line)
    }

    pub(crate) fn offer(&self, request: Request) {
        let Some(turn) = self.turns.take(&request.client) else {
            tracing::debug!(client = request.client, "far too many requests for shadows");
            return request.answer.reject(PublishError::QuotaExceeded);
        };
        let handed = if turn.works() {
            Handed::Work(request, turn)
        } else {
            // Nothing of it is kept, so that it is acknowledged before its reply.
            let Request { topic, payload, answer, .. } = request;
            answer.accept(Routing::Route);
            Handed::Throttled(topic, Update::token_of(&payload), turn)
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
mod tests;
