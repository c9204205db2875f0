//! Against hosts that are not all well-meaning.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::net::tls::SelfSigned;
use crate::net::{ClientTls, ConnectOptions, ServerTls, StaticResolver, Transport};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HOST: &str = "files.example";

/// A host that answers each connection, once its request's head is there, with the next of these, where `PORT` is its own;
/// what it was sent is returned in the end.
async fn host(answers: Vec<&'static str>, tls: Option<ServerTls>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (socket, _) = listener.accept().await.unwrap();
            let mut socket = Transport::Plain(socket);
            if let Some(tls) = &tls {
                socket = socket.upgrade_server(tls).await.unwrap();
            }
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(request).unwrap().to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            socket.read_exact(&mut body).await.unwrap();
            requests.push(head + &String::from_utf8_lossy(&body));
            socket.write_all(answer.replace("PORT", &port.to_string()).as_bytes()).await.unwrap();
            let _ = socket.shutdown().await;
        }
        requests
    });
    (port, serving)
}

fn https(trust: ClientTls) -> Https {
    let resolver = StaticResolver::new().with_address(HOST, Ipv4Addr::LOCALHOST);
    let resolver = resolver.with_address("other.example", Ipv4Addr::LOCALHOST);
    Https::new(Connector::with_options(Arc::new(resolver), trust, ConnectOptions::default()))
}

fn tls(names: &[&str]) -> (ServerTls, ClientTls) {
    let made = SelfSigned::generate(names, 1).unwrap();
    let trust = ClientTls::builder().only_roots().add_root_pem(made.certificate_pem.as_bytes()).unwrap();
    (ServerTls::single(made.certificate_key).unwrap(), trust.build().unwrap())
}

#[tokio::test]
async fn bodies_go_both_ways() {
    let (served, trust) = tls(&[HOST]);
    let (port, serving) =
        host(vec!["HTTP/1.1 201 Created\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\nthere"], Some(served)).await;
    let request =
        Request::put(format!("https://{HOST}:{port}/a%20b"), &b"hark and more"[..], 4).header("Cookie", "a=b");
    let response = https(trust).send(request).await.unwrap();
    assert_eq!((response.status(), response.header("etag"), response.content_length()), (201, Some("\"x\""), Some(5)));
    assert_eq!(response.bytes(5).await.unwrap(), b"there");
    let request = serving.await.unwrap().remove(0);
    assert!(request.starts_with("put /a%20b http/1.1\r\n") && request.ends_with("\r\n\r\nhark"), "{request}");
    assert!(request.contains("\r\ncookie: a=b\r\n") && request.contains("\r\ncontent-length: 4\r\n"), "{request}");
}

#[tokio::test]
async fn without_tls_only_where_that_is_allowed() {
    let (_, trust) = tls(&[HOST]);
    let (port, _serving) = host(vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], None).await;
    let url = format!("http://{HOST}:{port}/");
    let refused = https(trust.clone()).send(Request::get(&url)).await.unwrap_err();
    assert!(matches!(refused, HttpsError::Url(_)), "{refused}");
    let response = https(trust).allow_plain(true).send(Request::get(&url)).await.unwrap();
    assert_eq!(response.bytes(10).await.unwrap(), b"ok");
}

#[tokio::test]
async fn the_certificate_must_be_the_hosts() {
    let (served, trust) = tls(&["another.example"]);
    let (port, _serving) = host(vec![""], Some(served)).await;
    let error = https(trust).send(Request::get(format!("https://{HOST}:{port}/"))).await.unwrap_err();
    assert!(matches!(error, HttpsError::Tls(_)), "{error}");
}

#[tokio::test]
async fn rfc9110_15_4_redirections_are_few_and_take_no_secrets_elsewhere() {
    let (_, trust) = tls(&[HOST]);
    let there = "HTTP/1.1 302 Found\r\nLocation: http://other.example:PORT/b\r\n\r\n";
    let (port, serving) = host(vec![there, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], None).await;
    let request = || Request::get(format!("http://{HOST}:{port}/a")).header("Authorization", "Bearer s3cret");
    let https = https(trust).allow_plain(true);
    let response = https.send(request()).await.unwrap();
    assert_eq!(response.url(), format!("http://other.example:{port}/b"));
    let requests = serving.await.unwrap();
    assert!(requests[0].contains("s3cret") && !requests[1].contains("s3cret"), "{requests:?}");

    let (port, _serving) = host(vec!["HTTP/1.1 301 Moved\r\nLocation: /again\r\n\r\n"; 4], None).await;
    let request = Request::get(format!("http://{HOST}:{port}/a"));
    let error = https.redirects(2).send(request).await.unwrap_err();
    assert!(matches!(error, HttpsError::Redirected), "{error}");
}

#[tokio::test]
async fn nobody_is_led_from_tls_to_none_and_what_writes_is_not_led_at_all() {
    let (served, trust) = tls(&[HOST]);
    let down = "HTTP/1.1 302 Found\r\nLocation: http://files.example:PORT/b\r\n\r\n";
    let (port, _serving) = host(vec![down, down], Some(served)).await;
    let https = https(trust).allow_plain(true);
    let error = https.send(Request::get(format!("https://{HOST}:{port}/"))).await.unwrap_err();
    assert!(matches!(error, HttpsError::Redirected), "{error}");
    let put = Request::put(format!("https://{HOST}:{port}/"), &b"x"[..], 1);
    assert_eq!(https.send(put).await.unwrap().status(), 302);
}

#[tokio::test]
async fn what_ends_early_is_an_error_and_so_is_what_is_too_large() {
    let (_, trust) = tls(&[HOST]);
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort";
    let (port, _serving) = host(vec![short, "HTTP/1.1 200 OK\r\n\r\nas long as it likes"], None).await;
    let https = https(trust).allow_plain(true);
    let get = || Request::get(format!("http://{HOST}:{port}/"));
    let error = https.send(get()).await.unwrap().bytes(100).await.unwrap_err();
    assert!(matches!(error, HttpsError::Http(_)), "{error}");
    let error = https.send(get()).await.unwrap().bytes(4).await.unwrap_err();
    assert!(matches!(error, HttpsError::TooLarge), "{error}");
    let error = https.send(get().header("a b", "c")).await.unwrap_err();
    assert!(matches!(error, HttpsError::Header(_)), "{error}");
    let error = https.send(get().header("a", "c\r\nd: e")).await.unwrap_err();
    assert!(matches!(error, HttpsError::Header(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn abuse_a100_a_host_that_says_nothing_is_left() {
    let (_, trust) = tls(&[HOST]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let https = https(trust).allow_plain(true).patience(Duration::from_secs(5));
    let error = https.send(Request::get(format!("http://{HOST}:{port}/"))).await.unwrap_err();
    assert!(matches!(error, HttpsError::TimedOut | HttpsError::Connect(_)), "{error}");
    // A body of which nothing comes.
    let (_writer, reader) = tokio::io::duplex(1);
    let error = https.send(Request::put(format!("http://{HOST}:{port}/"), reader, 5)).await.unwrap_err();
    assert!(matches!(error, HttpsError::TimedOut | HttpsError::Connect(_)), "{error}");
}
