//! A device that does what it is told by commands, and says so until it is believed.
//!
//! What it does is the command's name: `work` is done in two steps, `quick` in one, `fail` fails,
//! `refuse` is rejected, and `ignore` is never answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use fieldline_model::{CommandPart, CommandStatus, CommandTopic, ThingName};
use fieldline_mqtt::{ClientOptions, Connection, Event, Message, QoS, Version};
use serde_json::{Value, json};

/// Between two attempts to connect, and how often the device looks whether it is to end.
const PAUSE: Duration = Duration::from_millis(20);

/// What the device knows.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// How often each execution was heard, by its id.
    pub heard: BTreeMap<String, u64>,
    /// The ends that the server has accepted.
    pub ends: BTreeMap<String, CommandStatus>,
    /// What the server has refused, and its code.
    pub refused: Vec<(String, String)>,
}

/// A running device that speaks for several things.
#[derive(Debug)]
pub struct Device {
    done: Arc<Mutex<Done>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Device {
    /// Starts it; it connects again whenever it must.
    ///
    /// # Errors
    /// No thread, or a name that is none.
    pub fn start(broker: SocketAddr, things: &[&str], version: Version) -> Result<Self> {
        let things: Vec<ThingName> =
            things.iter().map(|name| ThingName::new(name)).collect::<Result<_, _>>()?;
        let (done, ending) = (Arc::new(Mutex::new(Done::default())), Arc::new(AtomicBool::new(false)));
        let worker = Worker { things, done: done.clone(), ending: ending.clone(), saying: BTreeMap::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("device".to_owned())
            .spawn(move || runtime.block_on(worker.run(broker, version)))?;
        Ok(Self { done, ending, thread: Some(thread) })
    }

    /// What it knows by now.
    pub fn done(&self) -> Done {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and gives what it knows.
    ///
    /// # Errors
    /// It has met something that a device never meets.
    pub fn finish(mut self) -> Result<Done> {
        self.ending.store(true, Ordering::Release);
        let thread = self.thread.take().context("the device has ended")?;
        thread.join().map_err(|_| anyhow!("the device panicked"))??;
        Ok(self.done())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
    }
}

/// What is said of an execution and not accepted yet, and what is to be said after it.
#[derive(Debug)]
struct Saying {
    topic: CommandTopic,
    response: Value,
    status: CommandStatus,
    then: Option<Value>,
}

struct Worker {
    things: Vec<ThingName>,
    done: Arc<Mutex<Done>>,
    ending: Arc<AtomicBool>,
    saying: BTreeMap<String, Saying>,
}

impl Worker {
    async fn run(mut self, broker: SocketAddr, version: Version) -> Result<()> {
        let mut options = ClientOptions::new(broker.ip().to_string(), broker.port(), "obedient");
        options.version = version;
        while !self.ending.load(Ordering::Acquire) {
            match Connection::open(&options).await {
                Ok(connection) => self.serve(connection).await?,
                Err(_the_server_is_away) => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    /// One connection, until it breaks.
    async fn serve(&mut self, mut connection: Connection) -> Result<()> {
        for thing in &self.things {
            let replies = CommandTopic::requests_of(thing).replace("/request/json", "/response/+/json");
            let filters = [CommandTopic::requests_of(thing), replies];
            for filter in &filters {
                connection.subscribe(&[(filter.as_str(), QoS::AtLeastOnce)])?;
            }
        }
        // What finds no room, here or there, is said when it is quiet.
        let mut unsaid = true;
        while !self.ending.load(Ordering::Acquire) {
            match tokio::time::timeout(PAUSE, connection.next()).await {
                Err(_nothing_yet) if unsaid => {
                    unsaid = self.saying.len() > connection.vacancy();
                    for saying in self.saying.values() {
                        say(&mut connection, saying)?;
                    }
                }
                Err(_nothing_yet) => {}
                Ok(Ok(Event::Refused(..))) => unsaid = true,
                Ok(Err(_broken)) => return Ok(()),
                Ok(Ok(Event::Message { message, id, .. })) => {
                    id.into_iter().for_each(|id| connection.acknowledge(id));
                    unsaid |= connection.vacancy() == 0;
                    self.hear(&mut connection, &message)?;
                }
                Ok(Ok(_)) => {}
            }
        }
        Ok(())
    }

    fn hear(&mut self, connection: &mut Connection, message: &Message) -> Result<()> {
        let topic: CommandTopic = message.topic.parse()?;
        let id = topic.execution.to_string();
        let payload: Value = serde_json::from_slice(&message.payload)?;
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match topic.part {
            CommandPart::Request => {
                *done.heard.entry(id.clone()).or_default() += 1;
                // At least once: what was heard before is not done again, only said again.
                if !done.ends.contains_key(&id)
                    && !self.saying.contains_key(&id)
                    && let Some(saying) = Saying::of(topic.with(CommandPart::Response), &payload)?
                {
                    self.saying.insert(id.clone(), saying);
                }
            }
            CommandPart::Accepted => {
                let Some(saying) = self.saying.remove(&id) else { return Ok(()) };
                ensure!(payload["executionId"] == id, "accepted says {payload} of {id}");
                match saying.then {
                    Some(next) => drop(self.saying.insert(id.clone(), Saying::new(saying.topic, next)?)),
                    None => drop(done.ends.insert(id, saying.status)),
                }
                let Some(saying) = self.saying.get(topic.execution.as_str()) else { return Ok(()) };
                return say(connection, saying);
            }
            CommandPart::Rejected if payload["error"] == "InternalError" => {}
            CommandPart::Rejected => {
                let code = payload["error"].as_str().context("a rejection without a code")?;
                done.refused.push((id.clone(), code.to_owned()));
                self.saying.remove(&id);
            }
            CommandPart::Response => {}
        }
        match self.saying.get(&id) {
            Some(saying) => say(connection, saying),
            None => Ok(()),
        }
    }
}

impl Saying {
    fn new(topic: CommandTopic, response: Value) -> Result<Self> {
        let status = response["status"].as_str().context("a response without a status")?.parse()?;
        Ok(Self { topic, response, status, then: None })
    }

    fn of(topic: CommandTopic, request: &Value) -> Result<Option<Self>> {
        let done = json!({ "status": "SUCCEEDED", "result": request["parameters"] });
        let reason = json!({ "reasonCode": "JAMMED", "reasonDescription": "a sheet is stuck" });
        let first = match request["command"].as_str() {
            Some("work") => json!({ "status": "IN_PROGRESS" }),
            Some("quick") => done.clone(),
            Some("fail") => json!({ "status": "FAILED", "statusReason": reason }),
            Some("refuse") => json!({ "status": "REJECTED" }),
            _ => return Ok(None),
        };
        let mut saying = Self::new(topic, first)?;
        saying.then = (saying.status == CommandStatus::InProgress).then_some(done);
        Ok(Some(saying))
    }
}

/// A full window is no failure: what is said is said again.
fn say(connection: &mut Connection, saying: &Saying) -> Result<()> {
    if connection.vacancy() > 0 {
        let payload = Bytes::from(saying.response.to_string());
        connection.publish(&saying.topic.to_string(), payload, QoS::AtLeastOnce, false)?;
    }
    Ok(())
}
