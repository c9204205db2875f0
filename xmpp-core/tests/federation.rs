//! Servers that federate over loopback, with one another and with peers spoken by hand.
#![cfg(all(feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

mod support;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use support::*;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use xmpp_core::{
    net::{ClientTls, ResolveError, ResolveFuture, Resolver, ServerTls, SrvRecord, tls::CertificateKey},
    server::{Envelope, Federation, FederationLimits, Kinds, Observed, Server, ServerRegistrar, Verdict},
    stream::s2s::{DialbackSecret, Pair, Policy, Proof},
    xml::{Stanza, XmlLimits, ns},
};

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A DNS that learns where servers listen after they do.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<HashMap<String, Vec<SrvRecord>>>>);

impl Zone {
    fn enter(&self, domain: &str, address: SocketAddr, direct: bool) {
        let service = if direct { "xmpps-server" } else { "xmpp-server" };
        let record = SrvRecord::new(0, 0, address.port(), "host.test");
        self.0.lock().unwrap().insert(format!("_{service}._tcp.{domain}"), vec![record]);
    }
}

impl Resolver for Zone {
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
        let found = self.0.lock().unwrap().get(name).cloned();
        let hangs = name.ends_with(".hanging.example");
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            found.ok_or_else(|| ResolveError::NotFound(name.to_owned()))
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
        let found = match host {
            "host.test" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            _ => Err(ResolveError::NotFound(host.to_owned())),
        };
        Box::pin(async move { found })
    }
}

