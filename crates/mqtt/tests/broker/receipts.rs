//! The PUBACK is the application's to give.

use bytes::Bytes;
use fieldline_mqtt::{ClientError, DisconnectReason, Event, PublishError, QoS, Routing, Version};

use crate::support::{Heard, Running, VERSIONS, soon};

#[tokio::test]
async fn pubacks_leave_in_order_however_the_answers_come() {
    for version in VERSIONS {
        let mut running = Running::asking().await;
        let mut device = running.connect("device", version).await;
        let tokens: Vec<_> = ["1", "2", "3"].map(|payload| device.publish("t", payload)).into();
        device.0.flush().await.unwrap();
        let mut receipts = Vec::new();
        for payload in ["1", "2", "3"] {
            let (client, message, receipt) = running.publish().await;
            assert_eq!((&*client.client_id, client.version), ("device", version));
            assert_eq!((&*message.topic, &message.payload[..]), ("t", payload.as_bytes()));
            assert!(receipt.acknowledges());
            receipts.push(receipt);
        }
        // From another thread, last one first.
        let answering = std::thread::spawn(move || {
            for receipt in receipts.into_iter().rev() {
                receipt.accept(Routing::Consume);
            }
        });
        for token in tokens {
            assert_eq!(device.next().await, Event::Published(token));
        }
        answering.join().unwrap();
    }
}

#[tokio::test]
async fn no_puback_before_the_answer() {
    let mut running = Running::asking().await;
    let mut device = running.connect("device", Version::V3_1_1).await;
    let token = device.publish("t", "1");
    device.0.flush().await.unwrap();
    let (_, _, receipt) = running.publish().await;
    // A ping that is answered proves that the broker has written what it had to write.
    let request = device.0.subscribe(&[("x", QoS::AtMostOnce)]).unwrap();
    assert_eq!(device.next().await, Event::Subscribed { request, granted: vec![Ok(QoS::AtMostOnce)] });
    receipt.accept(Routing::Consume);
    assert_eq!(device.next().await, Event::Published(token));
}

#[tokio::test]
async fn a_dropped_receipt_is_never_acknowledged_but_later_ones_are() {
    for version in VERSIONS {
        let mut running = Running::asking().await;
        let mut device = running.connect("device", version).await;
        device.publish("t", "lost");
        let kept = device.publish("t", "kept");
        device.0.flush().await.unwrap();
        drop(running.publish().await);
        running.publish().await.2.accept(Routing::Consume);
        assert_eq!(device.next().await, Event::Published(kept));
        assert_eq!(device.0.vacancy(), 99);
    }
}

#[tokio::test]
async fn a_publish_sent_again_on_3_1_1_gets_its_puback() {
    let mut running = Running::asking().await;
    let mut device = running.connect("device", Version::V3_1_1).await;
    let token = device.publish("t", "1");
    device.0.flush().await.unwrap();
    let (_, _, first) = running.publish().await;
    // While the first is being worked on, the second is only a reminder.
    device.0.republish(token).unwrap();
    device.0.flush().await.unwrap();
    drop(first);
    device.0.republish(token).unwrap();
    device.0.flush().await.unwrap();
    let (_, message, second) = running.publish().await;
    assert_eq!(&message.payload[..], b"1");
    second.accept(Routing::Consume);
    assert_eq!(device.next().await, Event::Published(token));
    assert!(device.0.republish(token).is_err());
}

#[tokio::test]
async fn a_refusal_reaches_the_device_where_the_protocol_can_say_it() {
    let mut running = Running::asking().await;
    let mut five = running.connect("five", Version::V5).await;
    let token = five.publish("t", "1");
    five.0.flush().await.unwrap();
    running.publish().await.2.reject(PublishError::QuotaExceeded);
    assert_eq!(five.next().await, Event::Refused(token, PublishError::QuotaExceeded));

    let mut three = running.connect("three", Version::V3_1_1).await;
    let poison = three.publish("t", "1");
    let later = three.publish("t", "2");
    three.0.flush().await.unwrap();
    running.publish().await.2.reject(PublishError::PayloadFormatInvalid);
    assert_eq!(three.next().await, Event::Published(poison));
    running.publish().await.2.reject(PublishError::NotAuthorized);
    assert!(matches!(three.failure().await, ClientError::Closed | ClientError::Network(_)), "{later:?}");
    assert_eq!(running.broker.stats().messages_refused, 3);
}

#[tokio::test]
async fn a_receipt_can_end_the_connection() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut running = Running::asking().await;
        let mut device = running.connect("device", Version::V5).await;
        device.0.publish("t", Bytes::from("1"), qos, false).unwrap();
        device.0.flush().await.unwrap();
        running.publish().await.2.disconnect();
        let error = device.failure().await;
        assert!(
            matches!(error, ClientError::Disconnected(DisconnectReason::AdministrativeAction)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn answers_after_the_connection_has_gone_harm_nobody_and_still_route() {
    let mut running = Running::asking().await;
    let mut reader = running.connect("reader", Version::V5).await;
    reader.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    let mut device = running.connect("device", Version::V5).await;
    device.publish("t", "late");
    device.0.flush().await.unwrap();
    let (_, _, receipt) = running.publish().await;
    device.0.disconnect().await.unwrap();
    running.disconnected("device").await;
    receipt.accept(Routing::Route);
    assert_eq!(reader.payload().await, "late");
}

#[tokio::test]
async fn the_end_of_a_burst_is_told() {
    let mut running = Running::asking().await;
    let mut device = running.connect("device", Version::V5).await;
    for payload in ["1", "2", "3"] {
        device.publish("t", payload);
    }
    device.0.flush().await.unwrap();
    let (mut publishes, mut kept) = (0, Vec::new());
    loop {
        match soon("a burst", running.heard.recv()).await.unwrap() {
            Heard::Publish(_, _, receipt) => {
                publishes += 1;
                kept.push(receipt);
            }
            Heard::Done if publishes == 3 => break,
            _ => {}
        }
    }
}

#[tokio::test]
async fn consumed_messages_reach_no_subscriber() {
    let mut running = Running::asking().await;
    let mut reader = running.connect("reader", Version::V5).await;
    reader.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    reader.subscribe("$aws/#", QoS::AtLeastOnce).await.unwrap();
    let mut device = running.connect("device", Version::V5).await;
    for topic in ["$aws/rules/r/gw", "a"] {
        device.publish(topic, "consumed");
        device.publish(topic, "routed");
    }
    device.0.flush().await.unwrap();
    for _ in 0..2 {
        running.publish().await.2.accept(Routing::Consume);
        running.publish().await.2.accept(Routing::Route);
    }
    assert_eq!(reader.payloads_so_far(&running.broker).await, ["routed", "routed"]);
}
