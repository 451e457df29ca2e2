//! The driver between a simulated shadow, a disk that crashes and an agent that only remembers.

use std::path::Path;

use fieldline_journal::DiskFs;
use fieldline_journal::sim::{Outcome, SimFs};

use super::*;
use crate::config::BrokerSettings;
use crate::sync::{Letter, post};

/// What a configuration is put to use in.
#[derive(Debug, Default)]
struct Agent {
    document: Value,
    generation: u64,
}

impl Configurable for Agent {
    fn apply(&mut self, document: &Value, generation: u64) -> anyhow::Result<()> {
        (self.document, self.generation) = (document.clone(), generation);
        Ok(())
    }
}

/// The server's side: the shadow, and what the gateway was told.
#[derive(Debug, Default)]
struct Server {
    desired: Value,
    reported: Value,
    version: u64,
}

impl Server {
    fn push(&mut self, document: &Value) {
        self.desired = json!({ "config": document });
        self.version += 1;
    }

    /// Answers a letter, as events.
    fn answer(&mut self, letter: Letter) -> Vec<Event> {
        let Letter::Publish { topic, payload } = letter else { return Vec::new() };
        let request: Value = serde_json::from_slice(&payload).unwrap();
        let token = request["clientToken"].clone();
        if !topic.ends_with("/update") {
            let state = json!({ "desired": self.desired });
            let answer = json!({ "state": state, "version": self.version, "clientToken": token });
            return vec![message(&format!("{topic}/accepted"), &answer)];
        }
        self.reported = request["state"]["reported"]["config"].clone();
        self.version += 1;
        let answer = json!({ "version": self.version, "clientToken": token });
        vec![message(&format!("{topic}/documents"), &answer), message(&format!("{topic}/accepted"), &answer)]
    }

    /// Whether the shadow says this of the document.
    fn heard(&self, status: &str, document: &Value) -> bool {
        self.reported["status"] == status && self.reported["sha256"] == Known::new(document.clone(), 0).sha256
    }
}

fn message(topic: &str, payload: &Value) -> Event {
    Event::Message(Message::new(topic, payload.to_string(), fieldline_mqtt::QoS::AtLeastOnce))
}

/// A gateway in its life from one start to the next crash.
struct Gateway {
    driver: Driver,
    agent: Agent,
    post: Post,
    letters: mpsc::Receiver<Letter>,
    shadow: ShadowId,
    now: Duration,
    /// The generation of the connection that is there.
    link: Option<u64>,
}

impl Gateway {
    /// None where the disk crashes on the way.
    fn start(fs: &SimFs) -> Option<Self> {
        let config = config();
        let (started, _, driver) = begin(&config, Arc::new(fs.clone())).ok()?;
        let known = driver.machine.state().effective().document.clone();
        let same = lay_over(&config, &known).unwrap();
        assert_eq!(started.sync.linger, same.sync.linger);
        assert_eq!(driver.trouble, None, "the file is whole");
        let (post, letters) = post();
        let (agent, shadow) = (Agent { document: known, generation: 0 }, shadow(&config.gateway.id));
        Some(Self { driver, agent, post, letters, shadow, now: Duration::ZERO, link: None })
    }

    fn happens(&mut self, event: Event) {
        let gateway = config().gateway.id;
        let steps = self.driver.look_at(event, &gateway, self.now);
        self.act(steps);
    }

    fn act(&mut self, steps: Vec<Step>) {
        self.driver.act(steps, &mut self.agent, &self.post, &self.shadow, self.now);
    }

    /// Connections come and go, and all is said that there is to say, until nothing happens any more or the disk has
    /// crashed. With `b` the server is not reached.
    fn settle(&mut self, server: &mut Server, fs: &SimFs) {
        while !fs.has_crashed() {
            if self.link != Some(self.agent.generation) {
                if self.link.take().is_some() {
                    self.happens(Event::Down);
                }
                if self.agent.document == b() {
                    return;
                }
                while self.letters.try_recv().is_ok() {}
                self.link = Some(self.agent.generation);
                self.happens(Event::Up(self.agent.generation));
            }
            let Ok(letter) = self.letters.try_recv() else { return };
            for event in server.answer(letter) {
                self.happens(event);
            }
        }
    }

    /// The shadow tells that it has changed.
    fn told_of_a_push(&mut self, server: &mut Server, fs: &SimFs) {
        if self.link.is_some() {
            let topic = ShadowTopic {
                shadow: self.shadow.clone(),
                operation: ShadowOperation::Update,
                part: ShadowPart::Documents,
            };
            self.happens(message(&topic.to_string(), &json!({ "clientToken": "somebody" })));
        }
        self.settle(server, fs);
    }

    /// The time to confirm runs out.
    fn wait(&mut self, server: &mut Server, fs: &SimFs) {
        self.now += Duration::from_secs(301);
        let steps = self.driver.machine.tick(self.now);
        self.act(steps);
        self.settle(server, fs);
    }
}

fn config() -> Config {
    let mut config: Config = crate::settings::parse("[sync]\nserver = \"mqtt://a:1\"").unwrap();
    config.data = "/data".into();
    config
}

fn a() -> Value {
    json!({ "sync": { "linger": "1s" } })
}

/// Cuts the gateway off.
fn b() -> Value {
    json!({ "sync": { "linger": "2s" } })
}