fn authority() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Test Authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these domains, from the authority or from nobody.
fn certificate(domains: &[&str], authority: Option<&Ca>) -> CertificateKey {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = domains.iter().map(|&domain| domain.to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    CertificateKey::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

/// What the servers of a test share.
struct World {
    zone: Zone,
    authority: Ca,
}

struct House {
    server: Server,
    events: mpsc::Receiver<Observed>,
}

#[derive(Clone, Copy, PartialEq)]
enum Certificate {
    Signed,
    SelfSigned,
    Nobodys,
    None,
}

impl World {
    fn new() -> World {
        World { zone: Zone::default(), authority: authority() }
    }

    fn federation(&self) -> Federation {
        let root = self.authority.pem();
        let tls = ClientTls::builder().only_roots().add_root_pem(root.as_bytes()).unwrap();
        Federation::new().resolver(self.zone.clone()).private_addresses().tls(tls)
    }

    /// A server of these domains that others find.
    async fn house(&self, domains: &[&str], with: Certificate, federation: Federation) -> House {
        let house = self.deaf_house(domains, with, federation);
        let address = house.server.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
        domains.iter().for_each(|domain| self.zone.enter(domain, address, false));
        house
    }

    /// A server that nobody can connect to.
    fn deaf_house(&self, domains: &[&str], with: Certificate, federation: Federation) -> House {
        let mut events = None;
        let mut builder = Server::builder(domains[0]).accounts(Table).federation(federation);
        for domain in &domains[1..] {
            builder = builder.domain(domain);
        }
        builder = builder.with(|r: &mut ServerRegistrar| events = Some(r.observe(256)));
        let made = match with {
            Certificate::Signed => Some(certificate(domains, Some(&self.authority))),
            Certificate::SelfSigned => Some(certificate(domains, None)),
            Certificate::Nobodys => Some(certificate(&["nobody.example"], Some(&self.authority))),
            Certificate::None => None,
        };
        if let Some(made) = made {
            builder = builder.tls(ServerTls::single(made).unwrap());
        }
        House { server: builder.build().unwrap(), events: events.unwrap() }
    }
}

impl House {
    async fn user(&self, jid: &str) -> Raw {
        Raw::session(&self.server, jid).await
    }

    /// Waits until this server may send from its domain to that one, and says by which proof.
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

fn message(to: &str, body: &str) -> String {
    format!("<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")
}

const ROMEO: &str = "romeo@montague.example/orchard";
const JULIET: &str = "juliet@capulet.example/balcony";

/// A few words each way, and a ping to the other's server.
async fn talk(romeo: &mut Raw, juliet: &mut Raw) {
    romeo.send(&message(JULIET, "one")).await;
    let heard = juliet.until("</message>").await;
    assert!(heard.contains(&format!("from='{ROMEO}'")) && heard.contains("<body>one</body>"), "{heard}");
    juliet.send(&message(ROMEO, "two")).await;
    let heard = romeo.until("</message>").await;
    assert!(heard.contains(&format!("from='{JULIET}'")) && heard.contains("<body>two</body>"), "{heard}");
    romeo.send("<iq type='get' to='capulet.example' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let answer = romeo.until("/>").await;
    assert!(answer.contains("from='capulet.example'") && answer.contains("type='result'"), "{answer}");
    romeo.send(&format!("<presence to='{JULIET}'/>")).await;
    let heard = juliet.until("/>").await;
    assert!(heard.starts_with("<presence") && heard.contains(ROMEO), "{heard}");
}

async fn two(world: &World, with: Certificate, bidi: bool) -> (House, House) {
    let federation = || if bidi { world.federation() } else { world.federation().one_way_streams() };
    let montague = world.house(&["montague.example"], with, federation()).await;
    let capulet = world.house(&["capulet.example"], with, federation()).await;
    (montague, capulet)
}

#[tokio::test]
async fn xep0220_two_servers_with_certificates_of_their_own_making() {
    for bidi in [true, false] {
        let world = World::new();
        let (mut montague, mut capulet) = two(&world, Certificate::SelfSigned, bidi).await;
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        talk(&mut romeo, &mut juliet).await;
        assert_eq!(montague.authorized("montague.example", "capulet.example").await, Proof::Dialback);
        assert_eq!(capulet.authorized("capulet.example", "montague.example").await, Proof::Dialback);
        assert_eq!(montague.server.streams_to_servers(), 1);
        assert_eq!(capulet.server.streams_to_servers(), 1, "at least to verify the key");
    }
}

#[tokio::test]
async fn xep0178_two_servers_with_certificates_of_an_authority() {
    for bidi in [true, false] {
        let world = World::new();
        let (mut montague, mut capulet) = two(&world, Certificate::Signed, bidi).await;
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        talk(&mut romeo, &mut juliet).await;
        assert_eq!(montague.authorized("montague.example", "capulet.example").await, Proof::External);
        assert_eq!(capulet.authorized("capulet.example", "montague.example").await, Proof::External);
        // XEP-0288: the one stream does for both.
        assert_eq!(capulet.server.streams_to_servers(), usize::from(!bidi));
    }
}

#[tokio::test]
async fn xep0368_direct_tls_between_servers() {
    let world = World::new();
    let strict = || world.federation().policy(Policy::default().require_valid_certificate(true));
    let montague = world.deaf_house(&["montague.example"], Certificate::Signed, strict());
    let mut capulet = world.deaf_house(&["capulet.example"], Certificate::Signed, strict());
    for (house, domain) in [(&montague, "montague.example"), (&capulet, "capulet.example")] {
        let address = house.server.listen_servers_tls("127.0.0.1:0".parse().unwrap()).await.unwrap();
        world.zone.enter(domain, address, true);
    }
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    talk(&mut romeo, &mut juliet).await;
    assert_eq!(capulet.authorized("capulet.example", "montague.example").await, Proof::External);
}

#[tokio::test]
async fn both_begin_at_once_and_nothing_is_lost_or_out_of_order() {
    let world = World::new();
    let (montague, capulet) = two(&world, Certificate::SelfSigned, true).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    for round in 0..50 {
        tokio::join!(async { romeo.send(&message(JULIET, &format!("r{round}."))).await }, async {
            juliet.send(&message(ROMEO, &format!("j{round}."))).await
        },);
    }
    for round in 0..50 {
        let heard = juliet.until("</message>").await;
        assert!(heard.contains(&format!("<body>r{round}.</body>")), "{round}: {heard}");
        let heard = romeo.until("</message>").await;
        assert!(heard.contains(&format!("<body>j{round}.</body>")), "{round}: {heard}");
    }
}

#[tokio::test]
async fn xep0220_2_6_many_domains_share_a_stream() {
    for with in [Certificate::Signed, Certificate::SelfSigned] {
        let world = World::new();
        let ours = ["montague.example", "chat.montague.example"];
        let theirs = ["capulet.example", "rooms.capulet.example"];
        let mut montague = world.house(&ours, with, world.federation().one_way_streams()).await;
        let capulet = world.house(&theirs, with, world.federation().one_way_streams()).await;
        let mut users = Vec::new();
        for domain in theirs {
            users.push(capulet.user(&format!("juliet@{domain}/x")).await);
        }
        for from in ours {
            let mut romeo = montague.user(&format!("romeo@{from}/x")).await;
            for (to, juliet) in theirs.iter().zip(&mut users) {
                romeo.send(&message(&format!("juliet@{to}/x"), from)).await;
                let heard = juliet.until("</message>").await;
                assert!(heard.contains(&format!("from='romeo@{from}/x'")), "{heard}");
                montague.authorized(from, to).await;
            }
        }
        assert_eq!(montague.server.streams_to_servers(), 1, "four pairs, one stream");
    }
}

/// Sends a message that comes back, and returns the error.
async fn bounced(romeo: &mut Raw, to: &str) -> String {
    romeo.send(&message(to, "lost")).await;
    let heard = romeo.until("</message>").await;
    assert!(heard.contains("type='error'") && heard.contains("id='lost'"), "{heard}");
    assert!(heard.contains(&format!("from='{to}'")), "{heard}");
    heard
}

#[tokio::test]
async fn abuse_a035_a_wrong_certificate_is_refused_where_a_valid_one_is_required() {
    for with in [Certificate::Nobodys, Certificate::SelfSigned] {
        let world = World::new();
        let strict = || world.federation().policy(Policy::default().require_valid_certificate(true));
        let montague = world.house(&["montague.example"], Certificate::Signed, strict()).await;
        let capulet = world.house(&["capulet.example"], with, world.federation()).await;
        let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
        let error = bounced(&mut romeo, JULIET).await;
        assert!(error.contains("<remote-server-timeout") && error.contains("no valid certificate"), "{error}");
        // In the other direction the certificate is what they show as the initiator.
        let error = bounced(&mut juliet, ROMEO).await;
        assert!(error.contains("<remote-server-timeout"), "{error}");
        assert_eq!(montague.server.stats().admitted, 0);
    }
}

#[tokio::test]
async fn a_policy_of_ones_own_lets_a_domain_in_or_out() {
    let world = World::new();
    let strict = world
        .federation()
        .policy(Policy::default().require_valid_certificate(true))
        .domain_policy("Capulet.example", Policy::default())
        .domain_policy("*.verona.example", Policy::default().block(true));
    let montague = world.house(&["montague.example"], Certificate::Signed, strict).await;
    let capulet = world.house(&["capulet.example"], Certificate::SelfSigned, world.federation()).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    talk(&mut romeo, &mut juliet).await;
    let error = bounced(&mut romeo, "prince@palace.verona.example").await;
    assert!(error.contains("<policy-violation"), "{error}");
}

#[tokio::test]
async fn rfc6120_10_4_a_domain_that_is_not_there_is_not_found() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::Signed, world.federation()).await;
    let mut romeo = montague.user(ROMEO).await;
    for _ in 0..2 {
        let error = bounced(&mut romeo, "juliet@nowhere.example").await;
        assert!(error.contains("<remote-server-not-found"), "{error}");
    }
    // One that exists and does not know the domain.
    let capulet = world.house(&["capulet.example"], Certificate::Signed, world.federation()).await;
    let address = capulet.server.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    world.zone.enter("mantua.example", address, false);
    let error = bounced(&mut romeo, "juliet@mantua.example").await;
    assert!(error.contains("<remote-server-not-found"), "{error}");
}

#[tokio::test]
async fn abuse_a083_nothing_leads_into_the_own_network_unless_permitted() {
    let world = World::new();
    let federation = Federation::new().resolver(world.zone.clone());
    let montague = world.house(&["montague.example"], Certificate::Signed, federation).await;
    let _capulet = world.house(&["capulet.example"], Certificate::Signed, world.federation()).await;
    let mut romeo = montague.user(ROMEO).await;
    for to in ["juliet@capulet.example/x", "juliet@127.0.0.1", "juliet@[::1]"] {
        let error = bounced(&mut romeo, to).await;
        assert!(error.contains("<remote-server-not-found"), "{error}");
    }
}

#[tokio::test]
async fn without_federation_there_is_nobody_else() {
    let server = builder().build().unwrap();
    assert!(server.listen_servers("127.0.0.1:0".parse().unwrap()).await.is_err());
    let mut romeo = Raw::session(&server, "romeo@localhost/x").await;
    assert!(bounced(&mut romeo, JULIET).await.contains("<remote-server-not-found"));
}

// Peers spoken by hand, without TLS.

const S2S: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                   xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";
const FEATURES: &str = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
                        </stream:features>";
const SECRET: &[u8] = b"the Capulets' secret";

fn open_federation(world: &World) -> Federation {
    world.federation().policy(Policy::default().require_tls(false))
}

fn quick() -> FederationLimits {
    let mut limits = FederationLimits::default();
    limits.queue_time = Duration::from_millis(300);
    limits.retry_min = Duration::from_millis(1);
    limits
}

/// The Capulets' server, as a listener that the test answers for.
struct Fake {
    listener: TcpListener,
    address: SocketAddr,
}

impl Fake {
    async fn new(world: &World, domain: &str) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.zone.enter(domain, address, false);
        Fake { listener, address }
    }

    /// The next connection, up to the features.
    async fn accept(&self) -> Raw {
        self.accept_as("capulet.example").await
    }

    async fn accept_as(&self, domain: &str) -> Raw {
        let (socket, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut peer = Raw::over(socket);
        let header = peer.until("<stream:stream").await + &peer.until(">").await;
        assert!(header.contains("xmlns='jabber:server'") && header.contains("from='montague.example'"), "{header}");
        peer.send(&format!("{S2S} from='{domain}' to='montague.example' id='s1'>{FEATURES}")).await;
        peer
    }

    /// The next connection, on which the Montagues are then authorised.
    async fn authorize(&self) -> Raw {
        let mut peer = self.accept().await;
        let request = peer.until("</db:result>").await;
        assert!(request.contains("from='montague.example' to='capulet.example'"), "{request}");
        peer.send("<db:result from='capulet.example' to='montague.example' type='valid'/>").await;
        peer
    }

    /// Judges the key that it is asked about.
    async fn verify(&self, verdict: &'static str) {
        self.verify_for("capulet.example", verdict).await;
    }

    /// The same for another domain, and for whatever else it is asked on that connection.
    async fn verify_for(&self, domain: &'static str, verdict: &'static str) {
        let mut peer = self.accept_as(domain).await;
        judge(&mut peer, domain, verdict).await;
        tokio::spawn(async move {
            loop {
                judge(&mut peer, domain, verdict).await;
            }
        });
    }
}

async fn judge(peer: &mut Raw, domain: &str, verdict: &str) {
    let question = peer.until("</db:verify>").await;
    let id = question.split("id='").nth(1).unwrap().split('\'').next().unwrap();
    peer.send(&format!("<db:verify from='{domain}' to='montague.example' id='{id}' type='{verdict}'/>")).await;
}

/// A connection to the Montagues that says it is the Capulets, with the id of its stream.
async fn call(montague: &House) -> (Raw, String) {
    let address = montague.server.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut peer = Raw::tcp(address).await;
    peer.send(&format!("{S2S} from='capulet.example' to='montague.example'>")).await;
    let header = peer.until("</stream:features>").await;
    assert!(header.contains("<errors/>"), "{header}");
    let id = header.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    (peer, id)
}

#[tokio::test]
async fn abuse_a081_a_forged_key_is_refused_and_a_right_one_accepted() {
    let world = World::new();
    let federation = open_federation(&world);
    let montague = world.house(&["montague.example"], Certificate::None, federation).await;
    // Here the authoritative server is one of ours, which knows its own keys.
    let capulet = open_federation(&world).secret(SECRET);
    let _capulet = world.house(&["capulet.example"], Certificate::None, capulet).await;
    let (mut peer, id) = call(&montague).await;
    let right = DialbackSecret::new(SECRET).key("montague.example", "capulet.example", &id);
    let of_another = DialbackSecret::new(SECRET).key("montague.example", "capulet.example", "another");
    peer.send(&format!("<db:result from='capulet.example' to='montague.example'>{of_another}</db:result>")).await;
    let end = peer.ends_with("not-authorized").await;
    assert!(end.contains("type='invalid'"), "{end}");
    assert_eq!(montague.server.stats().admitted, 0);

    let (mut peer, id) = call(&montague).await;
    assert_ne!(right, DialbackSecret::new(SECRET).key("montague.example", "capulet.example", &id), "ids differ");
    let right = DialbackSecret::new(SECRET).key("montague.example", "capulet.example", &id);
    peer.send(&format!("<db:result from='capulet.example' to='montague.example'>{right}</db:result>")).await;
    let answer = peer.until("/>").await;
    assert!(answer.contains("type='valid'"), "{answer}");
    let mut romeo = montague.user(ROMEO).await;
    peer.send(&format!("<message from='{JULIET}' to='{ROMEO}'><body>hi</body></message>")).await;
    assert!(romeo.until("</message>").await.contains("<body>hi</body>"));
}

#[tokio::test]
async fn abuse_a082_a_forged_from_ends_the_stream_and_reaches_nobody() {
    for (from, to, condition) in [
        ("prince@verona.example", ROMEO, "invalid-from"),
        ("mercutio@montague.example", ROMEO, "invalid-from"),
        (JULIET, "prince@verona.example", "host-unknown"),
    ] {
        let world = World::new();
        let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
        let fake = Fake::new(&world, "capulet.example").await;
        let (mut peer, _) = call(&montague).await;
        peer.send("<db:result from='capulet.example' to='montague.example'>k</db:result>").await;
        fake.verify("valid").await;
        assert!(peer.until("/>").await.contains("type='valid'"));
        let mut romeo = montague.user(ROMEO).await;
        peer.send(&format!("<message from='{from}' to='{to}'><body>forged</body></message>")).await;
        peer.ends_with(condition).await;
        romeo.sync().await;
    }
}

#[tokio::test]
async fn abuse_a082_before_authentication_nothing_is_taken() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
    let (mut peer, _) = call(&montague).await;
    peer.send(&format!("<message from='{JULIET}' to='{ROMEO}'><body>hi</body></message>")).await;
    peer.ends_with("not-authorized").await;
}

#[tokio::test]
async fn xep0220_2_5_where_the_authoritative_server_is_not_there_the_error_says_so() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
    let (mut peer, _) = call(&montague).await;
    peer.send("<db:result from='capulet.example' to='montague.example'>k</db:result>").await;
    let answer = peer.until("</db:result>").await;
    assert!(answer.contains("type='error'") && answer.contains("<remote-server-not-found"), "{answer}");
}

