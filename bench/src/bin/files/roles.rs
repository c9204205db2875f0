//! What the processes do. Each says first what the others need to know, and last what it has taken.

use super::{Failure, process::Measure};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use xmpp_core::{
    client::{Client, Events},
    jid::FullJid,
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

/// Two threads for each, as two cores have to do for all.
pub(super) fn run(role: &str, args: &[&str]) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match (role, args) {
            ("copy", [from, to]) => copy(from.as_ref(), to.as_ref()).await,
            ("serve", [folder]) => serve(folder.as_ref()).await,
            ("receive", [port, road, to]) => receive(port.parse()?, road, to.as_ref()).await,
            ("send", [port, road, to, path]) => send(port.parse()?, road, to.parse()?, path.as_ref()).await,
            ("upload", [port, path]) => upload(port.parse()?, path.as_ref()).await,
            ("fetch", [port, url, to]) => fetch(port.parse()?, url, to.as_ref()).await,
            _ => Err("usage: files [MEBIBYTES [IN-BAND MEBIBYTES]]".into()),
        }
    })
}

/// The least that has to be done.
async fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut source = File::open(from).await?;
    let measure = Measure::begin()?;
    let sending = tokio::spawn(async move {
        let mut socket = TcpStream::connect(address).await?;
        let mut buffer = vec![0; 64 * 1024];
        while let read @ 1.. = source.read(&mut buffer).await? {
            socket.write_all(buffer.get(..read).unwrap_or_default()).await?;
        }
        socket.shutdown().await
    });
    let (mut socket, _) = listener.accept().await?;
    let (mut sink, mut digest) = (File::create(to).await?, Sha256::new());
    let mut buffer = vec![0; 64 * 1024];
    while let read @ 1.. = socket.read(&mut buffer).await? {
        let bytes = buffer.get(..read).unwrap_or_default();
        digest.update(bytes);
        sink.write_all(bytes).await?;
    }
    sink.sync_all().await?;
    std::hint::black_box(digest.finalize());
    sending.await??;
    measure.end()
}

/// A server that clients reach by a socket, with a relay and a store of files, until its input ends.
async fn serve(folder: &Path) -> Result<(), Failure> {
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
    let uploads = Uploads::open("upload.localhost", url, Arc::new(MemoryUploads::new()), folder)?.settings(settings);
    // What a session may send in a second bounds what goes in-band, by default 1 MiB; here the road itself is measured.
    let mut limits = Limits::default();
    limits.bytes_per_second = u32::MAX;
    let builder = Server::builder("localhost").accounts(accounts).limits(limits).allow_plaintext();
    let server = builder.with(relay).with(uploads).build()?;
    println!("{}", server.listen("127.0.0.1:0".parse()?).await?.port());
    server.listen_on(http, Audience::Http)?;
    let measure = Measure::begin()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    measure.end()
}

async fn client(port: u16, name: &str, road: &str) -> Result<(Client, Events), Failure> {
    let mut settings = FilesSettings::default();
    settings.socks5.loopback = true;
    settings.socks5.direct = road == "direct";
    settings.ways.sockets = road != "in-band";
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

async fn receive(port: u16, road: &str, to: &Path) -> Result<(), Failure> {
    let (juliet, _events) = client(port, "juliet", road).await?;
    let mut offers = juliet.files()?.offers();
    println!("{}", juliet.jid().ok_or("not online")?);
    let measure = Measure::begin()?;
    let receiving = offers.next().await.ok_or("no offer")?.accept_to(to).await?;
    let received = receiving.finish().await?;
    eprintln!("# {} bytes, {}", received.bytes, received.road);
    if received.verified.is_none() {
        return Err("what came was not verified".into());
    }
    measure.end()
}

async fn send(port: u16, road: &str, to: FullJid, path: &Path) -> Result<(), Failure> {
    let (romeo, _events) = client(port, "romeo", road).await?;
    let measure = Measure::begin()?;
    romeo.files()?.send(to.into(), path).await?.finish().await?;
    measure.end()
}

async fn upload(port: u16, path: &Path) -> Result<(), Failure> {
    let (romeo, _events) = client(port, "romeo", "HTTP").await?;
    let measure = Measure::begin()?;
    println!("{}", romeo.uploads()?.put_path(path, None).await?.finish().await?.url);
    measure.end()
}

async fn fetch(port: u16, url: &str, to: &Path) -> Result<(), Failure> {
    let (juliet, _events) = client(port, "juliet", "HTTP").await?;
    let measure = Measure::begin()?;
    juliet.uploads()?.get(url).to_path(to).finish().await?;
    measure.end()
}
