//! Sends a file to somebody, by whatever road there is, and shows how far it is.
//!
//! `cargo run -p xmpp-filetransfer --features http-client --example send_file -- me@example.org secret friend@example.org
//! photo.jpg`; `host:port` and the path of a certificate to trust can follow, for a server of one's own. To a full address
//! (`friend@example.org/desk`) it goes to that client. Whom nobody is there for gets a message that says where the file is.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use xmpp_core::{
    client::{Client, Event},
    jid::Jid,
    net::ClientTls,
    stanza::Presence,
};
use xmpp_filetransfer::{
    client::{self as files, FilesClient, FilesSettings},
    upload,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(jid), Some(password), Some(to), Some(path)) = (args.next(), args.next(), args.next(), args.next()) else {
        return Err("usage: send_file JID PASSWORD TO FILE [HOST:PORT [CERTIFICATE.pem]]".into());
    };
    let mut settings = FilesSettings::default();
    // To all of their clients, where none is seen.
    settings.ways.proposals = true;
    let place = args.next();
    let place = place.as_deref().and_then(|place| place.rsplit_once(':'));
    // A server on this machine may have its relay here, too.
    settings.socks5.loopback = place.is_some_and(|(host, _)| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    let mut builder =
        Client::builder(jid.parse()?, password).with(files::client_with(settings)).with(upload::client::client);
    if let Some((host, port)) = place {
        builder = builder.server(host, port.parse()?);
    }
    if let Some(path) = args.next() {
        builder = builder.tls(ClientTls::builder().add_root_pem(&std::fs::read(path)?)?.only_roots().build()?);
    }
    let (client, mut connection) = builder.connect()?;
    tokio::spawn(async move {
        while let Some(event) = connection.next().await {
            if let Event::Offline { error, .. } = event {
                eprintln!("offline: {error}");
            }
        }
    });

    let to: Jid = to.parse()?;
    client.online().await.ok_or("not online")?;
    if to.is_bare() {
        // To see which of their clients is there. Nobody is to write to this one.
        client.send(Presence::available().priority(-1)).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let transfer = client.files()?.send(to, path).await?;
    let bar = ProgressBar::new(transfer.size().unwrap_or_default());
    bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")?);
    let mut progress = transfer.progress();
    let shown = bar.clone();
    tokio::spawn(async move {
        while let Some(now) = progress.next().await {
            shown.set_position(now.bytes);
            shown.set_message(now.road.map_or_else(|| format!("{:?}", now.phase), |road| road.to_string()));
        }
    });
    let report = transfer.finish().await?;
    bar.finish();
    let proof = report.verified.as_deref().unwrap_or("no hash");
    println!("{} bytes, {}, {proof}, {:.1} s", report.bytes, report.road, report.elapsed.as_secs_f64());
    if let Some(url) = report.url {
        println!("{url}");
    }
    client.close().await;
    Ok(())
}
