//! A site: one server, one agent, a folder, and ports that outlive a restart.

mod agent;
mod server;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

pub use agent::Agent;
pub use server::Server;

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(30);

/// A server and an agent that sends to it.
#[derive(Debug)]
pub struct Site {
    /// The gateway's daemon.
    pub agent: Agent,
    /// The on-premise server.
    pub server: Server,
    folder: TempDir,
    passed: bool,
}

impl Site {
    /// Starts both; the agent sends straight to the server.
    ///
    /// # Errors
    /// Either does not start.
    pub fn start() -> Result<Self> {
        let mut site = Self::prepare()?;
        site.server.start()?;
        site.agent.start()?;
        Ok(site)
    }

    /// Makes folders and chooses ports, and starts nothing.
    ///
    /// # Errors
    /// No folder, or no port.
    pub fn prepare() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::prepare(&folder.path().join("server"))?;
        let agent = Agent::prepare(&folder.path().join("agent"), Some(server.mqtt_address()))?;
        Ok(Self { agent, server, folder, passed: false })
    }

    /// The folder that everything lies in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops both, agent first, and expects both to end well.
    ///
    /// # Errors
    /// One does not stop, or not well.
    pub fn finish(mut self) -> Result<()> {
        self.agent.stop()?;
        self.server.stop()?;
        self.passed = true;
        Ok(())
    }
}

impl Drop for Site {
    /// A site that was not finished is a failed test: what the programs said is what one looks for.
    fn drop(&mut self) {
        if !self.passed {
            eprintln!("--- log of the agent\n{}", self.agent.log_tail());
            eprintln!("--- log of the server\n{}", self.server.log_tail());
        }
    }
}
