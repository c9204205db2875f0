//! Finding a domain's WebSocket, against web servers that are not all well-meaning.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::discover::Places;
use super::{Redirect, WebSocketError, WebUrl, connect, discover};
use crate::client::{Client, Event};
use crate::jid::BareJid;
use crate::net::tls::SelfSigned;
use crate::net::{ClientTls, ConnectOptions, Connector, ServerTls, SrvRecord, StaticResolver, Transport};
use crate::server::{Http, MemoryAccounts, Server};
use crate::xml::XmlLimits;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const DOMAIN: &str = "chat.example";

/// What the authority of this test vouches for, and who trusts it.
fn tls(name: &str) -> (ServerTls, ClientTls) {
    let made = SelfSigned::generate(&[name], 1).unwrap();
    let trust = ClientTls::builder().only_roots().add_root_pem(made.certificate_pem.as_bytes()).unwrap();
    (ServerTls::single(made.certificate_key).unwrap(), trust.build().unwrap())
}

/// A web server that answers each path with a status line, headers and a body, where `PORT` is its own.
async fn web(tls: ServerTls, answers: &'static [(&'static str, &'static str)]) -> u16 {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut socket) = Transport::Plain(socket).https_server(&tls).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            let path = String::from_utf8(request).unwrap().split(' ').nth(1).unwrap().to_owned();
            let answer =
                answers.iter().find(|(at, _)| *at == path).map_or("404 Not Found\r\n\r\n", |(_, answer)| answer);
            let answer =
                format!("HTTP/1.1 {}", answer.replace("PORT", &port.to_string()).replace("LARGE", &" ".repeat(70_000)));
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    port
}

fn connector(trust: ClientTls, port: u16) -> Connector {
    let options = ConnectOptions { https_port: port, ..ConnectOptions::default() };
    Connector::with_options(Arc::new(StaticResolver::new().with_address(DOMAIN, Ipv4Addr::LOCALHOST)), trust, options)
}

async fn found(answers: &'static [(&'static str, &'static str)]) -> Result<Places, WebSocketError> {
    let (served, trust) = tls(DOMAIN);
    discover(&connector(trust, web(served, answers).await), DOMAIN).await
}

const JSON: &str = "200 OK\r\nConnection: close\r\n\r\n{\"links\":[{\"rel\":\"urn:xmpp:alt-connections:websocket\",\
    \"href\":\"ws://open.example/\"},{\"rel\":\"urn:xmpp:alt-connections:websocket\",\"href\":\"wss://ws.example/x\"}]}";
const XRD: &str = "200 OK\r\nConnection: close\r\n\r\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\
    <Link rel='urn:xmpp:alt-connections:websocket' href='wss://ws.example/x'/></XRD>";
const FIRST: &str = "/.well-known/host-meta.json";
const SECOND: &str = "/.well-known/host-meta";

#[tokio::test]
async fn xep0156_4_either_document_is_enough_and_only_tls_counts() {
    let expected = [WebUrl::websocket("wss://ws.example/x").unwrap()];
    let cases: [&[(&str, &str)]; 6] = [
        &[(FIRST, JSON)],
        &[(SECOND, XRD)],
        &[(FIRST, "200 OK\r\nContent-Length: 1\r\n\r\n{"), (SECOND, XRD)],
        &[(FIRST, "302 Found\r\nLocation: https://chat.example:PORT/there\r\n\r\n"), ("/there", JSON)],
        &[(FIRST, "301 Moved\r\nLocation: /there\r\n\r\n"), ("/there", JSON)],
        &[(FIRST, "200 OK\r\nConnection: close\r\n\r\n{}LARGE"), (SECOND, XRD)],
    ];
    for answers in cases {
        assert_eq!(found(answers).await.unwrap().websockets, expected, "{answers:?}");
    }
}

#[tokio::test]
async fn redirections_are_few_and_stay_under_tls() {
    let cases: [&[(&str, &str)]; 3] = [
        &[(FIRST, "302 Found\r\nLocation: http://chat.example:PORT/there\r\n\r\n"), ("/there", JSON)],
        &[(FIRST, "302 Found\r\nLocation: /.well-known/host-meta.json\r\n\r\n")],
        &[(FIRST, "200 OK\r\nConnection: close\r\n\r\n{\"links\":[]}")],
    ];
    for answers in cases {
        let error = found(answers).await.unwrap_err();
        assert!(matches!(error, WebSocketError::NotOffered(_)), "{error}");
    }
}

#[tokio::test]
async fn the_certificate_must_be_the_domains() {
    let (served, trust) = tls("other.example");
    let error = discover(&connector(trust, web(served, &[(FIRST, JSON)]).await), DOMAIN).await.unwrap_err();
    assert!(matches!(error, WebSocketError::Tls(_)), "{error}");
}

