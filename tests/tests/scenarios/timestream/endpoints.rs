//! Endpoints from the environment. A process's environment cannot be changed safely from within, so the
//! test calls itself with another one.

use std::process::Command;

use super::*;

const PROBE: &str = "timestream::endpoints::probe";

/// Not a test of its own: what the others run with another environment.
#[test]
#[ignore = "run by the tests of endpoints, with an environment of theirs"]
fn probe() -> Result<()> {
    run(async {
        let aws = Aws::load().await;
        let config = TimestreamConfig { database: DATABASE.to_owned(), table: "readings".to_owned() };
        let points = Timestream::connect(&aws, config).await?;
        put(&points, vec![column("d", "a", &[NOON], Values::Float(vec![1.0]))], 1).await?;
        assert_eq!(series(&points, "d", "a").await?.len(), 1);
        Ok(())
    })
}

fn probe_with(variables: &[(&str, &str)]) -> Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", PROBE, "--ignored", "--test-threads=1"]);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.envs([
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "none"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        // Whatever leaves loopback ends here.
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ]);
    Ok(command.envs(variables.iter().copied()).output()?.status.success())
}

#[test]
fn an_endpoint_for_all_services_is_used_and_nothing_is_discovered() -> Result<()> {
    let stub = stub()?;
    assert!(probe_with(&[("AWS_ENDPOINT_URL", &stub.url())])?);
    let counts = stub.counts();
    assert_eq!((counts.endpoints, counts.writes), (0, 1));
    assert!(counts.queries > 0);
    Ok(())
}

#[test]
fn endpoints_of_the_two_services_are_used_and_nothing_is_discovered() -> Result<()> {
    let stub = stub()?;
    let url = stub.url();
    assert!(probe_with(&[
        ("AWS_ENDPOINT_URL_TIMESTREAM_WRITE", &url),
        ("AWS_ENDPOINT_URL_TIMESTREAM_QUERY", &url)
    ])?);
    let counts = stub.counts();
    assert_eq!((counts.endpoints, counts.writes), (0, 1));
    Ok(())
}
