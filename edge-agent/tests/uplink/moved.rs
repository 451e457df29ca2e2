//! A configuration from afar that sends the gateway to another server: only one that proves who it is counts.

use edge_agent::{Agent, Config, settings};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::authority::Authority;
use crate::peer::{PINGREQ, PUBLISH, Peer, SUBSCRIBE};
use crate::soon;
use crate::stand_in::{StandIn, Terms};

async fn agent(folder: &std::path::Path, port: u16, authority: &Authority) -> Agent {
    let own = authority.issue(&["gw-1"]);
    let file = |name: &str, pem: String| {
        let path = folder.join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let text = format!(
        "data = {:?}\ngateway.id = \"gw-1\"\nmqtt.listen = \"off\"\nhttp.listen = \"off\"\n\
         remote.confirm_within = \"1s\"\n[sync]\nserver = \"mqtts://localhost:{port}\"\n\
         backoff_min = \"10ms\"\nbackoff_max = \"80ms\"\n\
         tls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}\n",
        folder.join("data"),
        file("ca.pem", authority.pem()),
        file("gw-1.pem", own.pem()),
        file("gw-1.key", own.key_pem()),
    );
    let config: Config = settings::read(&file("agent.toml", text)).unwrap();
    Agent::start(config).await.unwrap()
}

/// Plays the server until the gateway reports; what it says, or nothing when it goes.
async fn reported(peer: &mut Peer, desired: &Value) -> Option<Value> {
    loop {
        let packet = peer.next().await?;
        match packet.kind {
            SUBSCRIBE => peer.suback(&packet).await,
            PINGREQ => peer.pingresp().await,
            PUBLISH => {
                let publish = packet.publish();
                peer.puback(publish.id).await;
                let request: Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
                if publish.topic.ends_with("/config/get") {
                    let state = json!({ "desired": { "config": desired } });
                    let answer =
                        json!({ "state": state, "version": 3, "clientToken": request["clientToken"] });
                    let topic = format!("{}/accepted", publish.topic);
                    peer.publish(&topic, 7, answer.to_string().as_bytes()).await;
                } else if publish.topic.ends_with("/config/update") {
                    return Some(request["state"]["reported"]["config"].clone());
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_server_of_another_authority_does_not_count_as_reached() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (home, elsewhere) = (StandIn::listen().await, StandIn::listen().await);
    let agent = agent(folder.path(), home.port(), &authority).await;
    let terms = || Terms::default().with(&authority.issue(&["localhost"]), &authority);
    let mut peer = Peer::new(home.tls(terms()).await.1.unwrap());
    peer.welcome().await;
    let desired = json!({ "sync": { "server": format!("mqtts://localhost:{}", elsewhere.port()) } });
    assert_eq!(reported(&mut peer, &desired).await, None, "it goes elsewhere");

    // The other server would let it in.
    let other = Terms::default().with(&stranger.issue(&["localhost"]), &authority);
    let visits = async {
        loop {
            if let Ok(mut stream) = elsewhere.tls(other.clone()).await.1 {
                let mut said = Vec::new();
                let _end = soon("the agent to go", stream.read_to_end(&mut said)).await;
                assert!(said.is_empty(), "{said:?}");
            }
        }
    };
    let back = tokio::select! {
        (_, stream) = home.tls(terms()) => stream.unwrap(),
        () = visits => unreachable!("it goes on until the agent is back"),
    };
    let mut peer = Peer::new(back);
    peer.welcome().await;
    let report = reported(&mut peer, &desired).await.unwrap();
    assert_eq!(report["status"], "reverted", "{report}");
    assert_eq!(agent.status().remote.unwrap().sha256, None, "its own file is in use again");
    drop(peer);
    soon("the agent to stop", agent.stop()).await;
}
