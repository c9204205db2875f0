//! An XMPP server, composed of the crates of this toolkit through their public interfaces.

mod account;
mod anybody;
mod archive;
mod certificate;
mod cli;
mod config;
mod daemon;
mod federation;
mod files;
mod handed;
mod limits;
mod logging;
mod messages;
mod password;
mod proxy;
mod registration;
mod rooms;
mod roster;
mod signals;
mod uploads;
mod users;

use clap::Parser as _;
use cli::{Cli, Command, ConfigCommand, Settings};
use config::{Config, TEMPLATE};
use std::{io::Write as _, path::Path, process::ExitCode};

/// An error is a sentence for the person at the terminal.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    match run(&settings, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to if this fails.
            let _ = writeln!(std::io::stderr(), "xmppd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings, command: Option<Command>) -> Outcome<()> {
    match command {
        Some(Command::Config(ConfigCommand::Init { file: None })) => print(TEMPLATE),
        Some(Command::Config(ConfigCommand::Init { file: Some(file) })) => write_template(&file),
        Some(Command::Route) => {
            let config = Config::load(settings)?;
            print(&small_runtime()?.block_on(daemon::route(&config))?)
        }
        Some(Command::User(command)) => {
            let config = Config::load(settings)?;
            small_runtime()?.block_on(users::run(&config, command))
        }
        Some(Command::Invite { to }) => {
            let config = Config::load(settings)?;
            small_runtime()?.block_on(registration::invite(&config, to.as_ref()))
        }
        None => {
            let config = Config::load(settings)?;
            logging::start(&config.log)?;
            // Before there are other threads: it tidies the environment up.
            let handed = handed::Handed::from_environment()?;
            server_runtime()?.block_on(daemon::run(config, settings, handed))
        }
    }
}

fn small_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// One worker for each processor that this process may use, which affinity and container limits may make fewer than
/// the machine has.
fn server_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

/// To standard output, whose reader may have gone.
fn print(text: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn write_template(path: &Path) -> Outcome<()> {
    let write = || std::fs::File::create_new(path)?.write_all(TEMPLATE.as_bytes());
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    print(&format!("Wrote {0}. Start the server with: xmppd --config {0}\n", path.display()))
}
