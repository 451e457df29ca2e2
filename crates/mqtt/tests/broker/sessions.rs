//! Sessions that outlive connections, take-over, wills, keep-alive, refusals.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fieldline_mqtt::{
    BrokerConfig, ClientError, ClientOptions, DisconnectReason, Event, Message, QoS, Version,
};

use crate::support::{Client, Raw, Running, VERSIONS, connect_bytes};

fn lasting(mut options: ClientOptions) -> ClientOptions {
    options.clean_start = false;
    options.session_expiry_s = 600;
    options
}

#[tokio::test]
async fn a_session_keeps_subscriptions_and_messages_while_the_client_is_away() {
    for version in VERSIONS {
        let mut running = Running::routing().await;
        let options = lasting(running.options("device", version));
        let mut device = Client::open(&options).await.unwrap();
        assert!(!device.0.session_present());
        device.subscribe("t", QoS::AtLeastOnce).await.unwrap();
        device.0.disconnect().await.unwrap();
        running.disconnected("device").await;
        running.broker.publish(&Message::new("t", "queued", QoS::AtLeastOnce));
        running.broker.publish(&Message::new("t", "qos 0 is not kept", QoS::AtMostOnce));
        let mut device = Client::open(&options).await.unwrap();
        assert!(device.0.session_present());
        assert_eq!(device.payload().await, "queued");
        assert_eq!(device.payloads_so_far(&running.broker).await, Vec::<String>::new());
        drop(device);
        running.disconnected("device").await;
        // A clean start forgets.
        let fresh = running.connect("device", version).await;
        assert!(!fresh.0.session_present());
        assert_eq!(running.broker.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_with_dup() {
    for version in VERSIONS {
        let mut running = Running::routing().await;
        let options = lasting(running.options("device", version));
        let mut device = Client::open(&options).await.unwrap();
        device.subscribe("t", QoS::AtLeastOnce).await.unwrap();
        running.broker.publish(&Message::new("t", "again", QoS::AtLeastOnce));
        let Event::Message { duplicate: false, id: Some(first), .. } = device.next().await else {
            panic!("not a fresh message");
        };
        drop(device);
        running.disconnected("device").await;
        let mut device = Client::open(&options).await.unwrap();
        let Event::Message { duplicate: true, id: Some(second), message } = device.next().await else {
            panic!("not a repeated message");
        };
        assert_eq!((first, &message.payload[..]), (second, &b"again"[..]));
        // Twice acknowledged harms nobody.
        device.0.acknowledge(second);
        device.0.acknowledge(second);
        running.broker.publish(&Message::new("t", "next", QoS::AtLeastOnce));
        assert_eq!(device.payload().await, "next");
    }
}

#[tokio::test]
async fn a_second_connection_of_a_client_takes_over() {
    for version in VERSIONS {
        let mut running = Running::routing().await;
        let options = lasting(running.options("device", version));
        let mut first = Client::open(&options).await.unwrap();
        first.subscribe("t", QoS::AtLeastOnce).await.unwrap();
        let mut second = Client::open(&options).await.unwrap();
        assert!(second.0.session_present());
        match (version, first.failure().await) {
            (Version::V5, ClientError::Disconnected(reason)) => {
                assert_eq!(reason, DisconnectReason::TakenOver);
            }
            (Version::V3_1_1, ClientError::Closed | ClientError::Network(_)) => {}
            (_, other) => panic!("{other:?}"),
        }
        running.disconnected("device").await;
        running.broker.publish(&Message::new("t", "for the second", QoS::AtLeastOnce));
        assert_eq!(second.payload().await, "for the second");
        let stats = running.broker.stats();
        assert_eq!((stats.connections, stats.sessions), (1, 1));
    }
}

#[tokio::test]
async fn a_session_ends_when_its_time_has_come() {
    let mut running = Running::routing().await;
    let mut options = lasting(running.options("device", Version::V5));
    options.session_expiry_s = 1;
    options.will = Some(Message::new("will", "expired", QoS::AtLeastOnce));
    options.will_delay_s = 100;
    let mut watcher = running.connect("watcher", Version::V5).await;
    watcher.subscribe("will", QoS::AtLeastOnce).await.unwrap();
    let mut device = Client::open(&options).await.unwrap();
    device.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    drop(device);
    running.disconnected("device").await;
    // The will comes with the session's end, for its delay is longer.
    assert_eq!(watcher.payload().await, "expired");
    let stats = running.broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions), (1, 1));
    assert!(!Client::open(&options).await.unwrap().0.session_present());
}

fn with_will(mut options: ClientOptions) -> ClientOptions {
    options.will = Some(Message::new("will/device", "gone", QoS::AtLeastOnce).retained());
    options
}

#[tokio::test]
async fn a_will_is_published_when_a_client_breaks_off_and_not_when_it_says_goodbye() {
    for version in VERSIONS {
        let mut running = Running::asking().await;
        let options = with_will(running.options("device", version));
        Client::open(&options).await.unwrap().0.disconnect().await.unwrap();
        running.disconnected("device").await;
        drop(Client::open(&options).await.unwrap());
        let (client, message, receipt) = running.publish().await;
        assert_eq!((&*client.client_id, &*message.topic, message.retain), ("device", "will/device", true));
        assert!(!receipt.acknowledges());
        receipt.accept(fieldline_mqtt::Routing::Route);
        assert_eq!(running.broker.stats().retained, 1);
    }
}

#[tokio::test]
async fn a_will_that_waits_is_forgotten_when_the_client_comes_back() {
    let mut running = Running::routing().await;
    let mut watcher = running.connect("watcher", Version::V5).await;
    watcher.subscribe("will/#", QoS::AtLeastOnce).await.unwrap();
    let mut options = with_will(lasting(running.options("device", Version::V5)));
    options.will_delay_s = 300;
    drop(Client::open(&options).await.unwrap());
    running.disconnected("device").await;
    let device = Client::open(&options).await.unwrap();
    assert!(device.0.session_present());
    assert_eq!(watcher.payloads_so_far(&running.broker).await, Vec::<String>::new());
    device.0.disconnect().await.unwrap();
    running.disconnected("device").await;
    assert_eq!(watcher.payloads_so_far(&running.broker).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_will_where_the_client_may_not_publish_refuses_the_connection() {
    for (version, code) in [(Version::V3_1_1, 5), (Version::V5, 0x87)] {
        let running = Running::routing().await;
        let mut options = running.options("device", version);
        options.will = Some(Message::new("forbidden/will", "x", QoS::AtMostOnce));
        let error = Client::open(&options).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::ConnectRefused { code: found } if found == code), "{error:?}");
    }
}

/// A certificate was revoked between CONNECT and the end of the connection, and its will was published all
/// the same.
#[tokio::test]
async fn a_will_is_not_published_when_its_client_may_not_any_more() {
    let mut running = Running::routing().await;
    let mut watcher = running.connect("watcher", Version::V5).await;
    watcher.subscribe("will/#", QoS::AtLeastOnce).await.unwrap();
    let device = Client::open(&with_will(running.options("device", Version::V5))).await.unwrap();
    running.wills_forbidden.store(true, Ordering::Relaxed);
    drop(device);
    running.disconnected("device").await;
    assert_eq!(watcher.payloads_so_far(&running.broker).await, Vec::<String>::new());
    let stats = running.broker.stats();
    assert_eq!((stats.messages_refused, stats.retained), (1, 0));
}

#[tokio::test]
async fn credentials_are_checked() {
    for (version, wrong, unknown) in [(Version::V3_1_1, 4, 5), (Version::V5, 0x86, 0x87)] {
        let running = Running::routing().await;
        for (user, expected) in [("guest", wrong), ("nobody", unknown)] {
            let mut options = running.options("device", version);
            options.username = Some(user.to_owned());
            options.password = Some(b"wrong".to_vec());
            let error = Client::open(&options).await.map(|_| ()).unwrap_err();
            assert!(matches!(error, ClientError::ConnectRefused { code } if code == expected), "{error:?}");
        }
        assert_eq!(running.broker.stats().connections, 0);
    }
}

#[tokio::test]
async fn a_client_without_an_identifier_is_given_one() {
    let running = Running::routing().await;
    let five = running.connect("", Version::V5).await;
    assert!(five.0.client_id().starts_with("auto-"));
    running.connect("", Version::V3_1_1).await;
    let mut options = running.options("", Version::V3_1_1);
    options.clean_start = false;
    assert!(matches!(
        Client::open(&options).await.map(|_| ()),
        Err(ClientError::ConnectRefused { code: 2 } | ClientError::Invalid { .. })
    ));
}

#[tokio::test]
async fn a_silent_client_is_dropped_after_one_and_a_half_keep_alives() {
    let mut running = Running::routing().await;
    let mut raw = Raw::open(running.address).await;
    let mut connect = connect_bytes(5, "silent");
    connect[11] = 1;
    raw.send(&connect).await;
    raw.packet().await;
    assert_eq!(raw.rest().await, [0xe0, 1, 0x8d]);
    running.disconnected("silent").await;
}

#[tokio::test]
async fn a_client_keeps_itself_alive_by_pings() {
    let mut running = Running::routing().await;
    let mut options = running.options("quiet", Version::V3_1_1);
    options.keep_alive_s = 1;
    let mut quiet = Client::open(&options).await.unwrap();
    quiet.subscribe("t", QoS::AtMostOnce).await.unwrap();
    // Twice the keep-alive, told by another client's one: only pings keep ours.
    let mut raw = Raw::open(running.address).await;
    let mut connect = connect_bytes(5, "clock");
    connect[11] = 2;
    raw.send(&connect).await;
    let clock = async {
        raw.packet().await;
        raw.rest().await
    };
    tokio::select! {
        event = quiet.0.next() => panic!("{event:?}"),
        rest = clock => assert_eq!(rest, [0xe0, 1, 0x8d]),
    }
    running.disconnected("clock").await;
    running.broker.publish(&Message::new("t", "alive", QoS::AtMostOnce));
    assert_eq!(quiet.payload().await, "alive");
}

#[tokio::test]
async fn a_server_that_answers_no_ping_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dumb = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1000];
        let _connect = socket.read(&mut buffer).await.unwrap();
        socket.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        let read = socket.read(&mut buffer).await.unwrap();
        assert_eq!(buffer[..read], [0xc0, 0]);
        socket
    });
    let mut options = ClientOptions::new("127.0.0.1", address.port(), "c");
    options.version = Version::V3_1_1;
    options.keep_alive_s = 1;
    options.ping_timeout = Duration::from_millis(50);
    let mut client = Client::open(&options).await.unwrap();
    assert!(matches!(client.failure().await, ClientError::PingTimeout));
    assert!(matches!(client.failure().await, ClientError::Closed));
    dumb.await.unwrap();
}

