//! How fast files go from one client to another, by road, beside a plain copy over TCP, and what each end takes of memory.
//!
//! `cargo run --release -p xmpp-bench --bin files [MEBIBYTES [IN-BAND MEBIBYTES]]` prints the table, for files of 256 and of 16 by
//! default. For each road the server (with its relay and its store of files), the sender and the receiver are three processes of
//! their own, so that what one takes is not counted for another. Between them are sockets of the loopback interface, without
//! TLS. The copy reads a file, sends it through a socket, hashes it and writes it, which is what a transfer has to do.

mod process;
mod roles;

use process::{Child, Ended};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

type Failure = Box<dyn std::error::Error>;

const MIB: u64 = 1 << 20;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let sizes = match words.as_slice() {
        [role, rest @ ..] if role.parse::<u64>().is_err() => return roles::run(role, rest),
        sizes => sizes.iter().map(|size| size.parse::<u64>()).collect::<Result<Vec<_>, _>>()?,
    };
    let large = sizes.first().copied().unwrap_or(256) * MIB;
    let small = sizes.get(1).copied().unwrap_or(16) * MIB;
    let folder = std::env::temp_dir().join(format!("xmpp-bench-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder, large, small);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path, large: u64, small: u64) -> Result<(), Failure> {
    let (source, little, place) = (folder.join("large"), folder.join("small"), folder.join("got"));
    fill(&source, large)?;
    fill(&little, small)?;
    println!(
        "{:<10} {:>6} {:>9} {:>12}   grew by, KiB: {:>9} {:>9} {:>9}",
        "road", "MiB", "MiB/s", "of the copy", "sender", "receiver", "server"
    );
    let copy = Child::start("copy", &[&source, &place])?.end()?;
    line("copy", large, &copy, (large, &copy), [None; 3]);
    std::fs::remove_file(&place)?;
    for (road, path, bytes) in [("direct", &source, large), ("relay", &source, large), ("in-band", &little, small)] {
        let mut server = Child::start("serve", &[&folder.join(format!("store-{road}"))])?;
        let port = PathBuf::from(server.said()?);
        let mut receiver = Child::start("receive", &[&port, &PathBuf::from(road), &place])?;
        let there = PathBuf::from(receiver.said()?);
        let sent = Child::start("send", &[&port, &PathBuf::from(road), &there, path])?.end()?;
        let (received, served) = (receiver.end()?, server.end()?);
        line(road, bytes, &sent, (large, &copy), [Some(&sent), Some(&received), Some(&served)]);
        std::fs::remove_file(&place)?;
    }
    let mut server = Child::start("serve", &[&folder.join("store-http")])?;
    let port = PathBuf::from(server.said()?);
    let mut upload = Child::start("upload", &[&port, &source])?;
    let url = PathBuf::from(upload.said()?);
    let sent = upload.end()?;
    let fetched = Child::start("fetch", &[&port, &url, &place])?.end()?;
    let served = server.end()?;
    line("HTTP up", large, &sent, (large, &copy), [Some(&sent), None, Some(&served)]);
    line("HTTP down", large, &fetched, (large, &copy), [None, Some(&fetched), Some(&served)]);
    Ok(())
}

fn line(name: &str, bytes: u64, one: &Ended, (copied, copy): (u64, &Ended), grown: [Option<&Ended>; 3]) {
    let rate = |bytes: u64, taken: f64| bytes as f64 / MIB as f64 / taken;
    let (own, reference) = (rate(bytes, one.seconds), rate(copied, copy.seconds));
    let [sender, receiver, server] = grown.map(|end| end.map_or("-".to_owned(), |end| end.grown.to_string()));
    let share = 100.0 * own / reference;
    println!(
        "{name:<10} {:>6} {own:>9.1} {share:>11.0}%                 {sender:>9} {receiver:>9} {server:>9}",
        bytes / MIB
    );
}

fn fill(path: &Path, bytes: u64) -> Result<(), Failure> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..bytes / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.into_inner()?.sync_all()?)
}
