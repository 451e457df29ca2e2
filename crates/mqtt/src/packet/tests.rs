use proptest::prelude::*;

use super::decode::{self, Side};
use super::encode::{self, PublishHeader};
use super::*;

fn whole(data: &[u8]) -> Frame<'_> {
    frame(data, usize::MAX).unwrap().unwrap()
}

#[test]
fn a_frame_is_cut_off_once_it_is_whole() {
    let data = [0x30, 3, 1, 2, 3, 0xc0, 0];
    for length in 0..5 {
        assert_eq!(frame(&data[..length], 100), Ok(None), "{length} bytes");
    }
    let first = whole(&data);
    assert_eq!((first.first, first.body, first.size), (0x30, &[1, 2, 3][..], 5));
    assert_eq!(whole(&data[5..]).first, 0xc0);
}

#[test]
fn a_length_is_refused_before_its_body_arrives() {
    assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80], 100), Err(DisconnectReason::MalformedPacket));
    assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff, 0x7f], 100), Err(DisconnectReason::PacketTooLarge));
    assert!(frame(&[0x30, 98], 100).is_ok());
    assert_eq!(frame(&[0x30, 99], 100), Err(DisconnectReason::PacketTooLarge));
}

#[test]
fn what_no_client_may_send_ends_the_connection() {
    let table: [(&[u8], DisconnectReason); 11] = [
        (&[0x34, 5, 0, 1, b'a', 0, 0], DisconnectReason::MalformedPacket),
        (&[0x36, 5, 0, 1, b'a', 0, 1], DisconnectReason::MalformedPacket),
        (&[0x38, 3, 0, 1, b'a'], DisconnectReason::MalformedPacket),
        (&[0x30, 3, 0, 1, b'#'], DisconnectReason::TopicNameInvalid),
        (&[0x30, 3, 0, 1, 0], DisconnectReason::TopicNameInvalid),
        (&[0x30, 3, 0, 1, 0xff], DisconnectReason::MalformedPacket),
        (&[0x32, 5, 0, 1, b'a', 0, 0], DisconnectReason::MalformedPacket),
        (&[0x80, 6, 0, 1, 0, 1, b'a', 0], DisconnectReason::MalformedPacket),
        (&[0x82, 2, 0, 1], DisconnectReason::ProtocolError),
        (&[0x82, 6, 0, 1, 0, 1, b'a', 4], DisconnectReason::MalformedPacket),
        (&[0x00, 0], DisconnectReason::MalformedPacket),
    ];
    for (bytes, expected) in table {
        let found = decode::packet(whole(bytes), Version::V3_1_1, Side::Server);
        assert_eq!(found.map(|_| ()).unwrap_err(), expected, "{bytes:02x?}");
    }
}

#[test]
fn connect_flags_that_contradict_themselves_are_malformed() {
    let connect = |flags: u8| {
        let mut bytes = vec![0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 10, 0, 1, b'a'];
        if flags & 0x04 != 0 {
            bytes.extend_from_slice(&[0, 1, b'w', 0, 0]);
            bytes[1] += 5;
        }
        decode::connect(whole(&bytes)).map(|connect| connect.client_id)
    };
    assert_eq!(connect(0x02).unwrap(), "a");
    assert_eq!(connect(0x0e).unwrap(), "a");
    assert_eq!(connect(0x16).unwrap(), "a");
    for bad in [0x03, 0x0a, 0x22, 0x1e] {
        assert_eq!(connect(bad), Err(ConnectFault::Malformed), "{bad:#x}");
    }
}

fn options(version: Version) -> crate::ClientOptions {
    let mut options = crate::ClientOptions::new("localhost", 1883, "press-4");
    options.version = version;
    options.username = Some("user".to_owned());
    options.password = Some(b"secret".to_vec());
    options.will = Some(Message::new("will", "gone", QoS::AtLeastOnce).retained());
    options.will_delay_s = 7;
    options.session_expiry_s = 60;
    options
}

#[test]
fn a_connect_reads_back_as_it_was_written() {
    for version in [Version::V3_1_1, Version::V5] {
        let bytes = encode::connect(&options(version)).unwrap();
        let connect = decode::connect(whole(&bytes)).unwrap();
        assert_eq!((connect.version, connect.client_id.as_str()), (version, "press-4"));
        assert_eq!(connect.username.as_deref(), Some("user"));
        assert_eq!(connect.password.as_deref(), Some(&b"secret"[..]));
        let will = connect.will.unwrap();
        assert_eq!(will.message, Message::new("will", "gone", QoS::AtLeastOnce).retained());
        let v5 = version == Version::V5;
        assert_eq!(will.delay_s, if v5 { 7 } else { 0 });
        assert_eq!(connect.session_expiry_s, v5.then_some(60));
        assert_eq!(connect.receive_maximum, if v5 { 100 } else { u16::MAX });
    }
}

