//! Commands for a device behind a gateway, with the real programs: `fieldline send`, a link that is cut, and
//! `kill -9` of the agent.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fieldline_model::{CommandPart, CommandTopic, ThingName};
use fieldline_mqtt::{ClientOptions, Connection, Event, QoS, Token, Version};
use fieldline_tests::device::Device;
use fieldline_tests::proxy::{Proxy, Toxics};
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Server, Site, machine};
use serde_json::json;

use crate::commands::fieldline;

/// Sends a command without waiting; its id.
fn send(server: &Server, command: &str, timeout_s: u64) -> Result<String> {
    let body = json!({ "command": command, "timeout_s": timeout_s }).to_string();
    let answer =
        server.http().post("/api/v1/things/press-4/commands", "application/json", body.as_bytes())?;
    let made: serde_json::Value = serde_json::from_str(&answer.body)?;
    Ok(made["id"].as_str().with_context(|| answer.body.clone())?.to_owned())
}

fn ended(server: &Server, id: &str) -> Result<String> {
    let end = server.http().json(&format!("/api/v1/commands/{id}?wait=30"))?;
    Ok(end["status"].as_str().context("an execution has a status")?.to_owned())
}

#[test]
fn a_device_behind_a_gateway_does_what_it_is_told_and_what_waited_while_it_was_away() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.server.start()?;
    site.agent.start()?;
    for version in [Version::V3_1_1, Version::V5] {
        let device = Device::start(site.agent.mqtt_address(), &["press-4"], version)?;
        let (code, out, errors) =
            fieldline(&site.server, &["send", "press-4", "work", r#"{"n": 7}"#, "--timeout", "30s"])?;
        ensure!(code == Some(0) && out.contains("done  {\"n\":7}"), "{out}{errors}");
        let (code, out, _) = fieldline(&site.server, &["send", "press-4", "fail", "--timeout", "30s"])?;
        ensure!(code == Some(1) && out.contains("failed  JAMMED"), "{out}");
        device.finish()?;

        let waiting = send(&site.server, "quick", 60)?;
        let device = Device::start(site.agent.mqtt_address(), &["press-4"], version)?;
        ensure!(ended(&site.server, &waiting)? == "SUCCEEDED", "what waited was not done");
        ensure!(device.finish()?.refused.is_empty(), "a response was refused");
    }
    site.finish()
}

#[test]
fn no_response_is_lost_when_the_link_is_cut_after_the_request() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.server.start()?;
    let proxy = Proxy::start(site.server.mqtt_address(), 7)?;
    site.agent.set_uplink(Some(proxy.address()));
    site.agent.start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut device = listening(site.agent.mqtt_address()).await?;
        let id = send(&site.server, "open", 60)?;
        let request = tokio::time::timeout(PATIENCE, request(&mut device)).await??;
        ensure!(request.execution.as_str() == id, "another command: {request:?}");

        proxy.set(Toxics { refuse: true, ..Toxics::default() });
        proxy.cut();
        let response = request.with(CommandPart::Response).to_string();
        let payload = json!({ "status": "SUCCEEDED" }).to_string();
        let token = device.publish(&response, payload.into(), QoS::AtLeastOnce, false)?;
        // Long enough for a reply or a PUBACK that nobody may have given.
        if let Ok(early) = tokio::time::timeout(Duration::from_millis(500), answer(&mut device)).await {
            anyhow::bail!("answered without a link: {:?}", early?);
        }
        proxy.heal();
        // Both come, in either order: the broker may write a PUBACK before a message that was published first.
        let mut answers = [None, None];
        for slot in &mut answers {
            *slot = Some(tokio::time::timeout(PATIENCE, answer(&mut device)).await??);
        }
        let expected = Answer::Reply(request.with(CommandPart::Accepted));
        ensure!(answers.contains(&Some(expected)), "no reply: {answers:?}");
        ensure!(answers.contains(&token.map(Answer::Puback)), "no PUBACK: {answers:?}");
        ensure!(ended(&site.server, &id)? == "SUCCEEDED", "the response was lost");
        Ok(())
    })?;
    site.finish()
}

/// What a device hears of its response.
#[derive(Debug, PartialEq)]
enum Answer {
    Reply(CommandTopic),
    Puback(Token),
}

async fn listening(broker: SocketAddr) -> Result<Connection> {
    let options = ClientOptions::new(broker.ip().to_string(), broker.port(), "press-4");
    let mut device = Connection::open(&options).await?;
    let thing = ThingName::new("press-4")?;
    let requests = CommandTopic::requests_of(&thing);
    let replies = requests.replace("/request/json", "/response/+/json");
    device.subscribe(&[(&requests, QoS::AtLeastOnce), (&replies, QoS::AtLeastOnce)])?;
    Ok(device)
}

async fn request(device: &mut Connection) -> Result<CommandTopic> {
    loop {
        if let Answer::Reply(topic) = next(device).await?
            && topic.part == CommandPart::Request
        {
            return Ok(topic);
        }
    }
}

/// The next reply or PUBACK; a request that is repeated is passed over.
async fn answer(device: &mut Connection) -> Result<Answer> {
    loop {
        match next(device).await? {
            Answer::Reply(topic) if topic.part == CommandPart::Request => {}
            answer => return Ok(answer),
        }
    }
}

async fn next(device: &mut Connection) -> Result<Answer> {
    loop {
        match device.next().await? {
            Event::Message { message, id, .. } => {
                id.into_iter().for_each(|id| device.acknowledge(id));
                return Ok(Answer::Reply(message.topic.parse()?));
            }
            Event::Published(token) => return Ok(Answer::Puback(token)),
            _ => {}
        }
    }
}

#[test]
fn each_command_ends_once_though_the_agent_is_killed() -> Result<()> {
    let _machine = machine::shared();
    let kills = machine::size("FIELDLINE_GATEWAY_COMMAND_KILLS", 10);
    let seed = machine::size("FIELDLINE_SEED", 0x5eed_f1e1_d11e_0008);
    println!("{kills} kills of the agent, seed {seed:#x}");
    let mut random = Random::new(seed);
    let mut site = Site::prepare()?;
    site.server.start()?;
    site.agent.start()?;
    let device = Device::start(site.agent.mqtt_address(), &["press-4"], Version::V5)?;
    let mut ids = Vec::new();
    for round in 1..=kills {
        let before = device.done().heard.len();
        for _ in 0..8 {
            ids.push(send(&site.server, if random.below(2) == 0 { "work" } else { "quick" }, 300)?);
        }
        let more = random.below(8) as usize;
        until("more commands", PATIENCE, || Ok((device.done().heard.len() >= before + more).then_some(())))
            .with_context(|| format!("round {round}"))?;
        site.agent.kill()?;
        site.agent.start()?;
    }
    for id in &ids {
        let status = ended(&site.server, id)?;
        ensure!(status == "SUCCEEDED", "{id} is {status}");
    }
    until("the device's last word", PATIENCE, || Ok((device.done().ends.len() >= ids.len()).then_some(())))?;
    let done = device.finish()?;
    ensure!(done.refused.is_empty(), "{:?}", done.refused);
    let more = done.heard.values().filter(|count| **count > 1).count();
    println!("{} heard, {more} of them more than once", done.heard.len());
    site.finish()
}
