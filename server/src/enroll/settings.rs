//! The agent's configuration for AWS: the sample, with a gateway's own values in it.

use std::path::Path;

use anyhow::{Context, ensure};
use edge_agent::Config;
use fieldline_model::GatewayId;

use super::files::Files;
use crate::cli::IotPort;

const DIRECT: &str = include_str!("../../../samplconfig/aws/agent.toml");
const BEHIND_FIREWALL: &str = include_str!("../../../samplconfig/aws/agent-443.toml");
/// The host in the samples.
const SAMPLE_HOST: &str = "a1b2c3d4e5f6g7-ats.iot.eu-central-1.amazonaws.com";

/// The text of `agent.toml` for `gateway`, whose files will lie in `folder`.
///
/// # Errors
/// The agent would not take it, for instance because of a character in the path.
pub(super) fn render(
    gateway: &GatewayId,
    host: &str,
    port: IotPort,
    folder: &Path,
) -> anyhow::Result<String> {
    let sample = match port {
        IotPort::Mqtt => DIRECT,
        IotPort::Https => BEHIND_FIREWALL,
    };
    // The sample's own introduction ends at the first empty line.
    let (_, keys) = sample.split_once("\n\n").context("the sample has an introduction")?;
    let files = Files::below(folder, gateway);
    let replaced = [
        ("\"/var/lib/fieldline\"", quoted(&folder.join("data"))?),
        ("\"hall-7\"", format!("\"{gateway}\"")),
        (SAMPLE_HOST, host.to_owned()),
        ("\"/etc/fieldline/AmazonRootCA1.pem\"", quoted(&files.ca)?),
        ("\"/etc/fieldline/hall-7.pem\"", quoted(&files.certificate)?),
        ("\"/etc/fieldline/hall-7.key\"", quoted(&files.key)?),
    ];
    let mut text = format!(
        "# The agent of {gateway} on AWS IoT Core, written by `fieldline aws enroll`.\n\
         # samplconfig/factory/agent.toml has every other key explained.\n\n{keys}"
    );
    for (from, to) in replaced {
        ensure!(text.contains(from), "the sample has no {from}");
        text = text.replace(from, &to);
    }
    check(&text).context("the agent would not take the configuration")?;
    Ok(text)
}

/// Whether the agent takes it.
pub(super) fn check(text: &str) -> anyhow::Result<Config> {
    let config: Config = edge_agent::settings::parse(text).map_err(anyhow::Error::msg)?;
    config.check()?;
    Ok(config)
}

/// A path as a string of TOML; JSON's escapes are among TOML's.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(serde_json::to_string(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_takes_what_is_written_for_both_ports() {
        let gateway = GatewayId::new("line:2").unwrap();
        for (port, number, alpn) in
            [(IotPort::Mqtt, 8883, None), (IotPort::Https, 443, Some("x-amzn-mqtt-ca"))]
        {
            let folder = Path::new("/srv/a \"quoted\" folder");
            let text = render(&gateway, "abc-ats.iot.eu-west-1.amazonaws.com", port, folder).unwrap();
            assert!(!text.contains("hall-7") && !text.contains("/etc/fieldline"), "{text}");
            let config = check(&text).unwrap();
            assert_eq!(config.gateway.id, gateway);
            assert_eq!(config.data, folder.join("data"));
            let server = config.sync.server.unwrap();
            assert_eq!(server.to_string(), format!("mqtts://abc-ats.iot.eu-west-1.amazonaws.com:{number}"));
            let tls = config.sync.tls.unwrap();
            assert_eq!(tls.key.unwrap(), folder.join("line:2.key"));
            assert_eq!(tls.ca, folder.join("AmazonRootCA1.pem"));
            assert_eq!(tls.alpn.as_deref(), alpn);
        }
    }
}
