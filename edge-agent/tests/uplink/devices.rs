//! Devices on the agent's own listener with mutual TLS: each reaches the shadows of its own thing.

use edge_agent::{Agent, Config, settings};
use fieldline_mqtt::{ClientOptions, Connection, Event, PublishError, QoS, TlsClient};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::authority::{Authority, Issued};
use crate::soon;

async fn agent(folder: &std::path::Path, authority: &Authority) -> Agent {
    let own = authority.issue(&["localhost"]);
    let file = |name: &str, pem: String| {
        let path = folder.join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let text = format!(
        "data = {:?}\ngateway.id = \"gw-1\"\nhttp.listen = \"off\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n\
         tls = {{ certificate = {:?}, key = {:?}, client_ca = {:?} }}\n",
        folder.join("data"),
        file("agent.pem", own.pem()),
        file("agent.key", own.key_pem()),
        file("ca.pem", authority.pem()),
    );
    let config: Config = settings::read(&file("agent.toml", text)).unwrap();
    Agent::start(config).await.unwrap()
}

/// How a device that trusts the authority connects as `client_id`, with this certificate.
fn options(agent: &Agent, authority: &Authority, issued: Option<&Issued>, client_id: &str) -> ClientOptions {
    let mut options = ClientOptions::new("127.0.0.1", agent.mqtt_address().unwrap().port(), client_id);
    options.tls = Some(TlsClient {
        ca: authority.pem().into_bytes(),
        certificate: issued.map(|issued| issued.pem().into_bytes()),
        key: issued.map(|issued| issued.key_pem().into_bytes()),
        server_name: Some("localhost".to_owned()),
        alpn: Vec::new(),
    });
    options
}

async fn device(agent: &Agent, authority: &Authority, name: &str) -> Connection {
    let options = options(agent, authority, Some(&authority.issue(&[name])), name);
    soon("a connection", Connection::open(&options)).await.unwrap()
}

/// Whether the agent lets the device subscribe.
async fn may_subscribe(device: &mut Connection, filter: &str) -> bool {
    device.subscribe(&[(filter, QoS::AtLeastOnce)]).unwrap();
    loop {
        if let Event::Subscribed { granted, .. } = soon("a SUBACK", device.next()).await.unwrap() {
            return granted.iter().all(Result::is_ok);
        }
    }
}

/// Waits for a message on a topic, beside its PUBACK or after it.
async fn hear(device: &mut Connection, heard: &mut Vec<String>, topic: &str) {
    while !heard.iter().any(|known| known == topic) {
        if let Event::Message { message, id, .. } = soon(topic, device.next()).await.unwrap() {
            heard.push(message.topic.to_string());
            id.into_iter().for_each(|id| device.acknowledge(id));
        }
    }
}

/// What becomes of a request: the messages that came before its PUBACK, or why it is refused.
async fn publish(device: &mut Connection, topic: &str, payload: Value) -> Result<Vec<String>, PublishError> {
    device.publish(topic, payload.to_string().into(), QoS::AtLeastOnce, false).unwrap();
    let mut heard = Vec::new();
    loop {
        match soon("a PUBACK", device.next()).await.unwrap() {
            Event::Published(_) => return Ok(heard),
            Event::Refused(_, reason) => return Err(reason),
            Event::Message { message, id, .. } => {
                heard.push(message.topic.to_string());
                id.into_iter().for_each(|id| device.acknowledge(id));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_certificate_reaches_the_shadows_of_its_own_thing_only() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let agent = agent(folder.path(), &authority).await;
    let mut own = device(&agent, &authority, "press-4").await;
    let mut other = device(&agent, &authority, "press-5").await;
    let mut gateway = device(&agent, &authority, "gw-1").await;

    assert!(may_subscribe(&mut own, "$aws/things/press-4/shadow/#").await);
    assert!(may_subscribe(&mut own, "$aws/things/press-4/shadow/name/+/update/+").await);
    for filter in
        ["$aws/things/+/shadow/#", "$aws/things/press-4/shadow/#", "$aws/#", "$aws/things/gw-1/shadow/#"]
    {
        assert!(!may_subscribe(&mut other, filter).await, "{filter}");
    }
    assert!(!may_subscribe(&mut gateway, "$aws/things/gw-1/shadow/#").await);

    let state = json!({"state": {"reported": {"t": 1}}});
    let prefix = "$aws/things/press-4/shadow/update";
    let mut heard = publish(&mut own, prefix, state.clone()).await.unwrap();
    for part in ["documents", "accepted"] {
        hear(&mut own, &mut heard, &format!("{prefix}/{part}")).await;
    }
    for topic in
        [prefix, "$aws/things/press-5/shadow/update/accepted", "$aws/things/gw-1/shadow/name/config/update"]
    {
        assert_eq!(
            publish(&mut other, topic, state.clone()).await,
            Err(PublishError::NotAuthorized),
            "{topic}"
        );
    }
    let config = "$aws/things/gw-1/shadow/name/config/update";
    assert_eq!(publish(&mut gateway, config, state).await, Err(PublishError::NotAuthorized));
    drop((own, other, gateway));
    soon("the agent to stop", agent.stop()).await;
}

#[tokio::test]
async fn nobody_connects_by_the_name_of_another_thing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let agent = agent(folder.path(), &authority).await;
    // A session that its owner has left: whoever is let in by its name is told what it waits for.
    let mut own = device(&agent, &authority, "press-4").await;
    assert!(may_subscribe(&mut own, "$aws/things/press-4/shadow/#").await);
    let table = [
        ("press-5", "press-4"),
        ("press-5", "press-4/second"),
        ("press-5", "press-50"),
        ("press-5", ""),
        ("+", "+"),
        ("#", "#"),
        ("press-4/x", "press-4/x"),
    ];
    for (name, client_id) in table {
        let options = options(&agent, &authority, Some(&authority.issue_named(name)), client_id);
        let answer = soon("an answer", Connection::open(&options)).await;
        assert!(answer.is_err(), "{name} as {client_id}");
    }
    // The owner was not disturbed, and may have further connections.
    let second = options(&agent, &authority, Some(&authority.issue(&["press-4"])), "press-4/second");
    let mut second = soon("a connection", Connection::open(&second)).await.unwrap();
    assert!(may_subscribe(&mut second, "$aws/things/press-4/shadow/#").await);
    assert!(!may_subscribe(&mut second, "$aws/things/press-5/shadow/#").await);
    let state = json!({"state": {"reported": {"t": 1}}});
    publish(&mut own, "$aws/things/press-4/shadow/update", state).await.unwrap();
    drop((own, second));
    soon("the agent to stop", agent.stop()).await;
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let agent = agent(folder.path(), &authority).await;
    let between = |from: i32, to: i32| {
        authority.issue_as(&["press-4"], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        })
    };
    let bad = [
        ("an expired one", Some(between(2020, 2021))),
        ("one that does not hold yet", Some(between(2150, 2160))),
        ("another authority's", Some(Authority::new().issue(&["press-4"]))),
        ("its own", Some(Issued::by_itself("press-4"))),
        ("none", None),
    ];
    for (what, issued) in &bad {
        let options = options(&agent, &authority, issued.as_ref(), "press-4");
        let answer = soon(what, Connection::open(&options)).await;
        assert!(answer.is_err(), "{what}");
        assert_eq!(agent.status().connections, 0, "{what}");
    }
    // One that holds is let in, after all these.
    let good = options(&agent, &authority, Some(&between(2020, 2150)), "press-4");
    drop(soon("a connection", Connection::open(&good)).await.unwrap());
    soon("the agent to stop", agent.stop()).await;
}

#[tokio::test]
async fn half_open_connections_do_not_keep_a_device_out() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let agent = agent(folder.path(), &authority).await;
    let mut half_open = Vec::new();
    for at in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(agent.mqtt_address().unwrap()).await.unwrap();
        // Every other one begins a TLS handshake, and gets no further than a record's header.
        if at % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
        }
        half_open.push(stream);
    }
    let mut good = device(&agent, &authority, "press-4").await;
    let reading = publish(&mut good, "telemetry/press-4", json!({"t": 1})).await;
    assert_eq!(reading, Ok(Vec::new()));
    drop((half_open, good));
    soon("the agent to stop", agent.stop()).await;
}
