//! Clients that change shadows until the server is gone.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use fieldline_model::{ShadowOperation, ShadowPart, ShadowTopic};
use fieldline_mqtt::{ClientOptions, Connection, Event, Message, QoS, Version};
use fieldline_tests::publisher::runtime;
use fieldline_tests::random::Random;
use fieldline_tests::{Http, Server};
use serde_json::{Value, json};

use super::book::{Answer, Book, Change, Request};
use super::shadow::{self, Document, Fields, SHADOWS};

/// Requests that a client by MQTT has under way; AWS IoT allows 10.
const WINDOW: usize = 4;

/// A client in a thread of its own.
#[derive(Debug)]
pub(crate) struct Client(JoinHandle<Result<()>>);

impl Client {
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until it has noticed the end of the server.
    ///
    /// # Errors
    /// It heard something that cannot be.
    pub(crate) fn join(self) -> Result<()> {
        self.0.join().map_err(|_| anyhow!("a client panicked"))?
    }
}

/// Two clients of each kind.
pub(crate) fn start(server: &Server, book: &Arc<Book>, random: &mut Random) -> Vec<Client> {
    let (mqtt, http) = (server.mqtt_address(), server.http());
    let mut clients = Vec::new();
    for version in [Some(Version::V5), Some(Version::V3_1_1), None].repeat(2) {
        let mut author = Author { client: clients.len(), random: Random::new(random.bits()), turn: 0 };
        let book = Arc::clone(book);
        clients.push(Client(std::thread::spawn(move || match version {
            Some(version) => runtime()?.block_on(by_mqtt(mqtt, version, &book, &mut author)),
            None => by_http(http, &book, &mut author),
        })));
    }
    clients
}

/// Thinks up requests.
struct Author {
    client: usize,
    random: Random,
    turn: u64,
}

impl Author {
    fn request(&mut self, book: &Book) -> Request {
        let shadow = self.random.below(SHADOWS.len() as u64) as usize;
        if self.random.chance(6) {
            return Request::new(self.client, shadow, Change::Delete);
        }
        let version = self.random.chance(25).then(|| book.version(shadow));
        Request::new(self.client, shadow, Change::Update { state: self.state(), version })
    }

    /// Who it was, a field that all share, one that comes and goes, and now and then a long one.
    fn state(&mut self) -> Document {
        self.turn += 1;
        let stamp = json!(format!("{}-{}", self.client, self.turn));
        let mut state = Document::default();
        state.desired.insert("last".to_owned(), stamp.clone());
        if self.random.chance(30) {
            state.reported.insert("last".to_owned(), stamp);
        }
        state.reported.insert(format!("client-{}", self.client), json!(self.turn));
        let passing = if self.random.chance(50) { Value::Null } else { json!(self.turn) };
        state.reported.insert(format!("passing-{}", self.random.below(4)), passing);
        if self.random.chance(10) {
            state.desired.insert("long".to_owned(), json!("x".repeat(self.random.below(4_000) as usize)));
        }
        state
    }
}

async fn by_mqtt(address: SocketAddr, version: Version, book: &Book, author: &mut Author) -> Result<()> {
    let id = format!("shadows-{}", author.client);
    let options =
        ClientOptions { version, ..ClientOptions::new(address.ip().to_string(), address.port(), id) };
    let mut connection = Connection::open(&options).await?;
    connection.subscribe(&[("$aws/things/+/shadow/#", QoS::AtLeastOnce)])?;
    let (mut subscribed, mut under_way) = (false, HashSet::new());
    loop {
        while subscribed && under_way.len() < WINDOW {
            let request = author.request(book);
            let operation = match request.change {
                Change::Delete => ShadowOperation::Delete,
                Change::Update { .. } => ShadowOperation::Update,
            };
            let shadow = shadow::id(request.shadow)?;
            let topic = ShadowTopic { shadow, operation, part: ShadowPart::Request }.to_string();
            let (token, payload) = book.ask(request);
            connection.publish(&topic, Bytes::from(payload), QoS::AtLeastOnce, false)?;
            under_way.insert(token);
        }
        let event = tokio::time::timeout(Duration::from_secs(30), connection.next()).await;
        match event.context("the server says nothing")? {
            // The server is gone, and the connection with it.
            Err(_) => return Ok(()),
            Ok(Event::Subscribed { granted, .. }) => {
                ensure!(granted.iter().all(Result::is_ok), "the subscription is refused");
                subscribed = true;
            }
            Ok(Event::Refused(_, reason)) => return Err(anyhow!("a request is refused: {reason:?}")),
            Ok(Event::Message { message, id, .. }) => {
                hear(&message, book, &mut under_way)?;
                if let Some(id) = id {
                    connection.acknowledge(id);
                }
            }
            Ok(_) => {}
        }
    }
}

fn hear(message: &Message, book: &Book, under_way: &mut HashSet<String>) -> Result<()> {
    let topic: ShadowTopic = message.topic.parse()?;
    let document: Value = serde_json::from_slice(&message.payload)?;
    book.message(shadow::index(&topic.shadow)?, topic.part, &document).with_context(|| topic.to_string())?;
    if matches!(topic.part, ShadowPart::Accepted | ShadowPart::Rejected) {
        under_way.remove(document["clientToken"].as_str().unwrap_or_default());
    }
    Ok(())
}

fn by_http(http: Http, book: &Book, author: &mut Author) -> Result<()> {
    loop {
        let request = author.request(book);
        let (path, change) = (shadow::path(request.shadow), request.change.clone());
        let (token, payload) = book.ask(request);
        let answer = match change {
            Change::Delete => http.delete(&path),
            Change::Update { .. } => http.post(&path, "application/json", payload.as_bytes()),
        };
        // The server is gone; half an answer is none.
        let Ok(answer) = answer else { return Ok(()) };
        let Ok(document) = serde_json::from_str::<Fields>(&answer.body) else { return Ok(()) };
        match answer.status {
            200 => {
                let version = document.get("version").and_then(Value::as_u64).context("no version")?;
                book.answered(&token, Answer::Done(version))?;
            }
            404 | 409 => book.answered(&token, Answer::Refused)?,
            status => return Err(anyhow!("{path} answers {status}: {}", answer.body)),
        }
    }
}
