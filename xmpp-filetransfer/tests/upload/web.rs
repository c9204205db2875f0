//! What the web server does with files.

use super::House;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn xep0363_7_a_file_is_put_fetched_and_removed() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a b.jpg", 4, Some("image/jpeg")).await;
    let path = house.path(&slot.put.url);
    assert_eq!(house.ask("GET", path, &[], b"").await.status, 404, "not yet");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "image/jpeg")];
    assert_eq!(house.ask("PUT", path, &headers, b"hark").await.status, 201);
    let answer = house.ask("GET", path, &[], b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hark".as_slice()));
    assert_eq!((answer.header("content-type"), answer.header("content-length")), ("image/jpeg", "4"));
    assert_eq!(answer.header("content-disposition"), "inline; filename=\"a b.jpg\"; filename*=UTF-8''a%20b.jpg");
    let head = house.ask("HEAD", path, &[("Range", "bytes=0-1")], b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "4", 0));

    assert_eq!(house.ask("DELETE", path, &[], b"").await.status, 403);
    assert_eq!(house.ask("DELETE", path, &[("Authorization", "Bearer x")], b"").await.status, 403);
    assert_eq!(house.ask("POST", path, &[], b"").await.status, 405);
    assert_eq!(house.ask("DELETE", path, &headers[..1], b"").await.status, 204);
    assert_eq!(house.ask("GET", path, &[], b"").await.status, 404);
    assert_eq!((house.files(), house.bytes_kept().await), ((0, 0), 0));
}

#[tokio::test]
async fn rfc9110_14_parts_of_files() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", b"0123456789", None).await;
    for (range, status, content, said) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=0-0,2-3", 200, "0123456789", ""),
        ("bytes=10-", 416, "the file ends before that\n", "bytes */10"),
    ] {
        let answer = house.ask("GET", &path, &[("Range", range)], b"").await;
        assert_eq!((answer.status, answer.header("content-range")), (status, said), "{range}");
        assert_eq!(answer.body, content.as_bytes(), "{range}");
        assert_eq!(answer.header("content-length"), content.len().to_string(), "{range}");
    }
    let tag = house.ask("GET", &path, &[], b"").await.header("etag").to_owned();
    let part = [("Range", "bytes=5-"), ("If-Range", tag.as_str())];
    assert_eq!(house.ask("GET", &path, &part, b"").await.status, 206);
    for other in ["\"other\"", "Tue, 15 Nov 1994 12:45:26 GMT"] {
        assert_eq!(house.ask("GET", &path, &[("Range", "bytes=5-"), ("If-Range", other)], b"").await.status, 200);
    }
}

#[tokio::test]
async fn rfc9110_13_what_one_has_is_not_sent_again() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", b"hark", None).await;
    let tag = house.ask("GET", &path, &[], b"").await.header("etag").to_owned();
    let weak = format!("\"x\", W/{tag}");
    for tags in [tag.as_str(), &weak, "*"] {
        let answer = house.ask("GET", &path, &[("If-None-Match", tags)], b"").await;
        assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, tag.as_str()));
    }
    assert_eq!(house.ask("GET", &path, &[("If-None-Match", "\"x\"")], b"").await.status, 200);
    assert_eq!(house.ask("GET", &path, &[("If-Match", "\"x\"")], b"").await.status, 412);
    assert_eq!(house.ask("GET", &path, &[("If-Match", &tag)], b"").await.status, 200);
}

#[tokio::test]
async fn xep0363_8_scripts_of_any_origin_may_use_it() {
    let house = House::new(|_| {}).await;
    let (slot, _) = house.slot("a", 4, None).await;
    let asks = [("Origin", "https://chat.example"), ("Access-Control-Request-Method", "PUT")];
    let answer = house.ask("OPTIONS", house.path(&slot.put.url), &asks, b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "*"));
    assert!(answer.header("access-control-allow-methods").contains("PUT"));
    assert!(answer.header("access-control-allow-headers").contains("Authorization, Content-Type"));
    // Also what is refused can be read by the script that asked.
    let answer = house.ask("GET", "/upload/x/y", &[], b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (404, "*"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

#[tokio::test]
async fn files_expire_and_are_swept() {
    let house = House::new(|settings| settings.keep = Some(std::time::Duration::from_secs(1_000))).await;
    let (path, _) = house.file("a", b"hark", None).await;
    house.later.store(990, Ordering::Relaxed);
    let answer = house.ask("GET", &path, &[], b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("cache-control").starts_with("private, max-age="), "{answer:?}");
    house.later.store(1_001, Ordering::Relaxed);
    assert_eq!(house.ask("GET", &path, &[], b"").await.status, 404, "before anybody has swept");
    assert_eq!((house.files(), house.bytes_kept().await), ((1, 0), 4));
    // Time passes by itself while nobody has anything to do.
    tokio::time::pause();
    while house.bytes_kept().await > 0 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(house.files(), (0, 0));
}

#[tokio::test]
async fn without_a_type_or_a_length_files_are_taken_too() {
    let house = House::new(|_| {}).await;
    let (slot, authorization) = house.slot("a", 9, Some("image/png")).await;
    let headers = [("Authorization", authorization.as_str()), ("Transfer-Encoding", "chunked")];
    let body = b"4\r\nhark\r\n5\r\n, now\r\n0\r\n\r\n";
    assert_eq!(house.ask("PUT", house.path(&slot.put.url), &headers, body).await.status, 201);
    let answer = house.ask("GET", house.path(&slot.get.url), &[], b"").await;
    assert_eq!((answer.header("content-type"), answer.body.as_slice()), ("image/png", b"hark, now".as_slice()));
}

#[tokio::test]
async fn the_address_may_be_encoded_otherwise_but_names_the_same() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("très cool.jpg", b"hark", None).await;
    let (id, _) = path.rsplit_once('/').unwrap();
    for name in ["tr%c3%a8s%20cool.jpg", "%74r%C3%A8s%20cool%2ejpg"] {
        assert_eq!(house.ask("GET", &format!("{id}/{name}"), &[], b"").await.status, 200, "{name}");
    }
    assert_eq!(house.ask("GET", &format!("{path}?x=y"), &[], b"").await.status, 200);
}
