//! `xmpp-load`: what a chat message, a message in a room, a ping, a login and an idle session cost an XMPP server, over real sockets.
//!
//! It shares no code with the servers that it measures, and keeps itself cheap: known strings instead of an XML parser,
//! one thread, SCRAM keys derived once.

mod args;
mod chat;
mod error;
mod login;
mod logins;
mod memory;
mod ping;
mod process;
mod relay;
mod report;
mod rooms;
mod rows;
mod scram;
mod stats;
mod wire;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::{Options, USAGE};
use crate::error::{Error, Result};
use crate::rows::Row;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    match Options::parse(args).and_then(|options| run(&command, &options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xmpp-load {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        "chat" => finish(runtime.block_on(chat::run(options))?, options),
        "ping" => finish(runtime.block_on(ping::run(options))?, options),
        "rooms" => finish(runtime.block_on(rooms::run(options))?, options),
        "login" => finish(runtime.block_on(logins::run(options))?, options),
        "memory" => finish(runtime.block_on(memory::run(options))?, options),
        "relay" => runtime.block_on(relay::run(options.port, Duration::from_secs(options.lifetime))),
        "free-ports" => free_ports(options.count),
        "report" => summary(options),
        "" | "help" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(Error::Usage(format!("there is no such command\n\n{USAGE}"))),
    }
}

/// One command's values: its own table, and its file for the report.
fn finish(rows: Vec<Row>, options: &Options) -> Result<()> {
    println!("{}", report::table(&rows, &options.subject));
    match &options.json {
        Some(file) => Ok(fs::write(file, format!("{:#}\n", rows::to_json(&rows)))?),
        None => Ok(()),
    }
}

fn summary(options: &Options) -> Result<()> {
    let mut rows = Vec::new();
    for file in &options.files {
        rows.extend(rows::load(file)?);
    }
    println!("{}", report::table(&rows, &options.subject));
    match &options.json {
        Some(file) => Ok(fs::write(file, format!("{:#}\n", report::json(&rows, &options.subject)))?),
        None => Ok(()),
    }
}

fn free_ports(count: usize) -> Result<()> {
    // All are held until the last is found, so that they differ.
    let held = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<Vec<_>>>()?;
    for listener in &held {
        println!("{}", listener.local_addr()?.port());
    }
    Ok(())
}
