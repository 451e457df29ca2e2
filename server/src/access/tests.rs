use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fieldline_mqtt::Version;

use super::*;

/// What a test says of each certificate.
#[derive(Default)]
struct Said {
    standings: Mutex<HashMap<String, Standing>>,
    /// Things of certificates that are not active.
    things: Mutex<HashMap<String, Vec<Thing>>>,
    gateways: Mutex<Vec<String>>,
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

    fn things(&self, certificate_id: &str) -> Option<Vec<Thing>> {
        match self.standing(certificate_id) {
            Standing::Active { things, .. } => Some(things),
            _ => self.things.lock().unwrap().get(certificate_id).cloned(),
        }
    }

    fn is_gateway(&self, thing: &str) -> bool {
        self.gateways.lock().unwrap().iter().any(|gateway| gateway == thing)
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
fn a_connection_is_bound_to_the_thing_of_its_name_and_http_to_the_only_one() {
    let said = Arc::new(Said::default());
    let access = Access::new(said.clone(), true);
    let who = identity("some certificate");
    let own = "topic/${iot:Connection.Thing.ThingName}/x";
    let active = |things: Vec<Thing>| Standing::Active { things, policies: vec![policy(own)] };
    let may = |client_id: &str, topic| access.may_publish(&client(client_id, Some(who.clone())), topic);
    let bound = || {
        let principal = access.principal(&who, None, Ipv4Addr::LOCALHOST.into()).unwrap();
        principal.may(Action::Publish, Resource::Topic("a/x"))
    };
    said.say(&who, active(vec![thing("a"), thing("b")]));
    assert!(may("b", "b/x") && !may("b", "a/x") && may("a", "a/x") && !may("c", "a/x"));
    assert!(!bound());
    said.say(&who, active(vec![thing("a")]));
    assert!(may("a", "a/x") && !may("any", "a/x"));
    assert!(bound());
    said.say(&who, active(vec![]));
    assert!(!may("a", "a/x") && !bound());
}

#[test]
fn a_session_is_its_things_whichever_certificate_it_has() {
    let said = Arc::new(Said::default());
    let access = Access::new(said.clone(), true);
    let (old, new) = (identity("first"), identity("second"));
    let may = || {
        let client = |who: &Identity| client("press-4", Some(who.clone()));
        access.may_take_over(&client(&old), &client(&new))
    };
    let active = |things: &[&str]| {
        let things = things.iter().map(|name| thing(name)).collect();
        Standing::Active { things, policies: vec![policy("client/*")] }
    };
    for (before, now, expected) in [
        (&["press-4"][..], &["press-4"][..], true),
        (&["press-4"], &["press-4", "press-5"], true),
        (&["press-4"], &["press-5"], false),
        (&["press-5"], &["press-4"], false),
        (&["press-4"], &[], false),
        (&[], &[], false),
    ] {
        said.say(&old, active(before));
        said.say(&new, active(now));
        assert_eq!(may(), expected, "{before:?} {now:?}");
    }
    // Nobody is kept out by who cannot come back.
    said.say(&old, Standing::Barred);
    assert!(may());
    let access = Access::new(Arc::new(NoCertificates), true);
    let may = |old: Option<Identity>, new: Option<Identity>| {
        access.may_take_over(&client("a", old), &client("a", new))
    };
    let other = Identity { fingerprint: [9; 32], ..identity("a") };
    assert!(may(Some(identity("a")), Some(other)), "of the same name, by somebody else's authority");
    assert!(!may(Some(identity("a")), Some(identity("b"))));
    assert!(may(None, None) && !may(Some(identity("a")), None) && !may(None, Some(identity("a"))));
}

/// The policy for gateways says `thing/*`: each could give every other one its configuration.
#[test]
fn a_gateway_speaks_for_itself_and_for_devices_and_for_no_other_gateway() {
    let said = Arc::new(Said::default());
    let access = Access::new(said.clone(), true);
    let who = identity("gw-1");
    let parsed = |text: &str| Arc::new(Document::parse(text).unwrap());
    let policies = vec![parsed(builtin::DEVICE), parsed(builtin::GATEWAY)];
    said.say(&who, Standing::Active { things: vec![thing("gw-1")], policies });
    *said.gateways.lock().unwrap() = vec!["gw-1".to_owned(), "gw-2".to_owned()];
    let me = client("gw-1", Some(who.clone()));
    let principal = access.principal(&who, None, Ipv4Addr::LOCALHOST.into()).unwrap();
    for (name, allowed) in [("gw-1", true), ("press-4", true), ("gw-20", true), ("gw-2", false)] {
        for topic in [
            format!("$aws/things/{name}/shadow/name/config/update"),
            format!("$aws/things/{name}/shadow/name/config/delete"),
            format!("$aws/things/{name}/shadow/update"),
            format!("$aws/commands/things/{name}/executions/1/response/json"),
        ] {
            assert_eq!(access.may_publish(&me, &topic), allowed, "{topic}");
        }
        for topic in [
            format!("$aws/things/{name}/shadow/name/config/update/delta"),
            format!("$aws/commands/things/{name}/executions/1/request/json"),
        ] {
            assert_eq!(access.may_receive(&me, &topic), allowed, "{topic}");
        }
        for action in [Action::GetThingShadow, Action::UpdateThingShadow, Action::DeleteThingShadow] {
            for shadow in [None, Some("config")] {
                let resource = Resource::Thing { thing: name, shadow };
                assert_eq!(principal.may(action, resource), allowed, "{action:?} {name} {shadow:?}");
            }
        }
        let resource = Resource::Thing { thing: name, shadow: None };
        assert_eq!(principal.may(Action::ListNamedShadowsForThing, resource), allowed, "{name}");
    }
    // Whoever has no certificate is on this machine.
    assert!(access.may_publish(&client("x", None), "$aws/things/gw-2/shadow/name/config/update"));
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
