//! What our use of LocalStack leans on; the chain on it stands in `cloud_chain`.

use std::path::Path;

use anyhow::{Result, ensure};
use fieldline_tests::http::Http;
use fieldline_tests::{localstack, machine};

#[test]
fn an_object_that_is_there_is_not_written_again() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(services) = localstack::start(folder.path())? else { return Ok(()) };
    services.create_bucket("readings")?;
    let http = Http::new(services.address());
    let put = |text: &str| http.put_with("/readings/block", &["If-None-Match: *"], text.as_bytes());
    ensure!(put("first")?.status == 200);
    let again = put("second")?;
    ensure!(again.status == 412, "{} {}", again.status, again.body);
    ensure!(http.get("/readings/block")?.body == "first");
    Ok(())
}

#[test]
fn nothing_of_localstack_is_left_when_it_is_dropped() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(services) = localstack::start(folder.path())? else { return Ok(()) };
    services.create_bucket("readings")?;
    services.create_fifo("blocks", 5)?;
    ensure!(folder.path().join("localstack/var/lib/localstack").is_dir(), "its files are elsewhere");
    let running = processes_that_know(folder.path())?;
    ensure!(running.len() == 1, "{running:?}");
    drop(services);
    let left = processes_that_know(folder.path())?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// The processes that have inherited a variable which names this folder.
fn processes_that_know(folder: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile, or be another user's.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        if String::from_utf8_lossy(&environment).contains(&*folder.to_string_lossy()) {
            found.push(id);
        }
    }
    Ok(found)
}
