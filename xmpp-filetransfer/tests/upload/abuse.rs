//! Those who do not mean well.

use super::{House, dripped, store::At};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

#[tokio::test]
async fn abuse_a087_no_name_touches_the_disk() {
    let house = House::new(|_| {}).await;
    let huge = "x".repeat(4096);
    for name in ["../../etc/passwd", "%2e%2e%2fx", "..\\x", "/etc/x", "gpj.\u{202E}exe", "..", "CON", &huge] {
        let (path, _) = house.file(name, b"hark", None).await;
        let answer = house.ask("GET", &path, &[], b"").await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"hark".as_slice()), "{name}");
        let disposition = answer.header("content-disposition");
        assert!(!disposition.contains(['/', '\\']) && !disposition.contains("..\""), "{disposition}");
        assert!(disposition.len() < 1200);
    }
    // All that is in the folder has the names of ids.
    let shelves = std::fs::read_dir(house.folder.path().join("files")).unwrap();
    for file in shelves.flat_map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap()) {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            name.len() == 26 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
            "{name}"
        );
    }
    assert_eq!(std::fs::read_dir(house.folder.path()).unwrap().count(), 3, "and the key");
}

#[tokio::test]
async fn abuse_a088_a_slot_takes_what_it_is_for_and_that_once() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, Some("image/png")).await;
    let path = house.path(&slot.put.url);
    let own = ("Authorization", authorization.as_str());
    for (headers, body, status) in [
        (vec![own], b"harks".as_slice(), 413),
        (vec![own], b"har", 400),
        (vec![own, ("Content-Type", "text/html")], b"hark", 415),
        (vec![own, ("Content-Range", "bytes 0-3/8")], b"hark", 400),
        (vec![own, ("Content-Encoding", "gzip")], b"hark", 415),
        (vec![], b"hark", 403),
        (vec![("Authorization", "Bearer x")], b"hark", 403),
        (vec![("Authorization", "Basic x")], b"hark", 403),
        (vec![own, ("Transfer-Encoding", "chunked")], b"3\r\nhar\r\n0\r\n\r\n", 400),
        (vec![own, ("Transfer-Encoding", "chunked")], b"5\r\nharks\r\n0\r\n\r\n", 413),
    ] {
        let answer = house.ask("PUT", path, &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(house.files(), (0, 0), "nothing stays");
    }
    let headers = [own, ("Content-Type", "image/png")];
    assert_eq!(house.ask("PUT", path, &headers, b"hark").await.status, 201);
    for again in [b"hark".as_slice(), b"mark", b"harks"] {
        assert_eq!(house.ask("PUT", path, &headers, again).await.status, 409);
    }
    assert_eq!(house.ask("GET", path, &[], b"").await.body, b"hark");
    // Once it is removed the slot is gone too.
    assert_eq!(house.ask("DELETE", path, &[own], b"").await.status, 204);
    assert_eq!(house.ask("PUT", path, &headers, b"hark").await.status, 404);
}

#[tokio::test]
async fn abuse_a088_an_expired_slot_takes_nothing() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    house.later.store(300, Ordering::Relaxed);
    let answer = house.ask("PUT", house.path(&slot.put.url), &[("Authorization", &authorization)], b"hark").await;
    assert_eq!((answer.status, house.files()), (410, (0, 0)));
}

/// Waits until something of a file has come.
async fn begun(house: &House) {
    while house.files().1 == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn abuse_a088_what_breaks_off_leaves_nothing_and_may_be_put_again() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    let path = house.path(&slot.put.url);
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    let head =
        format!("PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 4\r\n\r\nha");
    socket.write_all(head.as_bytes()).await.unwrap();
    begun(&house).await;
    // Meanwhile nobody else puts it, nor is it removed.
    let own = [("Authorization", authorization.as_str())];
    assert_eq!(house.ask("PUT", path, &own, b"hark").await.status, 409);
    assert_eq!(house.ask("DELETE", path, &own, b"").await.status, 409);
    drop(socket);
    while house.files().1 > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.ask("PUT", path, &own, b"hark").await.status, 201);
    assert_eq!(house.ask("GET", path, &[], b"").await.body, b"hark");
}

#[tokio::test]
async fn abuse_a088_chunks_without_end_are_cut_at_the_size_of_the_slot() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 100_000, None).await;
    let path = house.path(&slot.put.url);
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let (mut reading, mut writing) = socket.split();
    let flood = async { while writing.write_all(chunk.as_bytes()).await.is_ok() {} };
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = reading.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::join!(flood, read);
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(house.files(), (0, 0));
}

