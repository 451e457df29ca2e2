//! Rules on a gateway, with the real programs: a relay that is switched with the line cut, rules that come from
//! afar, and `kill -9` while alarms come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fieldline_tests::ledger::settle;
use fieldline_tests::publisher::publish;
use fieldline_tests::random::Random;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Site, alarms, machine, relay};
use serde_json::{Value, json};

fn rules(site: &Site) -> Result<Value> {
    Ok(site.agent.http().json("/status")?["rules"].clone())
}

#[test]
fn a_relay_is_switched_with_the_line_cut_and_the_alarm_arrives_when_it_is_back() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.agent.set("rules", relay::HOT);
    site.agent.start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (took, first) = runtime.block_on(relay::switch(site.agent.mqtt_address(), 100))?;
    let [.., worst] = took.as_slice() else { anyhow::bail!("nothing was measured") };
    println!("from the reading to the command: median {:?}, worst {worst:?}", took[took.len() / 2]);
    ensure!(first == json!({ "delay_s": 5 }), "{first}");
    let shown = rules(&site)?;
    ensure!(shown["rules"][0]["name"] == "hot" && shown["undelivered"] == 0, "{shown}");

    site.server.start()?;
    until("the alarms' history", PATIENCE, || {
        Ok((alarms::history(&site.server, "press-4")?.len() == 200).then_some(()))
    })?;
    // Alarms go first; what was derived comes after them.
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    let alarms = site.server.http().json("/api/v1/alarms")?;
    ensure!(alarms["alarms"][0]["gateway"] == "gw-1", "{alarms}");
    let excess = site.server.http().series("press-4", "excess")?;
    let derived = |wanted: f64| excess.iter().filter(|(_, value)| *value == json!(wanted)).count();
    ensure!((derived(15.0), derived(-60.0)) == (100, 100), "{excess:?}");
    let metrics = site.agent.http().get("/metrics")?.body;
    ensure!(metrics.contains("fieldline_agent_rule_evaluations_total{rule=\"hot\"} 200"), "{metrics}");
    site.finish()
}

#[test]
fn rules_come_from_afar_and_one_that_is_wrong_changes_nothing() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.server.start()?;
    site.agent.start()?;
    let push = |when: &str| -> Result<()> {
        let document = json!({ "rules": [{ "name": "hot", "runs": "edge", "when": when }] }).to_string();
        let answer = site.server.http().put_bytes("/api/v1/things/gw-1/config", document.as_bytes())?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        Ok(())
    };
    let config = || Ok::<_, anyhow::Error>(site.agent.http().json("/status")?["remote"].clone());
    push("temperature > 80.0")?;
    until("rules in force", PATIENCE, || Ok((rules(&site)?["rules"][0]["name"] == "hot").then_some(())))?;
    let (address, start) = (site.agent.mqtt_address(), relay::now_ms()?);
    publish(address, "press-4", &[relay::reading("press-4", start, 85.0)])?;
    until("an alarm", PATIENCE, || Ok((alarms::history(&site.server, "press-4")?.len() == 1).then_some(())))?;

    push("temperature > > 1.0")?;
    let refused = until("a refusal", PATIENCE, || {
        let refused = config()?["refused"].clone();
        Ok((!refused.is_null()).then_some(refused))
    })?;
    ensure!(refused[1].as_str().is_some_and(|why| why.contains("rules: hot: when line 1")), "{refused}");
    ensure!(rules(&site)?["active"] == 1, "{}", rules(&site)?);

    // The limit moves, the alarm stays and returns in its time.
    push("temperature > 70.0")?;
    until("the other rule", PATIENCE, || {
        let now = config()?;
        Ok((now["refused"].is_null() || now["is_trial"] == true).then_some(()))
    })?;
    publish(address, "press-4", &[relay::reading("press-4", start + 1, 60.0)])?;
    until("its return", PATIENCE, || Ok((rules(&site)?["active"] == 0).then_some(())))?;
    site.finish()
}

#[test]
fn no_alarm_is_lost_or_doubled_by_kills() -> Result<()> {
    let _machine = machine::shared();
    let kills = machine::size("FIELDLINE_RULES_KILLS", 8);
    let seed = machine::size("FIELDLINE_SEED", 0x5eed_a1a2);
    println!("{kills} kills of the agent, seed {seed:#x}");
    let mut random = Random::new(seed);
    let mut site = Site::prepare()?;
    site.agent.set("rules", relay::HOT);
    site.server.start()?;
    site.agent.start()?;
    let count = 400 * kills as i64;
    let start = relay::now_ms()? - 1_000 * count;
    let mut hot = false;
    let values: Vec<(i64, f64)> = (0..count)
        .map(|index| {
            hot ^= random.below(5) == 0;
            (start + 1_000 * index, if hot { 81.0 + random.below(10) as f64 } else { 40.0 })
        })
        .collect();
    let messages: Vec<_> = values.iter().map(|(ms, value)| relay::reading("press-4", *ms, *value)).collect();
    let address = site.agent.mqtt_address();
    let press = std::thread::spawn(move || publish(address, "press-4", &messages));
    for round in 0..kills {
        std::thread::sleep(Duration::from_millis(100 + random.below(200)));
        site.agent.kill().with_context(|| format!("round {round}"))?;
        site.agent.start()?;
    }
    press.join().map_err(|_| anyhow::anyhow!("the press panicked"))??;

    let expected = alarms::transitions(&values)?;
    until("every line of the history", PATIENCE, || {
        Ok((alarms::history(&site.server, "press-4")?.len() >= expected.len()).then_some(()))
    })?;
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    let found = alarms::history(&site.server, "press-4")?;
    ensure!(found == expected, "{}", alarms::difference(&expected, &found));
    let excess: BTreeMap<i64, Value> = site.server.http().series("press-4", "excess")?.into_iter().collect();
    let made: BTreeMap<i64, Value> = values.iter().map(|(ms, value)| (*ms, json!(value - 80.0))).collect();
    println!("{count} readings, {} lines of history, {} derived", found.len(), excess.len());
    ensure!(excess == made, "what rules derived is not what was said");
    site.finish()
}
