//! A broker on a free port, an application that does as it is told, and a way to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fieldline_mqtt::{
    Application, Broker, BrokerConfig, ClientError, ClientInfo, ClientOptions, ConnectRequest, Connection,
    Event, Message, QoS, Receipt, Refusal, Routing, TlsServer, Version,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

/// No wait in these tests takes longer than this, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// What the application heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Connected(ClientInfo),
    Disconnected(ClientInfo),
    Publish(ClientInfo, Message, Receipt),
    Done,
}

/// Routes at once, or hands everything to the test. User `guest` with password `wrong` is refused;
/// nobody may publish or subscribe below `forbidden/`, nor publish below `will/` once wills are forbidden.
pub(crate) struct Told {
    heard: mpsc::UnboundedSender<Heard>,
    wills_forbidden: Arc<AtomicBool>,
    answer_at_once: bool,
}

impl Application for Told {
    fn authenticate(&self, connect: &ConnectRequest<'_>) -> Result<(), Refusal> {
        match (connect.username, connect.password) {
            (Some("guest"), Some(b"wrong")) => Err(Refusal::BadCredentials),
            (Some("nobody"), _) => Err(Refusal::NotAuthorized),
            _ => Ok(()),
        }
    }

    fn authorize_publish(&self, _: &ClientInfo, topic: &str) -> bool {
        let forbidden = self.wills_forbidden.load(Ordering::Relaxed) && topic.starts_with("will/");
        !forbidden && !topic.starts_with("forbidden/")
    }

    fn authorize_subscribe(&self, _: &ClientInfo, filter: &str) -> bool {
        !filter.starts_with("forbidden/")
    }

    fn publish(&self, client: &ClientInfo, message: Message, receipt: Receipt) {
        if self.answer_at_once {
            receipt.accept(Routing::Route);
        } else {
            let _closed = self.heard.send(Heard::Publish(client.clone(), message, receipt));
        }
    }

    fn publish_done(&self, _: &ClientInfo) {
        let _closed = self.heard.send(Heard::Done);
    }

    fn connected(&self, client: &ClientInfo) {
        let _closed = self.heard.send(Heard::Connected(client.clone()));
    }

    fn disconnected(&self, client: &ClientInfo) {
        let _closed = self.heard.send(Heard::Disconnected(client.clone()));
    }
}

pub(crate) struct Running {
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
    pub(crate) wills_forbidden: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub(crate) async fn routing() -> Self {
        Self::start(BrokerConfig::default(), true, None).await
    }

    pub(crate) async fn asking() -> Self {
        Self::start(BrokerConfig::default(), false, None).await
    }

    pub(crate) async fn start(config: BrokerConfig, answer_at_once: bool, tls: Option<TlsServer>) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let wills_forbidden = Arc::<AtomicBool>::default();
        let told = Told { heard: sender, wills_forbidden: Arc::clone(&wills_forbidden), answer_at_once };
        let broker = Broker::new(config, Arc::new(told));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn({
            let broker = broker.clone();
            async move {
                let stopped = async {
                    let _dropped = stopped.await;
                };
                broker.serve(listener, tls, stopped).await
            }
        });
        Self { broker, address, heard, wills_forbidden, stop: Some(stop), served: Some(served) }
    }

    pub(crate) async fn stop(&mut self) {
        let _gone = self.stop.take().map(|stop| stop.send(()));
        if let Some(served) = self.served.take() {
            soon("the broker to stop", served).await.unwrap().unwrap();
        }
    }

    pub(crate) fn options(&self, id: &str, version: Version) -> ClientOptions {
        let mut options = ClientOptions::new(self.address.ip().to_string(), self.address.port(), id);
        options.version = version;
        options
    }

    pub(crate) async fn connect(&self, id: &str, version: Version) -> Client {
        Client::open(&self.options(id, version)).await.unwrap()
    }

    /// The next message that the application is asked about.
    pub(crate) async fn publish(&mut self) -> (ClientInfo, Message, Receipt) {
        loop {
            match soon("a publish", self.heard.recv()).await.unwrap() {
                Heard::Publish(client, message, receipt) => return (client, message, receipt),
                _ => continue,
            }
        }
    }

    pub(crate) async fn disconnected(&mut self, id: &str) {
        loop {
            match soon("a disconnect", self.heard.recv()).await.unwrap() {
                Heard::Disconnected(client) if &*client.client_id == id => return,
                _ => continue,
            }
        }
    }

    pub(crate) async fn connected(&mut self, id: &str) -> ClientInfo {
        loop {
            match soon("a connect", self.heard.recv()).await.unwrap() {
                Heard::Connected(client) if &*client.client_id == id => return client,
                _ => continue,
            }
        }
    }
}

