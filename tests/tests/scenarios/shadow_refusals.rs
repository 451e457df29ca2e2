//! Shadows against those who should not have them: strangers' certificates, other things, broken requests.

use anyhow::{Context, Result, ensure};
use fieldline_mqtt::{ClientError, Message, PublishError, QoS, TlsClient, Version};
use fieldline_tests::authority::{CommonName, Issued, day};
use fieldline_tests::publisher::runtime;
use fieldline_tests::thing::options;
use fieldline_tests::{Authority, Site, Thing, machine};
use serde_json::{Value, json};

const SECRET: &str = "s3cret-setpoint";
const VERSIONS: [Version; 2] = [Version::V5, Version::V3_1_1];

/// A running server for clients of this authority.
pub(crate) fn site() -> Result<(Site, Authority)> {
    let (mut site, authority) = (Site::prepare()?, Authority::new()?);
    site.server.secure(&authority)?;
    site.server.start()?;
    Ok((site, authority))
}

/// A thing that hears the replies of its classic shadow.
pub(crate) async fn thing(site: &Site, authority: &Authority, name: &str) -> Result<Thing> {
    let tls = authority.issue(&[name])?.client(authority);
    let address = site.server.mqtts_address()?;
    let mut thing = Thing::connect(&options(address, &tls, name, Version::V5)).await?;
    let replies = format!("$aws/things/{name}/shadow/+/+");
    ensure!(thing.subscribe(&[&replies]).await? == [true], "its own shadow");
    Ok(thing)
}

#[test]
fn a_certificate_that_is_not_good_now_ends_in_the_handshake() -> Result<()> {
    let _machine = machine::shared();
    let (site, authority) = site()?;
    let address = site.server.mqtts_address()?;
    let stranger = Authority::new()?;
    let name: &[&str] = &["press-4"];
    let nobody = TlsClient { ca: authority.pem().into_bytes(), ..TlsClient::default() };
    let table = [
        (
            "expired",
            authority.issue_as(name, |params| params.not_after = day(2020, 1, 1))?.client(&authority),
        ),
        (
            "not yet",
            authority.issue_as(name, |params| params.not_before = day(2200, 1, 1))?.client(&authority),
        ),
        ("another authority's", stranger.issue(name)?.client(&authority)),
        ("its own authority", Issued::self_signed(name)?.client(&authority)),
        ("none", nobody),
    ];
    runtime()?.block_on(async {
        for (what, tls) in &table {
            for version in VERSIONS {
                let opened = Thing::connect(&options(address, tls, "press-4", version)).await;
                let error = opened.err().with_context(|| format!("{what}: was let in"))?;
                let in_handshake = matches!(error, ClientError::Network(_) | ClientError::Closed);
                ensure!(in_handshake, "{what}: only MQTT refused it: {error:?}");
            }
        }
        let good = authority.issue(name)?.client(&authority);
        for (client_id, names) in [("press-5", name), ("", name), ("press-4", &["localhost", "press-4"])] {
            let tls = if names == name { good.clone() } else { authority.issue(names)?.client(&authority) };
            let opened = Thing::connect(&options(address, &tls, client_id, Version::V5)).await;
            let error = opened.err().with_context(|| format!("{client_id:?} of {names:?} was let in"))?;
            ensure!(matches!(error, ClientError::ConnectRefused { .. }), "{client_id:?}: {error:?}");
        }
        thing(&site, &authority, "press-4").await?.round_trip().await?;
        anyhow::Ok(())
    })?;
    site.finish()
}

/// A name in a certificate is a name: no pattern, and no part of a topic.
#[test]
fn a_certificate_for_a_wildcard_gets_nothing() -> Result<()> {
    let _machine = machine::shared();
    let (site, authority) = site()?;
    let address = site.server.mqtts_address()?;
    runtime()?.block_on(async {
        for name in ["+", "#", "press-4/shadow", "", "$aws"] {
            // The other names of a certificate must be host names.
            let tls = authority.issue_as(&["x"], |params| {
                params.distinguished_name.push(CommonName, name);
            })?;
            let opened = Thing::connect(&options(address, &tls.client(&authority), name, Version::V5)).await;
            ensure!(matches!(opened, Err(ClientError::ConnectRefused { .. })), "{name:?} was let in");
        }
        anyhow::Ok(())
    })?;
    site.finish()
}

/// The topics of one shadow of the victim's.
fn topics(prefix: &str) -> Vec<String> {
    let requests = ["get", "update", "delete"];
    let replies = requests
        .iter()
        .flat_map(|request| ["accepted", "rejected"].map(|reply| format!("{prefix}/{request}/{reply}")));
    let mut topics: Vec<String> = requests.iter().map(|request| format!("{prefix}/{request}")).collect();
    topics.extend(replies.chain([format!("{prefix}/update/delta"), format!("{prefix}/update/documents")]));
    topics
}

const CLASSIC: &str = "$aws/things/victim/shadow";
const NAMED: &str = "$aws/things/victim/shadow/name/config";

