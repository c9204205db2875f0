//! Takes every file that is offered, and fetches what messages tell of, into a folder, and shows how far it is.
//!
//! `cargo run -p xmpp-filetransfer --features http-client --example receive_file -- friend@example.org secret downloads`;
//! `host:port` and the path of a certificate to trust can follow, for a server of one's own.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use xmpp_core::{
    client::{Client, Event},
    net::ClientTls,
    stanza::Presence,
};
use xmpp_filetransfer::{
    client::{self as files, FilesClient, FilesSettings, Offer},
    share::{self, SharedFile},
    upload::{self, client::UploadClient},
};
use xmpp_im::caps;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(jid), Some(password), Some(folder)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: receive_file JID PASSWORD FOLDER [HOST:PORT [CERTIFICATE.pem]]".into());
    };
    let mut settings = FilesSettings::default();
    // Of who does not see that we are there.
    settings.ways.proposals = true;
    let place = args.next();
    let place = place.as_deref().and_then(|place| place.rsplit_once(':'));
    // A server on this machine may have its relay here, too.
    settings.socks5.loopback = place.is_some_and(|(host, _)| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    let mut builder =
        Client::builder(jid.parse()?, password).with(files::client_with(settings)).with(upload::client::client);
    // Contacts see in its presence that this client takes files: some clients offer none to others.
    builder = builder.with(caps::client("https://example.org/receive-file"));
    if let Some((host, port)) = place {
        builder = builder.server(host, port.parse()?);
    }
    if let Some(path) = args.next() {
        builder = builder.tls(ClientTls::builder().add_root_pem(&std::fs::read(path)?)?.only_roots().build()?);
    }
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    let (client, mut connection) = builder.connect()?;
    let mut offers = client.files()?.offers();
    let bars = MultiProgress::new();
    loop {
        tokio::select! {
            event = connection.next() => match event {
                Some(Event::Online { jid, .. }) => {
                    println!("waiting as {jid}");
                    // So that contacts find this client, and messages come to it.
                    client.send(Presence::available()).await?;
                }
                Some(Event::Offline { error, .. }) => eprintln!("offline: {error}"),
                // To fetch it tells whoever has sent this where we are: others ask the user first.
                Some(Event::Message(message)) => {
                    for shared in share::shared(&message) {
                        let bar = bars.add(ProgressBar::new(shared.file.size.unwrap_or_default()));
                        let place = free_place(&folder, &shared.name());
                        tokio::spawn(watched(bar.clone(), fetch(client.clone(), shared, place, bar)));
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            Some(offer) = offers.next() => {
                let bar = bars.add(ProgressBar::new(offer.file().size.unwrap_or_default()));
                let place = free_place(&folder, offer.name());
                tokio::spawn(watched(bar.clone(), receive(offer, place, bar)));
            }
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Shows what became of a file.
async fn watched(bar: ProgressBar, taking: impl Future<Output = Outcome>) {
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}") {
        bar.set_style(style);
    }
    if let Err(error) = taking.await {
        bar.abandon_with_message(error.to_string());
    }
}

/// A file that somebody offers.
async fn receive(offer: Offer, place: PathBuf, bar: ProgressBar) -> Outcome {
    bar.set_prefix(format!("{} from {}", offer.name(), offer.from()));
    let transfer = offer.accept_to(&place).await?;
    let mut progress = transfer.progress();
    let shown = bar.clone();
    tokio::spawn(async move {
        while let Some(now) = progress.next().await {
            shown.set_position(now.bytes);
            shown.set_message(now.road.map_or_else(|| format!("{:?}", now.phase), |road| road.to_string()));
        }
    });
    let report = transfer.finish().await?;
    let weak = report.compared.map(|function| format!("{function}, which proves nothing"));
    let proof = report.verified.or(weak).unwrap_or_else(|| "no hash".to_owned());
    bar.finish_with_message(format!("{}, {proof}: {}", report.road, place.display()));
    Ok(())
}

/// A file that a message tells of.
async fn fetch(client: Client, shared: SharedFile, place: PathBuf, bar: ProgressBar) -> Outcome {
    bar.set_prefix(shared.name());
    let mut transfer = client.uploads()?.get_shared(&shared).to_path(&place);
    while let Some(now) = transfer.changed().await {
        bar.set_position(now.done);
    }
    let fetched = transfer.finish().await?;
    let proof = if fetched.verified.is_some() { "hash" } else { "no hash" };
    bar.finish_with_message(format!("HTTP, {proof}: {}", place.display()));
    Ok(())
}

/// `name`, or `name (2)` and so on: nothing is overwritten.
fn free_place(folder: &Path, name: &str) -> PathBuf {
    let (stem, ending) = name.rsplit_once('.').map_or((name, String::new()), |(stem, end)| (stem, format!(".{end}")));
    let others = (2..).map(|number| folder.join(format!("{stem} ({number}){ending}")));
    let mut places = std::iter::once(folder.join(name)).chain(others);
    places.find(|place| !place.exists()).unwrap_or_else(|| folder.join(name))
}