#[tokio::test]
async fn what_waits_too_long_or_is_too_much_comes_back() {
    let world = World::new();
    let mut limits = quick();
    limits.queue_stanzas = 2;
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    // It takes connections and says nothing.
    let _fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    for body in ["one", "two", "three"] {
        romeo.send(&message(JULIET, body)).await;
    }
    for (body, text) in [("three", "too much is waiting"), ("one", "in time"), ("two", "in time")] {
        let error = romeo.until("</message>").await;
        assert!(error.contains(&format!("id='{body}'")) && error.contains(text), "{body}: {error}");
        assert!(error.contains("<remote-server-timeout"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_pair_is_left_alone_for_a_while_and_tried_again() {
    let world = World::new();
    let mut limits = quick();
    limits.queue_time = Duration::from_secs(20);
    limits.retry_min = Duration::from_secs(3600);
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    let refuse = async {
        let mut peer = fake.accept().await;
        peer.until("</db:result>").await;
        peer.send(
            "<db:result from='capulet.example' to='montague.example' type='error'><error type='cancel'>\
             <forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
        )
        .await;
        peer
    };
    let (error, _peer) = tokio::join!(bounced(&mut romeo, JULIET), refuse);
    assert!(error.contains("<remote-server-timeout") && error.contains("forbidden"), "{error}");
    // From memory this time: nobody is asked.
    let error = bounced(&mut romeo, JULIET).await;
    assert!(error.contains("forbidden"), "{error}");
    assert!(timeout(Duration::from_millis(50), fake.listener.accept()).await.is_err());
    assert!(fake.address.port() > 0);
}

#[tokio::test]
async fn what_a_lost_stream_did_not_take_comes_back_once() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message(JULIET, "first")).await;
    let mut peer = fake.authorize().await;
    assert!(peer.until("</message>").await.contains("<body>first</body>"));
    // More than sockets hold, to a peer that reads no more.
    let body = "x".repeat(50_000);
    const COUNT: usize = 120;
    for number in 0..COUNT {
        romeo.send(&format!("<message to='{JULIET}' id='m{number}.'><body>{body}</body></message>")).await;
    }
    romeo.sync().await;
    drop(peer);
    let mut back = Vec::new();
    while !back.contains(&(COUNT - 1)) {
        let error = romeo.until("</message>").await;
        assert!(error.contains("<remote-server-timeout"), "{}", &error[error.len() - 300..]);
        let id = error.split("id='m").nth(1).unwrap().split('.').next().unwrap();
        back.push(id.parse::<usize>().unwrap());
    }
    romeo.sync().await;
    let first = back[0];
    assert_eq!(back, (first..COUNT).collect::<Vec<_>>(), "in order, each once, to the last");
    // The next one opens a new stream.
    romeo.send(&message(JULIET, "again")).await;
    let mut peer = fake.authorize().await;
    assert!(peer.until("</message>").await.contains("<body>again</body>"));
}

#[tokio::test]
async fn rfc6120_4_4_a_stream_that_the_peer_closes_is_closed_and_opened_anew() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    for body in ["one", "two"] {
        romeo.send(&message(JULIET, body)).await;
        let mut peer = fake.authorize().await;
        assert!(peer.until("</message>").await.contains(body));
        peer.send(END).await;
        assert_eq!(peer.rest().await, END);
    }
}

#[tokio::test]
async fn rfc6120_4_6_idle_streams_are_closed_and_silence_is_broken_by_white_space() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.keepalive = Duration::from_millis(100);
    limits.idle = Duration::from_millis(350);
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message(JULIET, "one")).await;
    let mut peer = fake.authorize().await;
    peer.until("</message>").await;
    let rest = peer.until(END).await;
    assert!(rest.starts_with(' ') && rest.trim_start() == END, "{rest:?}");
    peer.send(END).await;
    peer.rest().await;
}

