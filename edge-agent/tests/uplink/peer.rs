//! One connection of the agent, read and answered packet by packet, as the tests' scripts say.

use std::time::Instant;

use fieldline_model::{AckMessage, SeqRange};
use fieldline_wire::{Block, Limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::soon;

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const PINGREQ: u8 = 12;

/// Bytes in both directions.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// The broker's end of one connection.
pub(crate) struct Peer {
    wire: Box<dyn Wire>,
    five: bool,
}

/// One packet as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packet {
    pub(crate) kind: u8,
    flags: u8,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
    five: bool,
}

/// What stands in a CONNECT.
#[derive(Debug, PartialEq)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) session_s: Option<u32>,
    pub(crate) client_id: String,
}

/// What stands in a PUBLISH.
#[derive(Debug, PartialEq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) duplicate: bool,
    pub(crate) id: u16,
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), five: false }
    }

    /// The next packet; none at the end of the connection, however it ends.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        soon("a packet or the end of the connection", self.read()).await
    }

    async fn read(&mut self) -> Option<Packet> {
        let first = self.wire.read_u8().await.ok()?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.wire.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.wire.read_exact(&mut body).await.ok()?;
        let (kind, flags, at) = (first >> 4, first & 15, Instant::now());
        if kind == CONNECT {
            self.five = body[6] == 5;
        }
        Some(Packet { kind, flags, body, at, five: self.five })
    }

    /// The next packet, which must be of this kind.
    pub(crate) async fn expect(&mut self, kind: u8) -> Packet {
        let packet = self.next().await.unwrap_or_else(|| panic!("the agent went instead of sending {kind}"));
        assert_eq!(packet.kind, kind, "{packet:?}");
        packet
    }

    /// The next block that the agent sends; its other messages are answered on the way.
    pub(crate) async fn block(&mut self) -> Publish {
        loop {
            let publish = self.expect(PUBLISH).await.publish();
            if publish.topic.contains("fieldline_ingest") {
                return publish;
            }
            self.puback(publish.id).await;
        }
    }

    /// Reads on until the agent ends the connection.
    pub(crate) async fn end(&mut self) {
        while self.next().await.is_some() {}
    }

    /// CONNECT, CONNACK, SUBSCRIBE, SUBACK.
    pub(crate) async fn welcome(&mut self) -> Connect {
        let connect = self.expect(CONNECT).await.connect();
        self.connack(false).await;
        let subscribe = self.expect(SUBSCRIBE).await;
        self.suback(&subscribe).await;
        connect
    }

    pub(crate) async fn connack(&mut self, session_present: bool) {
        let body = [u8::from(session_present), 0, 0];
        self.write(0x20, if self.five { &body } else { &body[..2] }).await;
    }

    pub(crate) async fn suback(&mut self, subscribe: &Packet) {
        let [high, low] = subscribe.id().to_be_bytes();
        let (body, third) = ([high, low, 0, 1], [high, low, 1]);
        self.write(0x90, if self.five { &body[..] } else { &third[..] }).await;
    }

    pub(crate) async fn puback(&mut self, id: u16) {
        self.write(0x40, &id.to_be_bytes()).await;
    }

    pub(crate) async fn pingresp(&mut self) {
        self.write(0xd0, &[]).await;
    }

    /// MQTT 5 says goodbye; 3.1.1 has no such packet from a server.
    pub(crate) async fn disconnect(mut self) {
        if self.five {
            self.write(0xe0, &[0x8b, 0]).await;
        }
        let _gone = self.wire.shutdown().await;
    }

    /// A message with QoS 1.
    pub(crate) async fn publish(&mut self, topic: &str, id: u16, payload: &[u8]) {
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend_from_slice(topic.as_bytes());
        body.extend_from_slice(&id.to_be_bytes());
        if self.five {
            body.push(0);
        }
        body.extend_from_slice(payload);
        self.write(0x32, &body).await;
    }

    /// Says that the store has these blocks.
    pub(crate) async fn stored(&mut self, id: u16, block: &Publish) {
        self.publish("fieldline/gw-1/ack", id, &block.acknowledgement()).await;
    }

    /// What the agent does not take any more is its own affair: the script goes on to see that.
    async fn write(&mut self, first: u8, body: &[u8]) {
        let mut packet = vec![first];
        let mut length = body.len();
        loop {
            let more = length > 127;
            packet.push((length % 128) as u8 | if more { 0x80 } else { 0 });
            length /= 128;
            if !more {
                break;
            }
        }
        packet.extend_from_slice(body);
        let _gone = self.wire.write_all(&packet).await;
        let _gone = self.wire.flush().await;
    }
}

impl Packet {
    /// The packet identifier of a SUBSCRIBE or PUBACK.
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    pub(crate) fn connect(&self) -> Connect {
        let body = &self.body;
        assert_eq!(&body[..6], b"\x00\x04MQTT");
        let (level, flags) = (body[6], body[7]);
        let properties = if level == 5 { usize::from(body[10]) + 1 } else { 0 };
        let session = body[10..10 + properties].windows(5).find(|window| window[0] == 0x11);
        Connect {
            level,
            clean: flags & 2 != 0,
            keep_alive_s: u16::from_be_bytes([body[8], body[9]]),
            session_s: session.map(|window| u32::from_be_bytes(window[1..].try_into().unwrap())),
            client_id: text(&body[10 + properties..]),
        }
    }

    pub(crate) fn publish(&self) -> Publish {
        let topic = text(&self.body);
        let qos = self.flags >> 1 & 3;
        assert_eq!(qos, 1, "on {topic}");
        let rest = &self.body[2 + topic.len()..];
        let id = u16::from_be_bytes([rest[0], rest[1]]);
        let properties = if self.five { usize::from(rest[2]) + 1 } else { 0 };
        let payload = rest[2 + properties..].to_vec();
        Publish { topic, qos, duplicate: self.flags & 8 != 0, id, payload }
    }

    /// The topic filters of a SUBSCRIBE with the QoS wanted.
    pub(crate) fn filters(&self) -> Vec<(String, u8)> {
        let mut rest = &self.body[if self.five { 3 + usize::from(self.body[2]) } else { 2 }..];
        let mut filters = Vec::new();
        while !rest.is_empty() {
            let filter = text(rest);
            let (options, after) = rest[2 + filter.len()..].split_first().unwrap();
            filters.push((filter, options & 3));
            rest = after;
        }
        filters
    }
}

impl Publish {
    /// The readings in the block.
    pub(crate) fn range(&self) -> SeqRange {
        self.header().1
    }

    /// The store's word that it has the block.
    pub(crate) fn acknowledgement(&self) -> Vec<u8> {
        let (epoch, range) = self.header();
        serde_json::to_vec(&AckMessage { epoch, stored: vec![range].into() }).unwrap()
    }

    fn header(&self) -> (u64, SeqRange) {
        let block = Block::decode(&self.payload, &Limits::default()).unwrap();
        (block.stream.epoch, block.seqs())
    }
}

fn text(bytes: &[u8]) -> String {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    String::from_utf8(bytes[2..2 + length].to_vec()).unwrap()
}
