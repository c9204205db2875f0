//! XMPP over BOSH, both ends, over real connections: logins, losses, and hostile requests (XEP-0124, XEP-0206).
#![cfg(all(feature = "http", feature = "bosh", feature = "client", feature = "self-signed"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;
use support::{PASSWORD, PATIENCE, Raw, builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use xmpp_core::client::{Client, ClientBuilder, ConnectionError, Event, Events};
use xmpp_core::jid::Jid;
use xmpp_core::net::{ClientTls, ServerTls, StaticResolver, tls::SelfSigned};
use xmpp_core::payload::ping::Ping;
use xmpp_core::sasl::Mechanism;
use xmpp_core::server::{Http, Limits, Server};
use xmpp_core::stanza::{Iq, Message};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const NS: &str = "xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'";

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

async fn online(events: &mut Events) -> Mechanism {
    match next(events).await {
        Event::Online { mechanism, .. } => mechanism.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn client(account: &str, url: String) -> ClientBuilder {
    Client::builder(account.parse().unwrap(), PASSWORD).resolver(StaticResolver::new()).no_reconnect().bosh(url)
}

async fn place(limits: Limits, http: Http) -> (Server, SocketAddr) {
    let server = builder().anonymous_domain("anon.localhost").limits(limits).http(http).allow_plaintext();
    let server = server.build().unwrap();
    let address = server.listen_http(ANY).await.unwrap();
    (server, address)
}

async fn usual() -> (Server, SocketAddr) {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(300);
    place(limits, Http::new()).await
}

/// A request and its answer, headers and all.
async fn exchange(address: SocketAddr, head: &str, content: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = content.len();
    let head = format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    // It may answer, and close, before it has it all.
    let _ = socket.write_all(content).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn post(address: SocketAddr, attributes: &str, content: &str) -> String {
    let body = format!("<body {attributes} {NS}>{content}</body>");
    let answer = exchange(address, "POST /http-bind", body.as_bytes()).await;
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1.to_owned()
}

/// A session of nobody in particular, by hand: its sid, and the number of its next request.
async fn session(address: SocketAddr) -> (String, u64) {
    let (sid, rid, _) = bound(address).await;
    (sid, rid)
}

/// And its address.
async fn bound(address: SocketAddr) -> (String, u64, String) {
    let answer = post(address, "rid='100' to='anon.localhost' wait='60' hold='1' ver='1.6'", "").await;
    let sid = answer.split_once(" sid='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    assert!(answer.contains("<mechanism>ANONYMOUS</mechanism>"), "{answer}");
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>=</auth>";
    let answer = post(address, &format!("rid='101' sid='{sid}'"), auth).await;
    assert!(answer.contains("<success "), "{answer}");
    let restart = format!("rid='102' sid='{sid}' to='anon.localhost' xmpp:restart='true'");
    assert!(post(address, &restart, "").await.contains("<bind "));
    let bind = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
        <resource>web</resource></bind></iq>";
    let bound = post(address, &format!("rid='103' sid='{sid}'"), bind).await;
    let jid =
        bound.split_once("<jid>").unwrap_or_else(|| panic!("{bound}")).1.split_once("</jid>").unwrap().0.to_owned();
    (sid, 104, jid)
}

const PING: &str = "<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";

fn terminal(condition: &str) -> String {
    format!("<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='{condition}'/>")
}

#[tokio::test]
async fn xep0206_clients_log_in_and_chat() {
    let certificate = SelfSigned::generate(&["localhost"], 1).unwrap();
    let tls = ServerTls::single(certificate.certificate_key).unwrap();
    let trust = ClientTls::builder().only_roots().add_root_pem(certificate.certificate_pem.as_bytes()).unwrap();
    let server = builder().tls(tls).build().unwrap();
    let (open, tls) = (server.listen_http(ANY).await.unwrap(), server.listen_https(ANY).await.unwrap());
    let romeo = client("romeo@localhost/web", format!("https://localhost:{}/http-bind", tls.port()));
    let (romeo, mut his) = romeo.tls(trust.build().unwrap()).connect().unwrap();
    assert_eq!(online(&mut his).await, Mechanism::scram(xmpp_core::sasl::Hash::Sha512, false));
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    for number in 0..50 {
        romeo.send(Message::chat(juliet_at_balcony()).body(format!("{number} <&>"))).await.unwrap();
    }
    for number in 0..50 {
        juliet.until(&format!("<body>{number} &lt;&amp;&gt;</body>")).await;
        juliet.send(&format!("<message to='romeo@localhost/web'><body>{number}</body></message>")).await;
    }
    for number in 0..50 {
        let Event::Message(message) = next(&mut his).await else { panic!("no message") };
        assert_eq!(message.body().unwrap(), number.to_string());
    }
    romeo.request(Iq::get("localhost".parse::<Jid>().unwrap()).payload(&Ping)).await.unwrap();
    assert!(romeo.close().await);
    // Without TLS, neither end wants a login.
    let (_romeo, mut his) = client("romeo@localhost", format!("http://{open}/http-bind")).connect().unwrap();
    assert!(matches!(next(&mut his).await, Event::Offline { error: ConnectionError::Negotiation(_), .. }));
    let answer = post(open, "rid='1' to='localhost' ver='1.6'", "").await;
    assert!(answer.contains("<stream:features") && !answer.contains("<mechanism>"), "{answer}");
    assert!(client("romeo@localhost", "ftp://localhost".into()).connect().is_err());
}

#[tokio::test]
async fn the_clients_stream_ends_with_what_the_service_said() {
    let (server, address) = usual().await;
    let url = format!("http://{address}/http-bind");
    let (_romeo, mut events) = client("romeo@elsewhere", url.clone()).allow_plaintext().connect().unwrap();
    let Event::Offline { error, .. } = next(&mut events).await else { panic!("online") };
    assert!(error.to_string().contains("host-unknown"), "{error}");
    let (_romeo, mut events) = client("nobody@localhost", url.clone()).allow_plaintext().connect().unwrap();
    let Event::Offline { error, .. } = next(&mut events).await else { panic!("online") };
    assert!(error.to_string().contains("not-authorized"), "{error}");
    let (_romeo, mut events) =
        client("romeo@localhost", format!("http://{address}/nothing")).allow_plaintext().connect().unwrap();
    let Event::Offline { error, .. } = next(&mut events).await else { panic!("online") };
    assert!(error.to_string().contains("404"), "{error}");
    drop(server);
}

#[tokio::test]
async fn xep0124_17_2_shutdown_is_told_to_who_waits() {
    let (server, address) = usual().await;
    let (sid, rid) = session(address).await;
    let presence = "<presence xmlns='jabber:client' to='nobody@localhost'/>";
    let held = tokio::spawn({
        let sid = sid.clone();
        async move { post(address, &format!("rid='{}' sid='{sid}'", rid + 1), presence).await }
    });
    // This one is answered when the other is held, whichever comes first: nothing else has an answer to it.
    post(address, &format!("rid='{rid}' sid='{sid}'"), presence).await;
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(held.await.unwrap(), terminal("system-shutdown"));
}

/// Passes connections on, and breaks each after so many bytes of answers, the next after more.
async fn lossy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for count in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = server.into_split();
                let (mut reader, mut writer) = client.into_split();
                // The first is spared: a session that is not there cannot be kept.
                let enough = if count == 0 { 3000 } else { 500 + count * 337 % 1500 };
                let up = tokio::io::copy(&mut reader, &mut to);
                let down = async { tokio::io::copy(&mut (&mut from).take(enough), &mut writer).await };
                tokio::select! { _ = up => {}, _ = down => {} }
            });
        }
    });
    address
}

