//! XMPP over WebSocket, both ends: logins, closing, and hostile frames (RFC 7395, RFC 6455).
#![cfg(all(feature = "http", feature = "client", feature = "self-signed"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use base64::Engine;
use sha1::{Digest, Sha1};
use std::net::SocketAddr;
use std::time::Duration;
use support::{PASSWORD, PATIENCE, builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xmpp_core::client::{Backoff, Client, ClientBuilder, Event, Events};
use xmpp_core::net::{ClientTls, ServerTls, StaticResolver, tls::SelfSigned};
use xmpp_core::sasl::Mechanism;
use xmpp_core::server::{Http, Limits, Server};
use xmpp_core::stanza::Message;

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>";
const CLOSE: &str = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

async fn online(events: &mut Events) -> (xmpp_core::jid::FullJid, Mechanism) {
    match next(events).await {
        Event::Online { jid, mechanism, .. } => (jid, mechanism.unwrap()),
        other => panic!("{other:?}"),
    }
}

fn client(account: &str) -> ClientBuilder {
    Client::builder(account.parse().unwrap(), PASSWORD).resolver(StaticResolver::new()).no_reconnect()
}

struct Place {
    server: Server,
    open: SocketAddr,
    tls: SocketAddr,
    trust: ClientTls,
}

async fn place(limits: Limits, http: Http) -> Place {
    let certificate = SelfSigned::generate(&["localhost"], 1).unwrap();
    let tls = ServerTls::single(certificate.certificate_key).unwrap();
    let trust = ClientTls::builder().only_roots().add_root_pem(certificate.certificate_pem.as_bytes()).unwrap();
    let server = builder().tls(tls).limits(limits).http(http).allow_plaintext().build().unwrap();
    let (open, tls) = (server.listen_http(ANY).await.unwrap(), server.listen_https(ANY).await.unwrap());
    Place { server, open, tls, trust: trust.build().unwrap() }
}

async fn usual() -> Place {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(300);
    place(limits, Http::new()).await
}

/// A WebSocket spoken by hand.
struct Wire(TcpStream);

#[derive(Debug, PartialEq)]
struct Seen {
    opcode: u8,
    payload: Vec<u8>,
}

impl Seen {
    fn text(&self) -> &str {
        assert_eq!(self.opcode, 1, "{self:?}");
        std::str::from_utf8(&self.payload).unwrap()
    }

    fn code(&self) -> u16 {
        assert_eq!(self.opcode, 8, "{self:?}");
        u16::from_be_bytes(self.payload[..2].try_into().unwrap())
    }
}

impl Wire {
    async fn request(address: SocketAddr, lines: &str) -> (TcpStream, String) {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
        }
        (socket, String::from_utf8(answer).unwrap())
    }

    async fn connect(address: SocketAddr) -> Wire {
        let (socket, answer) = Wire::request(address, HANDSHAKE).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Wire(socket)
    }

    async fn raw(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.write_all(bytes)).await.unwrap().unwrap();
    }

    /// A frame, masked by zeros.
    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
            len => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.raw(&frame).await;
    }

    async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    /// The next frame; `None` at the end of the connection.
    async fn see(&mut self) -> Option<Seen> {
        let seeing = async {
            let first = self.0.read_u8().await.ok()?;
            let len = match self.0.read_u8().await.ok()? {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => usize::try_from(self.0.read_u64().await.ok()?).ok()?,
                len => usize::from(len),
            };
            let mut payload = vec![0; len];
            self.0.read_exact(&mut payload).await.ok()?;
            assert_eq!(first & 0xF0, 0x80, "whole messages");
            Some(Seen { opcode: first & 0xF, payload })
        };
        timeout(PATIENCE, seeing).await.unwrap()
    }

    async fn see_text(&mut self) -> String {
        self.see().await.unwrap().text().to_owned()
    }

    /// Opens a stream up to the features.
    async fn open(&mut self) {
        self.text(OPEN).await;
        assert!(self.see_text().await.starts_with("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' "));
        assert!(self.see_text().await.starts_with("<stream:features xmlns:stream="));
    }

    /// What the server says from now on: texts, and the code with which it closes.
    async fn end(&mut self) -> (Vec<String>, Option<u16>) {
        let mut texts = Vec::new();
        while let Some(seen) = self.see().await {
            match seen.opcode {
                1 => texts.push(seen.text().to_owned()),
                8 => {
                    let code = seen.code();
                    let _ = self.0.shutdown().await;
                    assert_eq!(self.see().await, None);
                    return (texts, Some(code));
                }
                9 | 10 => {}
                other => panic!("opcode {other}"),
            }
        }
        (texts, None)
    }
}

