//! Carries bytes one way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Network, frame};

/// How often a pump looks up from a quiet socket.
const TICK: Duration = Duration::from_millis(5);
/// How long a delayed acknowledgement waits at most.
const DELAY_MS_MAX: u64 = 300;

/// To the listener: bytes as they come.
pub(super) fn forward(network: &Network, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let toxics = network.lock().toxics;
        if toxics.blackhole {
            continue;
        }
        std::thread::sleep(toxics.latency);
        if chunk.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    close(&from, &to);
}

/// From the listener: packet by packet, so that acknowledgements can suffer.
pub(super) fn backward(network: &Network, mut from: TcpStream, mut to: TcpStream) {
    let mut lane = Lane::default();
    if from.set_read_timeout(Some(TICK)).is_ok() {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => lane.incoming.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            let out = lane.pass(network);
            if to.write_all(&out).is_err() {
                break;
            }
        }
    }
    close(&from, &to);
}

fn close(from: &TcpStream, to: &TcpStream) {
    for socket in [from, to] {
        // Already closed is as good.
        drop(socket.shutdown(Shutdown::Both));
    }
}

/// What is on its way back on one connection.
#[derive(Debug, Default)]
struct Lane {
    incoming: Vec<u8>,
    delayed: Vec<(Instant, Vec<u8>)>,
    overtaken: Option<Vec<u8>>,
}

impl Lane {
    /// What goes out now.
    fn pass(&mut self, network: &Network) -> Vec<u8> {
        let mut out = Vec::new();
        let toxics = network.lock().toxics;
        while let Some(packet) = frame::take(&mut self.incoming) {
            if toxics.blackhole {
                continue;
            }
            if frame::acknowledges(&packet) {
                self.acknowledgement(network, packet, &mut out);
            } else {
                out.extend_from_slice(&packet);
            }
        }
        let now = Instant::now();
        self.delayed.retain(|(due, packet)| {
            if *due <= now && !toxics.blackhole {
                out.extend_from_slice(packet);
            }
            *due > now
        });
        if !out.is_empty() {
            std::thread::sleep(toxics.latency);
        }
        out
    }

    fn acknowledgement(&mut self, network: &Network, packet: Vec<u8>, out: &mut Vec<u8>) {
        let mut state = network.lock();
        let acks = state.toxics.acks;
        let random = &mut state.random;
        if random.chance(acks.lose) {
            return;
        }
        if random.chance(acks.double) {
            out.extend_from_slice(&packet);
            out.extend_from_slice(&frame::redelivery(&packet));
        } else if random.chance(acks.delay) {
            let wait = Duration::from_millis(random.below(DELAY_MS_MAX));
            self.delayed.push((Instant::now() + wait, packet));
        } else if random.chance(acks.reorder) && self.overtaken.is_none() {
            self.overtaken = Some(packet);
        } else {
            out.extend_from_slice(&packet);
            out.extend(self.overtaken.take().into_iter().flatten());
        }
    }
}
