//! `kill -9` of agent and server under load, over a network that loses, delays, doubles and reorders.

use std::time::{Duration, Instant};

use anyhow::Result;
use fieldline_tests::proxy::{AckToxics, Toxics};
use fieldline_tests::random::Random;
use fieldline_tests::{Oracle, Proxy, Site, machine};

const SEED: u64 = 0x5eed_f1e1_d11e_0001;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills_and_a_bad_network() -> Result<()> {
    let _machine = machine::alone();
    let kills = machine::size("FIELDLINE_KILLS", 20);
    let seed = machine::size("FIELDLINE_SEED", SEED);
    println!("{kills} kills of agent and server each, seed {seed:#x}");
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut site = Site::prepare()?;
    let uplink = Proxy::start(site.server.mqtt_address(), random.bits())?;
    let devices = Proxy::start(site.agent.mqtt_address(), random.bits())?;
    site.agent.set_uplink(Some(uplink.address()));
    site.agent.set("sync.ack_timeout", "\"500ms\"");
    site.server.start()?;
    site.agent.start()?;
    let oracle = Oracle::start(devices.address(), 8, 50.0)?;
    for round in 1..=kills {
        disturb(&uplink, &devices, &mut random);
        oracle.wait_for_more(random.below(60))?;
        site.agent.kill()?;
        site.agent.start()?;
        disturb(&uplink, &devices, &mut random);
        oracle.wait_for_more(random.below(60))?;
        site.server.kill()?;
        // Devices notice nothing of a dead server.
        oracle.wait_for_more(random.below(40))?;
        site.server.start()?;
        if round % 20 == 0 {
            println!(
                "{round} rounds, {} messages acknowledged, {:?}",
                oracle.acknowledged(),
                began.elapsed()
            );
        }
    }
    uplink.heal();
    devices.heal();
    let obligations = oracle.finish()?;
    println!("{} messages of 3 readings to account for, after {:?}", obligations.messages(), began.elapsed());
    obligations.check(&site)?;
    println!("all stored once, in {:?}", began.elapsed());
    site.finish()
}

/// A random fault on one of the two ways, or an end of all faults.
fn disturb(uplink: &Proxy, devices: &Proxy, random: &mut Random) {
    match random.below(8) {
        // Towards devices only whole connections fail. A PUBACK that is lost while a later one
        // arrives cannot happen over TCP, and would make a device send its older reading last.
        0 => devices.cut(),
        1 => devices.set(Toxics { latency: Duration::from_millis(random.below(10)), ..Toxics::default() }),
        _ => uplink.disturb(random),
    }
}

#[test]
fn acknowledgements_that_are_lost_doubled_and_reordered_change_nothing() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    let uplink = Proxy::start(site.server.mqtt_address(), 11)?;
    site.agent.set_uplink(Some(uplink.address()));
    site.agent.set("sync.ack_timeout", "\"300ms\"");
    site.server.start()?;
    site.agent.start()?;
    let acks = AckToxics { lose: 30, double: 30, delay: 30, reorder: 30 };
    uplink.set(Toxics { acks, ..Toxics::default() });
    let oracle = Oracle::start(site.agent.mqtt_address(), 4, 100.0)?;
    oracle.wait_for_more(800)?;
    uplink.heal();
    oracle.finish()?.check(&site)?;
    site.finish()
}

#[test]
fn a_half_open_uplink_is_noticed_and_replaced() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    let uplink = Proxy::start(site.server.mqtt_address(), 12)?;
    site.agent.set_uplink(Some(uplink.address()));
    site.agent.set("sync.keep_alive", "\"5s\"");
    site.server.start()?;
    site.agent.start()?;
    let oracle = Oracle::start(site.agent.mqtt_address(), 2, 50.0)?;
    oracle.wait_for_more(50)?;
    uplink.set(Toxics { blackhole: true, ..Toxics::default() });
    oracle.wait_for_more(300)?;
    uplink.heal();
    oracle.finish()?.check(&site)?;
    site.finish()
}
