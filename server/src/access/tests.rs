use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fieldline_mqtt::Version;

use super::*;

/// What a test says of each certificate.
#[derive(Default)]
struct Said {
    standings: Mutex<HashMap<String, Standing>>,
    generation: AtomicU64,
}

impl Said {
    fn say(&self, identity: &Identity, standing: Standing) {
        self.standings.lock().unwrap().insert(identity.certificate_id(), standing);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

impl Certificates for Said {
    fn standing(&self, certificate_id: &str) -> Standing {
        self.standings.lock().unwrap().get(certificate_id).cloned().unwrap_or(Standing::Unknown)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
}

fn identity(name: &str) -> Identity {
    let fingerprint = std::array::from_fn(|at| *name.as_bytes().get(at).unwrap_or(&0));
    Identity { common_name: Some(name.to_owned()), alternative_names: Vec::new(), fingerprint }
}

fn client(client_id: &str, identity: Option<Identity>) -> ClientInfo {
    ClientInfo {
        client_id: client_id.into(),
        username: None,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        identity: identity.map(Arc::new),
        version: Version::V5,
        connection: 7,
    }
}

fn connect(access: &Access, client_id: &str, identity: Option<&Identity>) -> Result<(), Refusal> {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let version = Version::V5;
    access.connect(&ConnectRequest { client_id, username: None, password: None, peer, identity, version })
}

fn thing(name: &str) -> Thing {
    Thing { name: name.to_owned(), ..Thing::default() }
}

fn policy(resource: &str) -> Arc<Document> {
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "iot:*", "Resource": "arn:aws:iot:eu-west-1:1:{resource}"}}]}}"#
    );
    Arc::new(Document::parse(text).unwrap())
}

#[test]
fn nobody_speaks_for_the_server() {
    let access = Access::new(Arc::new(NoCertificates), true);
    for topic in [
        "fieldline/gw-1/ack",
        "$aws/things/gw-1/shadow/update/accepted",
        "$aws/things/gw-1/shadow/name/x/update/delta",
        "$aws/commands/things/gw-1/executions/1/request/json",
        "$aws/commands/things/gw-1/executions/1/response/accepted/json",
    ] {
        for identity in [None, Some(identity("gw-1"))] {
            assert!(!access.may_publish(&client("gw-1", identity.clone()), topic), "{identity:?} {topic}");
        }
    }
    assert!(access.may_publish(&client("x", None), "$aws/commands/things/x/executions/1/response/json"));
    assert!(access.may_publish(&client("x", None), "fieldline"), "an ordinary topic");
}

#[test]
fn a_certificate_that_nobody_registered_stands_for_its_name() {
    let access = Access::new(Arc::new(NoCertificates), true);
    let who = identity("gw-1");
    assert_eq!(connect(&access, "gw-1", Some(&who)), Ok(()));
    assert_eq!(connect(&access, "gw-2", Some(&who)), Err(Refusal::NotAuthorized));
    let me = client("gw-1", Some(who));
    for (topic, allowed) in [
        ("$aws/rules/fieldline_ingest/gw-1", true),
        ("$aws/rules/fieldline_ingest/gw-2", false),
        ("$aws/things/gw-1/shadow/update", true),
        ("$aws/things/gw-2/shadow/update", false),
        ("telemetry/gw-1/temperature", true),
        ("telemetry/press-4/temperature", false),
        ("$SYS/x", false),
    ] {
        assert_eq!(access.may_publish(&me, topic), allowed, "{topic}");
    }
    for (filter, allowed) in [
        ("fieldline/gw-1/ack", true),
        ("fieldline/+/ack", false),
        ("#", false),
        ("$aws/things/gw-1/#", true),
        ("$aws/things/+/shadow/update/accepted", false),
        ("+/things/gw-2/#", false),
    ] {
        assert_eq!(access.may_subscribe(&me, filter), allowed, "{filter}");
    }
    assert!(access.may_receive(&me, "fieldline/gw-1/ack"));
    assert!(!access.may_receive(&me, "fieldline/gw-2/ack"));
    let own = Access::new(Arc::new(NoCertificates), false);
    assert_eq!(connect(&own, "gw-1", Some(&identity("gw-1"))), Err(Refusal::NotAuthorized));
    let nameless = Identity { common_name: None, ..identity("x") };
    assert_eq!(connect(&access, "x", Some(&nameless)), Err(Refusal::NotAuthorized));
}

#[test]
fn what_the_registry_says_counts_from_the_next_question_on() {
    let said = Arc::new(Said::default());
    let access = Access::new(said.clone(), true);
    let who = identity("press-4");
    let me = client("press-4", Some(who.clone()));
    access.connected(&me);
    assert!(access.may_publish(&me, "telemetry/press-4"));
    let active = |things: Vec<Thing>, resource| Standing::Active { things, policies: vec![policy(resource)] };
    said.say(&who, active(vec![], "topic/hall/*"));
    assert!(!access.may_publish(&me, "telemetry/press-4"));
    assert!(access.may_publish(&me, "hall/light"));
    assert!(access.barred().is_empty());
    said.say(&who, Standing::Barred);
    assert_eq!(access.barred(), ["press-4"]);
    assert_eq!(access.thing(&me), None, "it was bound to no thing");
    assert!(!access.may_publish(&me, "hall/light"));
    assert!(!access.may_receive(&me, "hall/light"));
    assert_eq!(connect(&access, "press-4", Some(&who)), Err(Refusal::NotAuthorized));
    access.disconnected(&me);
    assert!(access.connected.read().unwrap().is_empty());
}

#[test]
fn a_connection_is_bound_to_the_thing_of_its_name_or_to_the_only_one() {
    let said = Arc::new(Said::default());
    let access = Access::new(said.clone(), true);
    let who = identity("some certificate");
    let own = "topic/${iot:Connection.Thing.ThingName}/x";
    let active = |things: Vec<Thing>| Standing::Active { things, policies: vec![policy(own)] };
    let may = |client_id: &str, topic| access.may_publish(&client(client_id, Some(who.clone())), topic);
    said.say(&who, active(vec![thing("a"), thing("b")]));
    assert!(may("b", "b/x") && !may("b", "a/x") && may("a", "a/x") && !may("c", "a/x"));
    said.say(&who, active(vec![thing("a")]));
    assert!(may("any", "a/x"));
    said.say(&who, active(vec![]));
    assert!(!may("a", "a/x"));
}

/// A certificate for `+` was let in once, and `$aws/things/+/shadow/#` was then its own.
#[test]
fn a_name_that_is_a_pattern_opens_nothing() {
    let access = Access::new(Arc::new(NoCertificates), true);
    for name in ["+", "#", "a/b", "$aws"] {
        let me = client(name, Some(identity(name)));
        for filter in
            [format!("$aws/things/{name}/shadow/#"), format!("telemetry/{name}/x"), format!("{name}/x")]
        {
            assert!(!access.may_subscribe(&me, &filter), "{filter}");
            assert!(!access.may_publish(&me, &filter), "{filter}");
        }
    }
}
