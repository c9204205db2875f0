//! Files in a store that cannot read them (XEP-0454).

use super::{House, content, names, spy::Given};
use aes_gcm::{AeadInPlace as _, AesGcm, KeyInit as _, aead::consts::U16, aes::Aes256};
use std::{collections::HashSet, fmt::Write as _};
use xmpp_filetransfer::{
    share::aesgcm::{AesGcmLink, EncryptedMedia, Sealer},
    upload::client::{Downloaded, UploadClient as _, UploadError, Uploads, Verified},
};

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut hex, octet| {
        write!(hex, "{octet:02x}").unwrap();
        hex
    })
}

fn sealed(text: &[u8]) -> Vec<u8> {
    let (mut sealer, mut out) = (Sealer::new(&[7; 32], &[9; 12]), text.to_vec());
    sealer.seal(&mut out).unwrap();
    out.extend(sealer.tag());
    out
}

/// What comes of fetching this from a store: the answer, and what is in the folder then.
async fn fetched(
    house: &House,
    uploads: &Uploads,
    given: Vec<Given>,
) -> (Result<Downloaded, UploadError>, Option<Vec<u8>>) {
    house.spy.gives("file", given);
    let folder = tempfile::tempdir().unwrap();
    let link = AesGcmLink::new(&format!("{}/spy/file", house.url), [9; 12], [7; 32]).unwrap();
    let place = folder.path().join("file");
    let fetched = uploads.get_encrypted(&link).to_path(&place).finish().await;
    let got = std::fs::read(&place).ok();
    assert_eq!(names(folder.path()).len(), usize::from(got.is_some()), "nothing else stays");
    (fetched, got)
}

#[tokio::test]
async fn xep0454_3_a_file_goes_up_encrypted_and_comes_down() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut secrets = HashSet::new();
    for (n, size) in [0, 1, 15, 16, 17, 65_519, 65_520, 65_536, 65_537, 300_000].into_iter().enumerate() {
        let (sent, place) = (content(size), folder.path().join(format!("{n}.bin")));
        let upload =
            uploads.put_encrypted(std::io::Cursor::new(sent.clone()), sent.len() as u64, "a.bin").await.unwrap();
        let encrypted = upload.finish().await.unwrap();
        assert_eq!(encrypted.size, sent.len() as u64);
        // By way of the message that it goes into.
        let media = EncryptedMedia::read(&encrypted.media().body()).unwrap();
        let fetched = uploads.get_encrypted(&media.link).to_path(&place).finish().await.unwrap();
        assert_eq!((fetched.size, fetched.verified), (sent.len() as u64, Some(Verified::Key)));
        assert_eq!(std::fs::read(&place).unwrap(), sent);
        assert!(secrets.insert(media.link.key().to_vec()) && secrets.insert(media.link.iv().to_vec()));
    }
    assert_eq!(names(folder.path()).len(), 10);
}

#[tokio::test]
async fn xep0454_3_the_server_sees_neither_key_nor_file_nor_name() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Balcony Plans.JPG");
    let sent = b"He jests at scars that never felt a wound. ".repeat(1_000);
    std::fs::write(&path, &sent).unwrap();
    let (mut files, mut links) = (HashSet::new(), Vec::new());
    for _ in 0..2 {
        let mut upload = uploads.put_path_encrypted(&path).await.unwrap();
        let mut seen = 0;
        while let Some(progress) = upload.changed().await {
            assert!(progress.done >= seen && progress.total == Some(43_016));
            seen = progress.done;
        }
        assert_eq!(seen, 43_016);
        links.push(upload.finish().await.unwrap().link);
    }
    for file in house.stored() {
        assert_eq!(file.len(), 43_016);
        assert!(!file.windows(8).any(|octets| octets == b"He jests"), "the store could read it");
        assert!(files.insert(file), "the same key twice");
    }
    assert_eq!(files.len(), 2);
    let seen = house.spy.seen();
    assert!(seen.contains("43016") && seen.contains(".jpg") && seen.contains("application/octet-stream"), "{seen}");
    assert!(!seen.contains("alcony") && !seen.contains("lans"), "{seen}");
    assert!(links[0].url().ends_with(".jpg"));

    // Nor when it is fetched; by a place that notes it all.
    let sealed = sealed(&sent);
    let (done, got) = fetched(&house, &uploads, vec![Given::Whole(sealed)]).await;
    assert_eq!((done.unwrap().size, got.as_deref()), (43_000, Some(sent.as_slice())));
    links.push(AesGcmLink::new(&format!("{}/spy/file", house.url), [9; 12], [7; 32]).unwrap());
    let seen = house.spy.seen().to_lowercase();
    assert!(seen.contains("get /spy/file "), "{seen}");
    assert!(!seen.lines().any(|line| line.contains("/spy/") && line.contains('#')), "{seen}");
    for link in links {
        let secret = link.to_string();
        let secret = secret.rsplit_once('#').unwrap().1;
        assert!(!seen.contains(secret) && !seen.contains(&hex(link.key())) && !seen.contains(&hex(link.iv())));
        assert!(!link.url().contains('#') && !link.url().contains(secret));
    }
}