#[tokio::test]
async fn abuse_a083_who_reaches_public_hosts_alone_asks_no_other() {
    let (served, trust) = tls(DOMAIN);
    let port = web(served, &[(FIRST, JSON)]).await;
    let options = ConnectOptions { https_port: port, public_only: true, ..ConnectOptions::default() };
    let resolver = StaticResolver::new().with_address(DOMAIN, Ipv4Addr::LOCALHOST);
    let connector = Connector::with_options(Arc::new(resolver), trust, options);
    let error = discover(&connector, DOMAIN).await.unwrap_err();
    assert!(matches!(error, WebSocketError::Connect(_)), "{error}");
}

#[tokio::test]
async fn what_does_not_speak_xmpp_is_no_websocket() {
    let (served, trust) = tls(DOMAIN);
    let without = "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let port = web(served, Box::leak(Box::new([("/a", "200 OK\r\nContent-Length: 0\r\n\r\n"), ("/b", without)]))).await;
    let connector = connector(trust, port);
    for (path, says) in [("a", "200"), ("b", "another key"), ("c", "404")] {
        let url = WebUrl::websocket(&format!("wss://{DOMAIN}:{port}/{path}")).unwrap();
        let error = connect(&connector, &url, XmlLimits::authenticated(), Redirect::default()).await.unwrap_err();
        assert!(error.to_string().contains(says), "{path}: {error}");
    }
}

#[tokio::test]
async fn xep0156_4_where_no_port_answers_a_client_that_may_goes_by_websocket() {
    let (served, trust) = tls(DOMAIN);
    let accounts = MemoryAccounts::new();
    accounts.set_password(BareJid::new("juliet@chat.example").unwrap(), "r0m30");
    let server = Server::builder(DOMAIN).accounts(accounts).tls(served).http(Http::new()).build().unwrap();
    let port = server.listen_https(ANY).await.unwrap().port();
    // Nobody listens there: it was free a moment ago, and is bound without listening now.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(ANY).unwrap();
    let record =
        SrvRecord { priority: 0, weight: 0, port: closed.local_addr().unwrap().port(), target: DOMAIN.to_owned() };
    let client = || {
        let resolver = StaticResolver::new()
            .with_srv("_xmpp-client._tcp.chat.example", record.clone())
            .with_address(DOMAIN, Ipv4Addr::LOCALHOST);
        Client::builder("juliet@chat.example".parse().unwrap(), "r0m30")
            .tls(trust.clone())
            .resolver(resolver)
            .connect_options(ConnectOptions { https_port: port, ..ConnectOptions::default() })
            .no_reconnect()
    };
    let (juliet, mut events) = client().discover_web().connect().unwrap();
    let Some(Event::Online { tls, .. }) = events.next().await else { panic!("not online") };
    assert!(tls.is_some_and(|tls| tls.starts_with("TLS 1.3")));
    assert!(juliet.close().await);
    let (_juliet, mut events) = client().connect().unwrap();
    let Some(Event::Offline { .. }) = events.next().await else { panic!("online") };
}

/// One that knows BOSH alone, or a WebSocket besides that does not answer as one.
#[cfg(feature = "bosh")]
#[tokio::test]
async fn xep0156_4_where_no_websocket_answers_a_client_that_may_goes_by_bosh() {
    let (served, trust) = tls(DOMAIN);
    let accounts = MemoryAccounts::new();
    accounts.set_password(BareJid::new("juliet@chat.example").unwrap(), "r0m30");
    let server = Server::builder(DOMAIN).accounts(accounts).tls(served.clone()).http(Http::new()).build().unwrap();
    let bosh = server.listen_https(ANY).await.unwrap().port();
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(ANY).unwrap();
    let port = closed.local_addr().unwrap().port();
    let record = SrvRecord { priority: 0, weight: 0, port, target: DOMAIN.to_owned() };
    let websocket = r#"{"rel":"urn:xmpp:alt-connections:websocket","href":"wss://chat.example:PORT/none"},"#;
    for websocket in ["", websocket] {
        let link =
            format!(r#"{{"rel":"urn:xmpp:alt-connections:xbosh","href":"https://chat.example:{bosh}/http-bind"}}"#);
        let answer = format!("200 OK\r\nConnection: close\r\n\r\n{{\"links\":[{websocket}{link}]}}");
        let answers: &'static [_] = Box::leak(Box::new([(FIRST, &*answer.leak())]));
        let meta = web(served.clone(), answers).await;
        let resolver = StaticResolver::new()
            .with_srv("_xmpp-client._tcp.chat.example", record.clone())
            .with_address(DOMAIN, Ipv4Addr::LOCALHOST);
        let (juliet, mut events) = Client::builder("juliet@chat.example".parse().unwrap(), "r0m30")
            .tls(trust.clone())
            .resolver(resolver)
            .connect_options(ConnectOptions { https_port: meta, ..ConnectOptions::default() })
            .no_reconnect()
            .discover_web()
            .connect()
            .unwrap();
        match events.next().await {
            Some(Event::Online { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert!(juliet.close().await);
    }
}
