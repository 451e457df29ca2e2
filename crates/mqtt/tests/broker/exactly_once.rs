//! QoS 2 byte by byte, named by the statements of section 4.3.3.

use fieldline_mqtt::{BrokerConfig, Message, PublishError, QoS, Routing};

use crate::support::{Raw, Running, publish_bytes};

const LEVELS: [u8; 2] = [4, 5];
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

/// A PUBLISH of QoS 2 to `t`.
fn publish(level: u8, id: u16, payload: &str, duplicate: bool) -> Vec<u8> {
    let mut bytes = publish_bytes(level, id, "t", payload.as_bytes());
    bytes[0] = if duplicate { 0x3c } else { 0x34 };
    bytes
}

fn pubrec(id: u8) -> [u8; 4] {
    [0x50, 2, 0, id]
}

fn pubrel(id: u8) -> [u8; 4] {
    [0x62, 2, 0, id]
}

fn pubcomp(id: u8) -> [u8; 4] {
    [0x70, 2, 0, id]
}

/// A connection with a session that stays.
async fn resume(running: &Running, level: u8, present: bool) -> Raw {
    let properties: &[u8] = if level == 5 { &[5, 0x11, 0, 0, 0, 60] } else { &[] };
    let mut bytes = vec![0x10, 13 + properties.len() as u8];
    bytes.extend_from_slice(b"\0\x04MQTT");
    bytes.extend_from_slice(&[level, 0, 0, 60]);
    bytes.extend_from_slice(properties);
    bytes.extend_from_slice(&[0, 1, b'd']);
    let mut raw = Raw::open(running.address).await;
    raw.send(&bytes).await;
    let connack = raw.packet().await;
    assert_eq!((connack[0], connack[2], connack[3]), (0x20, u8::from(present), 0), "{connack:02x?}");
    raw
}

async fn next_payload(running: &mut Running) -> (String, fieldline_mqtt::Receipt) {
    let (_, message, receipt) = running.publish().await;
    (String::from_utf8(message.payload.to_vec()).unwrap(), receipt)
}

#[tokio::test]
async fn mqtt_4_3_3_8_the_pubrec_waits_for_the_application() {
    for level in LEVELS {
        let mut running = Running::asking().await;
        let mut device = resume(&running, level, false).await;
        device.send(&publish(level, 7, "1", false)).await;
        let (_, receipt) = next_payload(&mut running).await;
        assert!(receipt.acknowledges());
        device.send(&PINGREQ).await;
        assert_eq!(device.packet().await, PINGRESP);
        receipt.accept(Routing::Consume);
        assert_eq!(device.packet().await, pubrec(7));
    }
}

#[tokio::test]
async fn mqtt_4_3_3_10_to_12_a_message_is_handed_over_once_until_it_is_released() {
    for level in LEVELS {
        let mut running = Running::asking().await;
        let mut device = resume(&running, level, false).await;
        // A reminder before the answer gets none of its own.
        device.send(&[publish(level, 7, "1", false), publish(level, 7, "1", true)].concat()).await;
        next_payload(&mut running).await.1.accept(Routing::Consume);
        assert_eq!(device.packet().await, pubrec(7));
        for duplicate in [true, false] {
            device.send(&publish(level, 7, "again", duplicate)).await;
            assert_eq!(device.packet().await, pubrec(7));
        }
        device.send(&pubrel(7)).await;
        assert_eq!(device.packet().await, pubcomp(7));
        device.send(&publish(level, 7, "2", false)).await;
        let (payload, receipt) = next_payload(&mut running).await;
        assert_eq!(payload, "2");
        receipt.accept(Routing::Consume);
        assert_eq!(device.packet().await, pubrec(7));
    }
}

#[tokio::test]
async fn a_pubrel_of_what_is_not_known_is_answered() {
    for (level, expected) in [(4, &[0x70, 2, 0, 9][..]), (5, &[0x70, 3, 0, 9, 0x92])] {
        let running = Running::asking().await;
        let mut device = resume(&running, level, false).await;
        device.send(&pubrel(9)).await;
        assert_eq!(device.packet().await, expected);
    }
}

#[tokio::test]
async fn mqtt_4_3_3_10_holds_across_connections() {
    for level in LEVELS {
        let mut running = Running::asking().await;
        let mut device = resume(&running, level, false).await;
        for id in 1..=3 {
            device.send(&publish(level, id, &id.to_string(), false)).await;
        }
        // One is answered before the connection breaks, one while there is none, one after.
        next_payload(&mut running).await.1.accept(Routing::Consume);
        assert_eq!(device.packet().await, pubrec(1));
        let (_, second) = next_payload(&mut running).await;
        let (_, third) = next_payload(&mut running).await;
        drop(device);
        running.disconnected("d").await;
        second.accept(Routing::Consume);
        let mut device = resume(&running, level, true).await;
        for id in 1..=3 {
            device.send(&publish(level, id, "again", true)).await;
        }
        assert_eq!(device.packet().await, pubrec(1));
        assert_eq!(device.packet().await, pubrec(2));
        device.send(&PINGREQ).await;
        assert_eq!(device.packet().await, PINGRESP);
        third.accept(Routing::Consume);
        assert_eq!(device.packet().await, pubrec(3));
        for id in 1..=3 {
            device.send(&pubrel(id)).await;
            assert_eq!(device.packet().await, pubcomp(id));
        }
        device.send(&publish(level, 4, "fresh", false)).await;
        assert_eq!(next_payload(&mut running).await.0, "fresh");
    }
}