#[tokio::test]
async fn abuse_a029_a_negotiation_that_does_not_get_on_ends() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.phase = Duration::from_millis(20);
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let (mut peer, _) = call(&montague).await;
    peer.ends_with("policy-violation").await;
}

#[tokio::test]
async fn abuse_a100_newcomers_of_one_address_are_bounded() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.unauthenticated_per_ip = 2;
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let _two = (call(&montague).await, call(&montague).await);
    let address = montague.server.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert_eq!(Raw::tcp(address).await.rest().await, "");
}

/// Another connection to the same port, that says it is from `domain`, whose authoritative server is `fake`.
async fn verified(montague: &House, fake: &Fake, domain: &'static str) -> Raw {
    let (mut peer, _) = call(montague).await;
    peer.send(&format!("<db:result from='{domain}' to='montague.example'>k</db:result>")).await;
    fake.verify_for(domain, "valid").await;
    assert!(peer.until("/>").await.contains("type='valid'"));
    peer
}

#[tokio::test]
async fn rfc6120_4_9_3_14_a_domain_has_no_more_streams_than_it_may() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.incoming_per_domain = 1;
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut first = verified(&montague, &fake, "capulet.example").await;
    let (mut second, _) = call(&montague).await;
    second.send("<db:result from='capulet.example' to='montague.example'>k</db:result>").await;
    second.ends_with("policy-violation").await;
    let mut romeo = montague.user(ROMEO).await;
    first.send(&format!("<message from='{JULIET}' to='{ROMEO}'><body>hi</body></message>")).await;
    assert!(romeo.until("</message>").await.contains("<body>hi</body>"), "the first is left alone");
    // The end of one makes room for another, and other domains have theirs.
    first.send(END).await;
    first.rest().await;
    let _again = verified_on_a_stream(&montague, "capulet.example").await;
    let verona = Fake::new(&world, "verona.example").await;
    let _other = verified(&montague, &verona, "verona.example").await;
    assert_eq!(montague.server.stats().admitted, 3);
}

