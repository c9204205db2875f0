//! A file for who cannot take it from us.

use super::House;
use std::time::Duration;
use xmpp_core::{
    client::{Client, Event, Events},
    jid::Jid,
    stanza::Presence,
};
use xmpp_filetransfer::{
    client::{self as files, FilesClient as _, Phase, Road, TransferError, Ways},
    share::OutOfBand,
    upload::client::{UploadClient as _, UploadClientSettings, client_with},
};

async fn with_files(house: &House, name: &str) -> (Client, Events) {
    let mut settings = UploadClientSettings::default();
    settings.allow_http = true;
    let server = house.server.clone();
    let builder = Client::builder(format!("{name}@localhost").parse().unwrap(), "secret").tls(house.trust.clone());
    let builder = builder.with(files::client).with(client_with(settings)).pipe(move || server.connect_memory());
    let (client, events) = builder.connect().unwrap();
    client.online().await.unwrap();
    (client, events)
}

#[tokio::test]
async fn what_nobody_takes_is_uploaded_and_a_message_says_where() {
    let house = House::new(|settings| settings.max_file_size = 200_000).await;
    let (juliet, _events) = with_files(&house, "juliet").await;
    // He has a client, which takes no files.
    let (romeo, mut events) = house.client("romeo").await;
    romeo.send(Presence::available()).await.unwrap();
    let full: Jid = romeo.online().await.unwrap().into();
    let folder = tempfile::tempdir().unwrap();
    let (path, sent) = (folder.path().join("letter.txt"), vec![7; 150_000]);
    std::fs::write(&path, &sent).unwrap();

    let transfer =
        juliet.files().unwrap().send(full.clone(), &path).media_type("text/plain").hash_first().await.unwrap();
    assert_eq!((transfer.peer(), transfer.size()), (&full, Some(150_000)));
    transfer.pause();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(transfer.progress().now().bytes < 150_000, "it is paused");
    transfer.resume();
    let watching = transfer.progress();
    let report = transfer.finish().await.unwrap();
    assert_eq!((report.road, report.bytes, report.verified), (Road::Http, 150_000, None));
    assert_eq!((watching.now().phase, watching.now().bytes), (Phase::Ended, 150_000));
    let url = report.url.unwrap();
    let message = loop {
        match events.next().await.unwrap() {
            Event::Message(message) => break message,
            _ => continue,
        }
    };
    assert_eq!(message.body().as_deref(), Some(url.as_str()));
    assert_eq!(message.payload::<OutOfBand>().unwrap().unwrap().url, url);
    romeo.uploads().unwrap().get(&url).to_path(folder.path().join("got")).finish().await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("got")).unwrap(), sent);

    // Not where the user does not want that, nor what is too large.
    let mut ways = Ways::default();
    ways.http = false;
    let refused = juliet.files().unwrap().send(full.clone(), &path).ways(ways).await;
    assert!(matches!(refused, Err(TransferError::NobodyThere)), "{refused:?}");
    std::fs::write(&path, vec![7; 200_001]).unwrap();
    let large = juliet.files().unwrap().send(full.clone(), &path).await.unwrap().finish().await;
    assert!(matches!(large, Err(TransferError::TooLarge { limit: Some(200_000) })), "{large:?}");
    std::fs::write(&path, vec![7; 199_000]).unwrap();
    let held = juliet.files().unwrap().send(full, &path).await.unwrap();
    held.pause();
    held.cancel();
    assert!(matches!(held.finish().await, Err(TransferError::Cancelled)));
}
