//! LocalStack without a licence: SNS, SQS, S3 and Secrets Manager; DynamoDB only where it may download.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::emulator::Emulator;
use crate::process::Process;
use crate::{moto, ports, programs};

const ACCOUNT: &str = "000000000000";

/// Starts it; `None`, and a printed line, when it is not installed.
///
/// # Errors
/// It does not start.
pub fn start(folder: &Path) -> Result<Option<Emulator>> {
    let Some(environment) = environment() else { return Ok(None) };
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(moto::script("localstack_on_loopback.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("GATEWAY_LISTEN", address.to_string()).env("LOCALSTACK_HOST", address.to_string());
    command.envs([
        // Queues have URLs that need no DNS.
        ("SQS_ENDPOINT_STRATEGY", "path"),
        // It asks nobody beyond this machine, and reports to nobody: no name server of its own, which
        // would look for one behind it, and port 9 in the place of its makers.
        ("DNS_ADDRESS", "0"),
        ("DISABLE_EVENTS", "1"),
        ("SKIP_SSL_CERT_DOWNLOAD", "1"),
        ("API_ENDPOINT", "http://127.0.0.1:9"),
        // Where it takes its surroundings for a container it pings Docker's bridges, leaves its files in
        // /var/lib/localstack and empties /tmp/localstack, which may be another one's.
        ("OVERRIDE_IN_DOCKER", "0"),
    ]);
    command.env("FILESYSTEM_ROOT", folder.join("localstack"));
    let process = Process::spawn("localstack", command, &folder.join("localstack.log"))?;
    Emulator::of(process, address, ACCOUNT, "/_localstack/health").map(Some)
}

/// The folder of the Python environment with LocalStack; none, and a printed line, when it is not there.
pub fn environment() -> Option<PathBuf> {
    let folder = std::env::var_os("FIELDLINE_LOCALSTACK_VENV").map(PathBuf::from);
    let folder = folder.or_else(|| Some(programs::target_folder().ok()?.join("venv-localstack")))?;
    let ready = folder.join("bin/python").is_file() && folder.join("requirements.installed").is_file();
    if !ready {
        println!("skipped: no LocalStack here; `cargo xtask test` sets it up where there is Python 3.13");
    }
    ready.then_some(folder)
}
