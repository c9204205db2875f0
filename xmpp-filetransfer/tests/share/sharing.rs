//! Files told of in messages, and fetched (XEP-0447, XEP-0385).

use super::{House, content, message, names, spy::Given};
use xmpp_core::{
    jid::Jid,
    payload::{Base64, DateTime, fallback::Fallback, hash::Hash},
    stanza::{Message, Presence},
};
use xmpp_filetransfer::{
    client::{FilesClient as _, Road},
    file::{File, Function, Hasher},
    share::{
        Dimensions, Disposition, FileMetadata, FileSharing, SharedFile, Told, bob::client::BitsClient as _, shared,
        sims::MediaReference,
    },
    upload::client::{UploadClient as _, UploadError, Verified},
};

fn hash(function: Function, content: &[u8]) -> Hash {
    let mut hasher = Hasher::new(function);
    hasher.update(content);
    hasher.finish()
}

fn sharing(content: &[u8]) -> FileSharing {
    FileSharing::new(FileMetadata::new("a.bin", content.len() as u64).hash(hash(Function::Sha256, content)))
}

#[tokio::test]
async fn xep0447_3_a_file_is_uploaded_told_of_and_fetched() {
    let house = House::new();
    let ((juliet, _events), (romeo, mut others)) = (house.client("juliet").await, house.client("romeo").await);
    let there: Jid = romeo.online().await.unwrap().into();
    let folder = tempfile::tempdir().unwrap();
    let (path, sent) = (folder.path().join("summit.jpg"), content(150_000));
    std::fs::write(&path, &sent).unwrap();

    let mut uploaded =
        juliet.uploads().unwrap().put_path(&path, Some("image/jpeg")).await.unwrap().finish().await.unwrap();
    (uploaded.file.width, uploaded.file.height) = (Some(4_096), Some(2_160));
    uploaded.file.descriptions.push("Photo from the summit.".to_owned());
    uploaded.disposition = Some(Disposition::Inline);
    juliet.send(uploaded.message(there)).await.unwrap();

    let got = message(&mut others).await;
    // Others see a link.
    assert_eq!(got.body().as_deref(), Some(uploaded.url.as_str()));
    let fallback = got.payload::<Fallback>().unwrap().unwrap();
    assert_eq!((fallback.for_.as_deref(), fallback.bodies.len()), (Some("urn:xmpp:sfs:0"), 1));
    let files = shared(&got);
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(
        (file.told, file.disposition, file.name().as_str()),
        (Told::Sharing, Some(Disposition::Inline), "summit.jpg")
    );
    assert_eq!((file.file.size, file.file.media_type.as_deref()), (Some(150_000), Some("image/jpeg")));
    assert_eq!((file.file.width, file.file.height, file.file.date.is_some()), (Some(4_096), Some(2_160), true));
    assert_eq!(file.file.descriptions, ["Photo from the summit."]);
    assert_eq!(file.file.hashes, [hash(Function::Sha256, &sent)]);
    let place = folder.path().join(format!("my {}", file.name()));
    let fetched = romeo.uploads().unwrap().get_shared(file).to_path(&place).finish().await.unwrap();
    assert_eq!((fetched.size, fetched.verified), (150_000, Some(Verified::Hash(Function::Sha256))));
    assert_eq!(std::fs::read(&place).unwrap(), sent);
    assert_eq!(names(folder.path()).len(), 2);
}

