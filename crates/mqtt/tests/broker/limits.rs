//! Raw bytes: what is not MQTT, what is too much, and what comes in pieces.

use fieldline_mqtt::{BrokerConfig, Routing, Version};

use crate::support::{Heard, Raw, Running, connect_bytes, publish_bytes, soon};

#[tokio::test]
async fn what_is_not_mqtt_is_closed() {
    let running = Running::routing().await;
    let too_long: &[u8] = &[0x10, 0xff, 0xff, 0xff, 0x7f];
    for bytes in [b"GET / HTTP/1.1\r\n\r\n", &[0xc0, 0], too_long, &[0x10, 2, 0, 0]] as [&[u8]; 4] {
        let mut raw = Raw::open(running.address).await;
        raw.send(bytes).await;
        assert_eq!(raw.rest().await, [0u8; 0], "{bytes:02x?}");
    }
    let mut raw = Raw::open(running.address).await;
    raw.send(&connect_bytes(3, "old")).await;
    assert_eq!(raw.rest().await, [0x20, 2, 0, 1]);
    assert_eq!(running.broker.stats().connections_refused, 5);
}

#[tokio::test]
async fn no_connect_packet_in_time_is_the_end() {
    let config = BrokerConfig { connect_timeout_ms: 50, ..BrokerConfig::default() };
    let running = Running::start(config, true, None).await;
    let mut raw = Raw::open(running.address).await;
    raw.send(&connect_bytes(4, "half")[..5]).await;
    assert_eq!(raw.rest().await, [0u8; 0]);
    assert_eq!(running.broker.stats().connections_refused, 1);
}

#[tokio::test]
async fn packets_may_come_byte_by_byte() {
    let mut running = Running::asking().await;
    let mut raw = Raw::open(running.address).await;
    let mut bytes = connect_bytes(4, "slow");
    bytes.extend_from_slice(&publish_bytes(4, 7, "t", &[b'x'; 300]));
    bytes.extend_from_slice(&[0xc0, 0]);
    for byte in bytes {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.packet().await, [0x20, 2, 0, 0]);
    assert_eq!(raw.packet().await, [0xd0, 0]);
    let (_, message, receipt) = running.publish().await;
    assert_eq!(message.payload.len(), 300);
    receipt.accept(Routing::Consume);
    assert_eq!(raw.packet().await, [0x40, 2, 0, 7]);
}

#[tokio::test]
async fn everything_in_one_write_is_taken_too() {
    let mut running = Running::asking().await;
    let mut raw = Raw::open(running.address).await;
    let mut bytes = connect_bytes(5, "quick");
    bytes.extend_from_slice(&publish_bytes(5, 1, "t", b"1"));
    bytes.extend_from_slice(&publish_bytes(5, 2, "t", b"2"));
    raw.send(&bytes).await;
    raw.packet().await;
    for id in [1, 2] {
        running.publish().await.2.accept(Routing::Consume);
        assert_eq!(raw.packet().await, [0x40, 2, 0, id]);
    }
}

#[tokio::test]
async fn malformed_packets_end_the_connection_with_the_reason() {
    let running = Running::routing().await;
    let table: [(&[u8], u8); 10] = [
        (&[0x36, 5, 0, 1, b'a', 0, 1], 0x81),
        (&[0x34, 6, 0, 1, b'a', 0, 0, 0], 0x81),
        (&[0x30, 4, 0, 1, b'#', 0], 0x90),
        // Topic aliases: one that is not set, and neither topic nor alias.
        (&[0x30, 7, 0, 0, 3, 0x23, 0, 1, b'x'], 0x82),
        (&[0x30, 3, 0, 0, 0], 0x82),
        (&[0x82, 2, 0, 1], 0x81),
        (&[0x20, 2, 0, 0], 0x82),
        (&connect_bytes(5, "again"), 0x82),
        (&[0x30, 0xff, 0xff, 0xff, 0xff], 0x81),
        (&[0x30, 0x80, 0x80, 0x20], 0x95),
    ];
    for (bytes, reason) in table {
        let mut raw = Raw::connected(running.address, 5, "bad").await;
        raw.send(bytes).await;
        assert_eq!(raw.rest().await, [0xe0, 1, reason], "{bytes:02x?}");
        let mut raw = Raw::connected(running.address, 4, "bad").await;
        raw.send(bytes).await;
        assert_eq!(raw.rest().await, [0u8; 0], "{bytes:02x?}");
    }
}

#[tokio::test]
async fn a_topic_alias_stands_for_its_topic() {
    let mut running = Running::asking().await;
    let mut raw = Raw::connected(running.address, 5, "a").await;
    raw.send(&[0x30, 8, 0, 1, b'a', 3, 0x23, 0, 16, b'1']).await;
    raw.send(&[0x30, 7, 0, 0, 3, 0x23, 0, 16, b'2']).await;
    for payload in ["1", "2"] {
        let (_, message, receipt) = running.publish().await;
        assert_eq!((&*message.topic, &message.payload[..]), ("a", payload.as_bytes()));
        receipt.accept(Routing::Consume);
    }
    for alias in [0, 17] {
        let mut raw = Raw::connected(running.address, 5, "bad").await;
        raw.send(&[0x30, 8, 0, 1, b'a', 3, 0x23, 0, alias, b'x']).await;
        assert_eq!(raw.rest().await, [0xe0, 1, 0x94], "alias {alias}");
    }
}

