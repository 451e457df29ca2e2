//! Devices on the agent's own listener with mutual TLS: each reaches the shadows of its own thing.

use edge_agent::{Agent, Config, settings};
use fieldline_mqtt::{ClientOptions, Connection, Event, PublishError, QoS, TlsClient};
use serde_json::{Value, json};

use crate::authority::Authority;
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

async fn device(agent: &Agent, authority: &Authority, name: &str) -> Connection {
    let issued = authority.issue(&[name]);
    let mut options = ClientOptions::new("127.0.0.1", agent.mqtt_address().unwrap().port(), name);
    options.tls = Some(TlsClient {
        ca: authority.pem().into_bytes(),
        certificate: Some(issued.pem().into_bytes()),
        key: Some(issued.key_pem().into_bytes()),
        server_name: Some("localhost".to_owned()),
        alpn: Vec::new(),
    });
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
