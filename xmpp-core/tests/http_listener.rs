//! The HTTP listener: what it serves, what it refuses, and how it ends.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xmpp_core::server::{Http, Limits, MemoryAccounts, Server, ServerBuilder, ServerRegistrar, WebPeer};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn builder() -> ServerBuilder {
    Server::builder("localhost").accounts(MemoryAccounts::new()).allow_plaintext()
}

/// Sends bytes and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read all of it.
    let _ = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn xep0156_4_host_meta_lists_what_is_mounted_and_any_script_may_read_it() {
    let server = builder().build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    let get = "GET /.well-known/host-meta HTTP/1.1\r\nHost: chat.example:5280\r\nConnection: close\r\n\r\n";
    let answer = exchange(address, get).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\naccess-control-allow-origin: *\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: application/xrd+xml\r\n"), "{answer}");
    let link = "<Link rel='urn:xmpp:alt-connections:websocket' href='ws://chat.example:5280/xmpp-websocket'/>";
    assert!(answer.contains(link), "{answer}");

    let server = builder().http(Http::new().public_url("https://chat.example.org/")).build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    let get = "GET /.well-known/host-meta.json HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n\r\n";
    let answer = exchange(address, get).await;
    assert!(answer.contains("\r\naccess-control-allow-origin: *\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    let link = &json["links"][0];
    assert_eq!(link["rel"], "urn:xmpp:alt-connections:websocket");
    assert_eq!(link["href"], "wss://chat.example.org/xmpp-websocket");
}

#[tokio::test]
async fn extensions_mount_routes_and_learn_who_asks() {
    let mount = |r: &mut ServerRegistrar| {
        let who =
            |axum::Extension(peer): axum::Extension<WebPeer>| async move { format!("{} {}", peer.ip, peer.secured) };
        r.http(axum::Router::new().route("/who", axum::routing::get(who)));
    };
    let http = Http::new().trusted_proxy("127.0.0.1".parse().unwrap());
    let server = builder().http(http).with(mount).build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    let get = "GET /who HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
               Connection: close\r\n\r\n";
    assert!(exchange(address, get).await.ends_with("\r\n\r\n192.0.2.1 true"));
    let get = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(address, get).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn abuse_a029_headers_that_never_end_close_the_connection() {
    let mut limits = Limits::default();
    limits.http.headers_time = Duration::from_millis(50);
    let server = builder().limits(limits).build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    // What is read is the end, which only the server can make.
    exchange(address, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    exchange(address, "").await;
}

#[tokio::test]
async fn abuse_a100_an_address_has_only_so_many_http_connections() {
    let mut limits = Limits::default();
    limits.http.connections_per_ip = 1;
    let server = builder().limits(limits).build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 8];
    first.read_exact(&mut some).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(second.read(&mut some).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let server = builder().build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    let lines = "X: y\r\n".repeat(100);
    let answer = exchange(address, &format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let line = format!("X: {}\r\n", "y".repeat(64 * 1024));
    let answer = exchange(address, &format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
}

#[tokio::test]
async fn shutdown_ends_connections_that_wait() {
    let server = builder().build().unwrap();
    let address = server.listen_http(LOOPBACK).await.unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 8];
    socket.read_exact(&mut some).await.unwrap();
    server.shutdown(Duration::from_secs(30)).await;
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(TcpStream::connect(address).await.is_err());
}
