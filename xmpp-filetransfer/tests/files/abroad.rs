//! Rooms, whose occupants share one address, and whoever else is not known.

use super::*;
use xmpp_core::payload::Payload;

/// What presence in a room has.
#[derive(Debug, Payload)]
#[xml(name = "x", ns = "http://jabber.org/protocol/muc#user")]
struct InRoom;

impl House {
    async fn client(&self, jid: &str, change: impl FnOnce(&mut FilesSettings)) -> Person {
        let server = self.server.clone();
        let builder = Client::builder(jid.parse().unwrap(), "secret").with(client_with(settings(change)));
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        let jid = soon(client.online()).await.unwrap();
        let offers = client.files().unwrap().offers();
        Person { client, jid, offers, _events: events }
    }
}

#[tokio::test]
async fn abuse_a_file_for_a_room_is_not_for_one_of_its_occupants() {
    let house = house(None).await;
    let romeo = house.person("romeo", |settings| settings.ways.proposals = false).await;
    let occupant = house.client("juliet@localhost/occupant", any).await;
    let client = house.client("juliet@localhost/client", any).await;
    let (path, _) = house.file("letter.txt", 10);
    let here = |priority| Presence::available().to(romeo.jid.clone()).priority(priority);
    occupant.client.send(here(9).payload(&InRoom)).await.unwrap();
    let files = romeo.client.files().unwrap();
    client.client.send(here(1)).await.unwrap();
    let sending = loop {
        match soon(async { files.send("juliet@localhost".parse().unwrap(), &path).await }).await {
            Err(TransferError::NobodyThere) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert_eq!(sending.peer().as_str(), client.jid.as_str());
}

/// Breaks one transfer, lets the file be offered again, and says how much of it was moved then.
async fn twice(says: Option<bool>, hash_first: bool) -> (Vec<String>, u64) {
    let house = breaking().await;
    let only_relayed = |settings: &mut FilesSettings| {
        relayed(settings);
        settings.ways.in_band = false;
    };
    let (romeo, mut juliet) = house.two(only_relayed, only_relayed).await;
    let here = Presence::available().to(juliet.jid.clone());
    match says {
        Some(true) => romeo.client.send(here.payload(&InRoom)).await.unwrap(),
        Some(false) => romeo.client.send(here).await.unwrap(),
        None => {}
    }
    let (path, bytes) = house.file("letter.txt", 500_000);
    let files = romeo.client.files().unwrap();
    let offers = || {
        let sending = files.send(juliet.jid.clone().into(), &path);
        if hash_first { sending.hash_first() } else { sending }
    };
    let sending = soon(async { offers().await }).await.unwrap();
    let receiving = soon(juliet.offers.next()).await.unwrap().accept_to(house.path("got")).await.unwrap();
    let (sent, received) = broken(&house, sending, receiving).await;
    assert!(sent.is_err() && received.is_err());
    let left = house.others(&path);
    let files = romeo.client.files().unwrap();
    let sending = files.send(juliet.jid.clone().into(), &path);
    let sending = if hash_first { sending.hash_first() } else { sending };
    let sending = soon(async { sending.await }).await.unwrap();
    let receiving = soon(juliet.offers.next()).await.unwrap().accept_to(house.path("got")).await.unwrap();
    let (_, received) = both(sending, receiving).await;
    assert!(std::fs::read(house.path("got")).unwrap() == bytes);
    assert_eq!(house.others(&path), ["got"]);
    (left, received.unwrap().moved)
}

#[tokio::test]
async fn abuse_nobody_goes_on_with_the_part_of_another_occupant() {
    // Somebody in a room, or of whom nothing is known, and no hash: all of it comes again, and no part is kept.
    for says in [Some(true), None] {
        assert_eq!(twice(says, false).await, (vec![], 500_000), "{says:?}");
    }
    // A hash proves that it is the same file, whoever offers it; and a contact is one account.
    for (says, hash_first) in [(Some(true), true), (None, true), (Some(false), false)] {
        let (left, moved) = twice(says, hash_first).await;
        assert!(left.len() == 1 && moved < 500_000, "{says:?} {hash_first} {left:?} {moved}");
    }
}