/// A connection with patience.
pub(crate) struct Client(pub(crate) Connection);

impl Client {
    pub(crate) async fn open(options: &ClientOptions) -> Result<Self, ClientError> {
        soon("a connection", Connection::open(options)).await.map(Self)
    }

    pub(crate) async fn next(&mut self) -> Event {
        soon("an event", self.0.next()).await.unwrap()
    }

    pub(crate) async fn failure(&mut self) -> ClientError {
        soon("the end", async {
            loop {
                if let Err(error) = self.0.next().await {
                    return error;
                }
            }
        })
        .await
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<QoS, u8> {
        let asked = self.0.subscribe(&[(filter, qos)]).unwrap();
        loop {
            if let Event::Subscribed { request, granted } = self.next().await {
                assert_eq!(request, asked);
                return granted[0];
            }
        }
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &'static str) -> fieldline_mqtt::Token {
        self.0.publish(topic, Bytes::from(payload), QoS::AtLeastOnce, false).unwrap().unwrap()
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub(crate) async fn publish_acked(&mut self, topic: &str, payload: &'static str, retain: bool) {
        let token = self.0.publish(topic, Bytes::from(payload), QoS::AtLeastOnce, retain).unwrap().unwrap();
        assert_eq!(self.next().await, Event::Published(token));
    }

    /// The next message, acknowledged.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            if let Event::Message { message, id, .. } = self.next().await {
                if let Some(id) = id {
                    self.0.acknowledge(id);
                    self.0.flush().await.unwrap();
                }
                return message;
            }
        }
    }

    pub(crate) async fn payload(&mut self) -> String {
        String::from_utf8(self.message().await.payload.to_vec()).unwrap()
    }

    /// Everything that the broker has for this client by now: a fresh message on a topic of its own
    /// comes after all of it.
    pub(crate) async fn payloads_so_far(&mut self, broker: &Broker) -> Vec<String> {
        let mark = format!("mark/{}", self.0.client_id());
        self.0.subscribe(&[(mark.as_str(), QoS::AtLeastOnce)]).unwrap();
        let mut payloads = Vec::new();
        loop {
            match self.next().await {
                Event::Subscribed { .. } => break,
                Event::Message { message, id, .. } => {
                    id.into_iter().for_each(|id| self.0.acknowledge(id));
                    payloads.push(String::from_utf8(message.payload.to_vec()).unwrap());
                }
                _ => {}
            }
        }
        broker.publish(&Message::new(mark.as_str(), "", QoS::AtLeastOnce));
        loop {
            let message = self.message().await;
            if *message.topic == *mark {
                return payloads;
            }
            payloads.push(String::from_utf8(message.payload.to_vec()).unwrap());
        }
    }
}

/// Raw bytes to and from the broker.
pub(crate) struct Raw(pub(crate) tokio::net::TcpStream);

impl Raw {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(tokio::net::TcpStream::connect(address).await.unwrap())
    }

    /// Opened and connected as 3.1.1 or 5, CONNACK read.
    pub(crate) async fn connected(address: SocketAddr, level: u8, id: &str) -> Self {
        let mut raw = Self::open(address).await;
        raw.send(&connect_bytes(level, id)).await;
        let connack = raw.packet().await;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt;
        soon("a write", self.0.write_all(bytes)).await.unwrap();
    }

    /// One packet (with a remaining length below 128), or what came before the end.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        use tokio::io::AsyncReadExt;
        let mut packet = vec![0; 2];
        soon("a packet", self.0.read_exact(&mut packet)).await.unwrap();
        let length = usize::from(packet[1]);
        assert!(length < 128);
        packet.resize(2 + length, 0);
        soon("a packet's rest", self.0.read_exact(&mut packet[2..])).await.unwrap();
        packet
    }

    /// Everything until the broker closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        use tokio::io::AsyncReadExt;
        let mut rest = Vec::new();
        let _reset = soon("the end", self.0.read_to_end(&mut rest)).await;
        rest
    }
}

pub(crate) fn connect_bytes(level: u8, id: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend_from_slice(&[level, 0x02, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(&[0, u8::try_from(id.len()).unwrap()]);
    body.extend_from_slice(id.as_bytes());
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend_from_slice(&body);
    packet
}

pub(crate) fn publish_bytes(level: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    let mut packet = vec![0x32];
    let mut length = body.len();
    while length > 127 {
        packet.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(&body);
    packet
}
