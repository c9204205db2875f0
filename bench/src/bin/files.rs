//! How fast files go from one client to another, by road, beside a plain copy over TCP, and what they take of memory.
//!
//! `cargo run --release -p xmpp-bench --bin files [MEBIBYTES [IN-BAND MEBIBYTES]]` prints the table, for files of 256 and of 16 by
//! default. Server, relay and both clients are in this process, with sockets of the loopback interface between them and
//! without TLS; the copy reads a file, sends it through a socket, hashes it and writes it, which is what a transfer has to do.
use sha2::{Digest, Sha256};
use std::{
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use xmpp_core::{
    client::{Client, Events},
    server::{Audience, Limits, MemoryAccounts, Server},
    stanza::Presence,
};
use xmpp_filetransfer::{
    client::{self as files, FilesClient, FilesSettings},
    proxy65::Proxy65,
    upload::{
        client::{UploadClient, UploadClientSettings, client_with},
        server::{UploadSettings, Uploads},
        store::MemoryUploads,
    },
};

type Failure = Box<dyn std::error::Error>;

const MIB: u64 = 1 << 20;

fn main() -> Result<(), Failure> {
    let mut sizes = std::env::args().skip(1).map(|size| size.parse::<u64>());
    let large = sizes.next().transpose()?.unwrap_or(256) * MIB;
    let small = sizes.next().transpose()?.unwrap_or(16) * MIB;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(large, small))
}

async fn run(large: u64, small: u64) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("xmpp-bench-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder, large, small).await;
    std::fs::remove_dir_all(&folder)?;
    measured
}

async fn measure(folder: &Path, large: u64, small: u64) -> Result<(), Failure> {
    let (source, little) = (folder.join("large"), folder.join("small"));
    fill(&source, large)?;
    fill(&little, small)?;
    let (server, web) = serve(folder).await?;
    println!("{:<10} {:>8} {:>10} {:>12} {:>14}", "road", "MiB", "MiB/s", "of the copy", "memory, KiB");
    let copy = copy(&source, &folder.join("copied")).await?;
    line("copy", large, copy, large, copy, 0);
    for (name, direct, sockets, path, size) in [
        ("direct", true, true, &source, large),
        ("relay", false, true, &source, large),
        ("in-band", false, false, &little, small),
    ] {
        let before = peak()?;
        let taken = transfer(&server, direct, sockets, path, &folder.join(name)).await?;
        line(name, size, taken, large, copy, peak()?.saturating_sub(before));
    }
    let before = peak()?;
    let (up, down) = by_http(&web, &source, &folder.join("fetched")).await?;
    line("HTTP up", large, up, large, copy, peak()?.saturating_sub(before));
    line("HTTP down", large, down, large, copy, 0);
    Ok(())
}

fn line(name: &str, bytes: u64, taken: Duration, copied: u64, copy: Duration, kib: u64) {
    let rate = |bytes: u64, taken: Duration| bytes as f64 / MIB as f64 / taken.as_secs_f64();
    let (own, reference) = (rate(bytes, taken), rate(copied, copy));
    println!("{name:<10} {:>8} {own:>10.1} {:>11.0}% {kib:>14}", bytes / MIB, 100.0 * own / reference);
}

/// The most memory that this process has had, in KiB; it never shrinks, so that what a road adds is what it took more than
/// all before.
fn peak() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(Ok(0), |kib| kib.trim().parse())?)
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

/// The least that has to be done.
async fn copy(from: &Path, to: &Path) -> Result<Duration, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut source = File::open(from).await?;
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        let mut socket = TcpStream::connect(address).await?;
        let mut buffer = vec![0; 64 * 1024];
        while let read @ 1.. = source.read(&mut buffer).await? {
            socket.write_all(buffer.get(..read).unwrap_or_default()).await?;
        }
        socket.shutdown().await
    });
    let (mut socket, _) = listener.accept().await?;
    let (mut sink, mut digest, mut buffer) = (File::create(to).await?, Sha256::new(), vec![0; 64 * 1024]);
    while let read @ 1.. = socket.read(&mut buffer).await? {
        let bytes = buffer.get(..read).unwrap_or_default();
        digest.update(bytes);
        sink.write_all(bytes).await?;
    }
    sink.sync_all().await?;
    std::hint::black_box(digest.finalize());
    sending.await??;
    Ok(start.elapsed())
}