#[test]
fn a_connack_reads_back_as_it_was_written() {
    let connack = Connack {
        session_present: true,
        receive_maximum: Some(20),
        packet_bytes_max: Some(1000),
        keep_alive_s: Some(30),
        session_expiry_s: Some(60),
        assigned_client_id: Some("auto".to_owned()),
        qos_max: Some(1),
        ..Connack::default()
    };
    let mut out = Vec::new();
    encode::connack(&mut out, Version::V5, &connack);
    assert_eq!(decode::connack(whole(&out), Version::V5).unwrap(), connack);
    out.clear();
    encode::connack(&mut out, Version::V3_1_1, &Connack { code: 5, ..Connack::default() });
    assert_eq!(out, [0x20, 2, 0, 5]);
}

fn properties() -> impl Strategy<Value = MessageProperties> {
    let text = || proptest::option::of("[a-z]{0,10}").prop_map(|text| text.map(Arc::from));
    (
        proptest::option::of(any::<bool>()),
        proptest::option::of(1u32..1000),
        text(),
        proptest::option::of("[a-z]{1,10}"),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
        proptest::collection::vec(("[a-z]{0,5}", "[a-z]{0,5}"), 0..3),
    )
        .prop_map(|(utf8, expiry_s, content_type, response_topic, correlation_data, user)| {
            MessageProperties {
                utf8,
                expiry_s,
                content_type,
                response_topic: response_topic.map(Arc::from),
                correlation_data: correlation_data.map(Bytes::from),
                user: user.into_iter().map(|(key, value)| (Arc::from(key), Arc::from(value))).collect(),
            }
        })
}

proptest! {
    #[test]
    fn a_publish_reads_back_as_it_was_written(
        topic in "[a-z$/]{1,40}",
        payload in proptest::collection::vec(any::<u8>(), 0..400),
        id in proptest::option::of(1u16..),
        (duplicate, retain, v5, twice) in any::<(bool, bool, bool, bool)>(),
        properties in properties(),
    ) {
        let version = if v5 { Version::V5 } else { Version::V3_1_1 };
        let qos = match (id, twice) {
            (None, _) => QoS::AtMostOnce,
            (Some(_), false) => QoS::AtLeastOnce,
            (Some(_), true) => QoS::ExactlyOnce,
        };
        let message = Message::new(topic.as_str(), payload, QoS::AtMostOnce).with_properties(properties);
        let header = PublishHeader {
            version, qos, id, duplicate: duplicate && id.is_some(), retain, expiry_s: None, subscription_ids: &[],
        };
        let mut out = Vec::new();
        prop_assert!(encode::publish(&mut out, &message, &header, usize::MAX));
        let size = out.len();
        let mut again = Vec::new();
        prop_assert!(encode::publish(&mut again, &message, &header, size));
        prop_assert!(!encode::publish(&mut again, &message, &header, size - 1));
        prop_assert_eq!(&again, &out);
        let Packet::Publish(found) = decode::packet(whole(&out), version, Side::Server).unwrap() else {
            panic!("not a publish");
        };
        prop_assert_eq!(found.topic, &*message.topic);
        prop_assert_eq!(found.payload, &message.payload[..]);
        prop_assert_eq!(found.qos, qos);
        prop_assert_eq!((found.id, found.retain, found.duplicate), (id, retain, header.duplicate));
        prop_assert_eq!(found.properties, if v5 { message.properties } else { None });
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        first in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..60),
        (v5, client) in any::<(bool, bool)>(),
    ) {
        let version = if v5 { Version::V5 } else { Version::V3_1_1 };
        let side = if client { Side::Client } else { Side::Server };
        let frame = Frame { first, body: &body, size: body.len() + 2 };
        let _ignored = decode::packet(frame, version, side);
        let _ignored = decode::connack(Frame { first: 0x20, ..frame }, version);
        let mut connect = b"\0\x04MQTT".to_vec();
        connect.push(if v5 { 5 } else { 4 });
        connect.extend_from_slice(&body);
        let _ignored = decode::connect(Frame { first: 0x10, body: &connect, size: 0 });
    }

    #[test]
    fn damaged_packets_never_panic(at in 0usize..200, value in any::<u8>(), cut in 0usize..200) {
        for version in [Version::V3_1_1, Version::V5] {
            let mut bytes = encode::connect(&options(version)).unwrap();
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(2.max(cut));
            let body = &bytes[2..];
            let _ignored = decode::connect(Frame { first: 0x10, body, size: 0 });
        }
    }
}