/// As [`verified`], where the stream to the authoritative server is there already.
async fn verified_on_a_stream(montague: &House, domain: &str) -> Raw {
    let (mut peer, _) = call(montague).await;
    peer.send(&format!("<db:result from='{domain}' to='montague.example'>k</db:result>")).await;
    assert!(peer.until("/>").await.contains("type='valid'"));
    peer
}

#[tokio::test]
async fn rfc6120_4_9_3_14_an_address_has_no_more_streams_than_it_may() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.incoming_per_ip = 1;
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let _first = verified(&montague, &fake, "capulet.example").await;
    let verona = Fake::new(&world, "verona.example").await;
    let (mut second, _) = call(&montague).await;
    second.send("<db:result from='verona.example' to='montague.example'>k</db:result>").await;
    verona.verify_for("verona.example", "valid").await;
    second.ends_with("policy-violation").await;
    assert_eq!(montague.server.stats().admitted, 1);
}

#[tokio::test]
async fn abuse_a100_keys_that_strangers_have_verified_hold_nobody_up_who_has_something_to_say() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.connecting = 1;
    (limits.verification, limits.queue_time) = (FOREVER, FOREVER);
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let (mut peer, _) = call(&montague).await;
    for number in 0..4 {
        peer.send(&format!("<db:result from='d{number}.hanging.example' to='montague.example'>k</db:result>")).await;
    }
    // All of it has been taken when this is answered.
    peer.send("<db:verify from='capulet.example' to='montague.example' id='x'>k</db:verify>").await;
    peer.until("type='invalid'").await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message(JULIET, "one")).await;
    let mut peer = fake.authorize().await;
    assert!(peer.until("</message>").await.contains("<body>one</body>"));
}