/// A server that a client reaches by a socket, with a relay and a store of files.
async fn serve(folder: &Path) -> Result<(u16, (Server, u16)), Failure> {
    let accounts = MemoryAccounts::new();
    for name in ["romeo@localhost", "juliet@localhost"] {
        accounts.set_password(name.parse()?, "secret");
    }
    let relay = TcpListener::bind("127.0.0.1:0").await?;
    let port = relay.local_addr()?.port();
    let relay = Proxy65::new("proxy.localhost").listen(relay)?.advertise("127.0.0.1", port);
    let http = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", http.local_addr()?);
    let mut settings = UploadSettings::default();
    settings.max_file_size = 8 << 30;
    settings.quota.user_bytes = None;
    let store = Arc::new(MemoryUploads::new());
    let uploads = Uploads::open("upload.localhost", url, store, folder.join("store"))?.settings(settings);
    // What a session may send in a second bounds what goes in-band, by default 1 MiB; here the road itself is measured.
    let mut limits = Limits::default();
    limits.bytes_per_second = u32::MAX;
    let server = Server::builder("localhost")
        .accounts(accounts)
        .limits(limits)
        .allow_plaintext()
        .with(relay)
        .with(uploads)
        .build()?;
    let port = server.listen("127.0.0.1:0".parse()?).await?.port();
    server.listen_on(http, Audience::Http)?;
    Ok((port, (server, port)))
}

async fn client(port: u16, name: &str, settings: FilesSettings) -> Result<(Client, Events), Failure> {
    let mut uploads = UploadClientSettings::default();
    uploads.allow_http = true;
    uploads.max_fetched = 8 << 30;
    let builder =
        Client::builder(format!("{name}@localhost").parse()?, "secret").server("127.0.0.1", port).allow_plaintext();
    let (client, events) = builder.with(files::client_with(settings)).with(client_with(uploads)).connect()?;
    client.online().await.ok_or("not online")?;
    client.send(Presence::available()).await?;
    Ok((client, events))
}

async fn transfer(port: &u16, direct: bool, sockets: bool, path: &Path, to: &Path) -> Result<Duration, Failure> {
    let mut settings = FilesSettings::default();
    settings.socks5.loopback = true;
    settings.socks5.direct = direct;
    settings.ways.sockets = sockets;
    let (romeo, _events) = client(*port, "romeo", settings.clone()).await?;
    let (juliet, _others) = client(*port, "juliet", settings).await?;
    let there = juliet.jid().ok_or("not online")?;
    let mut offers = juliet.files()?.offers();
    let start = Instant::now();
    let sending = romeo.files()?.send(there.into(), path).await?;
    let receiving = offers.next().await.ok_or("no offer")?.accept_to(to).await?;
    let (sent, received) = tokio::join!(sending.finish(), receiving.finish());
    let taken = start.elapsed();
    let (sent, received) = (sent?, received?);
    if received.verified.is_none() || sent.bytes != received.bytes {
        return Err("what came was not verified".into());
    }
    eprintln!("# {} bytes, {}", received.bytes, received.road);
    std::fs::remove_file(to)?;
    Ok(taken)
}

async fn by_http(web: &(Server, u16), path: &Path, to: &Path) -> Result<(Duration, Duration), Failure> {
    let (romeo, _events) = client(web.1, "romeo", FilesSettings::default()).await?;
    let start = Instant::now();
    let uploaded = romeo.uploads()?.put_path(path, None).await?.finish().await?;
    let up = start.elapsed();
    let start = Instant::now();
    romeo.uploads()?.get(&uploaded.url).to_path(to).finish().await?;
    Ok((up, start.elapsed()))
}