#[tokio::test]
async fn a_packet_of_the_largest_size_passes_and_one_byte_more_does_not() {
    let config = BrokerConfig { packet_bytes_max: 1000, ..BrokerConfig::default() };
    let mut running = Running::start(config, false, None).await;
    let payload = |size: usize| vec![b'x'; size - (1 + 2 + 3 + 2)];
    let mut raw = Raw::connected(running.address, 4, "large").await;
    raw.send(&publish_bytes(4, 1, "t", &payload(1000))).await;
    running.publish().await.2.accept(Routing::Consume);
    assert_eq!(raw.packet().await, [0x40, 2, 0, 1]);
    raw.send(&publish_bytes(4, 1, "t", &payload(1001))).await;
    assert_eq!(raw.rest().await, [0u8; 0]);
}

/// A 3.1.1 client has never heard of Receive Maximum. It is held back by not being read, and the
/// application never holds more of its messages than that.
#[tokio::test]
async fn a_3_1_1_client_that_floods_is_held_back() {
    const MESSAGES: u16 = 5000;
    let config = BrokerConfig { receive_maximum: 10, ..BrokerConfig::default() };
    let mut running = Running::start(config, false, None).await;
    let raw = Raw::connected(running.address, 4, "flood").await;
    let (mut reader, mut writer) = raw.0.into_split();
    // More than socket buffers take, so that the writer is seen to be held.
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        for id in 1..=MESSAGES {
            writer.write_all(&publish_bytes(4, id, "t", &[b'x'; 4000])).await.unwrap();
        }
        writer
    });
    let mut held = Vec::new();
    for expected in 1..=MESSAGES {
        if held.is_empty() {
            for _ in 0..10 {
                held.push(running.publish().await);
            }
            held.reverse();
            loop {
                match running.heard.try_recv() {
                    Ok(Heard::Publish(..)) => panic!("an eleventh message"),
                    Ok(_) => continue,
                    Err(_) => break,
                }
            }
            if expected == 1 {
                assert!(!flood.is_finished());
                assert!(running.broker.stats().bytes_in < 2_000_000);
            }
        }
        held.pop().unwrap().2.accept(Routing::Consume);
        let mut puback = [0; 4];
        let read = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut puback);
        soon("a puback", read).await.unwrap();
        assert_eq!(u16::from_be_bytes([puback[2], puback[3]]), expected);
    }
    soon("the flood to end", flood).await.unwrap();
}

#[tokio::test]
async fn an_mqtt_5_client_beyond_receive_maximum_is_disconnected() {
    let config = BrokerConfig { receive_maximum: 2, ..BrokerConfig::default() };
    let mut running = Running::start(config, false, None).await;
    let mut raw = Raw::connected(running.address, 5, "greedy").await;
    for id in 1..=3 {
        raw.send(&publish_bytes(5, id, "t", b"x")).await;
    }
    let _held = (running.publish().await, running.publish().await);
    assert_eq!(raw.rest().await, [0xe0, 1, 0x93]);
}

#[tokio::test]
async fn a_client_whose_every_place_is_abandoned_is_sent_away_to_come_again() {
    let config = BrokerConfig { receive_maximum: 2, ..BrokerConfig::default() };
    let mut running = Running::start(config, false, None).await;
    let mut device = running.connect("device", Version::V5).await;
    device.publish("t", "1");
    device.publish("t", "2");
    assert!(matches!(
        device.0.publish("t", "3".into(), fieldline_mqtt::QoS::AtLeastOnce, false),
        Err(fieldline_mqtt::ClientError::Full)
    ));
    device.0.flush().await.unwrap();
    drop(running.publish().await);
    drop(running.publish().await);
    let error = device.failure().await;
    assert!(
        matches!(
            error,
            fieldline_mqtt::ClientError::Disconnected(fieldline_mqtt::DisconnectReason::QuotaExceeded)
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_client_refuses_what_cannot_be_sent() {
    use fieldline_mqtt::{ClientError, QoS};
    let config = BrokerConfig { packet_bytes_max: 1000, ..BrokerConfig::default() };
    let running = Running::start(config, true, None).await;
    let mut device = running.connect("device", Version::V5).await;
    let big = vec![b'x'; 1000];
    assert!(matches!(device.0.publish("t", big.into(), QoS::AtLeastOnce, false), Err(ClientError::TooLarge)));
    for topic in ["", "a/#", "a/+"] {
        let refused = device.0.publish(topic, "x".into(), QoS::AtMostOnce, false);
        assert!(matches!(refused, Err(ClientError::Invalid { .. })), "{topic}");
    }
    assert!(matches!(device.0.subscribe(&[("a#", QoS::AtMostOnce)]), Err(ClientError::Invalid { .. })));
    assert!(matches!(device.0.subscribe(&[]), Err(ClientError::Invalid { .. })));
    let token = device.publish("t", "x");
    assert!(matches!(device.0.republish(token), Err(ClientError::Invalid { .. })));
    assert_eq!(device.next().await, fieldline_mqtt::Event::Published(token));
}
