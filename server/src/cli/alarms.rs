//! The flags of `fieldline alarms` and `fieldline rules`.

use clap::{Args, Subcommand, ValueEnum};
use fieldline_model::DeviceId;

use super::{RulesCheckArgs, RulesTestArgs, ServerArgs};

/// `alarms`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AlarmsArgs {
    /// What to do; without a word the alarms are listed.
    #[command(subcommand)]
    pub command: Option<AlarmsCommand>,
    /// Flags of the list.
    #[command(flatten)]
    pub list: AlarmsListArgs,
}

/// What can be done with alarms.
#[derive(Debug, Subcommand)]
pub enum AlarmsCommand {
    /// List the alarms that are not normal
    List(AlarmsListArgs),
    /// Take note of an alarm
    Ack(AckArgs),
    /// Put an alarm out of sight for a time; nobody is told of it meanwhile
    Shelve(ShelveArgs),
    /// Bring a shelved alarm back into sight
    Unshelve(AlarmArgs),
    /// Take an alarm out of service; nobody is told of it until it is in service again
    Suppress(SuppressArgs),
    /// Put an alarm into service again
    Unsuppress(AlarmArgs),
    /// Remark on an alarm
    Comment(CommentArgs),
    /// Show what happened to alarms
    History(HistoryArgs),
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each word says what it is")]
pub enum SeverityArg {
    Info,
    Warning,
    Critical,
}

impl SeverityArg {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Flags of the list.
#[derive(Debug, Args)]
pub struct AlarmsListArgs {
    /// Only those of this device
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceId>,
    /// Only those in this state: active, unacknowledged, shelved, suppressed, or one of ISA-18.2 such as
    /// returned_unacknowledged
    #[arg(long)]
    pub state: Option<String>,
    /// Only those as bad as this
    #[arg(long, value_enum)]
    pub severity: Option<SeverityArg>,
    /// How many at most, the newest first
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub limit: u16,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// An alarm, who does something with it, and where the server is.
#[derive(Debug, Args)]
pub struct AlarmArgs {
    /// The alarm's id, as the list has it; the rule, or the rule and the device, where only one alarm is meant.
    /// What is put aside is the rule for the device, so there need be no alarm of them
    pub alarm: String,
    /// Who [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print the alarm as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `alarms ack`.
#[derive(Debug, Args)]
pub struct AckArgs {
    /// Which alarm.
    #[command(flatten)]
    pub alarm: AlarmArgs,
    /// What there is to say
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// Flags of `alarms shelve`.
#[derive(Debug, Args)]
pub struct ShelveArgs {
    /// Which alarm.
    #[command(flatten)]
    pub alarm: AlarmArgs,
    /// For how long: 30m, 8h, 2d
    #[arg(long = "for", value_name = "DURATION")]
    pub hold: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Flags of `alarms suppress`.
#[derive(Debug, Args)]
pub struct SuppressArgs {
    /// Which alarm.
    #[command(flatten)]
    pub alarm: AlarmArgs,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Flags of `alarms comment`.
#[derive(Debug, Args)]
pub struct CommentArgs {
    /// Which alarm.
    #[command(flatten)]
    pub alarm: AlarmArgs,
    /// What there is to say
    pub comment: String,
}

/// Flags of `alarms history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only that of this device
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceId>,
    /// From when: RFC 3339, epoch milliseconds, or an age such as 15m, 24h, 7d
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until when; as --from
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// How many lines at most, the newest first
    #[arg(long, value_name = "COUNT", default_value = "50")]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `rules`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RulesArgs {
    /// What to do; without a word the rules are listed.
    #[command(subcommand)]
    pub command: Option<RulesCommand>,
    /// Flags of the list.
    #[command(flatten)]
    pub list: RulesListArgs,
}

/// What can be done with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// List the rules, how they fare, and files that cannot be used
    List(RulesListArgs),
    /// Have the server read the files of rules again
    Reload(RulesListArgs),
    /// Check files of rules, and say what they cost
    Check(RulesCheckArgs),
    /// See when rules would have fired
    Test(Box<RulesTestArgs>),
}

/// Flags of the list.
#[derive(Debug, Args)]
pub struct RulesListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn alarms(words: &[&str]) -> Result<AlarmsArgs, clap::Error> {
        let words = ["fieldline", "alarms"].iter().chain(words);
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Alarms(args) => args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn alarms_are_listed_where_nothing_is_said() {
        let args = alarms(&["--state", "active", "--severity", "critical", "--json"]).unwrap();
        assert!(args.command.is_none() && args.list.json);
        assert_eq!(args.list.severity, Some(SeverityArg::Critical));
        let shelved = alarms(&["shelve", "hot/press-4", "--for", "8h", "--reason", "pump is out"]).unwrap();
        let Some(AlarmsCommand::Shelve(args)) = shelved.command else { panic!("{shelved:?}") };
        assert_eq!((args.alarm.alarm.as_str(), args.hold.as_str()), ("hot/press-4", "8h"));
        for wrong in [
            &["ack"][..],
            &["shelve", "a", "--for", "8h"],
            &["suppress", "a"],
            &["comment", "a"],
            &["--severity", "bad"],
        ] {
            assert!(alarms(wrong).is_err(), "{wrong:?}");
        }
    }
}
