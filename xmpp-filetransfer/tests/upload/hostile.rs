//! What goes wrong by chance or by malice: crashes, races, lost files, clocks, slow and odd requests.

use super::{Answer, House, dripped, store::At};
use std::{path::PathBuf, sync::atomic::Ordering, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use xmpp_core::{client::Client, jid::BareJid, stanza::Iq};
use xmpp_filetransfer::upload::{Slot, SlotRequest};

async fn slot(client: &Client, name: &str, size: u64) -> Option<Slot> {
    let request = Iq::get("upload.localhost".parse::<BareJid>().unwrap()).payload(&SlotRequest::new(name, size));
    client.query(request).await.ok()
}

/// What has to be said to put a file.
fn own(slot: &Slot) -> [(&str, &str); 1] {
    [("Authorization", slot.put.headers[0].value.as_str())]
}

/// The file of an id, where the service keeps it.
fn on_disk(house: &House) -> Vec<PathBuf> {
    let shelves = std::fs::read_dir(house.folder.path().join("files")).unwrap();
    shelves
        .flat_map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

/// Begins to put a file, and waits until something of it has come.
async fn begin(house: &House, slot: &Slot, length: u64, content: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    let (path, authorization) = (house.path(&slot.put.url), own(slot)[0].1);
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(&[head.as_bytes(), content].concat()).await.unwrap();
    while house.files().1 == 0 {
        tokio::task::yield_now().await;
    }
    socket
}

async fn rest(socket: &mut TcpStream, content: &[u8]) -> Answer {
    socket.write_all(content).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    Answer::read(&answer)
}

#[tokio::test]
async fn abuse_a100_a_place_is_lost_as_soon_as_the_file_falls_behind() {
    // Less than two hours are time enough for all of it, but not for a byte every two seconds.
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let slot = slot(&juliet, "a", 100 << 20).await.unwrap();
    let mut socket = begin(&house, &slot, 100 << 20, b"x").await;
    dripped(&mut socket).await;
    assert_eq!(house.files(), (0, 0));
}

#[tokio::test]
async fn a_file_that_came_just_in_time_is_not_swept_with_its_slot() {
    let house = House::new(|settings| settings.quota.user_bytes = Some(10)).await;
    let (juliet, _events) = house.client("juliet").await;
    let first = slot(&juliet, "a", 4).await.unwrap();
    let mut socket = begin(&house, &first, 4, b"ha").await;
    house.later.store(301, Ordering::Relaxed);
    // Who sweeps has found an expired slot, and looks away until the file is there.
    let (found, go) = house.store.hold(At::Expired);
    let wanting = slot(&juliet, "b", 10);
    let coming = async {
        found.await.unwrap();
        let answer = rest(&mut socket, b"rk").await;
        go.send(()).unwrap();
        answer
    };
    let (wanted, came) = tokio::join!(wanting, coming);
    assert_eq!((came.status, wanted.is_none()), (201, true));
    assert_eq!(house.ask("GET", house.path(&first.get.url), &[], b"").await.body, b"hark");
}

#[tokio::test]
async fn what_cannot_be_removed_keeps_nothing_else_from_being_swept() {
    let house = House::new(|settings| settings.quota.user_files = Some(121)).await;
    let (juliet, _events) = house.client("juliet").await;
    for _ in 0..120 {
        let slot = slot(&juliet, "a", 4).await.unwrap();
        let id = house.id(&slot.get.url);
        // No file, and not removed like one.
        std::fs::create_dir_all(house.folder.path().join("files").join(&id[..2]).join(id).join("x")).unwrap();
    }
    house.later.store(10, Ordering::Relaxed);
    slot(&juliet, "b", 4).await.unwrap();
    assert!(slot(&juliet, "c", 4).await.is_none());
    house.later.store(311, Ordering::Relaxed);
    assert!(slot(&juliet, "c", 4).await.is_some(), "the last slot made room");
}

#[tokio::test]
async fn what_has_expired_makes_room_at_once_however_much_others_have_that_has() {
    let house = House::new(|settings| {
        settings.quota.user_bytes = Some(1_000);
        settings.quota.user_files = Some(250);
    })
    .await;
    let (romeo, _events) = house.client("romeo").await;
    let (juliet, _others) = house.client("juliet").await;
    for _ in 0..250 {
        slot(&romeo, "a", 1).await.unwrap();
    }
    house.later.store(10, Ordering::Relaxed);
    slot(&juliet, "a", 1_000).await.unwrap();
    house.later.store(311, Ordering::Relaxed);
    assert!(slot(&juliet, "b", 1_000).await.is_some());
}

#[tokio::test]
async fn a_file_that_is_lost_or_cut_is_not_there() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", b"hark", None).await;
    let file = on_disk(&house).remove(0);
    std::fs::write(&file, b"ha").unwrap();
    for method in ["GET", "HEAD"] {
        let answer = house.ask(method, &path, &[], b"").await;
        assert_eq!(answer.status, 404, "{method}: half of it is not it");
    }
    std::fs::remove_file(&file).unwrap();
    for method in ["GET", "HEAD"] {
        assert_eq!(house.ask(method, &path, &[], b"").await.status, 404, "{method}");
    }
}

#[tokio::test]
async fn what_is_known_of_a_lost_file_is_forgotten_in_time() {
    let house = House::new(|settings| settings.keep = None).await;
    let (lost, _) = house.file("a", b"hark", None).await;
    std::fs::remove_file(on_disk(&house).remove(0)).unwrap();
    let (kept, _) = house.file("b", b"hear", None).await;
    assert_eq!(house.bytes_kept().await, 8);
    tokio::time::pause();
    for _ in 0..10_000 {
        if house.bytes_kept().await < 8 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(house.bytes_kept().await, 4);
    tokio::time::resume();
    assert_eq!(house.ask("GET", &kept, &[], b"").await.body, b"hear");
    assert_eq!(house.ask("GET", &lost, &[], b"").await.status, 404);
}

#[tokio::test]
async fn a_disk_that_is_not_there_makes_nothing_forgotten() {
    let house = House::new(|settings| settings.keep = None).await;
    let (path, _) = house.file("a", b"hark", None).await;
    let (files, away) = (house.folder.path().join("files"), house.folder.path().join("away"));
    std::fs::rename(&files, &away).unwrap();
    std::fs::create_dir(&files).unwrap();
    tokio::time::pause();
    for _ in 0..10_000 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    std::fs::remove_dir(&files).unwrap();
    std::fs::rename(&away, &files).unwrap();
    assert_eq!((house.bytes_kept().await, house.ask("GET", &path, &[], b"").await.status), (4, 200));
}

#[tokio::test]
async fn a_refusal_is_not_kept_by_caches() {
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let slot = slot(&juliet, "a", 4).await.unwrap();
    // Whoever is told of a file before it has come would be told that there is none for as long as a cache likes.
    let answer = house.ask("GET", house.path(&slot.get.url), &[], b"").await;
    assert_eq!((answer.status, answer.header("cache-control")), (404, "no-store"));
    let put = house.path(&slot.put.url);
    assert_eq!(house.ask("PUT", put, &own(&slot), b"hark").await.header("cache-control"), "no-store");
    let beyond = house.ask("GET", house.path(&slot.get.url), &[("Range", "bytes=9-")], b"").await;
    assert_eq!((beyond.status, beyond.header("cache-control")), (416, "no-store"));
}

#[tokio::test]
async fn a_file_on_its_way_goes_with_its_account() {
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let slot = slot(&juliet, "a", 4).await.unwrap();
    let mut socket = begin(&house, &slot, 4, b"ha").await;
    house.remove_juliet().await;
    assert_eq!(rest(&mut socket, b"rk").await.status, 410);
    assert_eq!((house.files(), house.bytes_kept().await), ((0, 0), 0));
}

#[tokio::test]
async fn a_slot_that_comes_after_its_account_has_gone_does_not_stay() {
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let (reserving, go) = house.store.hold(At::Reserve);
    let asking = slot(&juliet, "a", 4);
    let removing = async {
        reserving.await.unwrap();
        house.remove_juliet().await;
        go.send(()).unwrap();
    };
    let (asked, ()) = tokio::join!(asking, removing);
    assert!(asked.is_none());
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.bytes_kept().await, 0);
}

#[tokio::test]
async fn a_crash_between_file_and_row_leaves_nothing() {
    let house = House::new(|settings| settings.quota.user_bytes = Some(4)).await;
    let (juliet, _events) = house.client("juliet").await;
    let first = slot(&juliet, "a", 4).await.unwrap();
    let id = house.id(&first.get.url).to_owned();
    // The file is where it belongs, and nobody has noted it.
    let shelf = house.folder.path().join("files").join(&id[..2]);
    std::fs::create_dir_all(&shelf).unwrap();
    std::fs::write(shelf.join(&id), b"hark").unwrap();
    assert_eq!(house.ask("GET", house.path(&first.get.url), &[], b"").await.status, 404);
    house.later.store(301, Ordering::Relaxed);
    slot(&juliet, "b", 4).await.unwrap();
    assert_eq!(house.files(), (0, 0));
}

#[tokio::test]
async fn a_clock_that_jumps_back_takes_nothing_away() {
    let house = House::new(|settings| settings.keep = Some(Duration::from_secs(7_200))).await;
    house.later.store(7_200, Ordering::Relaxed);
    let (juliet, _events) = house.client("juliet").await;
    let (before, waiting) = (slot(&juliet, "a", 4).await.unwrap(), slot(&juliet, "b", 4).await.unwrap());
    assert_eq!(house.ask("PUT", house.path(&before.put.url), &own(&before), b"hark").await.status, 201);
    house.later.store(0, Ordering::Relaxed);
    assert_eq!(house.ask("PUT", house.path(&waiting.put.url), &own(&waiting), b"hark").await.status, 201);
    for one in [&before, &waiting] {
        assert_eq!(house.ask("GET", house.path(&one.get.url), &[], b"").await.body, b"hark");
    }
    let after = slot(&juliet, "c", 4).await.unwrap();
    assert_eq!(house.ask("PUT", house.path(&after.put.url), &own(&after), b"hark").await.status, 201);
}

#[tokio::test]
async fn abuse_a091_what_a_refused_file_holds_is_no_request() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", b"hark", None).await;
    let inner = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let outer = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    socket.write_all(outer.as_bytes()).await.unwrap();
    // What comes behind the file is one, if anything is.
    let _ = socket.write_all(b"OPTIONS /upload/x/y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_order() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", b"hark", None).await;
    let get = |range: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nRange: {range}\r\n{more}\r\n");
    let requests = get("bytes=0-0", "") + &get("bytes=9-", "") + &get("bytes=-1", "Connection: close\r\n");
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let places = ["HTTP/1.1 206 ", "\r\n\r\nh", "HTTP/1.1 416 ", "HTTP/1.1 206 ", "\r\n\r\nk"];
    let mut rest = answer.as_str();
    for place in places {
        rest = rest.split_once(place).unwrap_or_else(|| panic!("no {place:?} in {answer}")).1;
    }
}

