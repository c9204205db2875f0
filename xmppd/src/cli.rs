//! The command line.

use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};
use xmpp_core::jid::BareJid;

/// An XMPP server.
///
/// Without a command it runs the server until it is told to stop (SIGTERM, SIGINT). Without a configuration it serves
/// the domain localhost on ports 5222 (STARTTLS) and 5223 (TLS) of this machine alone, and keeps its data in the folder
/// ./xmppd-data. SIGHUP makes it read the certificate again.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_help_heading = "Commands")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Args, Debug, Default)]
pub(crate) struct Settings {
    /// The configuration, as `xmppd config init` writes it.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// The folder of the database and the self-signed certificate [default: ./xmppd-data].
    #[arg(long, value_name = "FOLDER", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen for clients that use STARTTLS, such as 127.0.0.1:5222; may be repeated. With this or one
    /// of the next three, only what is named is listened on.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) c2s: Vec<SocketAddr>,
    /// Where to listen for clients that begin with TLS, such as 127.0.0.1:5223; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) c2s_tls: Vec<SocketAddr>,
    /// Where to listen for browsers without TLS, on this machine or behind a reverse proxy; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Vec<SocketAddr>,
    /// Where to listen for browsers with TLS, such as 127.0.0.1:5281; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) https: Vec<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage accounts; a running server sees the change at once.
    #[command(subcommand)]
    User(User),
    /// Print a link by which somebody can register an account, once; a running server knows it at once.
    Invite {
        /// The account, as NAME@DOMAIN, which is kept free until then, or the domain where any can be registered; without
        /// it the first domain.
        to: Option<BareJid>,
    },
    /// Make a configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the stations that a stanza passes on its way through the server, in order.
    Route,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add an account.
    Add(WithPassword),
    /// Set the password of an account.
    Passwd(WithPassword),
    /// Delete an account and all that is stored for it.
    Del {
        /// The account, as NAME@DOMAIN.
        account: BareJid,
    },
    /// Keep the owner of an account out until it is enabled again; it keeps all that is stored for it. Sessions that a
    /// running server has go on.
    Disable {
        /// The account, as NAME@DOMAIN.
        account: BareJid,
    },
    /// Let the owner of an account log in again.
    Enable {
        /// The account, as NAME@DOMAIN.
        account: BareJid,
    },
    /// List the accounts.
    List {
        /// Of this domain alone.
        domain: Option<BareJid>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct WithPassword {
    /// The account, as NAME@DOMAIN.
    pub(crate) account: BareJid,
    /// Read the password from the first line of standard input instead of asking for it.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write a configuration with all settings explained.
    Init {
        /// The file to make; without it the configuration is printed.
        file: Option<PathBuf>,
    },
}
