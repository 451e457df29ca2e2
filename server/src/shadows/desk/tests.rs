use fieldline_mqtt::{Broker, Message, QoS};

use super::*;
use crate::waiting::Waiting;

fn offer(desk: &ShadowDesk, broker: &Broker, client: &str) {
    let topic = "$aws/things/press-4/shadow/get";
    let (answer, _told) = Answer::request(broker, Message::new(topic, "", QoS::AtLeastOnce));
    let place = Waiting::new(usize::MAX).place(0).unwrap();
    let payload = Bytes::from_static(br#"{"clientToken": "t"}"#);
    desk.offer(Request { client: client.to_owned(), topic: topic.parse().unwrap(), payload, answer, place });
}

/// Rule 14: nothing is worked on here, so that what is taken stays under way.
#[tokio::test]
async fn ten_requests_of_a_client_are_taken_and_the_eleventh_is_told_that_it_is_too_many() {
    let broker = crate::nobody::broker();
    let (desk, mut line) = ShadowDesk::new();
    for _ in 0..11 {
        offer(&desk, &broker, "busy");
    }
    offer(&desk, &broker, "other");
    let mut held = Vec::new();
    for number in 0..10 {
        let handed = line.try_recv().unwrap();
        assert!(matches!(&handed, Handed::Work(request, _) if request.client == "busy"), "{number}");
        held.push(handed);
    }
    let handed = line.try_recv().unwrap();
    assert!(matches!(&handed, Handed::Throttled(_, Some(token), _) if token == "t"), "{handed:?}");
    drop(handed);
    let handed = line.try_recv().unwrap();
    assert!(matches!(&handed, Handed::Work(request, _) if request.client == "other"), "{handed:?}");
    // One is done, and one more is taken.
    held.pop();
    for taken in [true, false] {
        offer(&desk, &broker, "busy");
        let handed = line.try_recv().unwrap();
        assert_eq!(matches!(&handed, Handed::Work(..)), taken, "{handed:?}");
        held.push(handed);
    }
}
