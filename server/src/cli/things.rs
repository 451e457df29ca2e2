//! The flags of `fieldline things` and `fieldline shadow`.

use clap::{Args, Subcommand};
use fieldline_model::{ShadowName, ThingName};

use super::ServerArgs;

/// `things`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ThingsArgs {
    /// What to do; without a word all are listed.
    #[command(subcommand)]
    pub command: Option<ThingsCommand>,
    /// Flags of the list.
    #[command(flatten)]
    pub list: ThingsListArgs,
}

/// What can be done with things.
#[derive(Debug, Subcommand)]
pub enum ThingsCommand {
    /// Show everything that is known of a thing
    Show(ThingArgs),
    /// Register a thing
    Add(ThingsAddArgs),
    /// Remove a thing; its readings and shadows stay
    Remove(ThingArgs),
}

/// Flags of the list.
#[derive(Debug, Args)]
pub struct ThingsListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A thing, and where the server is.
#[derive(Debug, Args)]
pub struct ThingArgs {
    /// The thing
    pub thing: ThingName,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `things add`.
#[derive(Debug, Args)]
pub struct ThingsAddArgs {
    /// The thing
    pub thing: ThingName,
    /// Its thing type, which must be there (aws iot create-thing-type)
    #[arg(long = "type", value_name = "TYPE")]
    pub type_name: Option<String>,
    /// An attribute; may be given several times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    pub attributes: Vec<(String, String)>,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed, such as hall=7")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `shadow`
#[derive(Debug, Args)]
pub struct ShadowArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ShadowCommand,
}

/// What can be done with a shadow.
#[derive(Debug, Subcommand)]
pub enum ShadowCommand {
    /// Print a shadow's document
    Get(WhichShadow),
    /// Change a shadow, for instance with '{"state": {"desired": {"speed": 3}}}'
    Update(ShadowUpdateArgs),
    /// Delete a shadow
    Delete(WhichShadow),
    /// Print what becomes of a shadow until Ctrl-C: deltas, documents, deletions
    Watch(ShadowWatchArgs),
}

/// A shadow, and where the server is.
#[derive(Debug, Args)]
pub struct WhichShadow {
    /// The thing
    pub thing: ThingName,
    /// The shadow's name; without one, the classic shadow
    #[arg(long)]
    pub name: Option<ShadowName>,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `shadow update`.
#[derive(Debug, Args)]
pub struct ShadowUpdateArgs {
    /// Which shadow.
    #[command(flatten)]
    pub which: WhichShadow,
    /// The request document, as AWS IoT has it
    pub document: String,
}

/// Flags of `shadow watch`.
#[derive(Debug, Args)]
pub struct ShadowWatchArgs {
    /// The thing
    pub thing: ThingName,
    /// The shadow's name; without one, the classic shadow
    #[arg(long)]
    pub name: Option<ShadowName>,
    /// The server's broker
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1884")]
    pub mqtt: String,
}