const HANDSHAKE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, xmpp\r\n";

#[tokio::test]
async fn rfc7395_3_two_clients_log_in_and_chat() {
    let place = usual().await;
    let url = format!("ws://{}/xmpp-websocket", place.open);
    let (juliet, mut hers) = client("juliet@localhost/b").allow_plaintext().websocket(&url).connect().unwrap();
    let url = format!("wss://localhost:{}/xmpp-websocket", place.tls.port());
    let romeo = client("romeo@localhost/o").tls(place.trust.clone()).websocket(&url);
    let (romeo, mut his) = romeo.connect().unwrap();
    let (juliet_jid, mechanism) = online(&mut hers).await;
    assert!(!mechanism.name().ends_with("-PLUS"));
    // The TLS connection of the WebSocket is the one that SASL is bound to.
    let (_, mechanism) = online(&mut his).await;
    assert!(mechanism.name().ends_with("-PLUS"), "{mechanism:?}");

    let long = "But soft! <&> ".repeat(1000);
    romeo.send(Message::chat(juliet_jid).body(&long)).await.unwrap();
    let Event::Message(message) = next(&mut hers).await else { panic!("no message") };
    assert_eq!(message.body().unwrap(), long);
    juliet.send(message.reply().unwrap().body("Ay me!")).await.unwrap();
    let Event::Message(message) = next(&mut his).await else { panic!("no message") };
    assert_eq!(message.body().unwrap(), "Ay me!");
    assert!(juliet.close().await);
    assert!(romeo.close().await);
    timeout(PATIENCE, place.server.shutdown(Duration::from_secs(30))).await.unwrap();
    assert_eq!(place.server.sessions(), 0);
}

#[tokio::test]
async fn shutdown_ends_websocket_streams_with_a_reason() {
    let place = usual().await;
    let url = format!("ws://{}/xmpp-websocket", place.open);
    let (_juliet, mut hers) = client("juliet@localhost/b").allow_plaintext().websocket(&url).connect().unwrap();
    online(&mut hers).await;
    let mut unborn = Wire::connect(place.open).await;
    unborn.open().await;
    timeout(PATIENCE, place.server.shutdown(Duration::from_secs(30))).await.unwrap();
    let Event::Offline { error, .. } = next(&mut hers).await else { panic!("still online") };
    assert!(error.to_string().contains("system-shutdown"), "{error}");
    let (texts, code) = unborn.end().await;
    assert!(texts[0].contains("<system-shutdown") && texts[1] == CLOSE, "{texts:?}");
    assert_eq!(code, Some(1000));
}

#[tokio::test]
async fn rfc7395_3_9_without_tls_nobody_logs_in_who_did_not_allow_it() {
    let place = usual().await;
    let url = format!("ws://{}/xmpp-websocket", place.open);
    let (_juliet, mut hers) = client("juliet@localhost/b").websocket(&url).connect().unwrap();
    let Event::Offline { error, .. } = next(&mut hers).await else { panic!("online") };
    assert!(error.is_final(), "{error}");

    let server = builder().build().unwrap();
    let address = server.listen_http(ANY).await.unwrap();
    let mut wire = Wire::connect(address).await;
    wire.text(OPEN).await;
    wire.see_text().await;
    let features = wire.see_text().await;
    assert!(!features.contains("mechanism") && !features.contains("starttls"), "{features}");
}