#[tokio::test]
async fn rfc9110_14_odd_ranges_and_conditions() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", b"0123456789", None).await;
    let tag = house.ask("GET", &path, &[], b"").await.header("etag").to_owned();
    let weak = format!("W/{tag}");
    for (headers, status, content) in [
        (vec![("Range", "bytes=0-0,-1")], 200, "0123456789"),
        (vec![("Range", "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-")], 200, "0123456789"),
        (vec![("Range", "bytes=0-0"), ("Range", "bytes=1-1")], 200, "0123456789"),
        (vec![("Range", "bytes=-100")], 206, "0123456789"),
        (vec![("Range", "bytes=9-100")], 206, "9"),
        (vec![("Range", "bytes=-0")], 416, "the file ends before that\n"),
        (vec![("Range", "bytes=18446744073709551615-")], 416, "the file ends before that\n"),
        (vec![("Range", "bytes=5-"), ("If-Range", &weak)], 200, "0123456789"),
        // What does not match any more is told before any part is looked for.
        (vec![("Range", "bytes=99-"), ("If-None-Match", &tag)], 304, ""),
        (vec![("Range", "bytes=99-"), ("If-Match", "\"x\"")], 412, "it is another file\n"),
        (vec![("Range", "bytes=99-"), ("If-Range", "\"x\"")], 200, "0123456789"),
        (vec![("If-None-Match", "\"x\""), ("If-None-Match", &tag)], 304, ""),
    ] {
        let answer = house.ask("GET", &path, &headers, b"").await;
        assert_eq!((answer.status, String::from_utf8(answer.body).unwrap().as_str()), (status, content), "{headers:?}");
    }
}
