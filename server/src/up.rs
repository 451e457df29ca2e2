//! `fieldline up`: a server and an agent beside it, in one process, on this machine only.

use std::net::SocketAddr;

use anyhow::Context;
use edge_agent::{Agent, ServerAddress};

use crate::app::Server;
use crate::cli::UpArgs;
use crate::config::Config;
use crate::demo::Demo;
use crate::{descriptors, stop};

/// Starts both, says what listens where, and stops them in order when told to.
///
/// # Errors
/// An address is taken, the data folder cannot be used, or there is no such demo.
pub async fn up(args: &UpArgs) -> anyhow::Result<()> {
    let demo = args.demo.as_deref().map(Demo::load).transpose()?;
    let told = stop::listen()?;
    descriptors::raise();
    let server = Server::start(server_config(args)).await.context("the server cannot start")?;
    let mqtt = server.mqtt_address().context("the server has no broker")?;
    let agent = match Agent::start(agent_config(args, mqtt)).await {
        Ok(agent) => agent,
        Err(error) => {
            server.stop().await;
            return Err(error.context("the agent cannot start"));
        }
    };
    let devices = agent.mqtt_address().context("the agent has no listener")?;
    print!("{}", welcome(args, devices, agent.http_address(), mqtt, server.http_address()));
    let running = demo.map(|demo| demo.start(&devices.ip().to_string(), devices.port()));

    told.await;
    eprintln!("stopping");
    drop(running);
    agent.stop().await;
    server.stop().await;
    Ok(())
}

fn server_config(args: &UpArgs) -> Config {
    let mut config = Config { data: args.data.clone(), ..Config::default() };
    config.mqtt.listen = Some(args.mqtt);
    config.http.listen = Some(args.http);
    config
}

fn agent_config(args: &UpArgs, server: SocketAddr) -> edge_agent::Config {
    let mut config = edge_agent::Config { data: args.data.join("agent"), ..edge_agent::Config::default() };
    config.mqtt.listen = Some(args.mqtt_agent);
    config.http.listen = Some(args.http_agent);
    config.sync.server =
        Some(ServerAddress { host: server.ip().to_string(), port: server.port(), tls: false });
    config
}

/// What listens where, and what to try next; the commands work as they stand.
fn welcome(
    args: &UpArgs,
    devices: SocketAddr,
    agent_http: Option<SocketAddr>,
    broker: SocketAddr,
    api: Option<SocketAddr>,
) -> String {
    let http = |address: Option<SocketAddr>| {
        address.map_or_else(|| "no HTTP".to_owned(), |address| format!("HTTP http://{address}"))
    };
    let host =
        if devices.ip().to_string() == "127.0.0.1" { String::new() } else { format!("-h {} ", devices.ip()) };
    let server = match api {
        Some(api) if api.to_string() != "127.0.0.1:8080" => format!(" --server http://{api}"),
        _ => String::new(),
    };
    let simulated = args
        .demo
        .as_ref()
        .map_or_else(String::new, |name| format!("  demo     {name}: simulated devices are publishing\n"));
    format!(
        "Fieldline is up; its data is in {data}\n\
        \x20 agent    MQTT {devices}, {agent_http} (devices publish here)\n\
        \x20 server   MQTT {broker}, {api} (gateways, queries)\n\
        {simulated}\
        Try next, in a second terminal:\n\
        \x20 mosquitto_pub {host}-p {port} -q 1 -t telemetry/press-4 -m '{{\"temperature\": 21.5, \"running\": true}}'\n\
        \x20 cargo run --release -- query press-4{server}\n\
        Ctrl-C stops it.\n",
        data = args.data.display(),
        agent_http = http(agent_http),
        api = http(api),
        port = devices.port(),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_welcome_names_what_to_try() {
        let Command::Up(args) = Cli::parse_from(["fieldline", "up"]).command else { panic!() };
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let text = welcome(
            &args,
            address("127.0.0.1:1883"),
            Some(address("127.0.0.1:8081")),
            address("127.0.0.1:1884"),
            Some(address("127.0.0.1:8080")),
        );
        assert!(text.contains("\n  mosquitto_pub -p 1883 -q 1 -t telemetry/press-4"), "{text}");
        assert!(text.contains("\n  cargo run --release -- query press-4\n"), "{text}");
        let text = welcome(
            &args,
            address("127.0.0.1:5"),
            None,
            address("127.0.0.1:6"),
            Some(address("127.0.0.1:7")),
        );
        assert!(text.contains("query press-4 --server http://127.0.0.1:7"), "{text}");
    }
}
