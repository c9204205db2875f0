//! Servers that prove themselves to one another by POSH and by DANE (RFC 7712 §5), over loopback.
#![cfg(feature = "posh")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

mod support;

use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::*;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use xmpp_core::{
    net::{
        ClientTls, ResolveError, ResolveFuture, Resolver, ServerTls, SrvRecord, TlsaRecord, Validated,
        tls::CertificateKey,
    },
    server::{Federation, FederationLimits, Http, Observed, Server, ServerRegistrar},
    stream::s2s::{Pair, Policy, Proof},
};

type Ca = CertifiedIssuer<'static, KeyPair>;

const ROMEO: &str = "romeo@montague.example/orchard";
const JULIET: &str = "juliet@capulet.example/balcony";
const WELL_KNOWN: &str = "/.well-known/posh/xmpp-server.json";

#[derive(Default)]
struct Records {
    srv: HashMap<String, SrvRecord>,
    tlsa: HashMap<String, TlsaRecord>,
    signed: bool,
    bogus: bool,
}

/// A DNS that learns where servers listen after they do. Every host is this one.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Records>>);

impl Zone {
    fn enter(&self, domain: &str, address: SocketAddr, direct: bool) {
        let service = if direct { "xmpps-server" } else { "xmpp-server" };
        let record = SrvRecord::new(0, 0, address.port(), "host.test");
        self.0.lock().unwrap().srv.insert(format!("_{service}._tcp.{domain}"), record);
    }

    /// Binds what listens there to a certificate.
    fn bind(&self, address: SocketAddr, record: TlsaRecord) {
        self.0.lock().unwrap().tlsa.insert(format!("_{}._tcp.host.test", address.port()), record);
    }
}