#[tokio::test]
async fn stopping_the_broker_says_so_and_waits() {
    let mut running = Running::routing().await;
    let mut five = running.connect("five", Version::V5).await;
    let mut three = running.connect("three", Version::V3_1_1).await;
    running.stop().await;
    assert!(matches!(five.failure().await, ClientError::Disconnected(DisconnectReason::ShuttingDown)));
    assert!(matches!(three.failure().await, ClientError::Closed | ClientError::Network(_)));
    assert_eq!(running.broker.stats().connections, 0);
}

#[tokio::test]
async fn the_server_can_end_one_client() {
    let running = Running::routing().await;
    let mut five = running.connect("five", Version::V5).await;
    assert!(!running.broker.disconnect("other"));
    assert!(running.broker.disconnect("five"));
    assert!(matches!(
        five.failure().await,
        ClientError::Disconnected(DisconnectReason::AdministrativeAction)
    ));
}

#[tokio::test]
async fn sessions_and_connections_are_limited() {
    let config = BrokerConfig { sessions_max: 2, connections_max: 3, ..BrokerConfig::default() };
    let running = Running::start(config, true, None).await;
    let mut first = running.connect("1", Version::V5).await;
    let _second = running.connect("2", Version::V5).await;
    let error = Client::open(&running.options("3", Version::V5)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::ConnectRefused { code: 0x89 }), "{error:?}");
    // Who says nothing gives way to who may say something.
    let mut silent = Raw::open(running.address).await;
    let error = Client::open(&running.options("4", Version::V5)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::ConnectRefused { code: 0x89 }), "{error:?}");
    assert_eq!(silent.rest().await, [0u8; 0]);
    first.0.publish("t", Bytes::new(), QoS::AtMostOnce, false).unwrap();
    first.0.flush().await.unwrap();
}

#[tokio::test]
async fn who_is_connected_gives_way_to_nobody() {
    let config = BrokerConfig { connections_max: 2, ..BrokerConfig::default() };
    let running = Running::start(config, true, None).await;
    let mut first = running.connect("1", Version::V5).await;
    let _second = running.connect("2", Version::V5).await;
    let error = Client::open(&running.options("3", Version::V5)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::Closed | ClientError::Network(_)), "{error:?}");
    first.publish_acked("t", "still there", false).await;
}