#[tokio::test]
async fn xep0124_14_3_nothing_is_lost_or_doubled_where_connections_break() {
    let (server, address) = usual().await;
    let url = format!("http://{}/http-bind", lossy(address).await);
    let (romeo, mut his) = client("romeo@localhost/web", url).allow_plaintext().connect().unwrap();
    online(&mut his).await;
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    for number in 0..100 {
        romeo.send(Message::chat(juliet_at_balcony()).body(format!("({number})"))).await.unwrap();
        let heard = juliet.until("</message>").await;
        assert!(heard.contains(&format!("<body>({number})</body>")), "{heard}");
        juliet.send(&format!("<message to='romeo@localhost/web'><body>{number}</body></message>")).await;
        let Event::Message(message) = next(&mut his).await else { panic!("no message") };
        assert_eq!(message.body().unwrap(), number.to_string());
    }
    romeo.close().await;
    juliet.send("<iq type='get' id='last' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(!juliet.until("id='last'").await.contains("<message"));
}

#[tokio::test]
async fn xep0124_8_a_session_by_hand() {
    let (server, address) = usual().await;
    let (sid, rid) = session(address).await;
    let answer = post(address, &format!("rid='{rid}' sid='{sid}' xml:lang='de'"), PING).await;
    assert!(answer.contains("<iq xmlns='jabber:client' ") && answer.contains("type='result'"), "{answer}");
    // The same again is the same, and is not done again.
    assert_eq!(post(address, &format!("rid='{rid}' sid='{sid}'"), PING).await, answer);
    let bye = "<presence xmlns='jabber:client' type='unavailable'/>";
    let answer = post(address, &format!("rid='{}' sid='{sid}' type='terminate'", rid + 1), bye).await;
    assert_eq!(answer, "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>");
    assert_eq!(post(address, &format!("rid='{}' sid='{sid}'", rid + 2), "").await, terminal("item-not-found"));
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(server.sessions(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_fetches_the_answer_later() {
    let (server, address) = usual().await;
    let (sid, rid, jid) = bound(address).await;
    let request = format!("<body rid='{rid}' sid='{sid}' {NS}/>");
    let head = format!("POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", request.len());
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{head}{request}").as_bytes()).await.unwrap();
    // It is held, or the server has not read it: that makes no difference in the end.
    tokio::task::yield_now().await;
    drop(socket);
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    juliet.send(&format!("<message to='{jid}'><body>are you there?</body></message>")).await;
    let answer = post(address, &format!("rid='{rid}' sid='{sid}'"), "").await;
    assert!(answer.contains("are you there?"), "{answer}");
}

#[tokio::test]
async fn xep0206_7_what_was_never_fetched_goes_back() {
    let mut limits = Limits::default();
    limits.http.bosh.inactivity = Duration::from_secs(1);
    let (server, address) = place(limits, Http::new()).await;
    let (_, _, jid) = bound(address).await;
    let mut juliet = Raw::session(&server, "juliet@localhost/balcony").await;
    // More than the session takes off the stream, and more than the pipe holds.
    let long = "x".repeat(10_000);
    for number in 0..20 {
        juliet.send(&format!("<message id='m{number}' to='{jid}'><body>{long}</body></message>")).await;
    }
    let mut back = Vec::new();
    for _ in 0..20 {
        let stanza = juliet.until("</message>").await;
        assert!(stanza.contains("type='error'") && stanza.contains("<service-unavailable"), "{stanza}");
        back.push(stanza.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned());
    }
    assert_eq!(back, (0..20).map(|number| format!("m{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn xep0124_5_only_posts_are_taken_and_scripts_are_let_in() {
    let (_server, address) = usual().await;
    let answer = exchange(address, "GET /http-bind", b"").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("\r\nallow: POST, OPTIONS\r\n"), "{answer}");
    let answer = exchange(address, "OPTIONS /http-bind", b"").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    for header in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: POST, OPTIONS",
        "access-control-allow-headers: Content-Type",
    ] {
        assert!(answer.contains(&format!("\r\n{header}\r\n")), "{answer}");
    }
    let create = format!("<?xml version='1.0'?>\n<body rid='1' to='localhost' content='text/html' {NS}/>");
    let answer = exchange(address, "POST /http-bind", create.as_bytes()).await;
    for header in [
        "access-control-allow-origin: *",
        "content-type: text/html",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; sandbox",
    ] {
        assert!(answer.contains(&format!("\r\n{header}\r\n")), "{answer}");
    }
    let (_server, address) = place(Limits::default(), Http::new().bosh(false)).await;
    assert!(exchange(address, "POST /http-bind", create.as_bytes()).await.starts_with("HTTP/1.1 404"));
    let meta = exchange(address, "GET /.well-known/host-meta", b"").await;
    assert!(!meta.contains("xbosh"), "{meta}");
}

#[tokio::test]
async fn xep0156_4_host_meta_tells_of_bosh() {
    let (_server, address) = usual().await;
    let meta = exchange(address, "GET /.well-known/host-meta", b"").await;
    assert!(meta.contains("<Link rel='urn:xmpp:alt-connections:xbosh' href='http://localhost/http-bind'/>"), "{meta}");
}

#[tokio::test]
async fn abuse_a023_requests_that_are_none() {
    let (server, address) = usual().await;
    for text in ["", "<", "<body/>", "not xml", "<body xmlns='http://jabber.org/protocol/httpbind'>"] {
        let answer = exchange(address, "POST /http-bind", text.as_bytes()).await;
        assert!(answer.ends_with(&terminal("bad-request")), "{text}: {answer}");
    }
    let doctype = format!("<!DOCTYPE b [<!ENTITY a 'b'>]><body rid='1' to='localhost' {NS}>&a;</body>");
    assert!(exchange(address, "POST /http-bind", doctype.as_bytes()).await.ends_with(&terminal("bad-request")));
    // A sid that is guessed, and one that is too long to be one.
    for sid in ["aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(), "x".repeat(9000)] {
        assert_eq!(post(address, &format!("rid='1' sid='{sid}'"), "").await, terminal("item-not-found"));
    }
    // No sid tells of another: 128 bits.
    let (first, _) = session(address).await;
    let (second, _) = session(address).await;
    assert!(first.len() == 26 && first != second);
    // Within a session, it ends the session.
    let broken = format!("<body rid='104' sid='{first}' {NS}><oops</body>");
    assert!(exchange(address, "POST /http-bind", broken.as_bytes()).await.ends_with(&terminal("bad-request")));
    assert_eq!(post(address, &format!("rid='104' sid='{first}'"), "").await, terminal("item-not-found"));
    assert!(post(address, &format!("rid='104' sid='{second}'"), PING).await.contains("result"));
    drop(server);
}

#[tokio::test]
async fn abuse_a011_only_who_has_authenticated_may_send_much() {
    let (_server, address) = usual().await;
    let much = format!("<message xmlns='jabber:client' to='localhost'><body>{}</body></message>", "x".repeat(30_000));
    assert_eq!(post(address, "rid='1' to='anon.localhost' ver='1.6'", &much).await, terminal("policy-violation"));
    let answer = post(address, "rid='100' to='anon.localhost' ver='1.6'", "").await;
    let sid = answer.split_once(" sid='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    assert_eq!(post(address, &format!("rid='101' sid='{sid}'"), &much).await, terminal("policy-violation"));
    let (sid, rid) = session(address).await;
    let answer = post(address, &format!("rid='{rid}' sid='{sid}'"), &format!("{much}{PING}")).await;
    assert!(answer.contains("type='result'") || answer.contains("type='error'"), "{answer}");
    let more = "x".repeat(600_000);
    assert_eq!(post(address, &format!("rid='{}' sid='{sid}'", rid + 1), &more).await, terminal("policy-violation"));
}

#[tokio::test]
async fn abuse_a023_a_thousand_requests_at_once_end_their_session_alone() {
    let (_server, address) = usual().await;
    let (other, next) = session(address).await;
    let (sid, rid) = session(address).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let sid = sid.clone();
        tasks.spawn(async move {
            let mut socket = TcpStream::connect(address).await.ok()?;
            let body = format!("<body rid='{}' sid='{sid}' {NS}/>", rid + number % 50);
            let head = format!("POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
            socket.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
            let mut answer = vec![0; 1024];
            let count = socket.read(&mut answer).await.ok()?;
            Some(String::from_utf8_lossy(&answer[..count]).into_owned())
        });
    }
    let answers = timeout(PATIENCE, tasks.join_all()).await.unwrap();
    let told = answers.into_iter().flatten().filter(|answer| answer.contains("type='terminate'")).count();
    assert!(told > 100, "{told}");
    assert_eq!(post(address, &format!("rid='{rid}' sid='{sid}'"), "").await, terminal("item-not-found"));
    assert!(post(address, &format!("rid='{next}' sid='{other}'"), PING).await.contains("result"));
}

#[tokio::test]
async fn abuse_a100_an_address_has_only_so_many_sessions() {
    let mut limits = Limits::default();
    limits.http.bosh_sessions_per_ip = 2;
    let (_server, address) = place(limits, Http::new()).await;
    let (sid, rid) = session(address).await;
    session(address).await;
    let create = "rid='1' to='anon.localhost' ver='1.6'";
    assert_eq!(post(address, create, "").await, terminal("policy-violation"));
    // One that ends makes room.
    post(address, &format!("rid='{}' sid='{sid}'", rid + 100), "").await;
    let mut limits = Limits::default();
    limits.http.bosh_sessions = 1;
    let (_server, address) = place(limits, Http::new()).await;
    session(address).await;
    assert_eq!(post(address, create, "").await, terminal("remote-connection-failed"));
}

#[tokio::test]
async fn xep0124_19_1_a_session_that_began_under_tls_stays_there() {
    let http = Http::new().trusted_proxy("127.0.0.1".parse().unwrap());
    let (_server, address) = place(Limits::default(), http).await;
    let secured = |rid: u64, attributes: String| async move {
        let body = format!("<body rid='{rid}' {attributes} {NS}/>");
        exchange(address, "POST /http-bind HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX:", body.as_bytes()).await
    };
    let answer = secured(100, "to='anon.localhost' ver='1.6'".into()).await;
    let sid = answer.split_once(" sid='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    assert_eq!(post(address, &format!("rid='101' sid='{sid}'"), "").await, terminal("item-not-found"));
    // It lives on: who tries it in the open cannot end it.
    let answer = secured(101, format!("sid='{sid}' pause='10'")).await;
    assert!(answer.ends_with("<body xmlns='http://jabber.org/protocol/httpbind'/>"), "{answer}");
}

fn juliet_at_balcony() -> Jid {
    Jid::new("juliet@localhost/balcony").unwrap()
}
