//! Files told of in messages, with a client that others wrote: `slixmpp_sharing.py` asks by messages, and this does it. What it shares is
//! fetched, and told by its name, its length and the sum of its bytes.

use crate::{
    check::Checked,
    peer::{Peer, Way},
    uploads::{Folder, content},
};
use std::{
    io::Cursor,
    sync::atomic::{AtomicU32, Ordering},
};
use xmpp_core::{
    client::{Client, Event},
    jid::Jid,
    stanza::{Message, Presence},
};
use xmpp_filetransfer::{
    share::{
        ContentId, Dimensions, Disposition,
        aesgcm::EncryptedMedia,
        bob::client::{self as bits, BitsClient as _},
        shared,
    },
    upload::client::{self as uploads, UploadClient as _},
};

/// The length of what we share.
const BYTES: usize = 300_000;

/// Says where it is, and serves until it is told to stop.
pub(crate) async fn serve(peer: &Peer) -> Checked {
    let builder = peer.user(Way::StartTls, &peer.users[0], "sharing")?;
    let (client, mut events) = builder.with(uploads::client).with(bits::client).connect()?;
    let folder = std::sync::Arc::new(Folder::new()?);
    while let Some(event) = events.next().await {
        match event {
            Event::Online { jid, .. } => {
                client.send(Presence::available()).await?;
                println!("ready {jid}");
            }
            Event::Message(message) => {
                let Some(from) = message.from().cloned().filter(|_| message.error().is_none()) else { continue };
                if message.body().as_deref() == Some("stop") {
                    client.close().await;
                    return Ok(());
                }
                let (client, folder) = (client.clone(), std::sync::Arc::clone(&folder));
                tokio::spawn(async move {
                    if let Err(error) = obey(&client, &from, &message, &folder).await {
                        let _ = client.send(Message::chat(from).body(format!("failed: {error}"))).await;
                    }
                });
            }
            _ => {}
        }
    }
    Err("the session has ended".into())
}

async fn obey(client: &Client, from: &Jid, message: &Message, folder: &Folder) -> Checked {
    let body = message.body().unwrap_or_default();
    let uploads = client.uploads()?;
    let file = Cursor::new(content(BYTES));
    if body == "share" {
        let upload = uploads.put(file, BYTES as u64, "très cool.png", Some("image/png")).await?;
        let mut uploaded = upload.finish().await?;
        let size = Dimensions { width: 64, height: 48 };
        uploaded.file.thumbnails.push(client.bits()?.thumbnail("image/png", content(500), size)?);
        (uploaded.file.width, uploaded.file.height) = (Some(640), Some(480));
        uploaded.file.descriptions.push("a picture".to_owned());
        uploaded.disposition = Some(Disposition::Inline);
        return Ok(client.send(uploaded.message(from.clone())).await?);
    }
    if body == "encrypt" {
        let encrypted = uploads.put_encrypted(file, BYTES as u64, "très cool.png").await?.finish().await?;
        return Ok(client.send(Message::chat(from.clone()).body(encrypted.media().body())).await?);
    }
    if let Some(cid) = body.strip_prefix("ask ") {
        let cid: ContentId = cid.parse()?;
        let got = client.bits()?.get(from.clone(), &cid).await;
        let told = got.map_or_else(|error| format!("none: {error}"), |bits| told("bits", &bits.content.0));
        return Ok(client.send(Message::chat(from.clone()).body(told)).await?);
    }
    static FETCHED: AtomicU32 = AtomicU32::new(0);
    let place = || folder.0.join(format!("fetched-{}", FETCHED.fetch_add(1, Ordering::Relaxed)));
    let mut got = Vec::new();
    if let Ok(media) = EncryptedMedia::read(&body) {
        let place = place();
        let fetched = uploads.get_encrypted(&media.link).to_path(&place).finish().await?;
        got.push(format!("{} {:?}", told("link", &std::fs::read(place)?), fetched.verified));
    }
    for file in shared(message) {
        let place = place();
        let fetched = uploads.get_shared(&file).to_path(&place).finish().await?;
        got.push(format!("{} {:?}", told(&file.name(), &std::fs::read(place)?), fetched.verified));
    }
    Ok(client.send(Message::chat(from.clone()).body(format!("got {}", got.join(", ")))).await?)
}

fn told(name: &str, bytes: &[u8]) -> String {
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    format!("{name} {} {sum}", bytes.len())
}