#[tokio::test]
async fn abuse_a100_verifications_for_one_address_are_bounded() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.verifying_per_ip = 1;
    limits.verification = FOREVER;
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let (mut first, _) = call(&montague).await;
    first.send("<db:result from='d1.hanging.example' to='montague.example'>k</db:result>").await;
    first.send("<db:verify from='capulet.example' to='montague.example' id='x'>k</db:verify>").await;
    first.until("type='invalid'").await;
    let (mut second, _) = call(&montague).await;
    second.send("<db:result from='d2.hanging.example' to='montague.example'>k</db:result>").await;
    let answer = second.until("</db:result>").await;
    assert!(answer.contains("type='error'") && answer.contains("<resource-constraint"), "{answer}");
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_made_again() {
    let world = World::new();
    let mut limits = quick();
    limits.retry_min = Duration::ZERO;
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    let (error, mut peer) = tokio::join!(bounced(&mut romeo, JULIET), async {
        let mut peer = fake.accept().await;
        peer.until("</db:result>").await;
        peer
    });
    assert!(error.contains("in time"), "{error}");
    let (error, ()) = tokio::join!(bounced(&mut romeo, JULIET), async {
        peer.until("</db:result>").await;
    });
    assert!(error.contains("in time"), "{error}");
    assert_eq!(montague.server.streams_to_servers(), 1);
}

#[tokio::test]
async fn a_stream_that_only_verified_a_key_does_not_stay() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    limits.verification = Duration::from_secs(2);
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let (mut asker, _) = call(&montague).await;
    asker.send("<db:result from='capulet.example' to='montague.example'>k</db:result>").await;
    let mut peer = fake.accept().await;
    judge(&mut peer, "capulet.example", "valid").await;
    assert!(asker.until("/>").await.contains("type='valid'"));
    peer.until(END).await;
}

