//! Certificates, policies, groups and what is attached to what, as a server under kills has answered them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use fieldline_tests::Http;
use fieldline_tests::http::{Answer, encode};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

const OWN_DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}"#;

/// What has been answered: a path, a text that its answer holds if the fact does, and whether it does.
pub(super) type Facts = BTreeMap<(String, String), bool>;

fn done(answer: Result<Answer>) -> Option<Value> {
    let answer = answer.ok().filter(|answer| answer.status == 200)?;
    Some(serde_json::from_str(&answer.body).unwrap_or_default())
}

/// A certificate, a policy and a group for a thing, attached, and some of it taken back; none when an answer
/// stayed away, of which nothing is known then.
pub(super) fn make(http: Http, thing: &str, facts: &mut Facts) -> Option<()> {
    let send =
        |path: &str, body: Value| done(http.post(path, "application/json", body.to_string().as_bytes()));
    let (policy, group) = (format!("may-{thing}"), format!("of-{thing}"));
    let fact = |path: &str, text: &str| (path.to_owned(), format!("\"{text}\""));

    send(&format!("/policies/{policy}"), json!({ "policyDocument": OWN_DOCUMENT }))?;
    facts.insert(fact(&format!("/policies/{policy}"), &policy), true);

    send(&format!("/thing-groups/{group}"), json!({}))?;
    let member = json!({ "thingName": thing, "thingGroupName": group }).to_string();
    done(http.put_bytes("/thing-groups/addThingToThingGroup", member.as_bytes()))?;
    let membership = fact(&format!("/thing-groups/{group}/things"), thing);
    facts.insert(membership.clone(), true);

    let certificate = json!({ "certificatePem": certificate(thing).ok()?, "status": "ACTIVE" });
    let registered = send("/certificate/register-no-ca", certificate)?;
    let (id, arn) = (registered["certificateId"].as_str()?, registered["certificateArn"].as_str()?);
    let path = format!("/certificates/{id}");
    facts.insert(fact(&path, "ACTIVE"), true);
    done(
        http.put_bytes(
            &format!("/target-policies/{policy}"),
            json!({ "target": arn }).to_string().as_bytes(),
        ),
    )?;
    done(http.put_with(&format!("/things/{thing}/principals"), &[&format!("x-amzn-principal: {arn}")], b""))?;
    facts.insert(fact(&format!("/things/{thing}/principals"), arn), true);

    // From here on what was true may be either until it is answered.
    facts.remove(&fact(&path, "ACTIVE"));
    done(http.put(&format!("{path}?newStatus=INACTIVE")))?;
    facts.insert(fact(&path, "INACTIVE"), true);
    facts.remove(&membership);
    done(http.put_bytes("/thing-groups/removeThingFromThingGroup", member.as_bytes()))?;
    facts.insert(membership, false);
    Some(())
}

/// Holds a server to what it has answered.
pub(super) fn check(http: Http, facts: &Facts) -> Result<()> {
    for ((path, text), holds) in facts {
        let answer = http.get(path)?;
        let found = answer.status == 200 && answer.body.contains(text.as_str());
        ensure!(found == *holds, "{path}: {text} was {holds}, now {} {}", answer.status, answer.body);
    }
    Ok(())
}

fn certificate(thing: &str) -> Result<String> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, encode(thing));
    Ok(params.self_signed(&KeyPair::generate()?)?.pem())
}
