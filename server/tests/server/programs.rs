//! `fieldline certs` and `fieldline config` as they are typed.

use std::ffi::OsString;
use std::process::Output;

use super::*;

/// Runs the program; gives what it printed. The server answers meanwhile.
async fn fieldline(arguments: &[&str]) -> Result<String, String> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let run = move || std::process::Command::new(env!("CARGO_BIN_EXE_fieldline")).args(arguments).output();
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

#[tokio::test]
async fn certificates_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let made = fieldline(&["certs", "init", "--name", "127.0.0.1", "--data", data]).await.unwrap();
    assert!(made.contains("ca.key"), "{made}");
    let again = fieldline(&["certs", "init", "--name", "127.0.0.1", "--data", data]).await;
    assert!(again.is_err(), "an authority is made once: {again:?}");
    let renewed = fieldline(&["certs", "init", "--renew", "--name", "127.0.0.1", "--data", data]).await;
    assert!(renewed.unwrap().contains("made anew"));

    let mut config = config(folder.path());
    config.mqtt.tls = Some(TlsSettings { listen: "127.0.0.1:0".parse().unwrap(), ..TlsSettings::default() });
    let site = Site { server: Server::start(config).await.unwrap(), folder };
    let (url, out) = (site.url(), site.folder.path().join("keys"));
    let server = ["--server", url.as_str(), "--out", out.to_str().unwrap()];
    let issued =
        fieldline(&[&["certs", "issue", "hall-7", "--gateway"], &server[..]].concat()).await.unwrap();
    let id = issued.lines().next().unwrap().to_owned();
    assert_eq!(id.len(), 64, "{issued}");

    let pem = |name: &str| std::fs::read(out.join(name)).unwrap();
    let port = site.server.mqtts_address().unwrap().port();
    let mut options = ClientOptions::new("127.0.0.1", port, "hall-7");
    options.tls = Some(TlsClient {
        ca: pem("ca.pem"),
        certificate: Some(pem("hall-7.pem")),
        key: Some(pem("hall-7.key")),
        ..TlsClient::default()
    });
    let mut gateway = Connection::open(&options).await.unwrap();
    assert_eq!(publish(&mut gateway, "$aws/things/press-4/shadow/get", "").await, Ok(()));

    let listed = fieldline(&["certs", "list", "--server", &url]).await.unwrap();
    let line = listed.lines().find(|line| line.contains(&id)).unwrap();
    assert!(line.contains("ACTIVE") && line.contains("hall-7"), "{listed}");
    let revoked = fieldline(&["certs", "revoke", "hall-7", "--server", &url]).await.unwrap();
    assert_eq!(revoked.trim(), format!("{id} is revoked"));
    let listed = fieldline(&["certs", "list", "--json", "--server", &url]).await.unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["certificateId"], &listed[0]["status"]), (&json!(id), &json!("REVOKED")));
    let refused = Connection::open(&options).await;
    assert!(matches!(refused, Err(ClientError::ConnectRefused { code: 0x87 })), "{refused:?}");
    let unknown = fieldline(&["certs", "revoke", "nobody", "--server", &url]).await;
    assert!(unknown.is_err(), "{unknown:?}");
    site.server.stop().await;
}

#[tokio::test]
async fn configurations_are_compared_pushed_remembered_and_brought_back() {
    let site = Site::start().await;
    let url = site.url();
    let file = |name: &str, text: &str| {
        let path = site.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let first = file("first.toml", "[sync]\nlinger = \"1s\"\n");
    let second = file("second.json", r#"{"sync": {"linger": "2s"}}"#);
    let wrong = file("wrong.toml", "[journal]\nbytes_max = \"1GiB\"\n");
    let run = async |arguments: &[&str]| {
        fieldline(&[&["config"], arguments, &["--server", url.as_str()]].concat()).await
    };
    let difference = run(&["diff", "hall-7", &first]).await.unwrap();
    assert_eq!(difference.trim(), "+ sync.linger = \"1s\"");
    run(&["push", "hall-7", &first, "--no-wait"]).await.unwrap();
    let difference = run(&["diff", "hall-7", &second]).await.unwrap();
    assert_eq!(difference.trim(), "- sync.linger = \"1s\"\n+ sync.linger = \"2s\"");
    run(&["push", "hall-7", &second, "--no-wait"]).await.unwrap();
    let refused = run(&["push", "hall-7", &wrong, "--no-wait"]).await.unwrap_err();
    assert!(refused.contains("the section journal cannot be pushed"), "{refused}");
    run(&["rollback", "hall-7", "--no-wait"]).await.unwrap();
    let history = run(&["history", "hall-7", "--json"]).await.unwrap();
    let history: Value = serde_json::from_str(&history).unwrap();
    let numbers: Vec<_> = history["entries"].as_array().unwrap().iter().map(|one| &one["number"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(history["entries"][0]["rollback_of"], 1);
    let table = run(&["history", "hall-7"]).await.unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
    let shown = run(&["show", "hall-7"]).await.unwrap();
    assert!(shown.contains("sync.linger = \"1s\"") && shown.contains("has said nothing yet"), "{shown}");
    let desired = site.get("/things/hall-7/shadow?name=config").await["state"]["desired"].clone();
    assert_eq!(desired, json!({ "config": { "sync": { "linger": "1s" } } }));
    assert!(run(&["rollback", "hall-7", "9", "--no-wait"]).await.is_err());
    site.server.stop().await;
}
