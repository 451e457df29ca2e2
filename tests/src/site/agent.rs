//! `edge-agent --config agent.toml` in a folder of its own.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::STOP;
use crate::http::Http;
use crate::process::Process;
use crate::wait::PATIENCE;
use crate::{memory, ports, process, programs};

/// The agent of a site, running or not.
#[derive(Debug)]
pub struct Agent {
    folder: PathBuf,
    data: PathBuf,
    mqtt: SocketAddr,
    http: SocketAddr,
    uplink: Option<SocketAddr>,
    gateway: String,
    settings: Vec<(String, String)>,
    wrapper: Vec<String>,
    process: Option<Process>,
}

impl Agent {
    /// Chooses ports; `uplink` is the server's broker, or none to buffer only.
    ///
    /// # Errors
    /// No folder, or no port.
    pub fn prepare(folder: &Path, uplink: Option<SocketAddr>) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self {
            folder: folder.to_owned(),
            data: folder.join("data"),
            mqtt: loopback(ports::reserve()?),
            http: loopback(ports::reserve()?),
            uplink,
            gateway: "gw-1".to_owned(),
            // A test has no minute to spare for a pause.
            settings: vec![
                ("sync.backoff_min".to_owned(), "\"20ms\"".to_owned()),
                ("sync.backoff_max".to_owned(), "\"300ms\"".to_owned()),
                ("sync.ack_timeout".to_owned(), "\"2s\"".to_owned()),
                ("sync.books_every".to_owned(), "\"500ms\"".to_owned()),
            ],
            wrapper: Vec::new(),
            process: None,
        })
    }

    /// Sends to this address from the next start on; none buffers only.
    pub fn set_uplink(&mut self, uplink: Option<SocketAddr>) {
        self.uplink = uplink;
    }

    /// Another gateway id from the next start on.
    pub fn set_gateway(&mut self, id: &str) {
        id.clone_into(&mut self.gateway);
    }

    /// Another data folder from the next start on.
    pub fn set_data(&mut self, folder: &Path) {
        folder.clone_into(&mut self.data);
    }

    /// Sets a key such as `journal.policy` to a TOML value from the next start on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Runs it under another program, such as `strace`, from the next start on.
    pub fn set_wrapper(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Writes the configuration, starts, and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn start(&mut self) -> Result<()> {
        let process = self.launch()?;
        process.wait_for_line("ready", PATIENCE)?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts without waiting, for starts that are to fail.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn launch(&self) -> Result<Process> {
        let configuration = self.folder.join("agent.toml");
        std::fs::write(&configuration, self.configuration()?)?;
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([programs::agent()?.to_owned()]);
        let mut command = Command::new(words.next().context("there is a program")?);
        command.args(words).arg("--config").arg(configuration);
        Process::spawn("edge-agent", command, &self.log())
    }

    fn configuration(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "data = {:?}", self.data)?;
        writeln!(text, "gateway.id = {:?}", self.gateway)?;
        writeln!(text, "mqtt.listen = \"{}\"\nhttp.listen = \"{}\"", self.mqtt, self.http)?;
        if let Some(uplink) = self.uplink {
            writeln!(text, "sync.server = \"mqtt://{uplink}\"")?;
        }
        for (key, value) in &self.settings {
            writeln!(text, "{key} = {value}")?;
        }
        Ok(text)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the agent does not run")?.kill()
    }

    /// Stops it in order, if it runs.
    ///
    /// # Errors
    /// It does not stop, or not well.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let wrapped = (!self.wrapper.is_empty()).then(|| process.child_id()).transpose()?;
            let status = process.terminate(wrapped, STOP)?;
            ensure!(status.success(), "the agent ended with {status}:\n{}", process.log_tail());
        }
        Ok(())
    }

    /// The running process.
    ///
    /// # Errors
    /// It does not run.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the agent does not run")
    }

    /// The most memory that it has taken since it started, in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub fn memory_bytes_max(&self) -> Result<u64> {
        memory::status_bytes(self.process()?.id(), "VmHWM")
    }

    /// The same without the pages of its own program file, which are many in a debug build, say nothing of what it
    /// holds, and are the first that the system takes back.
    ///
    /// # Errors
    /// It does not run.
    pub fn held_bytes_max(&self) -> Result<u64> {
        let program = memory::status_bytes(self.process()?.id(), "RssFile")?;
        Ok(self.memory_bytes_max()?.saturating_sub(program))
    }

    /// Where devices publish.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.mqtt
    }

    /// Where devices post, and what shows status and metrics.
    pub fn http(&self) -> Http {
        Http::new(self.http)
    }

    /// The listener behind [`Agent::http`].
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where its standard error goes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    /// The end of its standard error.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log())
    }
}