#[tokio::test]
async fn mqtt_4_3_3_9_after_a_refusal_the_identifier_is_free() {
    let mut running = Running::asking().await;
    let mut device = resume(&running, 5, false).await;
    device.send(&publish(5, 7, "bad", false)).await;
    next_payload(&mut running).await.1.reject(PublishError::PayloadFormatInvalid);
    assert_eq!(device.packet().await, [0x50, 3, 0, 7, 0x99]);
    device.send(&publish(5, 7, "good", false)).await;
    assert_eq!(next_payload(&mut running).await.0, "good");
    let mut forbidden = publish_bytes(5, 8, "forbidden/t", b"x");
    forbidden[0] = 0x34;
    let mut other = Raw::connected(running.address, 5, "other").await;
    other.send(&forbidden).await;
    assert_eq!(other.packet().await, [0x50, 3, 0, 8, 0x87]);
}

#[tokio::test]
async fn what_3_1_1_cannot_say_is_answered_as_with_qos_1() {
    let mut running = Running::asking().await;
    let mut device = resume(&running, 4, false).await;
    device.send(&publish(4, 1, "no room", false)).await;
    next_payload(&mut running).await.1.reject(PublishError::QuotaExceeded);
    device.send(&publish(4, 2, "bad", false)).await;
    next_payload(&mut running).await.1.reject(PublishError::PayloadFormatInvalid);
    assert_eq!(device.packet().await, pubrec(2));
    // The one without an answer comes again, and is asked about again.
    device.send(&publish(4, 1, "no room", true)).await;
    next_payload(&mut running).await.1.accept(Routing::Consume);
    assert_eq!(device.packet().await, pubrec(1));
}

#[tokio::test]
async fn mqtt_4_6_0_3_pubrecs_leave_in_the_order_of_the_publishes() {
    for level in LEVELS {
        let mut running = Running::asking().await;
        let mut device = resume(&running, level, false).await;
        device.send(&publish(level, 1, "1", false)).await;
        device.send(&publish_bytes(level, 2, "t", b"2")).await;
        device.send(&publish(level, 3, "3", false)).await;
        let mut receipts = Vec::new();
        for _ in 1..=3 {
            receipts.push(next_payload(&mut running).await.1);
        }
        receipts.into_iter().rev().for_each(|receipt| receipt.accept(Routing::Consume));
        assert_eq!(device.packet().await, pubrec(1));
        assert_eq!(device.packet().await, [0x40, 2, 0, 2]);
        assert_eq!(device.packet().await, pubrec(3));
    }
}