#[tokio::test]
async fn what_a_trusted_proxy_had_over_tls_is_secured() {
    let http = Http::new().trusted_proxy("127.0.0.1".parse().unwrap());
    let server = builder().http(http).build().unwrap();
    let address = server.listen_http(ANY).await.unwrap();
    for (proto, offered) in [("https", true), ("http", false)] {
        let (socket, answer) = Wire::request(address, &format!("{HANDSHAKE}X-Forwarded-Proto: {proto}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let mut wire = Wire(socket);
        wire.text(OPEN).await;
        wire.see_text().await;
        let features = wire.see_text().await;
        assert_eq!(features.contains("<mechanism>SCRAM-SHA-256</mechanism>"), offered, "{features}");
        assert!(!features.contains("-PLUS") && !features.contains("starttls"), "{features}");
    }
}

#[tokio::test]
async fn rfc7395_3_6_1_a_client_goes_where_it_is_sent() {
    let place = usual().await;
    // A server that sends everybody elsewhere.
    let listener = tokio::net::TcpListener::bind(ANY).await.unwrap();
    let url = format!("ws://{}/xmpp-websocket", listener.local_addr().unwrap());
    let there = format!("ws://{}/xmpp-websocket", place.open);
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split("sec-websocket-key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let hash = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            base64::engine::general_purpose::STANDARD.encode(hash)
        );
        let close = CLOSE.replace("/>", &format!(" see-other-uri='{there}'/>"));
        let mut bytes = answer.into_bytes();
        bytes.extend([0x81, 126]);
        bytes.extend(u16::try_from(close.len()).unwrap().to_be_bytes());
        bytes.extend(close.as_bytes());
        socket.write_all(&bytes).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let soon = Backoff { first: Duration::from_millis(1), ..Backoff::default() };
    let juliet = client("juliet@localhost/b").allow_plaintext().backoff(soon);
    let (_juliet, mut hers) = juliet.websocket(&url).connect().unwrap();
    let Event::Offline { retry, .. } = next(&mut hers).await else { panic!("online") };
    assert!(retry.is_some());
    online(&mut hers).await;
    assert_eq!(place.server.sessions(), 1);
}

#[tokio::test]
async fn rfc6455_4_2_1_handshakes_that_are_none_are_refused() {
    let place = usual().await;
    let cases = [
        ("", "426"),
        (&*HANDSHAKE.replace("Upgrade: websocket", "Upgrade: h2c"), "426"),
        (&*HANDSHAKE.replace("Version: 13", "Version: 8"), "426"),
        (&*HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "400"),
        // RFC 7395 §3.1.
        (&*HANDSHAKE.replace("chat, xmpp", "chat"), "400"),
        (&*HANDSHAKE.replace("Sec-WebSocket-Protocol", "X"), "400"),
    ];
    for (lines, status) in cases {
        let (_, answer) = Wire::request(place.open, lines).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {answer}");
    }
    let (_, answer) = Wire::request(place.open, HANDSHAKE).await;
    assert!(answer.contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-protocol: xmpp\r\n"), "{answer}");
}

#[tokio::test]
async fn only_admitted_origins_may_connect() {
    let place = place(Limits::default(), Http::new().origins(["https://chat.example.org"])).await;
    for (origin, status) in [("https://chat.example.org", "101"), ("https://evil.example", "403"), ("null", "403")] {
        let (_, answer) = Wire::request(place.open, &format!("{HANDSHAKE}Origin: {origin}\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {answer}");
    }
    Wire::connect(place.open).await;
}

#[tokio::test]
async fn rfc7395_3_6_close_is_answered_and_then_the_websocket_closes() {
    let place = usual().await;
    let mut wire = Wire::connect(place.open).await;
    wire.open().await;
    wire.text(CLOSE).await;
    assert_eq!(wire.see_text().await, CLOSE);
    assert_eq!(wire.see().await.unwrap().code(), 1000);
    wire.frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(wire.see().await, None);
}

#[tokio::test]
async fn rfc7395_3_5_an_error_at_the_opening_follows_an_open() {
    let place = usual().await;
    let mut wire = Wire::connect(place.open).await;
    wire.text(&OPEN.replace("localhost", "elsewhere")).await;
    let (texts, code) = wire.end().await;
    assert!(texts[0].starts_with("<open "), "{texts:?}");
    assert!(texts[1].contains("<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'"), "{texts:?}");
    assert_eq!((texts[2].as_str(), code), (CLOSE, Some(1000)));
}

#[tokio::test]
async fn rfc6455_5_pings_are_answered_and_fragments_are_one_message() {
    let place = usual().await;
    let mut wire = Wire::connect(place.open).await;
    let (head, tail) = OPEN.split_at(20);
    wire.frame(0x01, head.as_bytes()).await;
    wire.frame(0x89, b"are you there").await;
    assert_eq!(wire.see().await, Some(Seen { opcode: 10, payload: b"are you there".to_vec() }));
    wire.frame(0x00, b"").await;
    wire.frame(0x80, tail.as_bytes()).await;
    assert!(wire.see_text().await.starts_with("<open "));
}

/// What the server answers to a stream that was opened and then broken.
async fn broken(place: &Place, frames: &[(u8, &[u8])]) -> (String, Option<u16>) {
    let mut wire = Wire::connect(place.open).await;
    wire.open().await;
    for (first, payload) in frames {
        wire.frame(*first, payload).await;
    }
    let (mut texts, code) = wire.end().await;
    assert_eq!(texts.pop().as_deref(), Some(CLOSE));
    assert_eq!(texts.len(), 1, "{texts:?}");
    (texts.remove(0), code)
}

#[tokio::test]
async fn abuse_a022_frames_that_break_the_rules_close_with_the_code_for_it() {
    let place = usual().await;
    let big = vec![b' '; 10_001];
    let half = &OPEN.as_bytes()[..10];
    type Sent<'a> = (u8, &'a [u8]);
    let cases: &[(&[Sent<'_>], &str, u16)] = &[
        (&[(0x82, b"<iq/>")], "bad-format", 1003),
        (&[(0x81, &big)], "policy-violation", 1009),
        (&[(0x01, &big[..6000]), (0x00, &big[..6000])], "policy-violation", 1009),
        (&[(0x81, b"\xFF\xFE")], "unsupported-encoding", 1007),
        (&[(0x89, &big[..126])], "bad-format", 1002),
        (&[(0x09, b"")], "bad-format", 1002),
        (&[(0x80, b"<iq/>")], "bad-format", 1002),
        (&[(0x01, half), (0x81, half)], "bad-format", 1002),
        (&[(0xC1, b"<iq/>")], "bad-format", 1002),
        (&[(0x83, b"<iq/>")], "bad-format", 1002),
        (&[(0x81, b"<iq xmlns='jabber:client'/><iq xmlns='jabber:client'/>")], "not-well-formed", 1000),
        (&[(0x81, b"<iq xmlns='jabber:client'>"), (0x81, b"</iq>")], "not-well-formed", 1000),
        (&[(0x81, b" ")], "not-well-formed", 1000),
        (&[(0x81, OPEN.as_bytes())], "not-well-formed", 1000),
    ];
    for (frames, condition, code) in cases {
        let (error, closed) = broken(&place, frames).await;
        assert!(error.contains(&format!("<{condition} xmlns=")), "{frames:?}: {error}");
        assert_eq!(closed, Some(*code), "{frames:?}: {error}");
    }
}

/// A session that TLS protects up to a proxy, so that the password may be sent.
async fn session(limits: Limits) -> (Server, Wire) {
    let http = Http::new().trusted_proxy("127.0.0.1".parse().unwrap());
    let server = builder().limits(limits).http(http).build().unwrap();
    let address = server.listen_http(ANY).await.unwrap();
    let (socket, _) = Wire::request(address, &format!("{HANDSHAKE}X-Forwarded-Proto: https\r\n")).await;
    let mut wire = Wire(socket);
    wire.open().await;
    let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0juliet\0{PASSWORD}"));
    wire.text(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")).await;
    assert!(wire.see_text().await.starts_with("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"));
    // RFC 7395 §3.7: without a <close/>.
    wire.open().await;
    let bind = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    wire.text(bind).await;
    assert!(wire.see_text().await.contains("juliet@localhost/"));
    (server, wire)
}

#[tokio::test]
async fn abuse_a022_sessions_end_as_streams_do() {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(300);
    let big = vec![b' '; 262_145];
    let cases: [(u8, &[u8], &str, u16); 4] = [
        (0x82, b"<iq/>", "bad-format", 1003),
        (0x81, &big, "policy-violation", 1009),
        (0x81, b"</stream:stream>", "not-well-formed", 1000),
        (0x81, b"<message xmlns='jabber:server'/>", "invalid-namespace", 1000),
    ];
    for (first, payload, condition, code) in cases {
        let (server, mut wire) = session(limits.clone()).await;
        wire.frame(first, payload).await;
        let (texts, closed) = wire.end().await;
        assert!(texts[0].contains(&format!("<{condition} xmlns=")), "{texts:?}");
        assert_eq!((texts[1].as_str(), closed), (CLOSE, Some(code)), "{texts:?}");
        timeout(PATIENCE, server.shutdown(PATIENCE)).await.unwrap();
        assert_eq!(server.sessions(), 0);
    }
}

#[tokio::test]
async fn messages_may_be_as_large_as_stanzas_after_the_login() {
    let (_server, mut wire) = session(Limits::default()).await;
    let body = "x".repeat(200_000);
    let ping = format!("<iq xmlns='jabber:client' type='get' id='p'><x xmlns='urn:x'>{body}</x></iq>");
    wire.text(&ping).await;
    let answer = wire.see_text().await;
    assert!(answer.contains("id='p'") && answer.contains("<service-unavailable"), "{}", &answer[..200]);
}

#[tokio::test]
async fn rfc7395_3_8_silence_is_probed_by_pings_of_the_websocket() {
    let mut limits = Limits::default();
    limits.keepalive = Duration::from_secs(1);
    let (_server, mut wire) = session(limits).await;
    assert_eq!(wire.see().await, Some(Seen { opcode: 9, payload: Vec::new() }));
}

#[tokio::test]
async fn a_websocket_that_breaks_ends_the_session() {
    let (server, wire) = session(Limits::default()).await;
    assert_eq!(server.sessions(), 1);
    drop(wire);
    timeout(PATIENCE, async {
        while server.sessions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn abuse_a022_a_declared_length_costs_nothing() {
    let place = usual().await;
    let mut wire = Wire::connect(place.open).await;
    wire.open().await;
    wire.raw(&[0x81, 0xFF]).await;
    wire.raw(&(1_u64 << 31).to_be_bytes()).await;
    wire.raw(&[0; 4]).await;
    let (texts, code) = wire.end().await;
    assert!(texts[0].contains("<policy-violation"), "{texts:?}");
    assert_eq!(code, Some(1009));
}

#[tokio::test]
async fn abuse_a022_unmasked_frames_are_refused() {
    let place = usual().await;
    let mut wire = Wire::connect(place.open).await;
    wire.raw(b"\x81\x03<x>").await;
    let (texts, code) = wire.end().await;
    assert!(texts[1].contains("<bad-format"), "{texts:?}");
    assert_eq!(code, Some(1002));
}

#[tokio::test]
async fn abuse_a022_a_million_empty_fragments_end_the_stream() {
    let place = usual().await;
    let mut wire = Wire::connect(place.open).await;
    wire.open().await;
    wire.frame(0x01, b"").await;
    let empty = [0x00, 0x80, 0, 0, 0, 0].repeat(1000);
    for _ in 0..1000 {
        // The server may have closed by now.
        if wire.0.write_all(&empty).await.is_err() {
            break;
        }
    }
    let (texts, code) = wire.end().await;
    assert!(texts[0].contains("<policy-violation"), "{texts:?}");
    assert_eq!(code, Some(1008));
}

#[tokio::test]
async fn abuse_a022_the_first_message_is_open_or_the_end() {
    let place = usual().await;
    for (first, condition) in
        [("<iq xmlns='jabber:client'/>", "bad-format"), ("<open to='localhost' version='1.0'/>", "invalid-namespace")]
    {
        let mut wire = Wire::connect(place.open).await;
        wire.text(first).await;
        let (texts, code) = wire.end().await;
        assert!(texts[0].starts_with("<open ") && texts[1].contains(condition), "{texts:?}");
        assert_eq!((texts[2].as_str(), code), (CLOSE, Some(1000)));
    }
}

#[tokio::test]
async fn abuse_a029_a_websocket_on_which_nothing_is_said_is_closed() {
    let mut limits = Limits::default();
    limits.phase = Duration::from_secs(1);
    limits.closing = Duration::from_millis(100);
    let place = place(limits, Http::new()).await;
    let mut wire = Wire::connect(place.open).await;
    let (texts, _) = wire.end().await;
    assert!(texts[1].contains("<policy-violation"), "{texts:?}");
}

#[tokio::test]
async fn abuse_a100_newcomers_by_websocket_are_counted() {
    let mut limits = Limits::default();
    limits.unauthenticated_per_ip = 1;
    let place = place(limits, Http::new()).await;
    let mut first = Wire::connect(place.open).await;
    first.open().await;
    let mut second = Wire::connect(place.open).await;
    assert_eq!(second.see().await, None);
    let mut limits = Limits::default();
    limits.connections = 3;
    let place = self::place(limits, Http::new()).await;
    // Two permits are with the accept loops, which wait for a connection each.
    let mut only = Wire::connect(place.open).await;
    only.open().await;
    let full = TcpStream::connect(place.open).await.unwrap();
    let mut full = Wire(full);
    full.raw(format!("GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n").as_bytes()).await;
    drop(only);
    assert_eq!(timeout(PATIENCE, full.0.read_u8()).await.unwrap().unwrap(), b'H');
}