#[tokio::test]
async fn abuse_a088_who_sends_drop_by_drop_has_a_time() {
    // Not a byte a second is enough, whatever comes within the time for any silence.
    let house = House::new(|settings| settings.put_rate = u64::MAX).await;
    let (slot, authorization) = house.slot("a", 1_000_000, None).await;
    let path = house.path(&slot.put.url);
    let mut socket = TcpStream::connect(house.address).await.unwrap();
    let head =
        format!("PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 1000000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    begun(&house).await;
    dripped(&mut socket).await;
    assert_eq!(house.files(), (0, 0));
}

#[tokio::test]
async fn abuse_a089_nothing_that_can_hold_a_script_is_shown() {
    let house = House::new(|_| {}).await;
    for (name, content_type) in [
        ("a.html", "text/html"),
        ("b.svg", "image/svg+xml"),
        ("c.xhtml", "application/xhtml+xml"),
        ("d.html", "image/png"),
    ] {
        let (path, _) = house.file(name, b"<script>alert(1)</script>", Some(content_type)).await;
        let answer = house.ask("GET", &path, &[], b"").await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'; sandbox");
        if content_type == "image/png" {
            assert_eq!(answer.header("content-type"), "image/png");
        } else {
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            assert!(answer.header("content-disposition").starts_with("attachment;"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn abuse_a091_odd_paths_lead_nowhere() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a.txt", b"hark", None).await;
    let id = path.strip_prefix("/upload/").unwrap().strip_suffix("/a.txt").unwrap();
    let upper = id.to_uppercase();
    for odd in [
        format!("/upload//{id}/a.txt"),
        format!("//upload/{id}/a.txt"),
        format!("/upload/{id}//a.txt"),
        format!("/upload/{id}/a.txt/"),
        format!("/upload/{id}/../{id}/a.txt"),
        format!("/upload/x/../{id}/a.txt"),
        format!("/upload/%2e%2e/{id}/a.txt"),
        format!("/upload/{id}/a.txt;x=y"),
        format!("/upload/{id};x=y/a.txt"),
        format!("/upload/{upper}/a.txt"),
        format!("/UPLOAD/{id}/a.txt"),
        format!("/upload/{id}/A.TXT"),
        format!("/upload/{id}/a.txt."),
        format!("/upload/{id}/a%252etxt"),
        format!("/upload/{id}/a.txt%00"),
        format!("/upload/{id}/%ff"),
        format!("/upload/{id}/%"),
        format!("/upload/{id}/"),
        format!("/upload/{id}"),
        format!("/upload/{}/a.txt", &id[..31]),
        format!("/upload/{}%2e/a.txt", &id[..31]),
        "/upload/..%2f..%2fetc%2fpasswd/x".to_owned(),
        "/upload/".to_owned(),
        "/upload".to_owned(),
    ] {
        let answer = house.ask("GET", &odd, &[], b"").await;
        assert_eq!(answer.status, 404, "{odd}: {answer:?}");
    }
    assert_eq!(house.ask("GET", &path, &[], b"").await.status, 200);
}

#[tokio::test]
async fn abuse_a100_so_many_are_put_at_a_time_and_no_more() {
    let house = House::new(|settings| {
        settings.puts = 3;
        settings.puts_of_user = 2;
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (slot, authorization) = house.slot("a", 4, None).await;
        let path = house.path(&slot.put.url);
        let mut socket = TcpStream::connect(house.address).await.unwrap();
        let head =
            format!("PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 4\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        held.push(socket);
        while house.files().1 < held.len() {
            tokio::task::yield_now().await;
        }
    }
    let (slot, authorization) = house.slot("a", 4, None).await;
    let own = [("Authorization", authorization.as_str())];
    let answer = house.ask("PUT", house.path(&slot.put.url), &own, b"hark").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "10"));
    drop(held);
    while house.files().1 > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.ask("PUT", house.path(&slot.put.url), &own, b"hark").await.status, 201);
}

#[tokio::test]
async fn abuse_a088_a_put_that_comes_too_late_takes_nothing_away() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    let (path, own) = (house.path(&slot.put.url), [("Authorization", authorization.as_str())]);
    let (found, go) = house.store.hold(At::Find);
    // It has found an empty slot, and looks away for as long as another takes.
    let late = house.ask("PUT", path, &own, b"mark");
    let first = async {
        found.await.unwrap();
        let answer = house.ask("PUT", path, &own, b"hark").await;
        go.send(()).unwrap();
        answer
    };
    let (late, first) = tokio::join!(late, first);
    assert_eq!((first.status, late.status), (201, 409));
    let answer = house.ask("GET", path, &[], b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hark".as_slice()));
    assert_eq!(house.files(), (1, 0));
}

#[tokio::test]
async fn abuse_a088_what_is_put_while_it_is_removed_does_not_stay_unknown() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    let (path, own) = (house.path(&slot.put.url), [("Authorization", authorization.as_str())]);
    let (removing, go) = house.store.hold(At::Remove);
    let remove = house.ask("DELETE", path, &own, b"");
    let put = async {
        removing.await.unwrap();
        let answer = house.ask("PUT", path, &own, b"hark").await;
        go.send(()).unwrap();
        answer
    };
    let (removed, put) = tokio::join!(remove, put);
    // It is not said to be there and gone in the next moment.
    assert_eq!((put.status, removed.status), (409, 204));
    assert_eq!(house.ask("GET", path, &[], b"").await.status, 404);
    assert_eq!((house.files(), house.bytes_kept().await), ((0, 0), 0), "nothing stays that nobody knows of");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn abuse_a088_a_full_disk_is_told_of_and_leaves_nothing() {
    let house = House::new(|_| {}).await;
    // What is found out when it is written, and what only when it is to be kept.
    for size in [1_000_000, 4] {
        let (slot, authorization) = house.slot("a", size, None).await;
        let (path, own) = (house.path(&slot.put.url), [("Authorization", authorization.as_str())]);
        let id = house.id(&slot.put.url);
        std::os::unix::fs::symlink("/dev/full", house.folder.path().join("parts").join(id)).unwrap();
        let body = vec![b'x'; usize::try_from(size).unwrap()];
        let answer = house.ask("PUT", path, &own, &body).await;
        assert_eq!((answer.status, answer.header("retry-after"), house.files()), (507, "10", (0, 0)));
        assert_eq!(house.ask("GET", path, &[], b"").await.status, 404);
        // With room again the slot is still good.
        assert_eq!(house.ask("PUT", path, &own, &body).await.status, 201);
        assert_eq!(house.ask("DELETE", path, &own, b"").await.status, 204);
    }
}

#[tokio::test]
async fn rfc9112_9_6_who_sends_all_before_it_listens_hears_why_not() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    let path = house.path(&slot.put.url);
    for (authorization, begins) in [("Bearer x", "HTTP/1.1 403 "), (&authorization, "HTTP/1.1 413 ")] {
        let mut socket = TcpStream::connect(house.address).await.unwrap();
        let length = 3 << 20;
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..length >> 16 {
            // At the pace of a network, so that the answer comes long before the end.
            sleep(Duration::from_millis(2)).await;
            socket.write_all(&[0; 1 << 16]).await.unwrap();
        }
        let mut answer = vec![0; begins.len()];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), begins);
    }
}

#[tokio::test]
async fn abuse_a088_who_asks_first_is_not_invited_to_send_what_is_refused() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    let path = house.path(&slot.put.url);
    for (authorization, length, begins) in
        [("Bearer x", 4, "HTTP/1.1 403 "), (&authorization, 5, "HTTP/1.1 413 "), (&authorization, 4, "HTTP/1.1 100 ")]
    {
        let mut socket = TcpStream::connect(house.address).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; begins.len()];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), begins);
    }
}

