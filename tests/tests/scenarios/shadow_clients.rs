//! Device shadows with AWS's own clients. Nothing about them is changed but the endpoint and its authority.

use std::process::Command;

use anyhow::Result;
use fieldline_tests::clients::{python, run, script};
use fieldline_tests::{Authority, Site, machine};

/// A server with mutual TLS, and in the site's folder the files of these things.
fn site(things: &[&str]) -> Result<Site> {
    let (mut site, authority) = (Site::prepare()?, Authority::new()?);
    site.server.secure(&authority)?;
    std::fs::write(site.folder().join("ca.pem"), authority.pem())?;
    for thing in things {
        authority.issue(&[thing])?.write(site.folder(), thing)?;
    }
    site.server.start()?;
    Ok(site)
}

/// Runs a script of a device: HOST PORT FOLDER, then these arguments, then URL.
fn device(site: &Site, name: &str, arguments: &[&str]) -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let port = site.server.mqtts_address()?.port().to_string();
    let url = format!("http://{}", site.server.http_address());
    let mut command = Command::new(python);
    command.arg(script(name)).args(["localhost", &port]).arg(site.folder()).args(arguments).arg(url);
    println!("{}", run(&mut command)?);
    Ok(())
}

#[test]
fn the_device_sdk_v2_works_with_mqtt_5_and_with_mqtt_3_1_1() -> Result<()> {
    let _machine = machine::shared();
    let site = site(&["press-5", "press-3"])?;
    for (thing, version) in [("press-5", "5"), ("press-3", "3.1.1")] {
        device(&site, "aws_iot_sdk_v2.py", &[thing, version])?;
    }
    site.finish()
}

#[test]
fn the_device_sdk_v1_works() -> Result<()> {
    let _machine = machine::shared();
    let site = site(&["press-1"])?;
    device(&site, "aws_iot_python_sdk_v1.py", &["press-1"])?;
    site.finish()
}

#[test]
fn boto3_and_the_aws_command_work() -> Result<()> {
    let _machine = machine::shared();
    let Some(python) = python() else { return Ok(()) };
    let site = site(&[])?;
    let url = format!("http://{}", site.server.http_address());
    run(Command::new(python).arg(script("aws_shadows.py")).args([&url, "pump"]))?;
    site.finish()
}
