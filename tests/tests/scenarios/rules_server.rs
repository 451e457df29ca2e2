//! Rules on the server, with the real programs: a backlog that wakes nobody for what is over, and `kill -9` while
//! alarms come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fieldline_tests::ledger::settle;
use fieldline_tests::publisher::publish;
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::webhook::Webhook;
use fieldline_tests::{Site, alarms, machine, relay};

const MINUTE: i64 = 60_000;

/// A site whose server tells the receiver of everything that becomes hot, and of its end.
fn site(receiver: &Webhook) -> Result<Site> {
    let mut site = Site::prepare()?;
    site.server.configure(&format!(
        "[targets.ops]\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\nper_hour = 100000\nburst = 100000\n",
        receiver.url()
    ))?;
    let folder = site.server.data().join("server").join("rules");
    std::fs::create_dir_all(&folder)?;
    let rule = "[[rules]]\nname = \"hot\"\nwhen = \"temperature > 80.0\"\n\
                then = [{ notify = { target = \"ops\", message = \"{{device}} is hot\" } }]\n";
    std::fs::write(folder.join("hot.toml"), rule)?;
    Ok(site)
}

#[test]
fn a_backlog_of_two_hours_tells_nobody_of_what_is_over_and_once_of_what_lasts() -> Result<()> {
    let _machine = machine::shared();
    let receiver = Webhook::start()?;
    let mut site = site(&receiver)?;
    site.agent.start()?;
    let (address, now) = (site.agent.mqtt_address(), relay::now_ms()?);
    // Two hours without the server: one press was hot three times for ten minutes, the other is since an hour.
    let minutes = |device: &str, hot: &dyn Fn(i64) -> bool| -> Vec<_> {
        let each =
            (0..120).map(|minute| (now - (120 - minute) * MINUTE, if hot(minute) { 95.0 } else { 20.0 }));
        each.map(|(ms, value)| relay::reading(device, ms, value)).collect()
    };
    publish(address, "press-1", &minutes("press-1", &|minute| (20..30).contains(&(minute % 40))))?;
    publish(address, "press-2", &minutes("press-2", &|minute| minute >= 60))?;
    site.server.start()?;
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    until("the one notification", PATIENCE, || Ok((!receiver.told().is_empty()).then_some(())))?;
    // What happens now is told after all that could be told of the past.
    publish(address, "press-3", &[relay::reading("press-3", relay::now_ms()?, 99.0)])?;
    let told = until("what happens now", PATIENCE, || {
        let marks = receiver.by_mark();
        Ok(marks.contains_key("live").then_some(marks))
    })?;
    let said: Vec<_> = receiver
        .told()
        .iter()
        .map(|told| format!("{} {} {}", told.mark, told.body["subject"], told.body["data"]["event"]))
        .collect();
    ensure!(told == BTreeMap::from([("late".to_owned(), 1), ("live".to_owned(), 1)]), "{said:#?}");
    let of_press_2 =
        receiver.told().iter().any(|told| told.mark == "late" && told.body["subject"] == "press-2/hot");
    ensure!(of_press_2, "{:?}", receiver.told());
    ensure!(alarms::history(&site.server, "press-1")?.len() == 6, "three excursions, raised and returned");
    // The end of what was told is told.
    publish(address, "press-2", &[relay::reading("press-2", relay::now_ms()?, 20.0)])?;
    until("its end", PATIENCE, || Ok((receiver.told().len() == 3).then_some(())))?;
    site.finish()
}

#[test]
fn no_notification_is_lost_and_none_comes_under_two_names_by_kills() -> Result<()> {
    let _machine = machine::shared();
    let kills = machine::size("FIELDLINE_RULES_KILLS", 8);
    let seed = machine::size("FIELDLINE_SEED", 0x5eed_b0b0);
    println!("{kills} kills of the server, seed {seed:#x}");
    let mut random = Random::new(seed);
    let receiver = Webhook::start()?;
    let mut site = site(&receiver)?;
    // All is live, and comes in its order: what backlog gives beside live readings is another test.
    site.agent.set("sync.live_lag_max", "\"1h\"");
    site.server.start()?;
    site.agent.start()?;
    let (address, start) = (site.agent.mqtt_address(), relay::now_ms()?);
    let (mut values, mut hot) = (Vec::new(), false);
    for round in 0..kills {
        let messages: Vec<_> = (0..60)
            .map(|_| {
                hot ^= random.below(4) == 0;
                let said = (start + values.len() as i64, if hot { 81.0 } else { 40.0 });
                values.push(said);
                relay::reading("press-4", said.0, said.1)
            })
            .collect();
        publish(address, "press-4", &messages)?;
        std::thread::sleep(Duration::from_millis(random.below(60)));
        site.server.kill().with_context(|| format!("round {round}"))?;
        site.server.start()?;
    }
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    let expected = alarms::transitions(&values)?;
    let found = alarms::history(&site.server, "press-4")?;
    ensure!(found == expected, "{}", alarms::difference(&expected, &found));

    // Told is what was still news when it came: a raise or a return, each under one name.
    let names = || -> BTreeMap<String, usize> {
        let mut names = BTreeMap::new();
        for told in receiver.told().into_iter().filter(|told| told.accepted) {
            let event = &told.body["data"]["event"];
            let name = format!("{} {} {}", event["at"], event["transition"], told.mark);
            *names.entry(format!("{name} {}", told.id)).or_default() += 1;
        }
        names
    };
    until("every notification", PATIENCE, || Ok((names().len() >= expected.len()).then_some(())))?;
    let names = names();
    ensure!(names.len() == expected.len(), "{} told of {}: {names:#?}", names.len(), expected.len());
    let again = names.values().filter(|count| **count > 1).count();
    println!("{} readings, {} notifications, {again} of them more than once", values.len(), names.len());
    site.finish()
}