impl Resolver for Zone {
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
        let found = self.0.lock().unwrap().srv.get(name).cloned();
        Box::pin(async move { found.map(|one| vec![one]).ok_or_else(|| ResolveError::NotFound(name.to_owned())) })
    }

    fn addresses<'a>(&'a self, _: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
        Box::pin(async move { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }

    fn secure_srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<SrvRecord>>> {
        Box::pin(async move {
            let records = self.srv(name).await?;
            Ok(Validated { records, secure: self.0.lock().unwrap().signed })
        })
    }

    fn secure_addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Validated<Vec<IpAddr>>> {
        Box::pin(async move {
            let records = self.addresses(host).await?;
            Ok(Validated { records, secure: self.0.lock().unwrap().signed })
        })
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Validated<Vec<TlsaRecord>>> {
        let zone = self.0.lock().unwrap();
        let answer = match (zone.bogus, zone.tlsa.get(name)) {
            (true, _) => Err(ResolveError::Failed { name: name.to_owned(), reason: "bogus".to_owned() }),
            (false, None) => Err(ResolveError::NotFound(name.to_owned())),
            (false, Some(record)) => Ok(Validated { records: vec![record.clone()], secure: zone.signed }),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn authority() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Test Authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this name, from the authority or from nobody.
fn certificate(name: &str, authority: Option<&Ca>) -> CertificateKey {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let made = match authority {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    CertificateKey::from_pem(made.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

struct World {
    zone: Zone,
    authority: Ca,
    /// Where all domains have their web servers.
    web: SocketAddr,
    /// What holds it.
    _web: Server,
    /// What `/.well-known/posh/` has, by domain: a status and a body.
    documents: Documents,
    fetched: Arc<AtomicUsize>,
}

type Documents = Arc<Mutex<HashMap<String, String>>>;

impl World {
    /// Web servers with certificates for these names.
    async fn new(names: &[&str]) -> World {
        let (authority, documents, fetched) = (authority(), Documents::default(), Arc::new(AtomicUsize::new(0)));
        let mut tls = ServerTls::builder();
        for name in names {
            tls = tls.certificate(certificate(name, Some(&authority)));
        }
        let (known, count) = (Arc::clone(&documents), Arc::clone(&fetched));
        let document = move |headers: axum::http::HeaderMap, uri: axum::http::Uri| {
            count.fetch_add(1, Ordering::SeqCst);
            let host = headers.get("host").unwrap().to_str().unwrap().split(':').next().unwrap().to_owned();
            let found = known.lock().unwrap().get(&format!("{host}{}", uri.path())).cloned();
            async move {
                match found {
                    Some(text) if text.starts_with("https:") => Err(Redirect::temporary(&text)),
                    Some(text) => Ok((StatusCode::OK, text)),
                    None => Ok((StatusCode::NOT_FOUND, String::new())),
                }
            }
        };
        let routes = Router::new().route(WELL_KNOWN, get(document.clone())).route("/elsewhere.json", get(document));
        let server = Server::builder("web.test")
            .accounts(Table)
            .tls(tls.build().unwrap())
            .http(Http::new().posh(false))
            .with(move |r: &mut ServerRegistrar| r.http(routes))
            .build()
            .unwrap();
        let web = server.listen_https("127.0.0.1:0".parse().unwrap()).await.unwrap();
        World { zone: Zone::default(), authority, web, _web: server, documents, fetched }
    }

    fn publish(&self, at: &str, text: impl Into<String>) {
        self.documents.lock().unwrap().insert(at.to_owned(), text.into());
    }

    fn federation(&self) -> Federation {
        let root = self.authority.pem();
        let tls = ClientTls::builder().only_roots().add_root_pem(root.as_bytes()).unwrap();
        let mut limits = FederationLimits::default();
        limits.posh.port = self.web.port();
        limits.posh.deadline = Duration::from_secs(5);
        Federation::new().resolver(self.zone.clone()).private_addresses().tls(tls).limits(limits)
    }

    fn strict(&self) -> Federation {
        self.federation().policy(Policy::default().require_valid_certificate(true))
    }

    async fn house(&self, domain: &str, with: CertificateKey, federation: Federation) -> House {
        self.listening(domain, with, federation, false).await
    }

    async fn listening(&self, domain: &str, with: CertificateKey, federation: Federation, direct: bool) -> House {
        let mut events = None;
        let builder = Server::builder(domain).accounts(Table).federation(federation);
        let builder = builder.with(|r: &mut ServerRegistrar| events = Some(r.observe(256)));
        let sha256 = with.sha256().unwrap();
        let server = builder.tls(ServerTls::single(with).unwrap()).build().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let address = match direct {
            true => server.listen_servers_tls(any).await.unwrap(),
            false => server.listen_servers(any).await.unwrap(),
        };
        self.zone.enter(domain, address, direct);
        House { server, events: events.unwrap(), address, sha256 }
    }
}

struct House {
    server: Server,
    events: mpsc::Receiver<Observed>,
    address: SocketAddr,
    sha256: [u8; 32],
}

impl House {
    /// What its domain's web server ought to say.
    fn document(&self) -> String {
        named(&self.sha256)
    }

    async fn user(&self, jid: &str) -> Raw {
        Raw::session(&self.server, jid).await
    }

    async fn authorized(&mut self, local: &str, remote: &str) -> Proof {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap();
            if let Observed::RemoteAuthorized(pair, proof) = event
                && pair == Pair::new(local, remote)
            {
                return proof;
            }
        }
    }
}

fn named(sha256: &[u8]) -> String {
    format!(r#"{{"fingerprints":[{{"sha-256":"{}"}}],"expires":3600}}"#, STANDARD.encode(sha256))
}

async fn told(from: &mut Raw, to: &mut Raw, jid: &str) {
    from.send(&format!("<message to='{jid}' id='m'><body>hello</body></message>")).await;
    let heard = to.until("</message>").await;
    assert!(heard.contains("<body>hello</body>") && !heard.contains("error"), "{heard}");
}

async fn bounced(from: &mut Raw, jid: &str) -> String {
    from.send(&format!("<message to='{jid}' id='lost'><body>hello</body></message>")).await;
    let heard = from.until("</message>").await;
    assert!(heard.contains("type='error'") && heard.contains("id='lost'"), "{heard}");
    heard
}

/// The path of a domain's document.
fn at(domain: &str) -> String {
    format!("{domain}{WELL_KNOWN}")
}

#[tokio::test]
async fn rfc7712_5_2_domains_that_their_web_servers_vouch_for() {
    for direct in [false, true] {
        let world = World::new(&["montague.example", "capulet.example"]).await;
        // Both ask for a valid certificate, and nobody has one: not even one with the right name.
        let federation = || world.strict().posh(true).one_way_streams();
        let own = certificate("hosting.example", None);
        let mut montague = world.listening("montague.example", own, federation(), direct).await;
        let own = certificate("hosting.example", None);
        let mut capulet = world.listening("capulet.example", own, federation(), direct).await;
        world.publish(&at("montague.example"), montague.document());
        world.publish(&at("capulet.example"), capulet.document());
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        told(&mut romeo, &mut juliet, JULIET).await;
        told(&mut juliet, &mut romeo, ROMEO).await;
        assert_eq!(montague.authorized("montague.example", "capulet.example").await, Proof::External);
        assert_eq!(capulet.authorized("capulet.example", "montague.example").await, Proof::External);
        assert_eq!(world.fetched.load(Ordering::SeqCst), 2, "each once, for both directions");
    }
}

#[tokio::test]
async fn posh_is_off_unless_it_is_asked_for() {
    let world = World::new(&["montague.example", "capulet.example"]).await;
    let montague = world.house("montague.example", certificate("montague.example", None), world.strict()).await;
    let capulet = world.house("capulet.example", certificate("capulet.example", None), world.federation()).await;
    world.publish(&at("capulet.example"), capulet.document());
    let mut romeo = montague.user(ROMEO).await;
    assert!(bounced(&mut romeo, JULIET).await.contains("no valid certificate"));
    assert_eq!(world.fetched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn rfc7711_3_3_a_certificate_that_the_document_does_not_name_proves_nothing() {
    let signed = "signed";
    for document in
        [named(&[0; 32]), signed.to_owned(), "{}".to_owned(), format!("{}{}", named(&[0; 32]), " ".repeat(99_999))]
    {
        let world = World::new(&["montague.example", "capulet.example"]).await;
        let montague = certificate("montague.example", Some(&world.authority));
        let montague = world.house("montague.example", montague, world.strict().posh(true)).await;
        let capulet = certificate("capulet.example", None);
        let capulet = world.house("capulet.example", capulet, world.federation()).await;
        // Too long, where it is the right one.
        let document = if document.len() > 9999 { capulet.document() + &" ".repeat(99_999) } else { document };
        if document != signed {
            world.publish(&at("capulet.example"), document);
        }
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        let error = bounced(&mut romeo, JULIET).await;
        assert!(error.contains("<remote-server-timeout") && error.contains("no valid certificate"), "{error}");
        // Nor for who connects.
        bounced(&mut juliet, ROMEO).await;
        assert_eq!(montague.server.stats().admitted, 0);
        assert_eq!(world.fetched.load(Ordering::SeqCst), 1, "it is remembered");
    }
}

#[tokio::test]
async fn rfc7712_5_2_without_a_document_there_is_still_dialback() {
    let world = World::new(&["montague.example", "capulet.example"]).await;
    let federation = || world.federation().posh(true);
    let mut montague = world.house("montague.example", certificate("m.example", None), federation()).await;
    let capulet = world.house("capulet.example", certificate("c.example", None), federation()).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    told(&mut romeo, &mut juliet, JULIET).await;
    assert_eq!(montague.authorized("montague.example", "capulet.example").await, Proof::Dialback);
}

#[tokio::test]
async fn rfc7711_3_2_and_4_a_document_may_be_elsewhere_over_https_alone() {
    let world = World::new(&["montague.example", "capulet.example", "hosting.example"]).await;
    let port = world.web.port();
    let elsewhere = format!("https://hosting.example:{port}/elsewhere.json");
    let reference = |url: &str| format!(r#"{{"url":"{url}","expires":60}}"#);
    let cases = [
        (reference(&elsewhere), true),
        (elsewhere.clone(), true),
        // A circle of redirections, a circle of references, a host without a certificate, one without TLS.
        (format!("https://capulet.example:{port}{WELL_KNOWN}"), false),
        (reference(&format!("https://capulet.example:{port}{WELL_KNOWN}")), false),
        (reference(&format!("https://other.example:{port}/elsewhere.json")), false),
        (reference(&format!("http://hosting.example:{port}/elsewhere.json")), false),
        (reference("nonsense"), false),
    ];
    for (document, expected) in cases {
        let montague = certificate("montague.example", Some(&world.authority));
        let montague = world.house("montague.example", montague, world.strict().posh(true)).await;
        let capulet = world.house("capulet.example", certificate("c.example", None), world.federation()).await;
        world.publish("hosting.example/elsewhere.json", capulet.document());
        world.publish(&at("capulet.example"), &document);
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        match expected {
            true => told(&mut romeo, &mut juliet, JULIET).await,
            false => assert!(bounced(&mut romeo, JULIET).await.contains("no valid certificate"), "{document}"),
        }
    }
}

#[tokio::test]
async fn abuse_a035_a_web_server_without_the_domains_certificate_vouches_for_nobody() {
    let world = World::new(&["evil.example"]).await;
    let montague = certificate("montague.example", Some(&world.authority));
    let montague = world.house("montague.example", montague, world.strict().posh(true)).await;
    let capulet = world.house("capulet.example", certificate("c.example", None), world.federation()).await;
    world.publish(&at("capulet.example"), capulet.document());
    let mut romeo = montague.user(ROMEO).await;
    assert!(bounced(&mut romeo, JULIET).await.contains("no valid certificate"));
    assert_eq!(world.fetched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn abuse_a029_a_web_server_that_never_answers_holds_up_one_stream_for_a_while() {
    let world = World::new(&["montague.example"]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut limits = FederationLimits::default();
    limits.posh.port = silent.local_addr().unwrap().port();
    limits.posh.deadline = Duration::from_millis(200);
    let federation = world.federation().posh(true).limits(limits);
    let montague = certificate("montague.example", Some(&world.authority));
    let mut montague = world.house("montague.example", montague, federation).await;
    let capulet = world.house("capulet.example", certificate("c.example", None), world.federation()).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    told(&mut romeo, &mut juliet, JULIET).await;
    assert_eq!(montague.authorized("montague.example", "capulet.example").await, Proof::External);
}

/// A DNS with DNSSEC says which certificate capulet.example has: that, or another.
async fn with_dane(right: bool, signed: bool, capulets: bool, direct: bool) -> (World, House, House) {
    let world = World::new(&["web.example"]).await;
    world.zone.0.lock().unwrap().signed = signed;
    let own = certificate("montague.example", Some(&world.authority));
    let montague = world.listening("montague.example", own, world.strict().dane(true), direct).await;
    let own = match capulets {
        true => certificate("capulet.example", Some(&world.authority)),
        false => certificate("whoever.example", None),
    };
    let capulet = world.listening("capulet.example", own, world.federation(), direct).await;
    let data = if right { capulet.sha256.to_vec() } else { Sha256::digest(b"another").to_vec() };
    world.zone.bind(capulet.address, TlsaRecord::new(3, 0, 1, data));
    (world, montague, capulet)
}

#[tokio::test]
async fn rfc7712_5_1_a_domain_that_the_secure_dns_vouches_for() {
    for direct in [false, true] {
        let (_world, mut montague, capulet) = with_dane(true, true, false, direct).await;
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        told(&mut romeo, &mut juliet, JULIET).await;
        assert_eq!(montague.authorized("montague.example", "capulet.example").await, Proof::External);
    }
}

#[tokio::test]
async fn rfc7673_3_an_insecure_dns_vouches_for_nobody() {
    let (_world, montague, _capulet) = with_dane(true, false, false, false).await;
    let mut romeo = montague.user(ROMEO).await;
    assert!(bounced(&mut romeo, JULIET).await.contains("no valid certificate"));
    // And against nobody.
    let (_world, montague, capulet) = with_dane(false, false, true, false).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    told(&mut romeo, &mut juliet, JULIET).await;
}

#[tokio::test]
async fn abuse_a086_a_certificate_that_the_secure_dns_denies_is_refused_however_valid() {
    for (bogus, direct) in [(false, false), (true, false), (false, true)] {
        let (world, montague, _capulet) = with_dane(bogus, true, true, direct).await;
        world.zone.0.lock().unwrap().bogus = bogus;
        let mut romeo = montague.user(ROMEO).await;
        let error = bounced(&mut romeo, JULIET).await;
        let reason = if bogus { "the DNS cannot tell" } else { "the DNS says that" };
        assert!(error.contains("<remote-server-timeout") && error.contains(reason), "{error}");
        assert_eq!(montague.server.stats().authorized, 0);
    }
}

#[tokio::test]
async fn rfc7711_3_1_a_server_tells_the_fingerprints_of_its_certificates() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (first, second) = (certificate("one.example", None), certificate("two.example", None));
    let sha256 = [first.sha256().unwrap(), second.sha256().unwrap()].map(|hash| STANDARD.encode(hash));
    let tls = ServerTls::builder().certificate(first).certificate(second).build().unwrap();
    let server = |posh| {
        let builder = Server::builder("one.example").domain("two.example").accounts(Table);
        builder.tls(tls.clone()).http(Http::new().posh(posh)).build().unwrap()
    };
    let get = async |address: SocketAddr, host: &str, path: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let on = server(true);
    let address = on.listen_http("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let answer = get(address, "one.example:5281", WELL_KNOWN).await;
    assert!(answer.contains("application/json") && answer.contains(r#""expires":3600"#), "{answer}");
    assert!(answer.contains(&sha256[0]) && !answer.contains(&sha256[1]), "{answer}");
    assert!(answer.contains("sha-512"), "{answer}");
    // Who does not say what for is shown the first.
    let answer = get(address, "two.example", "/.well-known/posh/xmpp-client.json").await;
    assert!(answer.contains(&sha256[0]) && answer.contains(&sha256[1]), "{answer}");
    let answer = get(address, "three.example", WELL_KNOWN).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let off = server(false);
    let address = off.listen_http("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert!(get(address, "one.example", WELL_KNOWN).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn abuse_a086_nothing_is_sent_over_a_stream_that_the_secure_dns_was_not_asked_about() {
    // Whoever opens one both ways, with a certificate that the DNS denies, gets nothing over it.
    let (_world, montague, capulet) = with_dane(false, true, true, false).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    told(&mut juliet, &mut romeo, ROMEO).await;
    assert!(bounced(&mut romeo, JULIET).await.contains("the DNS says that"));
    assert_eq!(montague.server.stats().authorized, 0);
}
