//! The flags of `fieldline certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fieldline_model::ThingName;

use super::ServerArgs;

/// `certs`
#[derive(Debug, Args)]
pub struct CertsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CertsCommand,
}

/// What can be done with the identities of a site.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make the site's own authority and the server's certificate
    Init(InitArgs),
    /// Make a key, and have the running server sign a certificate for a device or a gateway
    Issue(IssueArgs),
    /// Bar a certificate for good
    Revoke(RevokeArgs),
    /// List the certificates
    List(ListArgs),
}

/// Flags of `certs init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A name or an address by which devices reach this machine; may be given several times
    #[arg(long = "name", value_name = "HOST", required = true)]
    pub names: Vec<String>,
    /// The server's data folder
    #[arg(long, value_name = "DIR", default_value = "./fieldline-data")]
    pub data: PathBuf,
    /// The authority stays; make the server's certificate anew, under these names
    #[arg(long)]
    pub renew: bool,
}

/// Flags of `certs issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// The device or gateway: its thing, its MQTT client id, and the certificate's Common Name
    pub thing: ThingName,
    /// It speaks for the devices behind it
    #[arg(long)]
    pub gateway: bool,
    /// A policy of your own instead of the built-in ones
    #[arg(long, value_name = "NAME", conflicts_with = "gateway")]
    pub policy: Option<String>,
    /// Where the files are written [default: ./<THING>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `certs revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The certificate's id, or the thing whose certificates are barred, all of them
    pub which: String,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `certs list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
}
