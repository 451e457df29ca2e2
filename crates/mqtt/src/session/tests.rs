use super::*;
use crate::MessageProperties;

fn config() -> BrokerConfig {
    BrokerConfig { queue_messages_max: 3, queue_bytes_max: 10_000, ..BrokerConfig::default() }
}

fn delivery(payload: &'static str, qos: QoS) -> Delivery {
    let message = Message::new("t", payload, qos);
    Delivery { message, qos, retain: false, subscription_ids: Vec::new(), since: Instant::now() }
}

fn connected(window: usize) -> Session {
    let mut session = Session::new(&config());
    session.connect(window, 60, None);
    session
}

fn sent(session: &mut Session) -> Vec<(String, Option<u16>, bool)> {
    let mut all = Vec::new();
    let mut dropped = 0;
    while let Some(sending) = session.next(Instant::now(), &mut dropped) {
        let out = match sending {
            Sending::Publish(out) => out,
            Sending::Pubrel(id) => {
                all.push(("PUBREL".to_owned(), Some(id), false));
                continue;
            }
        };
        let payload = String::from_utf8(out.delivery.message.payload.to_vec()).unwrap();
        all.push((payload, out.id, out.duplicate));
    }
    assert_eq!(dropped, 0);
    all
}

const GONE: Ending = Ending { will_forgotten: false, session_expiry_s: None };
const BYE: Ending = Ending { will_forgotten: true, session_expiry_s: None };

fn will(delay_s: u32) -> Option<(ClientInfo, Will)> {
    let client = ClientInfo {
        client_id: Arc::from("c"),
        username: None,
        peer: ([127, 0, 0, 1], 1).into(),
        identity: None,
        version: crate::Version::V5,
        connection: 1,
    };
    Some((client, Will { message: Message::new("w", "x", QoS::AtMostOnce), delay_s }))
}

#[test]
fn the_window_holds_messages_back_until_acknowledged() {
    let mut session = connected(2);
    for payload in ["1", "2", "3"] {
        assert_eq!(session.enqueue(delivery(payload, QoS::AtLeastOnce)), 0);
    }
    assert_eq!(sent(&mut session), [("1".into(), Some(1), false), ("2".into(), Some(2), false)]);
    assert!(session.acknowledge(1));
    assert!(!session.acknowledge(1));
    assert_eq!(sent(&mut session), [("3".into(), Some(3), false)]);
}

#[test]
fn a_new_connection_gets_what_was_in_flight_again_and_first() {
    let mut session = connected(2);
    for payload in ["1", "2", "3"] {
        session.enqueue(delivery(payload, QoS::AtLeastOnce));
    }
    sent(&mut session);
    session.disconnect(Instant::now(), GONE);
    session.connect(2, 60, None);
    assert_eq!(sent(&mut session), [("1".into(), Some(1), true), ("2".into(), Some(2), true)]);
    session.acknowledge(1);
    session.acknowledge(2);
    assert_eq!(sent(&mut session), [("3".into(), Some(3), false)]);
}

#[test]
fn a_smaller_window_does_not_lose_what_was_in_flight() {
    let mut session = connected(3);
    for payload in ["1", "2", "3"] {
        session.enqueue(delivery(payload, QoS::AtLeastOnce));
    }
    assert_eq!(sent(&mut session).len(), 3);
    session.disconnect(Instant::now(), GONE);
    session.connect(1, 60, None);
    assert_eq!(sent(&mut session).len(), 3);
}

#[test]
fn a_full_queue_drops_the_oldest_of_qos_0_first() {
    let mut session = connected(1);
    let mut dropped = 0;
    for (payload, qos) in [
        ("a", QoS::AtLeastOnce),
        ("b", QoS::AtMostOnce),
        ("c", QoS::AtLeastOnce),
        ("d", QoS::AtLeastOnce),
        ("e", QoS::AtLeastOnce),
    ] {
        dropped += session.enqueue(delivery(payload, qos));
    }
    assert_eq!(dropped, 2);
    session.window = 9;
    let payloads: Vec<_> = sent(&mut session).into_iter().map(|(payload, ..)| payload).collect();
    assert_eq!(payloads, ["c", "d", "e"]);
    assert_eq!(session.queue_bytes, 0);
}

#[test]
fn the_queue_is_limited_in_bytes_too() {
    let mut session = connected(1);
    let size = delivery("a", QoS::AtLeastOnce).message.size_bytes();
    session.queue_bytes_max = 2 * size;
    assert_eq!(session.enqueue(delivery("a", QoS::AtLeastOnce)), 0);
    assert_eq!(session.enqueue(delivery("b", QoS::AtLeastOnce)), 0);
    assert_eq!(session.enqueue(delivery("c", QoS::AtLeastOnce)), 1);
    session.queue_bytes_max = size - 1;
    assert_eq!(session.enqueue(delivery("d", QoS::AtLeastOnce)), 1);
    assert_eq!(session.queue.len(), 2);
}