#[tokio::test]
async fn rfc6120_4_9_3_20_a_server_that_stops_says_so_on_both_kinds_of_streams() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message(JULIET, "one")).await;
    let mut outgoing = fake.authorize().await;
    outgoing.until("</message>").await;
    let (mut incoming, _) = call(&montague).await;
    let stopped = stop(&montague.server);
    drop(romeo);
    outgoing.ends_with("system-shutdown").await;
    incoming.ends_with("system-shutdown").await;
    drop((outgoing, incoming));
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
}

fn stop(server: &Server) -> tokio::task::JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move { server.shutdown(Duration::from_secs(30)).await })
}

/// A server whose sessions say goodbye to `to` when they end.
async fn polite_house(world: &World, to: &'static str) -> House {
    let mut events = None;
    let builder = Server::builder("montague.example").accounts(Table).federation(open_federation(world));
    let builder = builder.with(|r: &mut ServerRegistrar| {
        events = Some(r.observe(256));
        r.on_session_end(move |server, ended| {
            let goodbye = format!("<presence type='unavailable' from='{}' to='{to}'/>", ended.jid);
            let goodbye = Stanza::parse(&goodbye, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
            server.send(ended.jid.clone(), to.parse().unwrap(), goodbye);
        });
    });
    let house = House { server: builder.build().unwrap(), events: events.unwrap() };
    let address = house.server.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    world.zone.enter("montague.example", address, false);
    house
}

#[tokio::test]
async fn rfc6121_4_5_what_sessions_leave_at_a_shutdown_still_goes_to_other_servers() {
    let world = World::new();
    let montague = polite_house(&world, JULIET).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message(JULIET, "one")).await;
    let mut peer = fake.authorize().await;
    peer.until("</message>").await;
    let stopped = stop(&montague.server);
    romeo.until(END).await;
    drop(romeo);
    let goodbye = peer.until("/>").await;
    assert!(goodbye.contains("type='unavailable'") && goodbye.contains(ROMEO), "{goodbye}");
    peer.ends_with("system-shutdown").await;
    drop(peer);
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn rfc6121_4_5_at_a_shutdown_a_stream_that_is_being_opened_is_waited_for() {
    let world = World::new();
    let montague = polite_house(&world, JULIET).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let romeo = montague.user(ROMEO).await;
    let stopped = stop(&montague.server);
    drop(romeo);
    let mut peer = fake.authorize().await;
    let goodbye = peer.until("/>").await;
    assert!(goodbye.contains("type='unavailable'") && goodbye.contains(ROMEO), "{goodbye}");
    peer.ends_with("system-shutdown").await;
    drop(peer);
    timeout(PATIENCE, stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_for_no_stream_beyond_its_time() {
    let world = World::new();
    let montague = polite_house(&world, JULIET).await;
    // It takes connections and says nothing.
    let _fake = Fake::new(&world, "capulet.example").await;
    drop(montague.user(ROMEO).await);
    timeout(PATIENCE, montague.server.shutdown(Duration::from_millis(400))).await.unwrap();
    assert_eq!(montague.server.streams_to_servers(), 0);
}

#[tokio::test]
async fn rfc6120_4_9_3_19_another_host_is_not_followed() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut romeo = montague.user(ROMEO).await;
    let redirect = async {
        let mut peer = fake.accept().await;
        peer.send(&format!(
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{}</see-other-host>\
             </stream:error>{END}",
            elsewhere.local_addr().unwrap()
        ))
        .await;
        peer.rest().await
    };
    let (error, _) = tokio::join!(bounced(&mut romeo, JULIET), redirect);
    assert!(error.contains("<remote-server-timeout"), "{error}");
    assert!(timeout(Duration::from_millis(50), elsewhere.accept()).await.is_err());
}

/// Says every message back from the address it was sent to.
fn echo(domain: &'static str) -> impl Fn(&mut ServerRegistrar) {
    move |r: &mut ServerRegistrar| {
        r.service(domain, |s| {
            s.stanzas(Kinds::MESSAGE, |envelope: &mut Envelope, server: &Server| {
                let (asker, asked) = (envelope.from().clone(), envelope.to().cloned());
                let Some(asked) = asked.filter(|_| !envelope.is_error()) else { return Verdict::Drop("an error") };
                let echo = envelope.stanza().rewrite(ns::CLIENT).from(Some(asked.as_str())).to(Some(asker.as_str()));
                server.send(asked.clone(), asker.clone(), echo.to_stanza());
                Verdict::Handled
            });
        });
    }
}

#[tokio::test]
async fn rfc6120_10_4_services_and_components_are_reached_from_other_servers_and_answer() {
    let world = World::new();
    let montague = world.house(&["montague.example"], Certificate::Signed, world.federation()).await;
    let domains = ["capulet.example", "echo.capulet.example", "plays.capulet.example"];
    let builder = Server::builder(domains[0]).accounts(Table).federation(world.federation());
    let builder = builder.tls(ServerTls::single(certificate(&domains, Some(&world.authority))).unwrap());
    let capulet = builder.with(echo(domains[1])).component(domains[2], "secret").build().unwrap();
    let address = capulet.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    domains.iter().for_each(|domain| world.zone.enter(domain, address, false));

    let mut component = Raw::over(capulet.attach_memory());
    component
        .send(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
             to='plays.capulet.example'>",
        )
        .await;
    let header = component.until("'>").await;
    let id = header.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let proof = xmpp_core::stream::component_handshake(id, "secret");
    component.send(&format!("<handshake>{proof}</handshake>")).await;
    component.until("<handshake/>").await;

    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message("canyon@echo.capulet.example/deep", "hollo")).await;
    let heard = romeo.until("</message>").await;
    assert!(
        heard.contains("from='canyon@echo.capulet.example/deep'") && heard.contains("<body>hollo</body>"),
        "{heard}"
    );
    romeo.send("<iq type='get' to='echo.capulet.example' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let answer = romeo.until("/>").await;
    assert!(answer.contains("from='echo.capulet.example'") && answer.contains("type='result'"), "{answer}");

    romeo.send(&message("hamlet@plays.capulet.example/castle", "who")).await;
    let heard = component.until("</message>").await;
    assert!(heard.contains(&format!("from='{ROMEO}'")) && heard.contains("<body>who</body>"), "{heard}");
    let from = "hamlet@plays.capulet.example/castle";
    component.send(&format!("<message from='{from}' to='{ROMEO}'><body>I</body></message>")).await;
    let heard = romeo.until("</message>").await;
    assert!(heard.contains(&format!("from='{from}'")) && heard.contains("<body>I</body>"), "{heard}");
}

#[tokio::test]
async fn abuse_a084_a_peer_that_claims_a_domain_served_here_is_refused() {
    let world = World::new();
    let builder = Server::builder("montague.example").accounts(Table).federation(open_federation(&world));
    let builder = builder.with(echo("echo.montague.example")).component("plays.montague.example", "secret");
    let montague = builder.build().unwrap();
    let address = montague.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    for claimed in ["echo.montague.example", "plays.montague.example", "Montague.Example.", "PLAYS.montague.example"] {
        let mut peer = Raw::tcp(address).await;
        peer.send(&format!("{S2S} from='{claimed}' to='montague.example'>")).await;
        peer.ends_with("invalid-from").await;
        let mut peer = Raw::tcp(address).await;
        peer.send(&format!("{S2S} from='capulet.example' to='montague.example'>")).await;
        peer.until("</stream:features>").await;
        peer.send(&format!("<db:result from='{claimed}' to='plays.montague.example'>k</db:result>")).await;
        peer.ends_with("invalid-from").await;
    }
    assert_eq!(montague.stats().admitted, 0);
}

#[tokio::test]
async fn what_a_client_may_send_does_not_end_a_stream_between_servers() {
    let world = World::new();
    let (montague, capulet) = two(&world, Certificate::Signed, true).await;
    let (mut romeo, mut juliet) = (montague.user(ROMEO).await, capulet.user(JULIET).await);
    // As many attributes as a client may give; its server adds one.
    let many: String = (3..XmlLimits::authenticated().attributes).map(|number| format!(" a{number}='x'")).collect();
    romeo.send(&format!("<message to='{JULIET}' type='chat' id='m'{many}><body>many</body></message>")).await;
    assert!(juliet.until("</message>").await.contains("<body>many</body>"));
}

#[tokio::test]
async fn abuse_a100_one_account_does_not_take_the_places_of_all_others() {
    let world = World::new();
    let mut limits = FederationLimits::default();
    (limits.connecting, limits.opening_per_sender, limits.queue_time) = (3, 2, FOREVER);
    let montague = world.house(&["montague.example"], Certificate::None, open_federation(&world).limits(limits)).await;
    let fake = Fake::new(&world, "capulet.example").await;
    let mut greedy = montague.user("tybalt@montague.example/x").await;
    for number in 0..4 {
        greedy.send(&message(&format!("a@d{number}.hanging.example"), "x")).await;
    }
    for number in 2..4 {
        let error = greedy.until("</message>").await;
        let from = format!("from='a@d{number}.hanging.example'");
        assert!(error.contains("<resource-constraint") && error.contains(&from), "{error}");
    }
    let mut romeo = montague.user(ROMEO).await;
    romeo.send(&message(JULIET, "one")).await;
    let mut peer = fake.authorize().await;
    assert!(peer.until("</message>").await.contains("<body>one</body>"));
}
