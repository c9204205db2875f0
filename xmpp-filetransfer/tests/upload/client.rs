//! Our client, at our server and at others.

use super::House;
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use xmpp_core::payload::Payload as _;
use xmpp_filetransfer::{
    share::OutOfBand,
    upload::client::{Downloaded, UploadClient as _, UploadError},
};

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// What is in a folder.
fn names(folder: &tempfile::TempDir) -> Vec<String> {
    std::fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn xep0363_a_file_goes_up_and_comes_down_under_tls() {
    let house = House::made(true, |_| {}, |uploads| uploads).await;
    let (juliet, _events) = house.client_with("juliet", |settings| settings.allow_http = false).await;
    let uploads = juliet.uploads().unwrap();
    let service = uploads.service().await.unwrap();
    assert_eq!((service.jid.as_str(), service.max_file_size), ("upload.localhost", Some(100 << 20)));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("très cool.jpg");
    let sent = content(1_000_000);
    std::fs::write(&file, &sent).unwrap();
    let mut upload = uploads.put_path(&file, Some("image/jpeg")).await.unwrap();
    let mut seen = 0;
    while let Some(progress) = upload.changed().await {
        assert!(progress.done >= seen && progress.total == Some(1_000_000));
        seen = progress.done;
    }
    assert_eq!(seen, 1_000_000);
    let uploaded = upload.finish().await.unwrap();
    assert!(uploaded.url.starts_with("https://") && uploaded.url.ends_with("/tr%C3%A8s%20cool.jpg"));

    let message = uploaded.message("romeo@localhost".parse::<xmpp_core::jid::Jid>().unwrap()).build();
    assert_eq!(message.body().as_deref(), Some(uploaded.url.as_str()));
    let stanza = message.stanza();
    let oob =
        stanza.root().children().find(|child| OutOfBand::matches(*child)).map(|child| OutOfBand::read(child).unwrap());
    assert_eq!(oob, Some(OutOfBand::new(&uploaded.url)));

    let copy = folder.path().join("copy.jpg");
    let fetched = uploads.get(&uploaded.url).to_path(&copy).finish().await.unwrap();
    assert_eq!((fetched.size, fetched.content_type.as_deref()), (1_000_000, Some("image/jpeg")));
    assert_eq!(std::fs::read(&copy).unwrap(), sent);
    assert_eq!(names(&folder).len(), 2, "nothing else stays");

    uploaded.delete().await.unwrap();
    let gone = uploads.get(&uploaded.url).to_path(folder.path().join("none")).finish().await;
    assert!(matches!(gone, Err(UploadError::Status { status: 404, .. })), "{gone:?}");
    assert_eq!(names(&folder).len(), 2, "nor of what failed");
}

#[tokio::test]
async fn what_goes_wrong_has_a_name() {
    let house = House::new(|settings| {
        settings.max_file_size = 1_000;
        settings.quota.user_bytes = Some(1_500);
    })
    .await;
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let put = |size: usize| {
        let uploads = uploads.clone();
        async move { uploads.put(std::io::Cursor::new(content(size)), u64::try_from(size).unwrap(), "a", None).await }
    };
    let too_large = put(1_001).await.unwrap_err();
    assert!(matches!(too_large, UploadError::TooLarge { limit: Some(1_000) }), "{too_large}");
    assert!(too_large.to_string().contains("at most 1000 bytes"), "{too_large}");
    put(1_000).await.unwrap().finish().await.unwrap();
    let later = put(1_000).await.unwrap_err();
    assert!(matches!(later, UploadError::Later { until: Some(_), .. }), "{later}");
    // A file that is shorter than it was.
    let short = uploads.put(&b"har"[..], 4, "a", None).await.unwrap().finish().await.unwrap_err();
    assert!(matches!(short, UploadError::Https(_)), "{short}");
    let none = uploads.put_path("no such file", None).await.unwrap_err();
    assert!(matches!(none, UploadError::File(_)), "{none}");
    // A host that is busy says for how long.
    let busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_vec();
    let busy = uploads.get(host(vec![busy]).await.0).to(tokio::io::sink()).finish().await.unwrap_err();
    let seven = Some(std::time::Duration::from_secs(7));
    assert!(matches!(&busy, UploadError::Status { status: 503, retry_after } if *retry_after == seven), "{busy}");
    // An address without TLS, where that is not allowed.
    let (romeo, _others) = house.client_with("romeo", |settings| settings.allow_http = false).await;
    let open = romeo.uploads().unwrap().put(&b"hark"[..], 4, "a", None).await.unwrap_err();
    assert!(open.to_string().contains("no address that is asked"), "{open}");
}

#[tokio::test]
async fn abuse_a088_no_more_is_fetched_than_is_wanted() {
    let house = House::new(|_| {}).await;
    let (path, _) = house.file("a", &content(5_000), None).await;
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let url = format!("{}{path}", house.url);
    let refused = uploads.get(&url).max_bytes(4_999).to(tokio::io::sink()).finish().await;
    assert!(matches!(refused, Err(UploadError::TooLarge { limit: Some(4_999) })), "{refused:?}");
    let fetched = uploads.get(&url).max_bytes(5_000).to(tokio::io::sink()).finish().await.unwrap();
    assert_eq!(fetched.size, 5_000);
    // The rest of what is there in part.
    let fetched = uploads.get(&url).from(4_000).to(tokio::io::sink()).finish().await.unwrap();
    assert_eq!(fetched.size, 5_000);
    let fetched = uploads.get(&url).from(5_000).to(tokio::io::sink()).finish().await.unwrap();
    assert_eq!(fetched.size, 5_000);
    // Nor from this machine, for who fetches what strangers name.
    let (romeo, _others) = house.client_with("romeo", |settings| settings.private_addresses = false).await;
    let refused = romeo.uploads().unwrap().get(&url).to(tokio::io::sink()).finish().await.unwrap_err();
    assert!(refused.to_string().contains("none of its addresses is a public one"), "{refused}");
}

/// A host that answers each request with the next of these and then hangs up, and the ranges that were asked for.
async fn host(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap().to_lowercase();
            let lines = request.lines().filter(|line| line.starts_with("range") || line.starts_with("if-range"));
            noted.lock().unwrap().push(lines.collect::<Vec<_>>().join("; "));
            socket.write_all(&answer).await.unwrap();
            let _ = socket.shutdown().await;
            // Until the other end has seen it.
            let _ = socket.read(&mut [0; 1]).await;
        }
    });
    (url, asked)
}

