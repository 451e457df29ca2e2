//! A full disk, and a full journal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fieldline_tests::clients::run;
use fieldline_tests::ledger::{of_agent, settle};
use fieldline_tests::publisher::publish;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Site, machine};
use serde_json::json;

/// A small file system in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None, and a printed line, where mounting is not permitted.
    fn mount(folder: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        match run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder)) {
            Ok(_) => Ok(Some(Self(folder.to_owned()))),
            Err(error) => {
                println!("skipped: no small disk can be mounted here: {error:#}");
                Ok(None)
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as the agent may not have ended when a test fails.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Posts reading `n`; true when it was acknowledged.
fn post(site: &Site, n: i64) -> Result<bool> {
    let body = json!({"n": n, "filler": "x".repeat(1_000), "ts": 1_767_225_600_000_i64 + n}).to_string();
    let answer = site.agent.http().post("/telemetry/full", "application/json", body.as_bytes())?;
    ensure!(
        answer.status < 300 || answer.status == 503 || answer.status == 507,
        "a full disk answers {answer:?}"
    );
    Ok(answer.status < 300)
}

#[test]
fn a_full_disk_refuses_and_recovers_within_a_second_of_space() -> Result<()> {
    let _machine = machine::alone();
    let mut site = Site::prepare()?;
    let folder = site.folder().join("small-disk");
    let Some(_disk) = SmallDisk::mount(&folder)? else { return site.finish() };
    site.agent.set_data(&folder.join("data"));
    site.agent.set("journal.segment_bytes", "\"1MiB\"");
    site.agent.set("http.commit_timeout", "\"300ms\"");
    site.agent.start()?;
    ensure!(post(&site, 0)?, "the first reading is refused");
    let ballast = folder.join("ballast");
    fill(&ballast)?;
    let mut acknowledged = vec![0];
    let mut refused = Vec::new();
    for n in 1..4_000 {
        if post(&site, n)? {
            acknowledged.push(n);
        } else {
            refused.push(n);
        }
        if refused.len() == 3 {
            break;
        }
    }
    ensure!(refused.len() == 3, "a full disk still takes readings after {}", acknowledged.len());
    std::fs::remove_file(&ballast)?;
    let began = Instant::now();
    let next = 5_000;
    until("a reading after space came back", PATIENCE, || Ok(post(&site, next)?.then_some(())))?;
    let took = began.elapsed();
    acknowledged.push(next);
    ensure!(took < Duration::from_secs(1), "it took {took:?} to recover");
    site.server.start()?;
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    let stored = site.server.http().series("full", "n")?;
    for n in &acknowledged {
        ensure!(stored.iter().any(|(_, value)| *value == json!(n)), "{n} was acknowledged and is not stored");
    }
    // What was refused may have got through after its answer; anything else is invented.
    ensure!(stored.len() <= acknowledged.len() + refused.len(), "more is stored than was posted");
    println!("{} acknowledged, then refused; recovered in {took:?}", acknowledged.len());
    site.finish()
}

/// Writes until nothing more goes in.
fn fill(file: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(file)?;
    for size in [64 * 1024, 4 * 1024] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    Ok(())
}

/// Messages of a hundred readings with random text, so that they take room.
fn bulk(messages: i64) -> Vec<(String, Bytes)> {
    let message = |number: i64| {
        let object = |n: i64| json!({"n": n, "filler": "y".repeat(900), "ts": 1_767_225_600_000_i64 + n});
        let list: Vec<_> = (0..100).map(|n| object(number * 100 + n)).collect();
        ("telemetry/bulk".to_owned(), Bytes::from(json!(list).to_string()))
    };
    (0..messages).map(message).collect()
}

#[test]
fn a_full_journal_drops_the_oldest_and_counts_them_exactly() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.agent.set("journal.bytes_max", "\"4MiB\"");
    site.agent.set("journal.segment_bytes", "\"512KiB\"");
    site.agent.start()?;
    publish(site.agent.mqtt_address(), "bulk", &bulk(100))?;
    let books = of_agent(site.agent.http())?;
    let dropped: u64 =
        books.lanes.iter().flat_map(|lane| lane.dropped.values()).map(|ranges| ranges.count()).sum();
    ensure!(dropped > 0 && books.balance() == 0, "10 MB in a journal of 4 MiB: {books:?}");
    site.server.start()?;
    let books = settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    let stored = site.server.http().series("bulk", "n")?;
    let fillers = site.server.http().series("bulk", "filler")?;
    let dropped: u64 =
        books.lanes.iter().flat_map(|lane| lane.dropped.values()).map(|ranges| ranges.count()).sum();
    let found = (stored.len() + fillers.len()) as u64;
    ensure!(found + dropped == 20_000, "{found} stored and {dropped} dropped of 20000");
    ensure!(stored.last().is_some_and(|(_, value)| *value == json!(9_999)), "the newest was dropped");
    site.finish()
}

#[test]
fn a_full_journal_that_refuses_holds_devices_back_and_loses_nothing() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    site.agent.set("journal.bytes_max", "\"2MiB\"");
    site.agent.set("journal.segment_bytes", "\"256KiB\"");
    site.agent.set("journal.policy", "\"refuse\"");
    site.agent.start()?;
    let address = site.agent.mqtt_address();
    let publisher = std::thread::spawn(move || publish(address, "bulk", &bulk(60)));
    until("a full journal", PATIENCE, || {
        let answer = site.agent.http().json("/status")?;
        let bytes = answer["journal_bytes"].as_u64().context("journal_bytes")?;
        Ok((bytes > 1 << 20).then_some(()))
    })?;
    ensure!(!publisher.is_finished(), "6 MB went into a journal of 2 MiB");
    site.server.start()?;
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    settle(site.agent.http(), site.server.http(), "gw-1", PATIENCE)?;
    let stored = site.server.http().series("bulk", "n")?;
    let expected: Vec<_> = (0..6_000).map(|n| (1_767_225_600_000_i64 + n, json!(n))).collect();
    ensure!(stored == expected, "{} of 6000 are stored", stored.len());
    site.finish()
}
