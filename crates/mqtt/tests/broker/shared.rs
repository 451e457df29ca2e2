//! Shared subscriptions: one session of a group gets each message.

use fieldline_mqtt::{BrokerConfig, Message, QoS};

use crate::support::{Client, Raw, Running, VERSIONS};

const GROUP: &str = "$share/g/t/#";

fn publish(running: &Running, payload: &'static str, qos: QoS) -> usize {
    running.broker.publish(&Message::new("t/x", payload, qos))
}

#[tokio::test]
async fn the_sessions_of_a_group_take_turns() {
    for version in VERSIONS {
        let running = Running::routing().await;
        let mut members = Vec::new();
        for id in ["a", "b", "c"] {
            let mut member = running.connect(id, version).await;
            assert_eq!(member.subscribe(GROUP, QoS::AtLeastOnce).await, Ok(QoS::AtLeastOnce));
            members.push(member);
        }
        let mut other = running.connect("other", version).await;
        other.subscribe("$share/h/t/x", QoS::AtLeastOnce).await.unwrap();
        for payload in ["1", "2", "3", "4", "5", "6"] {
            assert_eq!(publish(&running, payload, QoS::AtLeastOnce), 2);
        }
        for (member, expected) in members.iter_mut().zip([["1", "4"], ["2", "5"], ["3", "6"]]) {
            assert_eq!(member.payloads_so_far(&running.broker).await, expected);
        }
        assert_eq!(other.payloads_so_far(&running.broker).await, ["1", "2", "3", "4", "5", "6"]);
    }
}

#[tokio::test]
async fn a_subscription_of_ones_own_stands_beside_the_shared_one() {
    let running = Running::routing().await;
    let mut member = running.connect("a", VERSIONS[1]).await;
    member.subscribe("t/#", QoS::AtLeastOnce).await.unwrap();
    member.subscribe(GROUP, QoS::AtLeastOnce).await.unwrap();
    assert_eq!(publish(&running, "both", QoS::AtLeastOnce), 2);
    member.0.unsubscribe(&[GROUP]).unwrap();
    assert_eq!(member.payloads_so_far(&running.broker).await, ["both", "both"]);
    assert_eq!(publish(&running, "own", QoS::AtLeastOnce), 1);
    assert_eq!(member.payloads_so_far(&running.broker).await, ["own"]);
}

#[tokio::test]
async fn absent_sessions_get_messages_only_when_nobody_is_there() {
    for version in VERSIONS {
        let mut running = Running::routing().await;
        let mut options = running.options("absent", version);
        (options.clean_start, options.session_expiry_s) = (false, 60);
        let mut absent = Client::open(&options).await.unwrap();
        absent.subscribe(GROUP, QoS::AtLeastOnce).await.unwrap();
        drop(absent);
        running.disconnected("absent").await;
        let mut present = running.connect("present", version).await;
        present.subscribe(GROUP, QoS::AtLeastOnce).await.unwrap();
        for payload in ["1", "2"] {
            publish(&running, payload, QoS::AtLeastOnce);
        }
        assert_eq!(present.payloads_so_far(&running.broker).await, ["1", "2"]);
        drop(present);
        running.disconnected("present").await;
        assert_eq!(publish(&running, "3", QoS::AtLeastOnce), 1);
        assert_eq!(publish(&running, "not kept", QoS::AtMostOnce), 0);
        let mut absent = Client::open(&options).await.unwrap();
        assert_eq!(absent.payloads_so_far(&running.broker).await, ["3"]);
    }
}

#[tokio::test]
async fn what_one_session_has_no_room_for_goes_on_to_the_next() {
    let config = BrokerConfig { queue_messages_max: 1, inflight_max: 1, ..BrokerConfig::default() };
    let mut running = Running::start(config, true, None).await;
    let mut all = Vec::new();
    for id in ["a", "b"] {
        let mut options = running.options(id, VERSIONS[1]);
        (options.clean_start, options.session_expiry_s) = (false, 60);
        let mut member = Client::open(&options).await.unwrap();
        member.subscribe(GROUP, QoS::AtLeastOnce).await.unwrap();
        drop(member);
        running.disconnected(id).await;
        all.push(options);
    }
    let delivered = ["1", "2", "3"].map(|payload| publish(&running, payload, QoS::AtLeastOnce));
    assert_eq!(delivered, [1, 1, 0]);
    assert_eq!(running.broker.stats().messages_dropped, 1);
    for (options, payload) in all.iter().zip(["1", "2"]) {
        assert_eq!(Client::open(options).await.unwrap().payload().await, payload);
    }
}

#[tokio::test]
async fn nothing_retained_comes_with_a_shared_subscription() {
    let running = Running::routing().await;
    running.broker.publish(&Message::new("t/x", "old", QoS::AtLeastOnce).retained());
    let mut member = running.connect("a", VERSIONS[1]).await;
    member.subscribe(GROUP, QoS::AtLeastOnce).await.unwrap();
    assert!(member.payloads_so_far(&running.broker).await.is_empty());
}

#[tokio::test]
async fn mqtt_3_8_3_4_no_local_and_shared_contradict_each_other() {
    let running = Running::routing().await;
    let mut raw = Raw::connected(running.address, 5, "a").await;
    raw.send(b"\x82\x10\0\x01\0\0\x0a$share/g/t\x05").await;
    assert_eq!(raw.rest().await, [0xe0, 1, 0x82]);
}
