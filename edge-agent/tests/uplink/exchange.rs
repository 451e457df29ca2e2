//! PUBLISH and SUBSCRIBE, with and without their answers.

use crate::VERSIONS;
use crate::gateway::Gateway;
use crate::peer::{CONNECT, PUBACK, SUBSCRIBE};
use crate::stand_in::StandIn;

#[tokio::test]
async fn mqtt_subscribe() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let gateway = Gateway::plain(server.port(), version, "").await;
        let mut peer = server.peer().await;
        peer.expect(CONNECT).await;
        peer.connack(false).await;
        let subscribe = peer.expect(SUBSCRIBE).await;
        assert_eq!(subscribe.filters(), [("fieldline/gw-1/ack".to_owned(), 1)]);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn mqtt_subscribe_retry_no_suback() {
    let sync = "answer_timeout = \"300ms\"";
    let server = StandIn::listen().await;
    let gateway = Gateway::plain(server.port(), "3.1.1", sync).await;
    let mut peer = server.peer().await;
    peer.expect(CONNECT).await;
    peer.connack(false).await;
    let first = peer.expect(SUBSCRIBE).await;
    let second = peer.expect(SUBSCRIBE).await;
    assert_eq!(second.body, first.body, "the same packet identifier and filters");
    // The third time is the last: then the agent connects anew.
    peer.expect(SUBSCRIBE).await;
    assert_eq!(peer.next().await, None);
    server.peer().await.welcome().await;
    gateway.stop().await;
}

/// MQTT 5 forbids to send a packet again on one connection ([MQTT-4.4.0-1] for PUBLISH): a new one.
#[tokio::test]
async fn mqtt_subscribe_retry_no_suback_in_mqtt_5() {
    let server = StandIn::listen().await;
    let gateway = Gateway::plain(server.port(), "5", "answer_timeout = \"300ms\"").await;
    let mut peer = server.peer().await;
    peer.expect(CONNECT).await;
    peer.connack(false).await;
    peer.expect(SUBSCRIBE).await;
    assert_eq!(peer.next().await, None);
    server.peer().await.welcome().await;
    gateway.stop().await;
}

#[tokio::test]
async fn mqtt_publish() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let mut gateway = Gateway::plain(server.port(), version, "").await;
        let mut peer = server.peer().await;
        peer.welcome().await;
        gateway.reading(&21.5.into()).await;
        let block = peer.block().await;
        assert_eq!(block.topic, "$aws/rules/fieldline_ingest/gw-1");
        assert_eq!((block.qos, block.duplicate, block.range().count()), (1, false, 1));
        gateway.stop().await;
    }
}

#[tokio::test]
async fn mqtt_publish_retry_no_puback() {
    let server = StandIn::listen().await;
    let mut gateway = Gateway::plain(server.port(), "3.1.1", "ack_timeout = \"1s\"").await;
    let mut peer = server.peer().await;
    peer.welcome().await;
    gateway.reading(&21.5.into()).await;
    let first = peer.block().await;
    let again = peer.block().await;
    assert!(again.duplicate);
    assert_eq!((again.id, &again.payload), (first.id, &first.payload));
    peer.puback(again.id).await;
    peer.stored(1, &again).await;
    while peer.next().await.unwrap().kind != PUBACK {}
    assert!(gateway.status().uplink.connected_since.is_some());
    gateway.stop().await;
}

/// MQTT 5: the block comes again on a new connection.
#[tokio::test]
async fn mqtt_publish_retry_no_puback_in_mqtt_5() {
    let server = StandIn::listen().await;
    let mut gateway = Gateway::plain(server.port(), "5", "ack_timeout = \"500ms\"").await;
    let mut peer = server.peer().await;
    peer.welcome().await;
    gateway.reading(&21.5.into()).await;
    let first = peer.block().await;
    peer.end().await;
    let mut peer = server.peer().await;
    peer.welcome().await;
    let again = peer.block().await;
    assert_eq!((again.duplicate, &again.payload), (false, &first.payload));
    gateway.stop().await;
}

/// A message of AWS IoT Core's largest size, 128 KB, is taken and acknowledged.
#[tokio::test]
async fn mqtt_client_puback_qos1() {
    for version in VERSIONS {
        let server = StandIn::listen().await;
        let mut gateway = Gateway::plain(server.port(), version, "").await;
        let mut peer = server.peer().await;
        peer.welcome().await;
        gateway.reading(&21.5.into()).await;
        let block = peer.block().await;
        peer.puback(block.id).await;
        let mut payload = block.acknowledgement();
        payload.resize(128 * 1024, b' ');
        peer.publish("fieldline/gw-1/ack", 4_711, &payload).await;
        let answer = loop {
            let packet = peer.next().await.unwrap();
            if packet.kind == PUBACK {
                break packet;
            }
        };
        assert_eq!(answer.id(), 4_711);
        assert!(gateway.status().uplink.last_ack.is_some());
        gateway.stop().await;
    }
}