#[test]
fn qos_0_is_not_kept_for_an_absent_client() {
    let mut session = connected(1);
    session.enqueue(delivery("0", QoS::AtMostOnce));
    session.enqueue(delivery("1", QoS::AtLeastOnce));
    session.disconnect(Instant::now(), GONE);
    assert_eq!(session.enqueue(delivery("2", QoS::AtMostOnce)), 1);
    session.connect(9, 60, None);
    assert_eq!(sent(&mut session), [("1".into(), Some(1), false)]);
}

#[test]
fn what_expires_in_the_queue_is_dropped_and_the_rest_shows_what_is_left() {
    let mut session = connected(9);
    let start = Instant::now();
    for expiry_s in [10, 20] {
        let properties = MessageProperties { expiry_s: Some(expiry_s), ..MessageProperties::default() };
        let mut delivery = delivery("x", QoS::AtLeastOnce);
        delivery.since = start;
        delivery.message = delivery.message.with_properties(properties);
        session.enqueue(delivery);
    }
    let mut dropped = 0;
    let Some(Sending::Publish(out)) = session.next(start + Duration::from_secs(12), &mut dropped) else {
        panic!("nothing to send");
    };
    assert_eq!((out.expiry_s, dropped), (Some(8), 1));
}

#[test]
fn a_will_waits_for_its_delay_but_not_beyond_the_session() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut session = Session::new(&config());
    session.connect(1, 60, will(10));
    assert_eq!(session.due(), None);
    session.disconnect(now, GONE);
    assert_eq!(session.due(), Some(at(10)));
    assert!(session.fire(at(9), false).will.is_none());
    let fired = session.fire(at(10), false);
    assert!(fired.will.is_some() && !fired.ended);
    assert_eq!(session.due(), Some(at(60)));
    assert!(session.fire(at(60), false).ended);

    session.connect(1, 5, will(10));
    session.disconnect(now, GONE);
    let fired = session.fire(at(5), false);
    assert!(fired.will.is_some() && fired.ended);
}

#[test]
fn a_goodbye_and_a_timely_return_forget_the_will() {
    let now = Instant::now();
    let mut session = Session::new(&config());
    session.connect(1, 60, will(0));
    session.disconnect(now, BYE);
    assert!(session.fire(now, false).will.is_none());

    session.connect(1, 60, will(10));
    session.disconnect(now, GONE);
    session.connect(1, 60, None);
    assert_eq!(session.due(), None);
    assert!(session.fire(now + Duration::from_secs(99), false).will.is_none());
}

#[test]
fn packet_identifiers_in_flight_are_never_given_twice() {
    let mut session = connected(10);
    session.next_id = u16::MAX;
    session.enqueue(delivery("1", QoS::AtLeastOnce));
    session.enqueue(delivery("2", QoS::AtLeastOnce));
    let ids: Vec<_> = sent(&mut session).into_iter().filter_map(|(_, id, _)| id).collect();
    assert_eq!(ids, [u16::MAX, 1]);
    session.next_id = u16::MAX;
    session.enqueue(delivery("3", QoS::AtLeastOnce));
    assert_eq!(sent(&mut session)[0].1, Some(2));
}

#[test]
fn mqtt_4_4_0_1_a_new_connection_gets_what_each_message_has_come_to() {
    let mut session = connected(3);
    for payload in ["1", "2", "3"] {
        session.enqueue(delivery(payload, QoS::ExactlyOnce));
    }
    assert_eq!(sent(&mut session).len(), 3);
    assert!(session.received(1) && session.received(2) && session.received(2));
    assert!(session.complete(2) && !session.complete(2));
    session.disconnect(Instant::now(), GONE);
    session.connect(3, 60, None);
    assert_eq!(sent(&mut session), [("PUBREL".into(), Some(1), false), ("3".into(), Some(3), true)]);
}

#[test]
fn the_window_counts_a_message_of_qos_2_until_its_pubcomp() {
    let mut session = connected(1);
    session.enqueue(delivery("1", QoS::ExactlyOnce));
    session.enqueue(delivery("2", QoS::AtLeastOnce));
    assert_eq!(sent(&mut session), [("1".into(), Some(1), false)]);
    assert!(!session.acknowledge(1) && !session.complete(1), "only a PUBREC goes on");
    assert!(session.received(1));
    assert!(!session.give_up(1), "what the subscriber has cannot be given up");
    assert_eq!(sent(&mut session), []);
    assert!(session.complete(1));
    assert_eq!(sent(&mut session), [("2".into(), Some(2), false)]);
    assert!(!session.received(2) && session.acknowledge(2));
}

#[test]
fn a_message_that_is_given_up_makes_room() {
    let mut session = connected(1);
    session.enqueue(delivery("1", QoS::ExactlyOnce));
    session.enqueue(delivery("2", QoS::ExactlyOnce));
    sent(&mut session);
    assert!(session.give_up(1));
    assert_eq!(sent(&mut session), [("2".into(), Some(2), false)]);
}
