//! Subscriptions, retained messages, and what a message carries.

use bytes::Bytes;
use fieldline_mqtt::{Event, Message, MessageProperties, QoS, Version};

use crate::support::{Client, Raw, Running, VERSIONS};

#[tokio::test]
async fn messages_reach_matching_subscribers_with_the_lower_qos() {
    for (version, reader_version) in [(VERSIONS[0], VERSIONS[1]), (VERSIONS[1], VERSIONS[0])] {
        let running = Running::routing().await;
        let mut reader = running.connect("reader", reader_version).await;
        assert_eq!(reader.subscribe("a/+/c", QoS::AtLeastOnce).await, Ok(QoS::AtLeastOnce));
        assert_eq!(reader.subscribe("low/#", QoS::AtMostOnce).await, Ok(QoS::AtMostOnce));
        let mut device = running.connect("device", version).await;
        for topic in ["a/b/c", "a/b", "low/x", "a/x/c"] {
            device.publish_acked(topic, "1", false).await;
        }
        device.0.publish("a/y/c", Bytes::from("0"), QoS::AtMostOnce, false).unwrap();
        device.0.flush().await.unwrap();
        let mut found = Vec::new();
        for _ in 0..4 {
            let message = reader.message().await;
            found.push((message.topic.to_string(), message.qos.as_u8()));
        }
        let expected = [("a/b/c", 1), ("low/x", 0), ("a/x/c", 1), ("a/y/c", 0)];
        assert_eq!(found, expected.map(|(topic, qos)| (topic.to_owned(), qos)));
    }
}

#[tokio::test]
async fn overlapping_subscriptions_make_one_delivery_with_the_highest_qos() {
    let running = Running::routing().await;
    let mut reader = running.connect("reader", Version::V5).await;
    reader.subscribe("a/#", QoS::AtMostOnce).await.unwrap();
    reader.subscribe("a/b", QoS::AtLeastOnce).await.unwrap();
    running.broker.publish(&Message::new("a/b", "x", QoS::AtLeastOnce));
    assert_eq!(reader.message().await.qos, QoS::AtLeastOnce);
    assert_eq!(reader.payloads_so_far(&running.broker).await, Vec::<String>::new());
}

