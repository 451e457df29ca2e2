//! InfluxDB 1.6 and VictoriaMetrics as Debian packages them: one process each, loopback only, in a
//! folder of the test. Neither tells anybody about itself.

mod victoria;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use victoria::VictoriaMetrics;

use crate::http::{Answer, Http, encode};
use crate::process::Process;
use crate::{ports, programs, wait};

/// How long a server may take to answer for the first time.
const START: Duration = Duration::from_secs(60);
/// The names of Debian's packages.
pub const PACKAGES: [&str; 2] = ["influxdb", "victoria-metrics"];

/// How to start InfluxDB.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Users have to prove who they are; the administrator is `admin`, with this password.
    pub password: Option<String>,
    /// The largest request in bytes; 25 MB if none.
    pub body_bytes_max: Option<u64>,
    /// How many series a database may have; a million if none.
    pub series_max: Option<u64>,
}

/// A running `influxd`. It ends when dropped.
#[derive(Debug)]
pub struct InfluxDb {
    address: SocketAddr,
    folder: PathBuf,
    authorization: Option<String>,
    process: Process,
}

/// The program of that name: on PATH, or unpacked by `cargo xtask test`. None, and a printed line, when
/// it is not there.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let unpacked = programs::target_folder().ok().map(|folder| folder.join("tools/usr/bin"));
    let found = std::env::split_paths(&path).chain(unpacked).map(|folder| folder.join(name));
    let found = found.into_iter().find(|program| program.is_file());
    if found.is_none() {
        let packages = PACKAGES.join(" ");
        println!("SKIPPED: {name} is not here; install with: apt-get install -y {packages}");
    }
    found
}

impl InfluxDb {
    /// Starts it in `folder`; `None`, and a printed line, when it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(folder: &Path, options: &Options) -> Result<Option<Self>> {
        let Some(program) = program("influxd") else { return Ok(None) };
        let folder = folder.join("influxdb");
        std::fs::create_dir_all(&folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        let settings = folder.join("influxdb.conf");
        std::fs::write(&settings, settings_text(&folder, address, ports::reserve()?, options))?;
        let mut command = Command::new(program);
        command.arg("run").arg("-config").arg(&settings).env("HOME", &folder);
        let process = Process::spawn("influxd", command, &folder.join("influxd.log"))?;
        let authorization = options.password.as_ref().map(|password| basic("admin", password));
        let mut server = Self { address, folder, authorization, process };
        server.wait_until_it_answers()?;
        if let Some(password) = &options.password {
            let statement = format!("CREATE USER admin WITH PASSWORD '{password}' WITH ALL PRIVILEGES");
            server.ask("", &statement)?;
        }
        Ok(Some(server))
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let http = Http::new(self.address);
        wait::until("an answer of influxd", START, || {
            ensure!(self.process.is_running()?, "it has ended: {}", self.process.log_tail());
            Ok((http.get("/ping")?.status == 204).then_some(()))
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a database.
    ///
    /// # Errors
    /// The server refuses.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.ask("", &format!("CREATE DATABASE \"{name}\"")).map(drop)
    }

    /// The answer to an InfluxQL statement, times in nanoseconds.
    ///
    /// # Errors
    /// The server refuses.
    pub fn ask(&self, database: &str, statement: &str) -> Result<Value> {
        let path = format!("/query?epoch=ns&db={}", encode(database));
        let body = format!("q={}", encode(statement));
        let answer = self.post(&path, "application/x-www-form-urlencoded", &body)?;
        ensure!(answer.status == 200, "{statement}: {}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body)?;
        let result = answer["results"].get(0).context("no result")?.clone();
        ensure!(result["error"].is_null(), "{statement}: {}", result["error"]);
        Ok(result)
    }

    /// The rows of the first series of an answer; empty when there is none.
    ///
    /// # Errors
    /// As [`InfluxDb::ask`].
    pub fn rows(&self, database: &str, statement: &str) -> Result<Vec<Value>> {
        let answer = self.ask(database, statement)?;
        Ok(answer["series"][0]["values"].as_array().cloned().unwrap_or_default())
    }

    /// Writes lines as another program would.
    ///
    /// # Errors
    /// The server refuses one.
    pub fn write(&self, database: &str, lines: &str) -> Result<()> {
        let answer = self.post(&format!("/write?db={}", encode(database)), "text/plain", lines)?;
        ensure!(answer.status == 204, "{lines}: {}", answer.body);
        Ok(())
    }

    /// Bytes that the points of a database take, once the server has compacted a shard to one file.
    ///
    /// # Errors
    /// That does not happen.
    pub fn compacted_bytes(&self, database: &str) -> Result<u64> {
        let shards = self.folder.join("data").join(database).join("autogen");
        let log = self.folder.join("wal").join(database);
        wait::until("compaction", wait::PATIENCE, || {
            let (files, bytes) = files_in(&shards, "tsm")?;
            let (_, waiting) = files_in(&log, "wal")?;
            Ok((files == 1 && waiting == 0).then_some(bytes))
        })
    }

    fn post(&self, path: &str, content_type: &str, body: &str) -> Result<Answer> {
        let headers: Vec<&str> = self.authorization.iter().map(String::as_str).collect();
        Http::new(self.address).post_with(path, content_type, &headers, body.as_bytes())
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let pair = format!("{user}:{password}");
    format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn settings_text(folder: &Path, http: SocketAddr, backup_port: u16, options: &Options) -> String {
    let folder = folder.display();
    let (body, series) =
        (options.body_bytes_max.unwrap_or(25_000_000), options.series_max.unwrap_or(1_000_000));
    format!(
        "reporting-disabled = true
bind-address = \"127.0.0.1:{backup_port}\"
[meta]
  dir = \"{folder}/meta\"
[data]
  dir = \"{folder}/data\"
  wal-dir = \"{folder}/wal\"
  query-log-enabled = false
  cache-snapshot-write-cold-duration = \"1s\"
  compact-full-write-cold-duration = \"1s\"
  max-series-per-database = {series}
[monitor]
  store-enabled = false
[http]
  bind-address = \"{http}\"
  log-enabled = false
  auth-enabled = {}
  max-body-size = {body}
",
        options.password.is_some()
    )
}

/// How many files of a kind lie below a folder, and their bytes.
fn files_in(folder: &Path, extension: &str) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let below = match path.extension().is_some_and(|found| found == extension) {
            true => (1, std::fs::metadata(&path)?.len()),
            false if path.is_dir() => files_in(&path, extension)?,
            false => (0, 0),
        };
        (files, bytes) = (files + below.0, bytes + below.1);
    }
    Ok((files, bytes))
}