#[tokio::test]
async fn what_nobody_takes_is_told_of_with_all_that_is_known() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, mut others) = House::connect(house.builder("romeo")).await;
    romeo.send(Presence::available()).await.unwrap();
    let there: Jid = romeo.online().await.unwrap().into();
    let folder = tempfile::tempdir().unwrap();
    let (path, sent) = (folder.path().join("letter.txt"), content(70_000));
    std::fs::write(&path, &sent).unwrap();
    let size = Dimensions { width: 64, height: 48 };
    let thumbnail = juliet.bits().unwrap().thumbnail("image/png", content(500), size).unwrap();
    let sending = juliet.files().unwrap().send(there, &path).media_type("text/plain").description("for you");
    let report = sending.thumbnail(thumbnail.clone()).await.unwrap().finish().await.unwrap();
    assert_eq!(report.road, Road::Http);
    let files = shared(&message(&mut others).await);
    let [SharedFile { file, .. }] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!((file.name.as_deref(), file.media_type.as_deref()), (Some("letter.txt"), Some("text/plain")));
    assert_eq!((file.size, file.descriptions.as_slice()), (Some(70_000), ["for you".to_owned()].as_slice()));
    assert_eq!((&file.hashes, &file.thumbnails), (&vec![hash(Function::Sha256, &sent)], &vec![thumbnail]));
}

#[tokio::test]
async fn xep0264_3_an_offer_has_a_thumbnail_which_is_asked_for() {
    let house = House::new();
    let ((juliet, _events), (romeo, _others)) = (house.client("juliet").await, house.client("romeo").await);
    let there: Jid = romeo.online().await.unwrap().into();
    let mut offers = romeo.files().unwrap().offers();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.jpg");
    std::fs::write(&path, content(1_000)).unwrap();
    let size = Dimensions { width: 64, height: 48 };
    let thumbnail = juliet.bits().unwrap().thumbnail("image/png", content(500), size).unwrap();
    let sending = juliet.files().unwrap().send(there, &path).thumbnail(thumbnail).await.unwrap();
    let offer = offers.next().await.unwrap();
    let thumbnails: Vec<_> = offer.file().thumbnails().collect();
    let [thumbnail] = thumbnails.as_slice() else { panic!("{thumbnails:?}") };
    assert_eq!(thumbnail.shown(32), Dimensions { width: 32, height: 24 });
    let picture = romeo.bits().unwrap().picture(offer.from().clone().into(), thumbnail).await.unwrap();
    assert_eq!((picture.content.0, picture.type_.as_deref()), (content(500), Some("image/png")));
    let received = offer.accept_to(folder.path().join("got")).await.unwrap().finish().await.unwrap();
    assert!(received.verified.is_some() && sending.finish().await.is_ok());
}

#[tokio::test]
async fn what_is_not_what_was_told_leaves_nothing() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let told = content(10_000);
    let mut wrong = told.clone();
    wrong[9_999] ^= 1;
    house.spy.gives("right", vec![Given::Whole(told.clone())]);
    house.spy.gives("wrong", vec![Given::Whole(wrong)]);
    house.spy.gives("longer", vec![Given::Whole(content(10_001))]);
    house.spy.gives("shorter", vec![Given::Whole(content(9_999))]);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("file");
    let fetch = |sharing: FileSharing, names: &[&str]| {
        let sharing = names.iter().fold(sharing, |sharing, name| sharing.url(format!("{}/spy/{name}", house.url)));
        uploads.get_shared(&SharedFile::from(sharing)).to_path(&place).finish()
    };
    let failed = fetch(sharing(&told), &["wrong"]).await;
    assert!(matches!(&failed, Err(UploadError::HashMismatch { algo }) if algo == "sha-256"), "{failed:?}");
    for name in ["longer", "shorter"] {
        let failed = fetch(sharing(&told), &[name]).await;
        assert!(matches!(failed, Err(UploadError::WrongSize { told: 10_000 })), "{name}: {failed:?}");
    }
    let failed = fetch(sharing(&told), &["none"]).await;
    assert!(matches!(failed, Err(UploadError::Status { status: 404, .. })), "{failed:?}");
    let failed = fetch(sharing(&told), &[]).await;
    assert!(matches!(failed, Err(UploadError::NoSource)), "{failed:?}");
    // Of two hashes both have to be right, by the function that is looked at.
    let mut two = sharing(&told);
    two.file.hashes.push(Hash { algo: "sha-256".to_owned(), value: Base64(vec![0; 32]) });
    assert!(matches!(fetch(two, &["right"]).await, Err(UploadError::HashMismatch { .. })));
    // By the strongest, whatever the others say.
    let mut two = sharing(&told);
    two.file.hashes.push(hash(Function::Sha512, b"another"));
    assert!(matches!(fetch(two, &["right"]).await, Err(UploadError::HashMismatch { .. })));
    let mut limited = sharing(&told);
    limited.file.size = Some(u64::MAX);
    let failed = fetch(limited, &["right"]).await;
    assert!(matches!(failed, Err(UploadError::TooLarge { limit: Some(_) })), "{failed:?}");
    assert!(names(folder.path()).is_empty(), "nothing stays of all this");
    // What one place has not got, another has.
    let fetched = fetch(sharing(&told), &["none", "wrong", "longer", "right"]).await.unwrap();
    assert_eq!((fetched.size, std::fs::read(&place).unwrap()), (10_000, told.clone()));
    let again = fetch(sharing(&told), &["right"]).await;
    assert!(matches!(again, Err(UploadError::Exists(_))), "{again:?}");
    assert_eq!(names(folder.path()), ["file"]);
}

