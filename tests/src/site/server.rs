//! `fieldline serve` in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::STOP;
use crate::authority::Authority;
use crate::http::Http;
use crate::process::Process;
use crate::wait::{PATIENCE, until};
use crate::{ports, process, programs};

/// The server of a site, running or not.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    data: PathBuf,
    mqtt: SocketAddr,
    http: SocketAddr,
    mqtts: Option<SocketAddr>,
    settings: String,
    functions: Option<SocketAddr>,
    wrapper: Vec<String>,
    process: Option<Process>,
}

impl Server {
    /// Chooses ports.
    ///
    /// # Errors
    /// No folder, or no port.
    pub fn prepare(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (mqtt, http) = (loopback(ports::reserve()?), loopback(ports::reserve()?));
        Ok(Self {
            folder: folder.to_owned(),
            data: folder.join("data"),
            mqtt,
            http,
            mqtts: None,
            settings: String::new(),
            functions: None,
            wrapper: Vec::new(),
            process: None,
        })
    }

    /// Another data folder from the next start on.
    pub fn set_data(&mut self, folder: &Path) {
        folder.clone_into(&mut self.data);
    }

    /// From the next start on the functions run there, by Lambda's API.
    pub fn set_functions(&mut self, address: SocketAddr) {
        self.functions = Some(address);
    }

    /// Starts it with so many file descriptors from the next start on, which it may raise to the hard limit.
    pub fn limit_descriptors(&mut self, count: u64) {
        let line = format!("ulimit -S -n {count} && exec \"$0\" \"$@\"");
        self.wrapper = ["sh".to_owned(), "-c".to_owned(), line].to_vec();
    }

    /// From the next start on there is a listener with mutual TLS too, for clients with a certificate of
    /// this authority. The server is `localhost`.
    ///
    /// # Errors
    /// No port, no certificate, or no folder.
    pub fn secure(&mut self, authority: &Authority) -> Result<()> {
        let listen = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        authority.issue(&["localhost", "127.0.0.1"])?.write(&self.folder, "server")?;
        std::fs::write(self.folder.join("ca.pem"), authority.pem())?;
        let file = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let (certificate, key, client_ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
        let settings = format!(
            "[mqtt.tls]\nlisten = {listen:?}\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca = {client_ca:?}\n",
            listen = listen.to_string(),
        );
        self.configure(&settings)?;
        self.mqtts = Some(listen);
        Ok(())
    }

    /// From the next start on this stands in its configuration too.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&mut self, settings: &str) -> Result<()> {
        self.settings.push_str(settings);
        Ok(std::fs::write(self.folder.join("fieldline.toml"), &self.settings)?)
    }

    /// Starts, and waits until it answers.
    ///
    /// # Errors
    /// It does not answer.
    pub fn start(&mut self) -> Result<()> {
        let mut process = self.launch()?;
        let (http, mqtt) = (self.http(), self.mqtt);
        let running = until("an answer of the server", PATIENCE, || {
            if !process.is_running()? {
                return Ok(Some(false));
            }
            drop(std::net::TcpStream::connect(mqtt)?);
            Ok((http.get("/healthz")?.status == 200).then_some(true))
        })?;
        ensure!(running, "the server has ended:\n{}", process.log_tail());
        self.process = Some(process);
        Ok(())
    }

    /// Starts without waiting, for starts that are to fail.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn launch(&self) -> Result<Process> {
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([programs::server()?.to_owned()]);
        let mut command = Command::new(words.next().context("no program")?);
        command.args(words).arg("serve").arg("--data").arg(&self.data);
        command.args(["--mqtt", &self.mqtt.to_string(), "--http", &self.http.to_string()]);
        if !self.settings.is_empty() {
            command.arg("--config").arg(self.folder.join("fieldline.toml"));
        }
        if let Some(functions) = self.functions {
            command.args(["--functions", &format!("http://{functions}")]);
        }
        Process::spawn("fieldline serve", command, &self.log())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the server does not run")?.kill()
    }

    /// Stops it in order, if it runs.
    ///
    /// # Errors
    /// It does not stop, or not well.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = process.terminate(None, STOP)?;
            ensure!(status.success(), "the server ended with {status}:\n{}", process.log_tail());
        }
        Ok(())
    }

    /// The running process.
    ///
    /// # Errors
    /// It does not run.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the server does not run")
    }

    /// Runs another `fieldline` command against it, such as `query`, and gives what it printed.
    ///
    /// # Errors
    /// The command fails.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(programs::server()?)
            .args(arguments)
            .args(["--server", &format!("http://{}", self.http)])
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fieldline {arguments:?} ended with {}: {errors}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Its broker.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.mqtt
    }

    /// Its broker with mutual TLS.
    ///
    /// # Errors
    /// It has none: see [`Server::secure`].
    pub fn mqtts_address(&self) -> Result<SocketAddr> {
        self.mqtts.context("the server has no listener with TLS")
    }

    /// Its HTTP API.
    pub fn http(&self) -> Http {
        Http::new(self.http)
    }

    /// The listener behind [`Server::http`].
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where its standard error goes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The end of its standard error.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log())
    }
}