#[tokio::test]
async fn after_an_unsubscribe_nothing_comes() {
    for version in VERSIONS {
        let running = Running::routing().await;
        let mut reader = running.connect("reader", version).await;
        reader.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        let request = reader.0.unsubscribe(&["a", "never"]).unwrap();
        assert_eq!(reader.next().await, Event::Unsubscribed { request });
        assert_eq!(running.broker.publish(&Message::new("a", "x", QoS::AtLeastOnce)), 0);
        assert_eq!(running.broker.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn subscriptions_that_may_not_be_are_answered_with_the_reason() {
    let running = Running::routing().await;
    let mut five = running.connect("five", Version::V5).await;
    assert_eq!(five.subscribe("forbidden/x", QoS::AtLeastOnce).await, Err(0x87));
    assert_eq!(five.subscribe("$share/g/forbidden/x", QoS::AtLeastOnce).await, Err(0x87));
    assert_eq!(five.subscribe(&"a/".repeat(40), QoS::AtLeastOnce).await, Err(0x8f));
    for number in 0..100 {
        assert!(five.subscribe(&format!("n/{number}"), QoS::AtLeastOnce).await.is_ok());
    }
    assert_eq!(five.subscribe("n/100", QoS::AtLeastOnce).await, Err(0x97));
    assert!(five.subscribe("n/0", QoS::AtMostOnce).await.is_ok());
    let mut three = running.connect("three", Version::V3_1_1).await;
    assert_eq!(three.subscribe("forbidden/x", QoS::AtLeastOnce).await, Err(0x80));
}

#[tokio::test]
async fn publishing_where_one_may_not_is_refused() {
    let running = Running::routing().await;
    let mut five = running.connect("five", Version::V5).await;
    let token = five.publish("forbidden/x", "1");
    assert_eq!(five.next().await, Event::Refused(token, fieldline_mqtt::PublishError::NotAuthorized));
    five.0.publish("forbidden/x", Bytes::from("0"), QoS::AtMostOnce, false).unwrap();
    five.publish_acked("ok", "1", false).await;
    let mut three = running.connect("three", Version::V3_1_1).await;
    three.publish("forbidden/x", "1");
    three.failure().await;
    assert_eq!(running.broker.stats().messages_refused, 3);
}

#[tokio::test]
async fn the_retained_message_greets_a_new_subscriber() {
    for version in VERSIONS {
        let running = Running::routing().await;
        let mut reader = running.connect("reader", version).await;
        reader.subscribe("s/#", QoS::AtLeastOnce).await.unwrap();
        let mut device = running.connect("device", version).await;
        device.publish_acked("s/1", "old", true).await;
        device.publish_acked("s/1", "new", true).await;
        // Who was there sees fresh messages without the flag.
        for _ in 0..2 {
            assert!(!reader.message().await.retain);
        }
        let mut late = running.connect("late", version).await;
        late.subscribe("s/+", QoS::AtLeastOnce).await.unwrap();
        let message = late.message().await;
        assert_eq!((message.retain, &message.payload[..]), (true, &b"new"[..]));
        device.publish_acked("s/1", "", true).await;
        assert_eq!(running.broker.stats().retained, 0);
        let mut last = running.connect("last", version).await;
        last.subscribe("s/+", QoS::AtLeastOnce).await.unwrap();
        assert_eq!(last.payloads_so_far(&running.broker).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn properties_travel_between_mqtt_5_clients_and_stop_at_3_1_1() {
    let running = Running::routing().await;
    let mut five = running.connect("five", Version::V5).await;
    let mut three = running.connect("three", Version::V3_1_1).await;
    for reader in [&mut five, &mut three] {
        reader.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    }
    let properties = MessageProperties {
        utf8: Some(true),
        expiry_s: Some(1000),
        content_type: Some("application/json".into()),
        response_topic: Some("answers/here".into()),
        correlation_data: Some(Bytes::from_static(b"\x00\xff")),
        user: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
    };
    let message = Message::new("t", "{}", QoS::AtLeastOnce).with_properties(properties.clone());
    let mut device = running.connect("device", Version::V5).await;
    device.0.publish_message(message).unwrap();
    device.0.flush().await.unwrap();
    let found = five.message().await.properties.unwrap();
    let expiry_s = found.expiry_s.filter(|left| (900..=1000).contains(left));
    assert!(expiry_s.is_some());
    assert_eq!(*found, MessageProperties { expiry_s: found.expiry_s, ..properties });
    assert_eq!(three.message().await.properties, None);
}

#[tokio::test]
async fn a_slow_subscriber_loses_its_oldest_and_holds_nobody_up() {
    let config = fieldline_mqtt::BrokerConfig {
        queue_messages_max: 10,
        inflight_max: 2,
        ..fieldline_mqtt::BrokerConfig::default()
    };
    let running = Running::start(config, true, None).await;
    let mut slow = running.connect("slow", Version::V5).await;
    slow.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    let mut quick = running.connect("quick", Version::V5).await;
    quick.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    let mut device = running.connect("device", Version::V5).await;
    for number in 0..50 {
        let payload: &'static str = Box::leak(number.to_string().into_boxed_str());
        device.publish_acked("t", payload, false).await;
        assert_eq!(quick.payload().await, payload);
    }
    // Two were on their way, and the last ten are kept.
    assert_eq!(running.broker.stats().messages_dropped, 50 - 12);
    let mut found = Vec::new();
    for _ in 0..12 {
        found.push(slow.payload().await);
    }
    let expected: Vec<String> =
        [0, 1].into_iter().chain(40..50).map(|number: u32| number.to_string()).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_message_too_large_for_a_subscriber_is_left_out() {
    let running = Running::routing().await;
    let mut options = running.options("small", Version::V5);
    options.packet_bytes_max = 100;
    let mut small = Client::open(&options).await.unwrap();
    small.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    running.broker.publish(&Message::new("t", vec![b'x'; 200], QoS::AtLeastOnce));
    running.broker.publish(&Message::new("t", "fits", QoS::AtLeastOnce));
    assert_eq!(small.payload().await, "fits");
    assert_eq!(running.broker.stats().messages_dropped, 1);
}

/// SUBSCRIBE of MQTT 5 with a subscription identifier and the options byte of section 3.8.3.1.
fn subscribe_bytes(subscription: u8, filter: &str, options: u8) -> Vec<u8> {
    let length = u8::try_from(filter.len()).unwrap();
    let mut packet = vec![0x82, 2 + 3 + 2 + length + 1, 0, 9, 2, 0x0b, subscription, 0, length];
    packet.extend_from_slice(filter.as_bytes());
    packet.push(options);
    packet
}

const NO_LOCAL: u8 = 0x04;
const AS_PUBLISHED: u8 = 0x08;
const ONLY_IF_NEW: u8 = 0x10;
const NO_RETAINED: u8 = 0x20;

#[tokio::test]
async fn the_options_of_an_mqtt_5_subscription_are_honoured() {
    let running = Running::routing().await;
    running.broker.publish(&Message::new("old", "kept", QoS::AtMostOnce).retained());
    let mut raw = Raw::connected(running.address, 5, "raw").await;
    let mut subscribe = async |subscription, filter, options| {
        raw.send(&subscribe_bytes(subscription, filter, options)).await;
        assert_eq!(raw.packet().await, [0x90, 4, 0, 9, 0, options & 1]);
    };
    subscribe(1, "old", NO_RETAINED).await;
    // No longer new, so nothing comes of it either.
    subscribe(2, "old", ONLY_IF_NEW).await;
    subscribe(3, "mine", NO_LOCAL).await;
    subscribe(4, "live", AS_PUBLISHED).await;
    raw.send(&[0x30, 7, 0, 4, b'm', b'i', b'n', b'e', 0]).await;
    running.broker.publish(&Message::new("mine", "x", QoS::AtMostOnce));
    assert_eq!(raw.packet().await, [&[0x30, 10, 0, 4][..], b"mine", &[2, 0x0b, 3], b"x"].concat());
    running.broker.publish(&Message::new("live", "y", QoS::AtMostOnce).retained());
    assert_eq!(raw.packet().await, [&[0x31, 10, 0, 4][..], b"live", &[2, 0x0b, 4], b"y"].concat());
}

/// Devices filled the room for retained messages, and a gateway's configuration found none.
#[tokio::test]
async fn the_server_retains_beside_what_clients_have_filled() {
    let config = fieldline_mqtt::BrokerConfig { retained_messages_max: 1, ..Default::default() };
    let running = Running::start(config, true, None).await;
    let mut device = running.connect("device", Version::V5).await;
    device.publish_acked("site/1", "x", true).await;
    device.publish_acked("site/2", "x", true).await;
    assert_eq!(running.broker.retained("site/2"), None);
    let own = Message::new("own/1", "kept", QoS::AtLeastOnce).retained();
    assert!(running.broker.keep(&own));
    assert!(!running.broker.keep(&Message::new("own/2", "x", QoS::AtLeastOnce).retained()));
    device.subscribe("own/#", QoS::AtLeastOnce).await.unwrap();
    assert_eq!(device.payload().await, "kept");
    assert!(running.broker.let_go("own/1") && !running.broker.let_go("own/1"));
    assert_eq!(device.payloads_so_far(&running.broker).await, Vec::<String>::new());
    assert_eq!(running.broker.stats().retained, 1);
}
