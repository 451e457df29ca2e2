//! Flags of `send` and `commands`.

use std::time::Duration;

use clap::Args;
use fieldline_model::{CommandName, CommandStatus, ExecutionId, ThingName};
use serde_json::Value;

use super::ServerArgs;

/// Flags of `send`.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when the device has done it, 1 when it has failed, was rejected or \
    canceled or could not be sent, 3 when it has timed out.")]
pub struct SendArgs {
    /// The device: the thing's name
    pub device: ThingName,
    /// What it shall do
    pub command: CommandName,
    /// Parameters, as JSON
    #[arg(value_name = "JSON", value_parser = json)]
    pub parameters: Option<Value>,
    /// How long the command waits for the device, and for its end: 30s, 12h, at most 7d
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = timeout)]
    pub timeout: Duration,
    /// Print the id and do not wait
    #[arg(long)]
    pub no_wait: bool,
    /// Print the command as JSON when it has ended
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `commands`.
#[derive(Debug, Args)]
pub struct CommandsArgs {
    /// One command, in full
    pub id: Option<ExecutionId>,
    /// Take that command back
    #[arg(long, requires = "id")]
    pub cancel: bool,
    /// Only those for this device
    #[arg(long, value_name = "DEVICE", conflicts_with = "id")]
    pub thing: Option<ThingName>,
    /// Only those with this status, such as CREATED or TIMED_OUT
    #[arg(long, conflicts_with = "id")]
    pub status: Option<CommandStatus>,
    /// How many at most, the latest first
    #[arg(long, value_name = "COUNT", default_value = "20", conflicts_with = "id")]
    pub limit: u16,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("that is not JSON ({error}); quote it: '{{\"delay_s\": 5}}'"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout >= Duration::from_secs(1) => Ok(timeout),
        Ok(_) => Err("one second is the shortest".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    #[test]
    fn parameters_are_json_and_a_timeout_has_a_unit() {
        let flags = ["fieldline", "send", "press-4", "reboot", r#"{"delay_s": 5}"#, "--timeout", "30s"];
        let Command::Send(args) = Cli::parse_from(flags).command else { panic!() };
        assert_eq!(args.parameters.unwrap()["delay_s"], 5);
        assert_eq!(args.timeout.as_secs(), 30);
        for wrong in [
            &["press-4"][..],
            &["press 4", "reboot"],
            &["press-4", "reboot", "{delay_s: 5}"],
            &["press-4", "reboot", "--timeout", "30"],
            &["press-4", "reboot", "--timeout", "500ms"],
        ] {
            assert!(Cli::try_parse_from(["fieldline", "send"].iter().chain(wrong)).is_err(), "{wrong:?}");
        }
        assert!(Cli::try_parse_from(["fieldline", "commands", "--cancel"]).is_err());
        assert!(Cli::try_parse_from(["fieldline", "commands", "--status", "done"]).is_err());
    }
}
