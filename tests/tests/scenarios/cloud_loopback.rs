//! The whole chain in a network that has nothing but loopback: what wants to leave it is seen.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fieldline_tests::clients::{have, run};
use fieldline_tests::{localstack, machine, moto, programs};

/// What runs there: the chain from a publish to an emptied journal, on moto and on LocalStack.
const CHAIN: &str = "cloud_chain::a_reading_travels_through_the_cloud_and_its_journal_is_emptied";
const CHAIN_ON_LOCALSTACK: &str = "cloud_chain::a_reading_travels_through_localstack_to_s3";

/// A shell in a network of its own, where only loopback is up.
fn alone_with_loopback() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    command
}

#[test]
fn no_call_leaves_loopback() -> Result<()> {
    stays_on_loopback(CHAIN)
}

#[test]
fn no_call_leaves_loopback_with_localstack() -> Result<()> {
    if localstack::environment().is_none() {
        return Ok(());
    }
    stays_on_loopback(CHAIN_ON_LOCALSTACK)
}

fn stays_on_loopback(chain: &str) -> Result<()> {
    let _machine = machine::alone();
    let tools = ["unshare", "ip", "strace"].into_iter().all(have);
    if !tools || moto::environment().is_none() {
        return Ok(());
    }
    if let Err(error) = run(alone_with_loopback().args(["strace", "-o", "/dev/null", "true"])) {
        println!("skipped: no network namespace with a trace here: {error:#}");
        return Ok(());
    }
    programs::agent()?;
    let folder = programs::function("ingest")?.parent().context("a program lies in a folder")?.to_owned();
    let scratch = tempfile::tempdir()?;
    let trace = scratch.path().join("trace.txt");
    let mut command = alone_with_loopback();
    command.args(["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-e", "signal=none", "-o"]);
    command.arg(&trace).arg(std::env::current_exe()?).args(["--exact", chain, "--nocapture"]);
    command.env("FIELDLINE_PROGRAMS", folder);
    let said = run(&mut command)?;
    ensure!(said.contains("1 passed"), "the chain has not run: {said}");
    let (calls, strangers) = strangers(&trace)?;
    println!("{calls} connections and datagrams, {} beyond loopback", strangers.len());
    ensure!(strangers.is_empty(), "beyond loopback:\n{}", strangers.join("\n"));
    ensure!(calls > 20, "the trace holds {calls} calls, which is not the chain");
    Ok(())
}

/// How many calls name an address of the internet's protocols, and those that are not loopback's.
fn strangers(trace: &Path) -> Result<(usize, Vec<String>)> {
    let text = std::fs::read_to_string(trace).context("no trace")?;
    let calls: Vec<&str> = text.lines().filter(|line| line.contains("sa_family=AF_INET")).collect();
    let strangers = calls.iter().filter(|line| !is_loopback(line)).map(|line| (*line).to_owned());
    Ok((calls.len(), strangers.collect()))
}

fn is_loopback(line: &str) -> bool {
    let loopback = ["inet_addr(\"127.", "inet_pton(AF_INET6, \"::1\"", "inet_pton(AF_INET6, \"::ffff:127."];
    loopback.iter().any(|address| line.contains(address))
}

#[test]
fn the_check_sees_an_address_beyond_loopback() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let lines = [
        "12 connect(5, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}, 16) = 0",
        "12 connect(5, {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, \"::1\", &sin6_addr)}, 28) = 0",
        "12 connect(5, {sa_family=AF_UNIX, sun_path=\"/var/run/nscd/socket\"}, 110) = -1",
        "12 connect(5, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"10.0.0.2\")}, 16) = 0",
        "12 sendto(5, \"x\", 1, 0, {sa_family=AF_INET6, inet_pton(AF_INET6, \"2001:db8::1\", &sin6_addr)}, 28) = 1",
    ];
    std::fs::write(file.path(), lines.join("\n"))?;
    let (calls, strangers) = strangers(file.path())?;
    ensure!(calls == 4 && strangers == lines[3..], "{calls} {strangers:?}");
    Ok(())
}