#[tokio::test]
async fn xep0447_7_without_a_hash_nothing_is_fetched_in_the_clear() {
    let house = House::made(false);
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    house.spy.gives("file", vec![Given::Whole(content(100))]);
    let url = format!("{}/spy/file", house.url);
    let folder = tempfile::tempdir().unwrap();
    let bare = FileSharing::new(FileMetadata::new("a", 100)).url(&url);
    let fetch = |sharing: FileSharing, name: &str| {
        uploads.get_shared(&sharing.into()).to_path(folder.path().join(name)).finish()
    };
    assert!(matches!(fetch(bare.clone(), "a").await, Err(UploadError::NoSource)));
    // A hash that proves nothing is as good as none.
    let mut weak = bare;
    weak.file.hashes.push(hash(Function::Sha1, &content(100)));
    assert!(matches!(fetch(weak, "a").await, Err(UploadError::NoSource)));
    assert!(!house.spy.seen().contains("/spy/file"));
    let proved = sharing(&content(100)).url(&url);
    assert_eq!(fetch(proved, "a").await.unwrap().verified, Some(Verified::Hash(Function::Sha256)));
}

#[tokio::test]
async fn xep0385_4_2_older_ways_are_fetched_too() {
    let house = House::new();
    let (juliet, _events) = house.client("juliet").await;
    house.spy.gives("s.jpg", vec![Given::Whole(content(100))]);
    let url = format!("{}/spy/s.jpg", house.url);
    let folder = tempfile::tempdir().unwrap();
    let hashes = vec![hash(Function::Sha3_256, &content(100))];
    let file = File { name: Some("../s.jpg".to_owned()), size: Some(100), hashes, ..File::default() };
    let file = file.with_modified(DateTime::from_unix(1_700_000_000, 0).unwrap());
    let to: Jid = "romeo@localhost".parse().unwrap();
    let sims = Message::chat(to.clone()).body("see").payload(&MediaReference::to_file(file, [&url])).build();
    let oob = Message::chat(to).body(&url).payload(&xmpp_filetransfer::share::OutOfBand::new(&url)).build();
    for (n, (message, verified)) in
        [(sims, Some(Verified::Hash(Function::Sha3_256))), (oob, None)].into_iter().enumerate()
    {
        let files = shared(&message);
        let [file] = files.as_slice() else { panic!("{files:?}") };
        assert_eq!(file.name(), "s.jpg");
        let place = folder.path().join(n.to_string());
        let fetched = juliet.uploads().unwrap().get_shared(file).to_path(&place).finish().await.unwrap();
        assert_eq!((fetched.verified, std::fs::read(place).unwrap()), (verified, content(100)));
    }
}
