//! Clients that are not ours, when they are installed.

use std::process::Stdio;

use fieldline_mqtt::{Message, QoS};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{Running, soon};

fn installed(program: &str) -> bool {
    std::process::Command::new(program)
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[tokio::test]
async fn mosquitto_clients_publish_and_subscribe() {
    if !installed("mosquitto_pub") || !installed("mosquitto_sub") {
        println!("skipped: mosquitto_pub and mosquitto_sub are not installed");
        return;
    }
    let kinds = [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)];
    for (version, (number, qos)) in
        ["311", "5"].into_iter().flat_map(|version| kinds.map(|kind| (version, kind)))
    {
        let mut running = Running::routing().await;
        let port = running.address.port().to_string();
        let mut subscriber = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", number, "-i", "sub", "-c"])
            .args(["-t", "telemetry/#", "-v", "-C", "3"])
            .args(if version == "5" { &["-x", "60"][..] } else { &[] })
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        running.connected("sub").await;
        // Retained, so that it does not matter whether the SUBSCRIBE came first.
        let published = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", number, "-i", "pub", "-r"])
            .args(["-t", "telemetry/press-4/x", "-m", "21.5"])
            .status();
        assert!(soon("mosquitto_pub", published).await.unwrap().success());
        let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
        let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
        assert_eq!(line, "telemetry/press-4/x 21.5");
        for payload in ["a", "b"] {
            running.broker.publish(&Message::new("telemetry/y", payload, qos));
            let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
            assert_eq!(line, format!("telemetry/y {payload}"));
        }
        assert!(soon("mosquitto_sub", subscriber.wait()).await.unwrap().success());
        running.disconnected("sub").await;
    }
}
