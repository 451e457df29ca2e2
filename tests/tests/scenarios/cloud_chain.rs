//! The whole chain through the functions' binaries, on a good day and on a bad one.

use std::time::Instant;

use anyhow::{Result, ensure};
use fieldline_tests::cloud::{Ending, Faults, Odds, Services, Stack, StoreKind};
use fieldline_tests::oracle::fresh_reading_passes;
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Oracle, Proxy, ledger, machine};

#[test]
fn a_reading_travels_through_the_cloud_and_its_journal_is_emptied() -> Result<()> {
    travels(Services::Moto, StoreKind::Timestream)
}

#[test]
fn a_reading_travels_through_the_cloud_to_influxdb() -> Result<()> {
    travels(Services::Moto, StoreKind::InfluxDb)
}

#[test]
fn a_reading_travels_through_the_cloud_to_s3() -> Result<()> {
    travels(Services::Moto, StoreKind::S3)
}

#[test]
fn a_reading_travels_through_localstack_to_s3() -> Result<()> {
    travels(Services::LocalStack, StoreKind::S3)
}

fn travels(services: Services, store: StoreKind) -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(mut stack) = Stack::start_on(services, folder.path(), store, Ok)? else { return Ok(()) };
    stack.show(&["fresh"])?;
    fresh_reading_passes(stack.agent.http(), stack.server.http())?;
    until("the reading in the device's shadow", PATIENCE, || {
        let reported = stack.reported("fresh", "telemetry")?;
        Ok(reported.filter(|reported| reported["alive"]["value"] == true))
    })?;
    let books = ledger::settle(stack.agent.http(), stack.server.http(), "gw-1", PATIENCE)?;
    ensure!(books.accepted == 1, "{books:?}");
    ensure!(stack.queue.depth()? == 0 && stack.dead.depth()? == 0, "nothing is left in the queues");
    stack.finish()
}

#[test]
fn kills_and_failing_services_lose_and_double_nothing_in_the_cloud() -> Result<()> {
    bad_day(Services::Moto, StoreKind::Timestream)
}

#[test]
fn kills_and_failing_services_lose_and_double_nothing_in_influxdb() -> Result<()> {
    bad_day(Services::Moto, StoreKind::InfluxDb)
}

#[test]
fn kills_failing_services_and_compactions_lose_and_double_nothing_in_s3() -> Result<()> {
    bad_day(Services::Moto, StoreKind::S3)
}

#[test]
fn kills_failing_services_and_compactions_lose_and_double_nothing_on_localstack() -> Result<()> {
    bad_day(Services::LocalStack, StoreKind::S3)
}

fn bad_day(services: Services, store: StoreKind) -> Result<()> {
    let _machine = machine::alone();
    let kills = machine::size("FIELDLINE_CLOUD_KILLS", 15);
    let folder = tempfile::tempdir()?;
    let mut proxies: Vec<Faults> = Vec::new();
    let stack = Stack::start_on(services, folder.path(), store, |service| {
        let proxy = Faults::start(service, 21 + proxies.len() as u64)?;
        let address = proxy.address();
        proxies.push(proxy);
        Ok(address)
    })?;
    let Some(mut stack) = stack else { return Ok(()) };
    stack.deliver_unruly(23);
    let uplink = Proxy::start(stack.server.mqtt_address(), 24)?;
    stack.agent.kill()?;
    stack.agent.set_uplink(Some(uplink.address()));
    stack.agent.set("sync.ack_timeout", "\"2s\"");
    stack.agent.start()?;
    let (began, mut random) = (Instant::now(), Random::new(22));
    let oracle = Oracle::start(stack.agent.mqtt_address(), 4, 25.0)?;
    let mut compacted = 0;
    for kill in 0..kills {
        let odds = Odds { throttle: random.below(20), fail: random.below(20), lose: random.below(20) };
        proxies.iter().for_each(|proxy| proxy.set(odds));
        uplink.disturb(&mut random);
        oracle.wait_for_more(20 + random.below(40))?;
        if store == StoreKind::S3 {
            // The bad day is its own, too: what it does not finish it does another time.
            let ending = stack.host.invoke("compact", "{}".to_owned())?;
            compacted += u64::from(matches!(ending, Ending::Answer(_)));
        }
        if kill == kills / 3 {
            uplink.heal();
            // Nothing gets through at all; then everything does, and nobody hears of it.
            outage(&stack, &proxies, Odds { fail: 100, ..Odds::default() })?;
            outage(&stack, &proxies, Odds { lose: 100, ..Odds::default() })?;
        }
        match random.below(4) {
            0 => stack.host.kill("storage"),
            1 => stack.host.kill("ingest"),
            2 => {
                stack.server.kill()?;
                stack.server.start()?;
            }
            _ => {
                stack.agent.kill()?;
                stack.agent.start()?;
            }
        }
    }
    proxies.iter().for_each(|proxy| proxy.set(Odds::default()));
    uplink.heal();
    let obligations = oracle.finish()?;
    let struck: u64 = proxies.iter().map(Faults::struck).sum();
    println!("{} messages, {struck} faults, {kills} kills", obligations.messages());
    obligations.check_at(stack.agent.http(), stack.server.http())?;
    let (batches, returned) = stack.counts();
    println!("{batches} batches, {returned} messages came back, all stored once in {:?}", began.elapsed());
    ensure!(struck > 0, "no fault has struck");
    ensure!(stack.dead.depth()? == 0, "there are dead letters");
    ensure!(store != StoreKind::S3 || compacted > 0, "nothing was compacted");
    stack.finish()
}

/// Lasts until two dozen more calls have met it.
fn outage(stack: &Stack, proxies: &[Faults], odds: Odds) -> Result<()> {
    let struck = || proxies.iter().map(Faults::struck).sum::<u64>();
    let enough = struck() + 24;
    proxies.iter().for_each(|proxy| proxy.set(odds));
    until("an outage that is felt", PATIENCE, || Ok((struck() >= enough).then_some(())))?;
    ensure!(stack.dead.depth()? == 0, "there are dead letters");
    Ok(())
}