#[tokio::test]
async fn what_is_not_what_was_encrypted_leaves_nothing() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let whole = sealed(&content(100_000));
    let (done, got) = fetched(&house, &uploads, vec![Given::Whole(whole.clone())]).await;
    assert!(done.is_ok() && got == Some(content(100_000)));
    let changed = |at: usize| {
        let mut changed = whole.clone();
        changed[at] ^= 0x80;
        changed
    };
    for (what, file) in [
        ("the first bit", changed(0)),
        ("a bit in the middle", changed(65_536)),
        ("the tag", changed(100_015)),
        ("an octet less", whole[..100_015].to_vec()),
        ("without the tag", whole[..100_000].to_vec()),
        ("an octet more", [&whole[..], &[0]].concat()),
        ("another file", content(100_016)),
        ("a few octets", whole[..15].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let (done, got) = fetched(&house, &uploads, vec![Given::Whole(file)]).await;
        assert!(matches!(done, Err(UploadError::Forged(_))), "{what}: {done:?}");
        assert_eq!(got, None, "{what}");
    }
}

#[tokio::test]
async fn what_breaks_off_goes_on_and_is_proved_all_the_same() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let whole = sealed(&content(200_000));
    let mut other = whole.clone();
    other[150_000] ^= 1;
    let begun = || Given::Begun(whole.clone(), 100_001);
    let (done, got) = fetched(&house, &uploads, vec![begun(), Given::Rest(whole.clone())]).await;
    assert_eq!((done.unwrap().size, got), (200_000, Some(content(200_000))));
    assert!(house.spy.seen().contains("bytes="), "it went on");
    let (done, got) = fetched(&house, &uploads, vec![begun(), Given::Rest(other)]).await;
    assert!(matches!(done, Err(UploadError::Forged(_))) && got.is_none(), "{done:?}");
}

#[tokio::test]
async fn links_of_older_clients_are_fetched() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let mut file = content(50_000);
    AesGcm::<Aes256, U16>::new(&[3; 32].into()).encrypt_in_place(&[5; 16].into(), b"", &mut file).unwrap();
    house.spy.gives("old.jpg", vec![Given::Whole(file)]);
    let secret = format!("{}{}", "05".repeat(16), "03".repeat(32));
    let link = AesGcmLink::parse(&format!("{}/spy/old.jpg#{secret}", house.url.replace("https", "aesgcm"))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("old.jpg");
    juliet.uploads().unwrap().get_encrypted(&link).to_path(&place).finish().await.unwrap();
    assert_eq!(std::fs::read(place).unwrap(), content(50_000));
}

#[tokio::test]
async fn what_else_goes_wrong_has_a_name() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    house.spy.gives("file", vec![Given::Whole(sealed(&content(1_000)))]);
    let link = AesGcmLink::new(&format!("{}/spy/file", house.url), [9; 12], [7; 32]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("file");
    let large = uploads.get_encrypted(&link).max_bytes(999).to_path(&place).finish().await;
    assert!(matches!(large, Err(UploadError::TooLarge { limit: Some(999) })), "{large:?}");
    assert!(names(folder.path()).is_empty());
    uploads.get_encrypted(&link).max_bytes(1_000).to_path(&place).finish().await.unwrap();
    std::fs::write(&place, "mine").unwrap();
    let there = uploads.get_encrypted(&link).to_path(&place).finish().await;
    assert!(matches!(&there, Err(UploadError::Exists(at)) if *at == place), "{there:?}");
    assert_eq!((std::fs::read(&place).unwrap(), names(folder.path()).len()), (b"mine".to_vec(), 1));
    // A file that is shorter than it was is not given an end.
    let short = uploads.put_encrypted(&b"har"[..], 4, "a").await.unwrap().finish().await;
    assert!(matches!(short, Err(UploadError::Https(_))), "{short:?}");
    let huge = uploads.put_encrypted(tokio::io::empty(), 1 << 36, "a").await;
    assert!(matches!(huge, Err(UploadError::TooLarge { .. })), "{huge:?}");
    // §3: no link is made of what goes over the net in the clear.
    let open = House::made(false);
    let (romeo, _others) = open.client("romeo").await;
    let refused = romeo.uploads().unwrap().put_encrypted(&b"hark"[..], 4, "a").await;
    assert!(matches!(refused, Err(UploadError::Link(_))), "{refused:?}");
}
