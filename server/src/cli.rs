//! The flags of the `fieldline` command.

mod alarms;
mod certs;
mod config;
mod rehearse;
mod send;
mod things;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fieldline_model::{DeviceId, GatewayId, Metric};

use crate::config::{Endpoint, parse_listen};

pub use alarms::{
    AckArgs, AlarmArgs, AlarmsArgs, AlarmsCommand, AlarmsListArgs, CommentArgs, HistoryArgs, RulesArgs,
    RulesCommand, RulesListArgs, SeverityArg, ShelveArgs,
};
pub use certs::{CertsArgs, CertsCommand, InitArgs, IssueArgs, ListArgs, RevokeArgs};
pub use config::{ConfigArgs, ConfigCommand, DiffArgs, PushArgs, RollbackArgs, ShowArgs};
pub use rehearse::{
    AnalyzeArgs, FiltersArgs, FiltersCommand, FiltersTestArgs, PastArgs, RulesCheckArgs, RulesTestArgs,
};
pub use send::{CommandsArgs, SendArgs};
pub use things::{
    ShadowArgs, ShadowCommand, ShadowUpdateArgs, ShadowWatchArgs, ThingArgs, ThingsAddArgs, ThingsArgs,
    ThingsCommand, ThingsListArgs, WhichShadow,
};

/// Readings from devices to a query, and nothing acknowledged is ever lost.
#[derive(Debug, Parser)]
#[command(name = "fieldline", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a server and an agent beside it, on this machine only
    Up(UpArgs),
    /// Run the on-premise server
    Serve(ServeArgs),
    /// Show the latest values of a device, or the values of one metric
    Query(QueryArgs),
    /// List the devices
    Devices(DevicesArgs),
    /// Show where every reading is, and whether the books balance
    Ledger(LedgerArgs),
    /// Tell a device to do something, and wait until it has
    Send(SendArgs),
    /// List the commands that were sent, or show or cancel one
    Commands(CommandsArgs),
    /// Publish a recorded CSV file as a device
    Replay(ReplayArgs),
    /// See what a gateway's filters would have sent
    Filters(FiltersArgs),
    /// Run a window function or a detector over stored history, and draw it
    Analyze(AnalyzeArgs),
    /// Configure gateways from afar: push, diff, show, history, rollback
    Config(ConfigArgs),
    /// The site's own certificates: init, issue, revoke, list
    Certs(CertsArgs),
    /// List, show, add and remove things
    Things(ThingsArgs),
    /// List, acknowledge, shelve and remark on alarms, and show what happened to them
    Alarms(AlarmsArgs),
    /// List the rules, have them read again, check files of them, and see when they would have fired
    Rules(RulesArgs),
    /// Get, update, delete and watch device shadows
    Shadow(ShadowArgs),
    /// What is done once in an AWS account
    Aws(AwsArgs),
}

/// `aws`
#[derive(Debug, Args)]
pub struct AwsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AwsCommand,
}

/// What can be done in an AWS account.
#[derive(Debug, Subcommand)]
pub enum AwsCommand {
    /// Make a gateway known to AWS IoT Core, and write its agent's key, certificate and configuration
    Enroll(EnrollArgs),
}

/// Flags of `aws enroll`.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// The gateway: the thing's name, and the MQTT client id
    pub gateway: GatewayId,
    /// Where the files are written; taken up where an earlier run left them [default: ./<GATEWAY>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The folder that the files will be copied to on the gateway [default: where they are written]
    #[arg(long, value_name = "DIR")]
    pub installed_at: Option<PathBuf>,
    /// The AWS IoT policy for gateways: the stack's output GatewayPolicyName
    #[arg(long, value_name = "NAME", default_value = "fieldline-gateway")]
    pub policy: String,
    /// The agent's port at AWS; 443 is for networks that let nothing else out
    #[arg(long, value_enum, value_name = "PORT", default_value = "8883")]
    pub port: IotPort,
    /// The file with Amazon Root CA 1 [default: the one among this system's CA certificates]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The AWS region [default: AWS's own settings]
    #[arg(long)]
    pub region: Option<String>,
    /// The profile of AWS's settings
    #[arg(long)]
    pub profile: Option<String>,
    /// Where all calls go instead of AWS: an emulator
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Say what would be called and written, and do none of it; needs no credentials
    #[arg(long)]
    pub dry_run: bool,
}

/// A port on which AWS IoT Core takes MQTT with certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IotPort {
    /// MQTT's own.
    #[value(name = "8883")]
    Mqtt,
    /// HTTPS's, told apart by ALPN.
    #[value(name = "443")]
    Https,
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Bring simulated devices to life; there is: factory
    #[arg(long, value_name = "INDUSTRY")]
    pub demo: Option<String>,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./fieldline-data")]
    pub data: PathBuf,
    /// The agent's MQTT listener for devices; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    pub mqtt_agent: SocketAddr,
    /// The agent's HTTP listener for devices
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub http_agent: SocketAddr,
    /// The server's broker
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1884")]
    pub mqtt: SocketAddr,
    /// The server's HTTP API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
}

