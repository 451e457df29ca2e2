//! `fieldline aws enroll` against moto's AWS IoT.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use fieldline_tests::emulator::{self, Emulator};
use fieldline_tests::moto;
use fieldline_tests::{machine, ports, programs};
use serde_json::{Value, json};

const POLICY: &str = "fieldline-gateway";
const FILES: [&str; 4] = ["AmazonRootCA1.pem", "agent.toml", "hall-7.key", "hall-7.pem"];

/// A folder with a CA, and nothing of the machine's own settings of AWS.
fn command(folder: &Path, endpoint: SocketAddr, arguments: &[&str]) -> Result<Command> {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n")?;
    let mut command = Command::new(programs::server()?);
    command.current_dir(folder).env_clear().env("HOME", folder).env("RUST_BACKTRACE", "0");
    command.envs(emulator::variables(endpoint)).env_remove("AWS_ENDPOINT_URL");
    command.args(["aws", "enroll"]).args(arguments).arg("--ca").arg(ca);
    command.args(["--endpoint-url", &format!("http://{endpoint}")]);
    Ok(command)
}

fn run(mut command: Command) -> Result<Output> {
    command.output().context("cannot run fieldline")
}

fn well(command: Command) -> Result<String> {
    let output = run(command)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Expects a failure told in one line.
fn fails(command: Command, words: &[&str]) -> Result<()> {
    let output = run(command)?;
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    ensure!(!output.status.success(), "it ended as if all were well");
    ensure!(said.lines().count() == 1 && said.starts_with("fieldline: "), "not one line:\n{said}");
    for word in words {
        ensure!(said.contains(word), "\"{word}\" is not in: {said}");
    }
    Ok(())
}

/// Everything in the gateway's folder, byte by byte.
fn contents(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        found.push((name, std::fs::read(&path)?));
    }
    found.sort();
    Ok(found)
}

/// The certificates of the account, those of the thing and those of the policy: ARNs.
fn attached(moto: &Emulator) -> Result<[Value; 3]> {
    let list = |path: &str, key: &str| -> Result<Value> {
        Ok(moto.iot_get(path)?.context("no answer")?[key].clone())
    };
    let certificates = list("/certificates", "certificates")?;
    let certificates = certificates.as_array().into_iter().flatten();
    Ok([
        certificates.map(|certificate| certificate["certificateArn"].clone()).collect(),
        list("/things/hall-7/principals", "principals")?,
        moto.policy_targets(POLICY)?,
    ])
}

#[test]
fn a_gateway_is_enrolled_once_however_often_it_is_asked_for() -> Result<()> {
    let _machine = machine::shared();
    let scratch = tempfile::tempdir()?;
    let Some(moto) = moto::start(scratch.path())? else { return Ok(()) };
    moto.create_gateway_policy(POLICY)?;
    let folder = scratch.path().join("hall-7");
    let enroll = |arguments: &[&str]| command(scratch.path(), moto.address(), arguments);

    let said = well(enroll(&["hall-7", "--dry-run"])?)?;
    ensure!(said.contains("CreateThing") && said.contains("hall-7.key"), "{said}");
    ensure!(!folder.exists(), "a dry run writes nothing");
    ensure!(moto.iot_get("/things/hall-7")?.is_none(), "and makes nothing");

    well(enroll(&["hall-7"])?)?;
    let written = contents(&folder)?;
    ensure!(written.iter().map(|(name, _)| name.as_str()).eq(FILES), "{written:?}");
    for name in FILES {
        let mode = std::fs::metadata(folder.join(name))?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{name} has mode {mode:o}");
    }
    let certificate = std::fs::read_to_string(folder.join("hall-7.pem"))?;
    let arn = certificate.lines().next().and_then(|line| line.strip_prefix("# ")).context("no ARN")?;
    let expected = [json!([arn]), json!([arn]), json!([arn])];
    ensure!(attached(&moto)? == expected, "{:?}", attached(&moto)?);
    let mut check = Command::new(programs::agent()?);
    check.args(["check", "--config"]).arg(folder.join("agent.toml"));
    well(check)?;

    well(enroll(&["hall-7"])?)?;
    ensure!(contents(&folder)? == written, "a second run changes no file");
    ensure!(attached(&moto)? == expected, "nor anything at AWS");

    // A run that died after the key and before the certificate is gone on with.
    for name in ["hall-7.pem", "agent.toml"] {
        std::fs::remove_file(folder.join(name))?;
    }
    well(enroll(&["hall-7", "--port", "443"])?)?;
    let again = contents(&folder)?;
    ensure!(again[2] == written[2], "the key is kept");
    ensure!(again[3] != written[3], "and has a certificate");
    ensure!(String::from_utf8_lossy(&again[1].1).contains("x-amzn-mqtt-ca"), "{again:?}");
    Ok(())
}

#[test]
fn an_enrolment_that_cannot_work_says_why_and_leaves_nothing() -> Result<()> {
    let _machine = machine::shared();
    let scratch = tempfile::tempdir()?;
    let Some(moto) = moto::start(scratch.path())? else { return Ok(()) };
    let enroll = |arguments: &[&str]| command(scratch.path(), moto.address(), arguments);
    fails(enroll(&["hall-7"])?, &["no policy fieldline-gateway", "--policy", "step 1 of 9"])?;
    let nobody = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
    fails(command(scratch.path(), nobody, &["hall-7"])?, &["no answer from", &nobody.to_string()])?;
    let mut stranger = enroll(&["hall-7"])?;
    stranger.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    fails(stranger, &["no credentials", "AWS_PROFILE"])?;
    ensure!(!scratch.path().join("hall-7").exists(), "nothing is written");
    for name in ["hall 7", "../hall-7", "", &"h".repeat(129)] {
        let output = run(enroll(&[name])?)?;
        ensure!(output.status.code() == Some(2), "{name:?}: {output:?}");
        ensure!(String::from_utf8_lossy(&output.stderr).contains("gateway id"), "{output:?}");
    }
    std::fs::create_dir(scratch.path().join("hall-7"))?;
    std::fs::write(scratch.path().join("hall-7/hall-7.pem"), "somebody else's")?;
    fails(enroll(&["hall-7"])?, &["hall-7.pem", "not written by this command", "--out"])
}
