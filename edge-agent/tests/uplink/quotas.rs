//! AWS IoT Core's quotas of one connection: messages and bytes in a second, unacknowledged messages.
//! The rates are set lower here than AWS's 100 messages and 512 KB, so that any machine can exceed them.

use std::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::peer::{PINGREQ, PUBLISH, Peer};
use crate::soon;
use crate::stand_in::StandIn;

/// Readings as fast as the disk takes them, each its own commit.
async fn feed(gateway: &mut Gateway, text_bytes: usize, readings: usize) {
    let mut state = 0x9e37_79b9_u32;
    for _ in 0..readings {
        let random = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            char::from(b'0' + (state >> 8) as u8 % 64)
        };
        let text: String = (0..text_bytes).map(random).collect();
        gateway.reading(&text.into()).await;
    }
}

/// Runs the watch while readings come.
async fn fed(gateway: &mut Gateway, text_bytes: usize, watch: impl Future<Output = ()>) {
    tokio::select! {
        () = feed(gateway, text_bytes, usize::MAX) => {}
        () = soon("enough messages", watch) => {}
    }
}

/// Answers every message until enough bytes and messages have come; PUBACKs come in between.
async fn answer(peer: &mut Peer, bytes_min: usize, messages_min: u16) {
    let (mut bytes, mut messages) = (0, 0);
    while bytes < bytes_min || messages < messages_min {
        let packet = peer.next().await.unwrap();
        if packet.kind == PUBLISH {
            let publish = packet.publish();
            peer.puback(publish.id).await;
            if publish.topic.contains("ingest") {
                peer.stored(messages + 1, &publish).await;
            }
            bytes += publish.payload.len();
            messages += 1;
        }
    }
}

async fn time_for(sync: &str, text_bytes: usize, bytes: usize, messages: u16) -> Duration {
    let server = StandIn::listen().await;
    let mut gateway = Gateway::plain(server.port(), "5", sync).await;
    let mut peer = server.peer().await;
    let start = Instant::now();
    peer.welcome().await;
    fed(&mut gateway, text_bytes, answer(&mut peer, bytes, messages)).await;
    let elapsed = start.elapsed();
    gateway.stop().await;
    elapsed
}

#[tokio::test]
async fn no_second_has_more_publishes_than_allowed() {
    let elapsed = time_for("messages_per_second = 20", 1, 0, 61).await;
    assert!(elapsed >= Duration::from_secs(3), "61 messages at 20 a second within {elapsed:?}");
}

/// Live readings may run a second ahead, and a block of up to 120 KiB is not cut.
#[tokio::test]
async fn no_more_bytes_than_allowed() {
    let elapsed = time_for("bytes_per_second = \"64KiB\"", 1_000, 384 * 1024, 0).await;
    let least = Duration::from_secs(384 / 64 - 1).saturating_sub(Duration::from_millis(1_900));
    assert!(elapsed >= least, "384 KiB at 64 KiB a second within {elapsed:?}");
}

/// A large block on a narrow link would hold up live readings for as long as it takes.
#[tokio::test]
async fn a_block_takes_at_most_half_a_second_of_the_pace() {
    let server = StandIn::listen().await;
    let mut gateway = Gateway::plain(server.port(), "5", "bytes_per_second = \"64KiB\"").await;
    feed(&mut gateway, 1_000, 200).await;
    let mut peer = server.peer().await;
    peer.welcome().await;
    let (mut sum, mut largest) = (0, 0);
    while sum < 100 * 1024 {
        let block = soon("a block", peer.block()).await;
        largest = largest.max(block.payload.len());
        sum += block.payload.len();
    }
    assert!((16 * 1024..=32 * 1024).contains(&largest), "{largest} bytes");
    gateway.stop().await;
}

#[tokio::test]
async fn no_more_than_100_messages_are_unacknowledged() {
    let server = StandIn::listen().await;
    let sync = "messages_per_second = 10000\nin_flight_max = 1000\nkeep_alive = \"1s\"";
    let mut gateway = Gateway::plain(server.port(), "5", sync).await;
    let mut peer = server.peer().await;
    peer.welcome().await;
    let watch = async {
        let (mut ids, mut pings) = (Vec::new(), 0);
        // Two pings with nothing between them: for a second nothing was sent, though readings came.
        while ids.len() < 100 || pings < 2 {
            let packet = peer.next().await.unwrap();
            match packet.kind {
                PINGREQ => {
                    peer.pingresp().await;
                    pings += 1;
                }
                _ => {
                    ids.push(packet.publish().id);
                    pings = 0;
                }
            }
        }
        assert_eq!(ids.len(), 100);
        peer.puback(ids[0]).await;
        let next = peer.expect(PUBLISH).await.publish();
        assert!(!ids[1..].contains(&next.id));
    };
    fed(&mut gateway, 1, watch).await;
    gateway.stop().await;
}