/// Flags of `serve`; they win over the file.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration, for instance fieldline.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder [default: ./fieldline-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The broker's address, or "off" [default: 127.0.0.1:1884]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub mqtt: Option<Listen>,
    /// The HTTP API's address, or "off" [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub http: Option<Listen>,
    /// The broker's address for devices with certificates [default: 0.0.0.0:8883 after `certs init`]
    #[arg(long, value_name = "ADDR")]
    pub mqtts: Option<SocketAddr>,
    /// The data plane's address for devices with certificates, or "off" [default: off]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub https: Option<Listen>,
    /// Run only broker, Basic Ingest and the data plane here, and invoke the functions at this
    /// address by AWS Lambda's API: cargo lambda watch, or an emulator; plain http
    #[arg(long, value_name = "URL")]
    pub functions: Option<Endpoint>,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

fn listen(text: &str) -> Result<Listen, String> {
    parse_listen(text).map(Listen)
}

/// Where the server is.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server's HTTP API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: String,
}

/// Flags of `query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The device
    pub device: DeviceId,
    /// The metric; without one, the latest values of all
    pub metric: Option<Metric>,
    /// From when: RFC 3339, epoch milliseconds, or an age such as 15m, 24h, 7d
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until when; as --from
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Width of a bucket: 10s, 5m, 1h
    #[arg(long, value_name = "DURATION")]
    pub step: Option<String>,
    /// What to make of the values in a bucket
    #[arg(long, value_enum, value_name = "AGGREGATE")]
    pub agg: Option<AggregateArg>,
    /// How many values at most; the last ones when no --from is given [default: 20]
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV
    #[arg(long)]
    pub csv: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What to make of the values in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each word says what it is")]
pub enum AggregateArg {
    Mean,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
}

impl AggregateArg {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

/// Flags of `devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The CSV file, with a line of column names
    pub file: PathBuf,
    /// Publish as this device
    #[arg(long)]
    pub device: DeviceId,
    /// Its columns.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// How many times faster than recorded, or "max"
    #[arg(long, value_name = "FACTOR", default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// Where to publish: an agent or a server
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    pub agent: String,
}

/// What the columns of a CSV file mean.
#[derive(Debug, Clone, Args)]
pub struct ColumnArgs {
    /// The metric, where the file has one column of values
    #[arg(long, conflicts_with = "map")]
    pub metric: Option<Metric>,
    /// A column and its metric; may be given several times
    #[arg(long, value_name = "COLUMN=METRIC", value_parser = column_map)]
    pub map: Vec<(String, Metric)>,
    /// The column of times: "2013-12-02 21:15:00" (UTC), RFC 3339, or the epoch in s, ms, us or ns
    #[arg(long, value_name = "COLUMN", default_value = "timestamp")]
    pub time_column: String,
}

fn column_map(text: &str) -> Result<(String, Metric), String> {
    let (column, metric) =
        text.split_once('=').ok_or("COLUMN=METRIC is needed, such as value=temperature")?;
    Ok((column.to_owned(), Metric::new(metric).map_err(|error| error.to_string())?))
}

/// How fast a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as it is acknowledged.
    Max,
    /// So many times faster than it was recorded.
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Speed::Times(factor)),
        _ => Err("a number above 0 is needed (10 is ten times as fast as recorded), or max".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_recording_maps_columns_to_metrics() {
        let cli = Cli::parse_from([
            "fieldline",
            "replay",
            "x.csv",
            "--device",
            "d",
            "--map",
            "a=b",
            "--map",
            "c=d.e",
            "--speed",
            "60",
        ]);
        let Command::Replay(args) = cli.command else { panic!() };
        assert_eq!(args.columns.map.len(), 2);
        assert_eq!(args.speed, Speed::Times(60.0));
        for wrong in [["--speed", "0"], ["--speed", "fast"], ["--map", "ab"], ["--map", "a=b/c"]] {
            let flags = ["fieldline", "replay", "x.csv", "--device", "d"].into_iter().chain(wrong);
            assert!(Cli::try_parse_from(flags).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn things_are_listed_where_nothing_is_said() {
        let things = |words: &[&str]| {
            let words = ["fieldline", "things"].iter().chain(words);
            Cli::try_parse_from(words).map(|cli| match cli.command {
                Command::Things(args) => args,
                other => panic!("{other:?}"),
            })
        };
        assert!(things(&["--json"]).unwrap().list.json);
        let added = things(&["add", "press-4", "--type", "press", "--attribute", "hall=7"]).unwrap();
        let Some(ThingsCommand::Add(args)) = added.command else { panic!("{added:?}") };
        assert_eq!(args.attributes, [("hall".to_owned(), "7".to_owned())]);
        for wrong in [&["add", "a b"][..], &["add", "a", "--attribute", "x"], &["show"]] {
            assert!(things(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_listener_may_be_off() {
        let cli = Cli::parse_from(["fieldline", "serve", "--mqtt", "off", "--http", "127.0.0.1:0"]);
        let Command::Serve(args) = cli.command else { panic!() };
        assert_eq!(args.mqtt, Some(Listen(None)));
    }
}
