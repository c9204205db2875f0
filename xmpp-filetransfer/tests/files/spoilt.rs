//! Files that change on the way, and disks that are full.

use super::*;

#[tokio::test]
async fn abuse_another_file_than_was_offered_is_not_kept() {
    for first in [true, false] {
        let house = house(None).await;
        let (romeo, mut juliet) = house.two(any, any).await;
        let (path, mut bytes) = house.file("letter.txt", 100_000);
        let files = romeo.client.files().unwrap();
        let mut sending = files.send(juliet.jid.clone().into(), &path);
        if first {
            sending = sending.hash_first();
        }
        let sending = soon(async { sending.await }).await.unwrap();
        let offer = offer(&mut juliet).await;
        assert_eq!(offer.file().hashes.len(), usize::from(first));
        bytes[99_999] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let receiving = offer.accept_to(house.path("got")).await.unwrap();
        let (sent, received) = both(sending, receiving).await;
        if first {
            assert!(matches!(received, Err(TransferError::HashMismatch { algo }) if algo == "sha-256"));
            assert!(matches!(sent, Err(TransferError::SpoiltThere { text: Some(_) })), "{sent:?}");
            assert_eq!(house.others(&path), [""; 0]);
        } else {
            // What was sent is what the hash is of.
            assert!(sent.is_ok() && received.is_ok());
        }
    }
}

#[tokio::test]
async fn a_file_that_shrinks_meanwhile_is_not_kept_under_its_name() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 100_000);
    let sending = send(&romeo, &juliet, &path).await;
    let offer = offer(&mut juliet).await;
    std::fs::write(&path, &bytes[..50_000]).unwrap();
    let receiving = offer.accept_to(house.path("got")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert!(matches!(sent, Err(TransferError::File(_))), "{sent:?}");
    assert!(matches!(received, Err(TransferError::EndedByPeer(_))), "{received:?}");
    assert!(!house.path("got").exists());
    // One that has grown is sent as far as was said.
    let sending = send(&romeo, &juliet, &path).await;
    let offer = self::offer(&mut juliet).await;
    assert_eq!(offer.file().size, Some(50_000));
    std::fs::write(&path, &bytes).unwrap();
    let receiving = offer.accept_to(house.path("other")).await.unwrap();
    let (sent, received) = both(sending, receiving).await;
    assert_eq!((sent.unwrap().bytes, received.unwrap().bytes), (50_000, 50_000));
    assert_eq!(std::fs::read(house.path("other")).unwrap(), &bytes[..50_000]);
}

/// A disk that has so much room.
struct Disk {
    room: usize,
    error: io::ErrorKind,
}

impl AsyncWrite for Disk {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.room == 0 {
            return Poll::Ready(Err(self.error.into()));
        }
        let written = bytes.len().min(self.room);
        self.room -= written;
        Poll::Ready(Ok(written))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_full_disk_is_told_on_both_sides() {
    for change in [any as fn(&mut FilesSettings), in_band] {
        let house = house(None).await;
        let (romeo, mut juliet) = house.two(change, change).await;
        let (path, _) = house.file("letter.txt", 200_000);
        for error in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied] {
            let sending = send(&romeo, &juliet, &path).await;
            let receiving = offer(&mut juliet).await.accept(Disk { room: 100_000, error }).await.unwrap();
            let (sent, received) = both(sending, receiving).await;
            match error {
                io::ErrorKind::StorageFull => assert!(matches!(received, Err(TransferError::DiskFull))),
                _ => assert!(matches!(received, Err(TransferError::File(_)))),
            }
            assert!(matches!(sent, Err(TransferError::EndedByPeer(_))), "{sent:?}");
        }
        let sending = send(&romeo, &juliet, &path).await;
        let enough = Disk { room: 200_000, error: io::ErrorKind::StorageFull };
        let receiving = offer(&mut juliet).await.accept(enough).await.unwrap();
        let (sent, received) = both(sending, receiving).await;
        assert_eq!((sent.unwrap().moved, received.unwrap().path), (200_000, None));
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let house = house(None).await;
    let (romeo, mut juliet) = house.two(any, any).await;
    let (path, bytes) = house.file("letter.txt", 10);
    let sending = send(&romeo, &juliet, &path).await;
    let refused = offer(&mut juliet).await.accept_to(&path).await;
    assert!(matches!(refused, Err(TransferError::Exists(place)) if place == path));
    assert!(matches!(soon(sending.finish()).await, Err(TransferError::Declined { .. })));
    // Something comes to the place meanwhile.
    let sending = send(&romeo, &juliet, &path).await;
    let receiving = offer(&mut juliet).await.accept_to(house.path("got")).await.unwrap();
    std::fs::write(house.path("got"), "mine").unwrap();
    let (sent, received) = both(sending, receiving).await;
    match received {
        Err(TransferError::Exists(_)) => assert!(matches!(sent, Err(TransferError::EndedByPeer(_))), "{sent:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(house.path("got")).unwrap(), b"mine");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
