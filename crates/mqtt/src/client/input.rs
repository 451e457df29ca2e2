//! What the server sends.

use super::{ClientError, Connection, Event, MessageId, RequestId};
use crate::packet::decode::{self, Side};
use crate::packet::{Packet, frame};
use crate::{DisconnectReason, PublishError, QoS};

impl Connection {
    /// Turns every whole packet into an event, up to the first that ends the connection.
    pub(super) fn take_input(&mut self, fresh: &[u8]) {
        if let Err(error) = self.try_input(fresh) {
            self.failure = Some(error);
        }
    }

    fn try_input(&mut self, fresh: &[u8]) -> Result<(), ClientError> {
        if self.unread.is_empty() {
            let used = self.take_packets(fresh)?;
            self.unread.extend_from_slice(fresh.get(used..).unwrap_or_default());
        } else {
            let mut unread = std::mem::take(&mut self.unread);
            unread.extend_from_slice(fresh);
            let used = self.take_packets(&unread)?;
            if used < unread.len() {
                unread.drain(..used);
                self.unread = unread;
            }
        }
        Ok(())
    }

    fn take_packets(&mut self, data: &[u8]) -> Result<usize, ClientError> {
        let protocol = |reason| ClientError::Protocol { reason };
        let mut used = 0;
        loop {
            let rest = data.get(used..).unwrap_or_default();
            let Some(found) = frame(rest, self.packet_bytes_max_in).map_err(protocol)? else {
                return Ok(used);
            };
            used += found.size;
            let packet = decode::packet(found, self.version, Side::Client).map_err(protocol)?;
            self.take(packet)?;
        }
    }

    fn take(&mut self, packet: Packet<'_>) -> Result<(), ClientError> {
        match packet {
            Packet::Publish(publish) => {
                let message = publish.to_message(&mut self.topic);
                let id = publish.id.map(MessageId);
                self.events.push_back(Event::Message { message, id, duplicate: publish.duplicate });
            }
            Packet::Puback { id, code } => self.settle(id, code),
            Packet::Suback { id, codes } => {
                if self.answered(id) {
                    let granted = codes.iter().map(|code| granted(*code)).collect();
                    self.events.push_back(Event::Subscribed { request: RequestId(id), granted });
                }
            }
            Packet::Unsuback { id } => {
                if self.answered(id) {
                    self.events.push_back(Event::Unsubscribed { request: RequestId(id) });
                }
            }
            Packet::Pingresp => {
                self.ping_sent = None;
                // The timer stood at the end of the server's time to answer.
                if let Some(keep_alive) = self.keep_alive {
                    self.timer.as_mut().reset((self.last_heard + keep_alive).into());
                }
            }
            Packet::Disconnect { reason, .. } => return Err(ClientError::Disconnected(reason)),
            Packet::Subscribe(_)
            | Packet::Unsubscribe { .. }
            | Packet::Pubrec { .. }
            | Packet::Pubrel { .. }
            | Packet::Pubcomp { .. }
            | Packet::Pingreq => {
                return Err(ClientError::Protocol { reason: DisconnectReason::ProtocolError });
            }
        }
        Ok(())
    }

    /// A PUBACK for what is not in flight is the second one of a publish that was sent twice.
    fn settle(&mut self, id: u16, code: u8) {
        let Some(index) = self.inflight.iter().position(|sent| sent.id == id) else { return };
        if let Some(sent) = self.inflight.remove(index) {
            // 0x10, no matching subscribers, is a success.
            self.events.push_back(if code < 0x80 {
                Event::Published(sent.token)
            } else {
                Event::Refused(sent.token, PublishError::from_code(code))
            });
        }
    }

    fn answered(&mut self, id: u16) -> bool {
        let index = self.requests.iter().position(|request| *request == id);
        index.map(|index| self.requests.swap_remove(index)).is_some()
    }
}

fn granted(code: u8) -> Result<QoS, u8> {
    match code {
        0 => Ok(QoS::AtMostOnce),
        1 | 2 => Ok(QoS::AtLeastOnce),
        code => Err(code),
    }
}