#[tokio::test]
async fn mqtt_3_3_4_7_the_receive_maximum_counts_until_the_pubcomp() {
    let config = BrokerConfig { receive_maximum: 2, ..BrokerConfig::default() };
    for excess in [publish(5, 4, "4", false), publish_bytes(5, 4, "t", b"4")] {
        let mut running = Running::start(config.clone(), true, None).await;
        let mut device = resume(&running, 5, false).await;
        for id in 1..=2 {
            device.send(&publish(5, u16::from(id), "x", false)).await;
            assert_eq!(device.packet().await, pubrec(id));
        }
        device.send(&pubrel(1)).await;
        assert_eq!(device.packet().await, pubcomp(1));
        device.send(&publish(5, 3, "3", false)).await;
        assert_eq!(device.packet().await, pubrec(3));
        device.send(&excess).await;
        assert_eq!(device.rest().await, [0xe0, 1, 0x93]);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_3_1_1_client_can_always_release_what_it_has_sent() {
    let config = BrokerConfig { receive_maximum: 2, ..BrokerConfig::default() };
    let running = Running::start(config, true, None).await;
    let mut device = resume(&running, 4, false).await;
    for id in 1..=9 {
        device.send(&publish(4, u16::from(id), "x", false)).await;
        assert_eq!(device.packet().await, pubrec(id));
    }
    for id in 1..=9 {
        device.send(&pubrel(id)).await;
        assert_eq!(device.packet().await, pubcomp(id));
    }
}

/// Subscribes to `t` with QoS 2, which is granted.
async fn subscribe(device: &mut Raw, level: u8) {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let mut bytes = vec![0x82, 6 + properties.len() as u8, 0, 1];
    bytes.extend_from_slice(properties);
    bytes.extend_from_slice(&[0, 1, b't', 2]);
    device.send(&bytes).await;
    let mut expected = vec![0x90, 3 + properties.len() as u8, 0, 1];
    expected.extend_from_slice(properties);
    expected.push(2);
    assert_eq!(device.packet().await, expected);
}

fn deliver(running: &Running, payload: &str) {
    let message = Message::new("t", payload.to_owned(), QoS::ExactlyOnce);
    assert_eq!(running.broker.publish(&message), 1);
}

#[tokio::test]
async fn mqtt_4_3_3_1_to_5_a_subscriber_gets_a_message_in_two_steps() {
    for level in LEVELS {
        let running = Running::routing().await;
        let mut device = resume(&running, level, false).await;
        subscribe(&mut device, level).await;
        device.send(&publish(level, 9, "1", false)).await;
        // Its own message comes back, with an identifier of the broker's.
        let (first, second) = (device.packet().await, device.packet().await);
        for expected in [pubrec(9).to_vec(), publish(level, 1, "1", false)] {
            assert!([&first, &second].contains(&&expected), "{first:02x?} {second:02x?}");
        }
        for _ in 0..2 {
            device.send(&pubrec(1)).await;
            assert_eq!(device.packet().await, pubrel(1));
        }
        device.send(&pubcomp(1)).await;
        deliver(&running, "2");
        assert_eq!(device.packet().await, publish(level, 2, "2", false));
    }
}

#[tokio::test]
async fn mqtt_4_4_0_1_publish_or_pubrel_comes_again() {
    for level in LEVELS {
        let mut running = Running::routing().await;
        let mut device = resume(&running, level, false).await;
        subscribe(&mut device, level).await;
        for (id, payload) in [(1, "1"), (2, "2"), (3, "3")] {
            deliver(&running, payload);
            assert_eq!(device.packet().await, publish(level, id, payload, false));
        }
        device.send(&pubrec(1)).await;
        assert_eq!(device.packet().await, pubrel(1));
        device.send(&pubrec(2)).await;
        assert_eq!(device.packet().await, pubrel(2));
        device.send(&pubcomp(2)).await;
        device.send(&PINGREQ).await;
        assert_eq!(device.packet().await, PINGRESP);
        drop(device);
        running.disconnected("d").await;
        deliver(&running, "4");
        let mut device = resume(&running, level, true).await;
        assert_eq!(device.packet().await, pubrel(1));
        assert_eq!(device.packet().await, publish(level, 3, "3", true));
        assert_eq!(device.packet().await, publish(level, 4, "4", false));
        device.send(&pubcomp(1)).await;
        device.send(&pubrec(3)).await;
        assert_eq!(device.packet().await, pubrel(3));
    }
}

#[tokio::test]
async fn a_pubrec_with_an_error_ends_the_message_and_makes_room() {
    let config = BrokerConfig { inflight_max: 1, ..BrokerConfig::default() };
    let running = Running::start(config, true, None).await;
    let mut device = resume(&running, 5, false).await;
    subscribe(&mut device, 5).await;
    deliver(&running, "1");
    deliver(&running, "2");
    assert_eq!(device.packet().await, publish(5, 1, "1", false));
    device.send(&PINGREQ).await;
    assert_eq!(device.packet().await, PINGRESP);
    device.send(&[0x50, 3, 0, 1, 0x97]).await;
    assert_eq!(device.packet().await, publish(5, 2, "2", false));
    // The window is taken until the PUBCOMP.
    deliver(&running, "3");
    device.send(&pubrec(2)).await;
    assert_eq!(device.packet().await, pubrel(2));
    device.send(&PINGREQ).await;
    assert_eq!(device.packet().await, PINGRESP);
    device.send(&pubcomp(2)).await;
    assert_eq!(device.packet().await, publish(5, 3, "3", false));
}

#[tokio::test]
async fn a_pubrec_of_what_is_not_known_is_answered() {
    for (level, expected) in [(4, &[0x62, 2, 0, 9][..]), (5, &[0x62, 3, 0, 9, 0x92])] {
        let running = Running::routing().await;
        let mut device = resume(&running, level, false).await;
        device.send(&pubrec(9)).await;
        assert_eq!(device.packet().await, expected);
    }
}

#[tokio::test]
async fn retained_messages_and_wills_keep_qos_2() {
    for level in LEVELS {
        let running = Running::routing().await;
        let mut dying = Raw::open(running.address).await;
        // A will of QoS 2 to `t`, retained.
        let mut bytes = b"\x10\0\0\x04MQTT".to_vec();
        bytes.extend_from_slice(&[level, 0x36, 0, 60]);
        let none: &[u8] = if level == 5 { &[0] } else { &[] };
        bytes.extend_from_slice(none);
        bytes.extend_from_slice(&[0, 1, b'w']);
        bytes.extend_from_slice(none);
        bytes.extend_from_slice(&[0, 1, b't', 0, 4]);
        bytes.extend_from_slice(b"gone");
        bytes[1] = bytes.len() as u8 - 2;
        let mut device = resume(&running, level, false).await;
        subscribe(&mut device, level).await;
        dying.send(&bytes).await;
        assert_eq!(dying.packet().await[3], 0);
        drop(dying);
        assert_eq!(device.packet().await, publish(level, 1, "gone", false));
        let mut late = Raw::connected(running.address, level, "late").await;
        subscribe(&mut late, level).await;
        let mut retained = publish(level, 1, "gone", false);
        retained[0] |= 1;
        assert_eq!(late.packet().await, retained);
    }
}