/// Filters that take in topics of the victim's.
const WILDCARDS: [&str; 32] = [
    "#",
    "+",
    "+/#",
    "+/+/#",
    "+/+/+/#",
    "$aws/#",
    "$aws/+/#",
    "$aws/+/+/#",
    "$aws/+/victim/#",
    "+/things/victim/#",
    "+/+/victim/shadow/update",
    "$aws/things/#",
    "$aws/things/+",
    "$aws/things/+/#",
    "$aws/things/+/shadow/#",
    "$aws/things/+/shadow/get",
    "$aws/things/+/shadow/+/accepted",
    "$aws/things/+/shadow/update/delta",
    "$aws/things/+/shadow/update/documents",
    "$aws/things/+/shadow/name/config/update/documents",
    "$aws/things/+/shadow/name/+/+/+",
    "$aws/things/victim/#",
    "$aws/things/victim/+/#",
    "$aws/things/victim/shadow/#",
    "$aws/things/victim/shadow/+/+",
    "$aws/things/victim/shadow/name/+/#",
    "$share/g/#",
    "$share/g/$aws/things/victim/#",
    "$SYS/#",
    "telemetry/#",
    "telemetry/victim",
    "fieldline/+/#",
];

/// Tells the victim's shadows something that nobody else is to hear.
fn set_point(site: &Site) -> Result<()> {
    let update = json!({ "state": { "desired": { "key": SECRET } }, "clientToken": SECRET }).to_string();
    for path in ["/things/victim/shadow", "/things/victim/shadow?name=config"] {
        let answer = site.server.http().post(path, "application/json", update.as_bytes())?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}

fn leaks(message: &Message) -> bool {
    message.topic.contains("victim") || String::from_utf8_lossy(&message.payload).contains(SECRET)
}

#[test]
fn a_thing_reaches_no_shadow_of_another() -> Result<()> {
    let _machine = machine::shared();
    let (site, authority) = site()?;
    set_point(&site)?;
    runtime()?.block_on(async {
        let mut victim = thing(&site, &authority, "victim").await?;
        let mut intruder = thing(&site, &authority, "intruder").await?;
        for filter in topics(CLASSIC).iter().chain(&topics(NAMED)).map(String::as_str).chain(WILDCARDS) {
            ensure!(intruder.subscribe(&[filter]).await? == [false], "{filter} was granted");
            let mixed = intruder.subscribe(&["site/#", filter, "$aws/things/intruder/#"]).await?;
            ensure!(mixed == [true, false, true], "{filter} among others: {mixed:?}");
        }
        for topic in topics(CLASSIC).iter().chain(&topics(NAMED)).map(String::as_str) {
            let refused = intruder.publish(topic, br#"{"state": {"desired": {"key": "mine"}}}"#).await?;
            ensure!(refused == Some(PublishError::NotAuthorized), "{topic}: {refused:?}");
        }
        // Nor does it forge the server's word about its own.
        for topic in topics("$aws/things/intruder/shadow").iter().skip(3) {
            let refused = intruder.publish(topic, b"{}").await?;
            ensure!(refused == Some(PublishError::NotAuthorized), "{topic}: {refused:?}");
        }
        set_point(&site)?;
        let heard = intruder.heard_so_far().await?;
        ensure!(!heard.iter().any(leaks), "the intruder heard {heard:?}");
        let (part, document) = victim.ask("get", b"{}").await?;
        let untouched = part == "accepted" && document["state"]["desired"] == json!({ "key": SECRET });
        ensure!(untouched && document["version"] == 2, "{document}");
        let told = victim.heard_so_far().await?;
        ensure!(told.is_empty(), "the victim heard of the attempts: {told:?}");
        anyhow::Ok(())
    })?;
    site.finish()
}

/// MQTT 3.1.1 has no word for it: the connection ends. A will is refused with its CONNECT.
#[test]
fn neither_mqtt_3_1_1_nor_a_will_gets_around_it() -> Result<()> {
    let _machine = machine::shared();
    let (site, authority) = site()?;
    set_point(&site)?;
    let address = site.server.mqtts_address()?;
    let tls = authority.issue(&["intruder"])?.client(&authority);
    runtime()?.block_on(async {
        let old = options(address, &tls, "intruder", Version::V3_1_1);
        let mut intruder = Thing::connect(&old).await?;
        for filter in topics(CLASSIC).iter().map(String::as_str).chain(WILDCARDS) {
            if !filter.starts_with("$share/") {
                ensure!(intruder.subscribe(&[filter]).await? == [false], "{filter} was granted");
            }
        }
        for topic in topics(CLASSIC).iter().chain(&topics(NAMED)) {
            let mut intruder = Thing::connect(&old).await?;
            let outcome = intruder.publish(topic, b"{}").await;
            ensure!(outcome.is_err(), "{topic}: {outcome:?}");
        }
        for version in VERSIONS {
            for topic in topics(CLASSIC).iter().chain(&topics(NAMED)) {
                let mut options = options(address, &tls, "intruder", version);
                options.will = Some(Message::new(topic.as_str(), "{}", QoS::AtLeastOnce));
                let opened = Thing::connect(&options).await;
                ensure!(matches!(opened, Err(ClientError::ConnectRefused { .. })), "will on {topic}");
            }
        }
        anyhow::Ok(())
    })?;
    let document = site.server.http().json("/things/victim/shadow")?;
    assert_eq!((&document["state"]["desired"]["key"], &document["version"]), (&json!(SECRET), &json!(1)));
    site.finish()
}

/// `{"state": {"reported": …}}`, where so many names lead to the leaf, those two among them.
fn deep(names: usize) -> Value {
    let inner = (2..names).fold(json!(1), |inner, _| json!({ "n": inner }));
    json!({ "state": { "reported": inner } })
}

/// An update that makes a state of so many bytes, the section's name among them.
fn large(bytes: usize) -> Value {
    let frame = json!({ "desired": { "text": "" } }).to_string().len();
    json!({ "state": { "desired": { "text": "x".repeat(bytes - frame) } } })
}

#[test]
fn limits_hold_to_the_byte_and_broken_requests_are_told_so() -> Result<()> {
    let _machine = machine::shared();
    let (site, authority) = site()?;
    let token =
        |token: String| json!({ "state": { "reported": { "a": 1 } }, "clientToken": token }).to_string();
    let text = |value: Value| value.to_string().into_bytes();
    let good: Vec<(&str, Vec<u8>)> = vec![
        ("a token of 64 bytes", token("t".repeat(64)).into_bytes()),
        ("a token of 32 letters of 2 bytes", token("ä".repeat(32)).into_bytes()),
        ("8 levels", text(deep(8))),
        ("an empty state", b"{\"state\": null}".to_vec()),
        ("8192 bytes of state", text(large(8192))),
    ];
    let bad: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("no UTF-8", b"{\"state\": {\"reported\": {\"a\": \"\xff\"}}}".to_vec(), 415, "UTF-8"),
        ("no UTF-8 at all", b"\xc3\x28\xa0\xa1".to_vec(), 415, "UTF-8"),
        (
            "a surrogate in UTF-8",
            b"{\"state\": {\"reported\": {\"a\": \"\xed\xa0\x80\"}}}".to_vec(),
            415,
            "UTF-8",
        ),
        ("a token of 65 bytes", token("t".repeat(65)).into_bytes(), 400, "Invalid clientToken"),
        ("a token of 33 letters of 2 bytes", token("ä".repeat(33)).into_bytes(), 400, "Invalid clientToken"),
        (
            "a token that is no text",
            b"{\"state\": {}, \"clientToken\": 1}".to_vec(),
            400,
            "Invalid clientToken",
        ),
        ("9 levels", text(deep(9)), 400, "too many levels"),
        ("8193 bytes of state", text(large(8193)), 413, "exceeds the maximum size"),
        ("nothing", Vec::new(), 400, "Invalid JSON"),
        ("a text", b"\"state\"".to_vec(), 400, "Invalid JSON"),
        ("half an object", b"{\"state\": {".to_vec(), 400, "Invalid JSON"),
        (
            "a number without end",
            b"{\"state\": {\"reported\": {\"a\": 1e999}}}".to_vec(),
            400,
            "Invalid JSON",
        ),
        ("100,000 brackets", "[".repeat(100_000).into_bytes(), 400, "Invalid JSON"),
        ("a negative version", b"{\"state\": {}, \"version\": -1}".to_vec(), 400, "Invalid version"),
        ("a version beyond 64 bits", b"{\"state\": {}, \"version\": 1e300}".to_vec(), 400, "Invalid version"),
        ("a stale version", b"{\"state\": {}, \"version\": 77}".to_vec(), 409, "Version conflict"),
    ];
    runtime()?.block_on(async {
        let mut thing = thing(&site, &authority, "press-4").await?;
        for (what, payload) in &good {
            let (part, document) = thing.ask("update", payload).await?;
            ensure!(part == "accepted", "{what}: {document}");
            thing.ask("delete", b"").await?;
        }
        thing.ask("update", &text(large(8192))).await?;
        let (_, before) = thing.ask("get", b"").await?;
        for (what, payload, code, message) in &bad {
            let (part, document) = thing.ask("update", payload).await?;
            ensure!(part == "rejected" && document["code"] == *code, "{what}: {document}");
            ensure!(
                document["message"].as_str().is_some_and(|text| text.contains(message)),
                "{what}: {document}"
            );
            ensure!(document.get("clientToken").is_none(), "{what}: {document}");
        }
        // What is stored is what counts: one byte more in the other section is too much as well.
        let (part, document) = thing.ask("update", b"{\"state\": {\"reported\": {\"a\": 1}}}").await?;
        ensure!(part == "rejected" && document["code"] == 413, "{document}");
        let (_, after) = thing.ask("get", b"").await?;
        ensure!(
            (&before["state"], &before["version"]) == (&after["state"], &after["version"]),
            "a refused request changed something"
        );
        anyhow::Ok(())
    })?;
    site.finish()
}
