//! Starts and connections that cannot work: each says in one line what, where, and what to do.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use fieldline_tests::process::Process;
use fieldline_tests::{Oracle, Site, machine, programs};

/// Expects a start to fail soon, and gives what was said on standard error.
fn fails(mut process: Process) -> Result<String> {
    let status = process.wait(Duration::from_secs(20))?;
    ensure!(!status.success(), "it ended as if all were well:\n{}", process.log_tail());
    Ok(process.log_tail())
}

fn expect(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "\"{word}\" is not in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn unknown_configuration_keys_are_named_with_file_line_and_nearest_key() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let agent = folder.path().join("agent.toml");
    std::fs::write(&agent, "[gateway]\nid = \"gw-1\"\n[journal]\nbyte_max = \"1GiB\"\n")?;
    let mut command = Command::new(programs::agent()?);
    command.args(["check", "--config"]).arg(&agent);
    let said = fails(Process::spawn("check", command, &folder.path().join("agent.log"))?)?;
    expect(&said, &["agent.toml", "line 4", "byte_max", "bytes_max"]);
    let server = folder.path().join("fieldline.toml");
    std::fs::write(&server, "[http]\nlissten = \"127.0.0.1:0\"\n")?;
    let mut command = Command::new(programs::server()?);
    command.args(["serve", "--config"]).arg(&server);
    let said = fails(Process::spawn("serve", command, &folder.path().join("server.log"))?)?;
    expect(&said, &["fieldline.toml", "line 2", "lissten", "listen"]);
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    let taken = std::net::TcpListener::bind(site.agent.mqtt_address())?;
    expect(&fails(site.agent.launch()?)?, &[&taken.local_addr()?.to_string(), "in use"]);
    drop(taken);
    let taken = std::net::TcpListener::bind(site.server.http_address())?;
    expect(&fails(site.server.launch()?)?, &[&taken.local_addr()?.to_string(), "in use"]);
    drop(taken);
    site.server.start()?;
    site.agent.start()?;
    site.finish()
}

#[test]
fn an_address_beyond_loopback_needs_an_identity() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    let mut command = Command::new(programs::server()?);
    command.args(["serve", "--mqtt", "0.0.0.0:0", "--data"]).arg(site.server.data());
    let said = fails(Process::spawn("serve", command, &site.server.log())?)?;
    expect(&said, &["0.0.0.0", "127.0.0.1"]);
    site.agent.set("mqtt.tls", "{ certificate = \"a\", key = \"b\", client_ca = \"c\" }");
    expect(&fails(site.agent.launch()?)?, &["cannot read a:"]);
    site.finish()
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::prepare()?;
    // A file where a folder should be stops root as well, which no permission does.
    let file = site.folder().join("a-file");
    std::fs::write(&file, "in the way")?;
    let data = file.join("data");
    let path = file.to_string_lossy().into_owned();
    site.agent.set_data(&data);
    expect(&fails(site.agent.launch()?)?, &[&path]);
    site.server.set_data(&data);
    expect(&fails(site.server.launch()?)?, &[&path]);
    site.finish()
}

#[test]
fn two_agents_on_one_journal_and_two_servers_on_one_store_are_refused() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    let mut second = Site::prepare()?;
    second.agent.set_data(site.agent.data());
    expect(&fails(second.agent.launch()?)?, &[&site.agent.data().to_string_lossy()]);
    second.server.set_data(site.server.data());
    expect(&fails(second.server.launch()?)?, &[&site.server.data().to_string_lossy()]);
    fieldline_tests::oracle::fresh_reading_passes(site.agent.http(), site.server.http())?;
    second.finish()?;
    site.finish()
}

#[test]
fn data_of_a_newer_version_is_refused_and_left_alone() -> Result<()> {
    let _machine = machine::shared();
    let mut site = Site::start()?;
    fieldline_tests::oracle::fresh_reading_passes(site.agent.http(), site.server.http())?;
    site.agent.stop()?;
    site.server.stop()?;
    let mut databases = Vec::new();
    find_databases(site.server.data(), &mut databases)?;
    assert!(!databases.is_empty(), "the server has kept no database in {}", site.server.data().display());
    for database in databases {
        raise_user_version(&database)?;
    }
    expect(
        &fails(site.server.launch()?)?,
        &["schema version 9999", "upgrade", &site.server.data().to_string_lossy()],
    );
    site.finish()
}

/// Files that begin as an SQLite database does.
fn find_databases(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_databases(&path, found)?;
        } else if std::fs::read(&path)?.starts_with(b"SQLite format 3\0") {
            found.push(path);
        }
    }
    Ok(())
}

/// `PRAGMA user_version`, where the file format puts it: four bytes at offset 60.
fn raise_user_version(database: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().write(true).open(database)?;
    file.write_all_at(&9_999_u32.to_be_bytes(), 60)?;
    Ok(())
}

#[test]
fn two_agents_with_one_client_id_back_off_and_lose_nothing() -> Result<()> {
    let _machine = machine::shared();
    let site = Site::start()?;
    let mut twin = Site::prepare()?;
    twin.agent.set_uplink(Some(site.server.mqtt_address()));
    twin.agent.start()?;
    let oracle = Oracle::start(site.agent.mqtt_address(), 2, 20.0)?;
    oracle.wait_for_more(100)?;
    let posted = twin.agent.http().post("/telemetry/twin/n", "text/plain", b"1")?;
    ensure!((200..300).contains(&posted.status), "{posted:?}");
    oracle.wait_for_more(100)?;
    let obligations = oracle.finish()?;
    fieldline_tests::wait::until("the twin's reading", Duration::from_secs(60), || {
        Ok((site.server.http().series("twin", "n")?.len() == 1).then_some(()))
    })?;
    let connections = std::fs::read_to_string(site.server.log())?.matches("taken").count();
    println!("the server speaks {connections} times of a take-over");
    twin.finish()?;
    obligations.check(&site)?;
    site.finish()
}
