//! `fieldline serve`: the on-premise server alone.

use edge_agent::settings;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{Rules, Server};
use crate::cli::{Listen, ServeArgs};
use crate::config::Config;
use crate::{descriptors, stop};

/// Runs the server until it is told to stop. Prints one line on standard output for each listener,
/// and `ready`.
///
/// # Errors
/// The configuration is wrong, an address is taken, or the data folder cannot be used.
pub async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let told = stop::listen()?;
    // From the first moment on: unheard, the signal would end the process.
    let hangups = signal(SignalKind::hangup())?;
    descriptors::raise();
    let server = Server::start(configuration(args)?).await?;
    let listeners = [
        ("mqtt", server.mqtt_address()),
        ("mqtts", server.mqtts_address()),
        ("http", server.http_address()),
        ("https", server.https_address()),
    ];
    for (name, address) in listeners {
        if let Some(address) = address {
            println!("{name} listening on {address}");
        }
    }
    println!("ready");
    let reloads = tokio::spawn(reload_when_told(hangups, server.rules()));
    told.await;
    reloads.abort();
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

/// Reads the rules again at each SIGHUP.
async fn reload_when_told(mut told: Signal, rules: Option<Rules>) {
    let Some(rules) = rules else { return };
    while told.recv().await.is_some() {
        rules.reload().await;
    }
}

/// The file, then the flags over it.
fn configuration(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut config: Config = match &args.config {
        Some(path) => settings::read(path)?,
        None => Config::default(),
    };
    if let Some(data) = &args.data {
        config.data.clone_from(data);
    }
    if let Some(Listen(listen)) = args.mqtt {
        config.mqtt.listen = listen;
    }
    if let Some(Listen(listen)) = args.http {
        config.http.listen = listen;
    }
    if let Some(listen) = args.mqtts {
        config.mqtt.tls.get_or_insert_default().listen = listen;
    }
    if let Some(Listen(listen)) = args.https {
        config.http.tls_listen = listen;
    }
    if let Some(functions) = &args.functions {
        config.functions = Some(functions.clone());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn flags_win_over_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "data = \"/a\"\nfunctions = \"http://a:1\"\n[http]\nlisten = \"127.0.0.1:1\"\n")
            .unwrap();
        let path = file.path().to_str().unwrap();
        let flags = ["--data", "/b", "--mqtt", "off", "--functions", "http://b:2"];
        let cli = Cli::parse_from(["fieldline", "serve", "--config", path].into_iter().chain(flags));
        let Command::Serve(args) = cli.command else { panic!() };
        let config = configuration(&args).unwrap();
        assert_eq!(config.data.to_str(), Some("/b"));
        assert_eq!(config.mqtt.listen, None);
        assert_eq!(config.functions.unwrap().to_string(), "http://b:2");
        assert_eq!(config.http.listen, Some("127.0.0.1:1".parse().unwrap()));
    }
}