async fn fetched(answers: &[&str]) -> (Result<Downloaded, UploadError>, Vec<String>, Option<Vec<u8>>) {
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let (url, asked) = host(answers.iter().map(|answer| answer.as_bytes().to_vec()).collect()).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file");
    let fetched = juliet.uploads().unwrap().get(url).to_path(&to).finish().await;
    let asked = asked.lock().unwrap().clone();
    let content = std::fs::read(&to).ok();
    assert_eq!(names(&folder).len(), usize::from(content.is_some()), "no half file stays");
    (fetched, asked, content)
}

#[tokio::test]
async fn rfc9110_14_what_breaks_off_goes_on_where_it_was() {
    let (done, asked, content) = fetched(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"one\"\r\n\r\n0123",
        "HTTP/1.1 206 Partial\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\nETag: \"one\"\r\n\r\n456",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"one\"\r\n\r\n0123456789",
    ])
    .await;
    assert_eq!(done.unwrap().size, 10);
    assert_eq!(content.as_deref(), Some(b"0123456789".as_slice()));
    assert_eq!(asked, ["", "range: bytes=4-; if-range: \"one\"", "range: bytes=7-; if-range: \"one\""]);
}

#[tokio::test]
async fn rfc9110_13_1_5_of_two_files_none_is_made() {
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"one\"\r\n\r\n0123";
    for second in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"two\"\r\n\r\nabcdefghij",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: \"one\"\r\n\r\nabcdefghijk",
        "HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nContent-Range: bytes 5-9/10\r\n\r\n56789",
        "HTTP/1.1 206 Partial\r\nContent-Length: 6\r\n\r\n456789",
    ] {
        let (done, _, content) = fetched(&[first, second]).await;
        assert!(matches!(done, Err(UploadError::Changed)), "{second}: {done:?}");
        assert_eq!(content, None);
    }
}

#[tokio::test]
async fn a_host_that_breaks_off_time_and_again_is_given_up() {
    let mut answers = vec!["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0"];
    answers.extend(["HTTP/1.1 206 Partial\r\nContent-Length: 9\r\nContent-Range: bytes 1-9/10\r\n\r\n"; 9]);
    let (done, asked, content) = fetched(&answers).await;
    assert!(matches!(done, Err(UploadError::Https(_))), "{done:?}");
    assert_eq!((asked.len(), content), (6, None));
}

#[tokio::test]
async fn what_is_cancelled_leaves_nothing_at_either_end() {
    let house = House::new(|_| {}).await;
    let (juliet, _events) = house.client("juliet").await;
    let uploads = juliet.uploads().unwrap();
    let (mut writer, reader) = tokio::io::duplex(1024);
    let mut upload = uploads.put(reader, 1_000_000, "a", None).await.unwrap();
    writer.write_all(b"hark").await.unwrap();
    assert_eq!(upload.changed().await.unwrap().done, 4);
    while house.files().1 == 0 {
        tokio::task::yield_now().await;
    }
    upload.cancel();
    while house.files().1 > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.files(), (0, 0));
}
