//! Many at a time.

use super::*;
use xmpp_core::stanza::{Condition, Iq};
use xmpp_filetransfer::si::{SiFile, StreamInitiation};

#[tokio::test]
async fn a_hundred_files_at_a_time_with_one_peer() {
    let house = house(None).await;
    let many = |settings: &mut FilesSettings| {
        any(settings);
        settings.offers = 200;
    };
    let (romeo, mut juliet) = house.two(many, many).await;
    let (path, bytes) = house.file("letter.txt", 50_000);
    let files = romeo.client.files().unwrap();
    let mut sending = Vec::new();
    for _ in 0..100 {
        let transfer = soon(async { files.send(juliet.jid.clone().into(), &path).await }).await.unwrap();
        sending.push(tokio::spawn(transfer.finish()));
    }
    let folder = house.path("got");
    std::fs::create_dir(&folder).unwrap();
    let receiving = tokio::spawn(async move {
        let (mut whole, mut number) = (0, 0);
        while let Ok(Some(offer)) = timeout(Duration::from_secs(3), juliet.offers.next()).await {
            number += 1;
            let transfer = offer.accept_to(folder.join(number.to_string())).await.unwrap();
            if soon(transfer.finish()).await.is_ok() {
                whole += 1;
            }
        }
        (whole, folder)
    });
    let mut sent = 0;
    for transfer in sending {
        match soon(transfer).await.unwrap() {
            Ok(_) => sent += 1,
            Err(TransferError::TooMany | TransferError::Declined { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    let (whole, folder) = soon(receiving).await.unwrap();
    assert_eq!(whole, sent);
    assert!(whole >= 16, "{whole}");
    for entry in std::fs::read_dir(folder).unwrap() {
        assert!(std::fs::read(entry.unwrap().path()).unwrap() == bytes);
    }
}

#[tokio::test]
async fn abuse_offers_without_a_session_do_not_take_all_that_answers() {
    let house = house(None).await;
    let (villain, mut juliet) = (house.villain("romeo").await, house.person("juliet", any).await);
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..40 {
        let file = SiFile { name: "letter.txt".to_owned(), size: 10, ..SiFile::default() };
        let offer = StreamInitiation::offer(&format!("s{n}"), None, file, &["http://jabber.org/protocol/ibb"]);
        let (client, to) = (villain.client.clone(), juliet.jid.clone());
        asking.spawn(async move { client.request(Iq::set(to).payload(&offer)).await });
    }
    // The application looks at all of them and decides nothing.
    let mut offers = Vec::new();
    let mut refused = 0;
    while refused < 24 {
        tokio::select! {
            Some(offer) = juliet.offers.next() => offers.push(offer),
            Some(answer) = asking.join_next() => match answer.unwrap() {
                Err(xmpp_core::client::RequestError::Refused(error)) => {
                    assert_eq!(error.condition, Condition::ResourceConstraint);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            },
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("{} wait, {refused} refused", offers.len()),
        }
    }
    assert_eq!(offers.len(), 16);
}

#[tokio::test]
async fn abuse_a_host_may_be_asked_while_it_changes_its_mind() {
    let house = house(None).await;
    let (romeo, juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 100);
    let hosted = Arc::new(std::sync::Mutex::new(None));
    let mine = Arc::clone(&hosted);
    // Who asks is the last who may.
    let allow = move |_: &FullJid| mine.lock().unwrap().take().is_some();
    let shared = romeo.client.files().unwrap().host(&path, allow).await.unwrap();
    let hash = shared.hash().clone();
    *hosted.lock().unwrap() = Some(shared);
    let fetch = || juliet.client.files().unwrap().fetch(romeo.jid.clone(), hash.clone());
    soon(fetch().to(house.path("got")).await.unwrap().finish()).await.unwrap();
    let again = soon(fetch().to(house.path("again")).await.unwrap().finish()).await;
    assert!(matches!(again, Err(TransferError::NotAvailable)), "{again:?}");
}
