//! Where files come from, and where they go.

use super::*;

#[cfg(unix)]
#[tokio::test]
async fn abuse_what_is_no_file_is_not_sent() {
    let house = house(None).await;
    let (romeo, juliet) = house.two(any, any).await;
    let files = romeo.client.files().unwrap();
    let pipe = house.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [Path::new("/dev/zero"), house.folder.path(), &pipe, &house.path("nothing")] {
        let refused = timeout(Duration::from_secs(5), async {
            let sent = files.send(juliet.jid.clone().into(), path).await.map(drop);
            let hosted = files.host(path, |_| true).await.map(drop);
            (sent, hosted)
        });
        let refused = refused.await;
        // Whoever waits there for somebody to write waits no more.
        let _writer = (path == pipe).then(|| std::fs::OpenOptions::new().read(true).write(true).open(path));
        let (sent, hosted) = refused.unwrap();
        assert!(matches!(sent, Err(TransferError::File(_))), "{sent:?}");
        assert!(matches!(hosted, Err(TransferError::File(_))), "{hosted:?}");
    }
}

#[tokio::test]
async fn a_file_that_vanishes_meanwhile_is_sent_to_its_end() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 300_000);
    let sending = send(&romeo, &juliet, &path).await;
    let offer = offer(&mut juliet).await;
    std::fs::remove_file(&path).unwrap();
    let receiving = offer.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert!(sent.is_ok() && received.is_ok());
    assert!(std::fs::read(house.path("got")).unwrap() == bytes);
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_overwritten_in_whatever_place() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 10);
    std::fs::create_dir(house.path("folder")).unwrap();
    std::os::unix::fs::symlink(house.path("nothing"), house.path("dangling")).unwrap();
    std::os::unix::fs::symlink(&path, house.path("link")).unwrap();
    for place in ["folder", "link", "dangling"] {
        let sending = send(&romeo, &juliet, &path).await;
        let taken = offer(&mut juliet).await.accept_to(house.path(place)).await;
        let result = match taken {
            Ok(receiving) => both(sending, receiving).await.1,
            Err(error) => Err(error),
        };
        assert!(
            matches!(&result, Err(TransferError::Exists(there)) if *there == house.path(place)),
            "{place} {result:?}"
        );
        assert!(std::fs::symlink_metadata(house.path(place)).is_ok_and(|it| !it.is_file()));
    }
    assert!(!house.path("nothing").exists());
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    // Places that are none.
    for place in ["", "..", "/", "\0"] {
        let _sending = send(&romeo, &juliet, &path).await;
        let refused = offer(&mut juliet).await.accept_to(place).await;
        assert!(matches!(refused, Err(TransferError::File(_) | TransferError::Exists(_))), "{place:?} {refused:?}");
    }
    let _sending = send(&romeo, &juliet, &path).await;
    let refused = offer(&mut juliet).await.accept_to(house.path("no/such/folder/got")).await;
    assert!(matches!(refused, Err(TransferError::File(_))), "{refused:?}");
}

#[tokio::test]
async fn a_folder_that_vanishes_meanwhile() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, _) = house.file("letter.txt", 300_000);
    let folder = house.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let sending = send(&romeo, &juliet, &path).await;
    sending.pause();
    let receiving = offer(&mut juliet).await.accept_to(folder.join("got")).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    sending.resume();
    let (sent, received) = both(sending, receiving).await;
    assert!(matches!(received, Err(TransferError::File(_))), "{received:?}");
    assert!(matches!(sent, Err(TransferError::EndedByPeer(_))), "{sent:?}");
}

#[tokio::test]
async fn two_files_to_one_place() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (one, first) = house.file("one.txt", 400_000);
    let (two, second) = house.file("two.txt", 300_000);
    // The same file twice, and two files.
    for other in [&one, &two] {
        let sending = send(&romeo, &juliet, &one).await;
        let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
        let again = send(&romeo, &juliet, other).await;
        let taken = offer(&mut juliet).await.accept_to(house.path("got")).await;
        let results = match taken {
            Ok(taken) => {
                let (results, others) =
                    soon(async { tokio::join!(both(sending, receiving), both(again, taken)) }).await;
                [results.1, others.1]
            }
            Err(error) => [both(sending, receiving).await.1, Err(error)],
        };
        assert_eq!(results.iter().filter(|it| it.is_ok()).count(), 1, "{results:?}");
        assert!(results.iter().any(|it| matches!(it, Err(TransferError::Exists(_)))), "{results:?}");
        let there = std::fs::read(house.path("got")).unwrap();
        assert!(there == first || there == second);
        std::fs::remove_file(house.path("got")).unwrap();
        for left in house.others(&one).iter().filter(|name| name.ends_with(".part")) {
            std::fs::remove_file(house.path(left)).unwrap();
        }
    }
}
