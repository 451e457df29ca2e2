use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{START, program};
use crate::http::{Http, encode};
use crate::process::Process;
use crate::{ports, wait};

/// A running `victoria-metrics`. It ends when dropped.
#[derive(Debug)]
pub struct VictoriaMetrics {
    address: SocketAddr,
    _process: Process,
}

impl VictoriaMetrics {
    /// Starts it in `folder`, with a retention of a hundred years; `None`, and a printed line, when it
    /// is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(program) = program("victoria-metrics") else { return Ok(None) };
        let folder = folder.join("victoria-metrics");
        std::fs::create_dir_all(&folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        let mut command = Command::new(program);
        command.arg(format!("-httpListenAddr={address}"));
        command.arg(format!("-storageDataPath={}", folder.join("data").display()));
        command.args(["-retentionPeriod=100y", "-memory.allowedBytes=256MB"]);
        let mut process = Process::spawn("victoria-metrics", command, &folder.join("log"))?;
        let http = Http::new(address);
        wait::until("an answer of victoria-metrics", START, || {
            ensure!(process.is_running()?, "it has ended: {}", process.log_tail());
            Ok((http.get("/health")?.status == 200).then_some(()))
        })?;
        Ok(Some(Self { address, _process: process }))
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The series that a selector matches, as `/api/v1/export` gives them: `metric`, `values`,
    /// `timestamps`.
    ///
    /// # Errors
    /// The server refuses.
    pub fn export(&self, selector: &str) -> Result<Vec<Value>> {
        let http = Http::new(self.address);
        // What was written a moment ago becomes visible.
        ensure!(http.get("/internal/force_flush")?.status == 200, "it does not flush");
        let answer = http.get(&format!("/api/v1/export?start=0&match[]={}", encode(selector)))?;
        ensure!(answer.status == 200, "{selector}: {}", answer.body);
        answer.body.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}