#[tokio::test]
async fn abuse_a091_no_other_method_does_anything() {
    let house = House::new(|_| {}).await;
    let (path, authorization) = house.file("a", b"hark", None).await;
    let own = ("Authorization", authorization.as_str());
    for method in ["TRACE", "POST", "PATCH", "PROPFIND", "MOVE", "LINK", "delete", "X"] {
        for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
            let answer = house.ask(method, &path, &[own, (header, "DELETE")], b"").await;
            assert_eq!((answer.status, answer.body.len()), (405, 0), "{method}");
        }
    }
    for query in ["?_method=DELETE", "?X-HTTP-Method-Override=PUT"] {
        assert_eq!(house.ask("GET", &format!("{path}{query}"), &[own], b"").await.body, b"hark");
    }
    assert_eq!(house.ask("GET", &path, &[], b"").await.body, b"hark");
}

#[tokio::test]
async fn abuse_a088_chunks_say_how_long_they_are_and_nothing_else() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 4, None).await;
    let path = house.path(&slot.put.url);
    let own = ("Authorization", authorization.as_str());
    let chunked = [own, ("Transfer-Encoding", "chunked")];
    for (body, status) in [
        (b"ffffffffffffffff\r\nharks".as_slice(), 413),
        (b"fffffffffffffffff\r\nhark", 400),
        (b"-4\r\nhark\r\n0\r\n\r\n", 400),
        (b"4 \nhark\r\n0\r\n\r\n", 400),
        (b"4\r\nharks\r\n0\r\n\r\n", 400),
    ] {
        assert_eq!(house.ask("PUT", path, &chunked, body).await.status, status, "{}", String::from_utf8_lossy(body));
        assert_eq!(house.files(), (0, 0));
    }
    // Trailers change nothing of what was said before.
    let body = b"4\r\nhark\r\n0\r\nContent-Type: text/html\r\nAuthorization: x\r\n\r\n";
    assert_eq!(house.ask("PUT", path, &chunked, body).await.status, 201);
    assert_eq!(house.ask("GET", path, &[], b"").await.header("content-type"), "application/octet-stream");
}
