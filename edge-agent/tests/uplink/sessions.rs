//! Sessions that the server keeps, or has lost.

use crate::VERSIONS;
use crate::gateway::Gateway;
use crate::peer::{CONNECT, PUBACK, PUBLISH, SUBSCRIBE};
use crate::stand_in::StandIn;

/// What the store acknowledged while the agent was away comes with the session and counts.
#[tokio::test]
async fn mqtt_persistent_session_happy_case() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let mut gateway = Gateway::plain(server.port(), version, "").await;
        let mut peer = server.peer().await;
        assert!(!peer.welcome().await.clean);
        gateway.reading(&1.into()).await;
        let block = peer.block().await;
        peer.puback(block.id).await;
        peer.disconnect().await;

        let mut peer = server.peer().await;
        assert!(!peer.expect(CONNECT).await.connect().clean);
        peer.connack(true).await;
        peer.stored(9, &block).await;
        let (mut subscribe, mut acknowledged) = (None, false);
        while subscribe.is_none() || !acknowledged {
            let packet = peer.next().await.unwrap();
            match packet.kind {
                SUBSCRIBE => subscribe = Some(packet),
                PUBACK => acknowledged = packet.id() == 9,
                PUBLISH => assert!(!packet.publish().topic.contains("ingest"), "sent before the session"),
                _ => {}
            }
        }
        peer.suback(&subscribe.unwrap()).await;
        // Only the second reading is left to be sent.
        gateway.reading(&2.into()).await;
        assert_eq!(peer.block().await.range().first, 2);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn mqtt_expired_persistent_session() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let mut gateway = Gateway::plain(server.port(), version, "").await;
        server.peer().await.welcome().await;
        let mut peer = server.peer().await;
        peer.expect(CONNECT).await;
        peer.connack(false).await;
        let subscribe = peer.expect(SUBSCRIBE).await;
        assert_eq!(subscribe.filters(), [("fieldline/gw-1/ack".to_owned(), 1)]);
        peer.suback(&subscribe).await;
        gateway.reading(&1.into()).await;
        peer.block().await;
        gateway.stop().await;
    }
}

/// `session = "0s"` asks for none.
#[tokio::test]
async fn a_session_can_be_switched_off() {
    for (version, session_s) in [("3.1.1", None), ("5", None)] {
        let server = StandIn::listen().await;
        let gateway = Gateway::plain(server.port(), version, "session = \"0s\"").await;
        let connect = server.peer().await.welcome().await;
        assert_eq!((connect.clean, connect.session_s), (true, session_s));
        gateway.stop().await;
    }
}