/// A push that goes well, and one that cuts the gateway off: from the start to the report.
fn two_pushes(gateway: &mut Gateway, server: &mut Server, fs: &SimFs) {
    gateway.settle(server, fs);
    server.push(&a());
    gateway.told_of_a_push(server, fs);
    if fs.has_crashed() {
        return;
    }
    assert!(server.heard("applied", &a()), "{server:?}");
    server.push(&b());
    gateway.told_of_a_push(server, fs);
    gateway.wait(server, fs);
    assert!(fs.has_crashed() || server.heard("reverted", &b()), "{server:?}");
}

/// What the server has been told holds after the crash, and the gateway is on something whole.
fn holds(gateway: &Gateway, server: &Server, what: &str) {
    let state = gateway.driver.machine.state();
    let committed = &state.committed.document;
    let tried = state.trial.as_ref().map(|trial| &trial.known.document);
    assert!([json!({}), a()].contains(committed), "{what}: {committed}");
    assert!(tried.is_none_or(|tried| [a(), b()].contains(tried)), "{what}: {tried:?}");
    assert_eq!(&gateway.agent.document, tried.unwrap_or(committed), "{what}");
    if server.heard("applied", &a()) || server.desired["config"] == b() {
        assert_eq!(*committed, a(), "{what}: it was said to be applied");
    }
    if server.heard("reverted", &b()) {
        assert_eq!(gateway.agent.document, a(), "{what}: it was said to be taken back");
    }
}

#[test]
fn a_power_cut_anywhere_in_a_push_leaves_the_old_or_the_new_whole() {
    for outcome in Outcome::ALL {
        for at in 0.. {
            let (fs, mut server) = (SimFs::new(), Server::default());
            fs.crash_at(at);
            let gateway = Gateway::start(&fs);
            if let Some(mut gateway) = gateway {
                two_pushes(&mut gateway, &mut server, &fs);
            }
            if !fs.has_crashed() {
                assert!(at > 20, "two pushes have more than {at} operations");
                break;
            }
            let what = format!("{outcome:?} at operation {at}");
            let fs = fs.reboot(outcome, at);
            let mut gateway = Gateway::start(&fs).unwrap();
            holds(&gateway, &server, &what);
            // It goes on from there, and comes to what is desired or to what was before it.
            gateway.settle(&mut server, &fs);
            gateway.wait(&mut server, &fs);
            let last = server.desired["config"].clone();
            let expected = if last == b() { "reverted" } else { "applied" };
            let last = if last.is_null() { json!({}) } else { last };
            assert!(server.heard(expected, &last), "{what}: {server:?}");
            assert_eq!(gateway.agent.document == a(), !server.desired.is_null(), "{what}");
            assert_eq!(gateway.driver.machine.state().trial, None, "{what}");
        }
    }
}

/// A gateway with a committed configuration, on a real disk.
fn committed(folder: &Path, document: Value) -> Config {
    let mut config = config();
    config.data = folder.join("data");
    config.remote.keep_secrets_beside(&folder.join("agent.toml"));
    config.sync.server = "mqtt://127.0.0.1:1".parse().ok();
    config.mqtt.listen = None;
    config.http.listen = None;
    let store = Store::new(Arc::new(DiskFs), config.data.join("config"));
    std::fs::create_dir_all(&config.data).unwrap();
    store.load().unwrap();
    store.save(&State { committed: Known::new(document, 3), ..State::default() }).unwrap();
    config
}

/// The file with the password was gone, and the agent did not start: no reading was taken.
#[tokio::test]
async fn a_file_that_has_gone_does_not_keep_the_agent_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let document = json!({
        "broker": [{ "address": "mqtt://127.0.0.1:1", "topics": ["a"], "password_file": "plc" }],
        "sync": { "linger": "1s" },
    });
    let config = committed(folder.path(), document.clone());
    let agent = crate::Agent::start(config.clone()).await.unwrap();
    let remote = agent.status().remote.unwrap();
    assert_eq!(remote.sha256, Some(Known::new(document, 3).sha256), "the rest of it is in use");
    assert!(remote.trouble.unwrap().contains("is no file in remote.secrets_dir"));
    agent.stop().await;
    // The machine looks again, and sees that the file is back.
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    let (_, remote, mut driver) = begin(&config, Arc::new(DiskFs)).unwrap();
    assert!(remote.state().trouble.is_some());
    std::fs::write(folder.path().join("secrets/plc"), "open sesame").unwrap();
    driver.machine.tick(Duration::from_secs(15));
    driver.show();
    assert_eq!(remote.state().trouble, None);
    // In the gateway's own file it is a mistake that is told at once.
    let broker = json!([{ "address": "mqtt://127.0.0.1:1", "topics": ["a"], "password_file": "/nowhere/x" }]);
    let own: Vec<BrokerSettings> = crate::settings::of_json(&broker).unwrap();
    let config = Config { broker: own, data: folder.path().join("other"), ..config };
    assert!(format!("{:#}", crate::Agent::start(config).await.unwrap_err()).contains("/nowhere/x"));
}

#[test]
fn what_does_not_fit_any_more_is_not_shown_as_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let config = committed(folder.path(), json!({ "sync": { "keep_alive": "0s" } }));
    let (started, remote, driver) = begin(&config, Arc::new(DiskFs)).unwrap();
    assert_eq!(started.sync.keep_alive, config.sync.keep_alive);
    let state = remote.state();
    assert_eq!((state.sha256, state.version), (None, 0));
    assert!(state.trouble.unwrap().contains("sync.keep_alive"));
    assert!(matches!(driver.machine.lack(), Some(Lack::Unused(_))));
}
