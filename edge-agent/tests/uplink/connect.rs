//! CONNECT, and what the agent does when the server is silent, goes away or is dead.

use std::time::{Duration, Instant};

use crate::VERSIONS;
use crate::gateway::Gateway;
use crate::peer::{CONNECT, Connect, PINGREQ, Peer};
use crate::stand_in::StandIn;

#[tokio::test]
async fn mqtt_connect() {
    for (version, level, session_s) in [("3.1.1", 4, None), ("5", 5, Some(3_600))] {
        let server = StandIn::listen().await;
        let gateway = Gateway::plain(server.port(), version, "").await;
        let mut peer = server.peer().await;
        let connect = peer.welcome().await;
        let client_id = "gw-1".to_owned();
        assert_eq!(connect, Connect { level, clean: false, keep_alive_s: 60, session_s, client_id });
        gateway.stop().await;
    }
}

/// Accepts a connection and leaves its CONNECT unanswered; says when it came and when it was given up.
async fn silence(server: &StandIn) -> (Instant, Instant) {
    let (stream, came) = server.accept().await;
    let mut peer = Peer::new(stream);
    peer.expect(CONNECT).await;
    peer.end().await;
    (came, Instant::now())
}

/// Device Advisor's sequence: five CONNECTs without CONNACK, the sixth succeeds, and all of it again.
#[tokio::test]
async fn mqtt_connect_exponential_and_jitter_backoff_retries() {
    let sync = "answer_timeout = \"200ms\"\nbackoff_min = \"20ms\"\nbackoff_max = \"640ms\"";
    let server = StandIn::listen().await;
    let gateway = Gateway::plain(server.port(), "3.1.1", sync).await;
    let (mut pauses, mut given_up) = (Vec::new(), None);
    for _ in 0..2 {
        for _ in 0..5 {
            let (came, end) = silence(&server).await;
            pauses.extend(given_up.map(|given_up: Instant| came.saturating_duration_since(given_up)));
            given_up = Some(end);
        }
        let (stream, came) = server.accept().await;
        pauses.extend(given_up.map(|given_up| came.saturating_duration_since(given_up)));
        let mut peer = Peer::new(stream);
        peer.welcome().await;
        peer.disconnect().await;
        given_up = Some(Instant::now());
    }
    // The ceilings are 20, 40, 80, 160, 320, 640, 640 … ms; a pause is anywhere below its ceiling.
    assert_eq!(pauses.len(), 11);
    let (early, late) = (&pauses[..2], &pauses[5..]);
    assert!(early.iter().max() < late.iter().max(), "no backoff in {pauses:?}");
    let spread = late.iter().max().unwrap().abs_diff(*late.iter().min().unwrap());
    assert!(spread > Duration::from_millis(16), "no jitter in {pauses:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn mqtt_reconnect_backoff_retries_on_server_disconnect() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let gateway = Gateway::plain(server.port(), version, "").await;
        for _ in 0..10 {
            let mut peer = server.peer().await;
            peer.welcome().await;
            peer.disconnect().await;
        }
        server.peer().await.welcome().await;
        gateway.stop().await;
    }
}

/// The network breaks off at every stage, without a goodbye.
#[tokio::test]
async fn mqtt_reconnect_backoff_retries_on_unstable_connection() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let mut gateway = Gateway::plain(server.port(), version, "").await;
        gateway.reading(&1.into()).await;
        for stage in (0..3).cycle().take(9) {
            let (stream, _) = server.accept().await;
            // A reset instead of an orderly end.
            stream.set_zero_linger().unwrap();
            let mut peer = Peer::new(stream);
            match stage {
                0 => {}
                1 => drop(peer.expect(CONNECT).await),
                _ => {
                    peer.welcome().await;
                    peer.block().await;
                }
            }
        }
        let mut peer = server.peer().await;
        peer.welcome().await;
        let block = peer.block().await;
        assert_eq!(block.range().first, 1, "what was not acknowledged comes again");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn mqtt_no_ack_pingresp() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let sync = "keep_alive = \"1s\"\nanswer_timeout = \"500ms\"\nbooks_every = \"1h\"";
        let gateway = Gateway::plain(server.port(), version, sync).await;
        let mut peer = server.peer().await;
        peer.welcome().await;
        let ping = |peer: Peer| async move {
            let mut peer = peer;
            while peer.next().await.unwrap().kind != PINGREQ {}
            peer
        };
        peer = ping(peer).await;
        peer.pingresp().await;
        peer = ping(peer).await;
        peer.end().await;
        server.peer().await.welcome().await;
        gateway.stop().await;
    }
}
