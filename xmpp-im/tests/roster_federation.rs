//! Subscriptions and presence between two servers over loopback (RFC 6121 §3 and §4).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod stage;

use stage::{support::Table, *};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};
use xmpp_core::{
    net::{ResolveError, ResolveFuture, Resolver, ServerTls, SrvRecord, tls::SelfSigned},
    server::{Federation, Server},
};
use xmpp_im::roster::{MemoryRosters, RosterLimits};

/// A DNS that learns where servers listen after they do.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<HashMap<String, u16>>>);

impl Resolver for Zone {
    fn srv<'a>(&'a self, name: &'a str) -> ResolveFuture<'a, Vec<SrvRecord>> {
        let port =
            name.strip_prefix("_xmpp-server._tcp.").and_then(|domain| self.0.lock().unwrap().get(domain).copied());
        Box::pin(async move {
            let port = port.ok_or_else(|| ResolveError::NotFound(name.to_owned()))?;
            Ok(vec![SrvRecord::new(0, 0, port, "host.test")])
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> ResolveFuture<'a, Vec<IpAddr>> {
        Box::pin(async move {
            match host {
                "host.test" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
                _ => Err(ResolveError::NotFound(host.to_owned())),
            }
        })
    }
}

/// A server that proves itself by dialback, with rosters.
async fn house(zone: &Zone, domain: &str) -> Server {
    let certificate = SelfSigned::generate(&[domain], 1).unwrap();
    let builder = Server::builder(domain)
        .accounts(Table)
        .tls(ServerTls::single(certificate.certificate_key).unwrap())
        .federation(Federation::new().resolver(zone.clone()).private_addresses());
    let server = compose(builder, MemoryRosters::new(), RosterLimits::default()).build().unwrap();
    let address = server.listen_servers("127.0.0.1:0".parse().unwrap()).await.unwrap();
    zone.0.lock().unwrap().insert(domain.to_owned(), address.port());
    server
}

async fn device(server: &Server, jid: &str) -> Device {
    let mut device = Device::connect(server, jid).await;
    device.roster().await;
    device.send("<presence/>").await;
    device.until(&format!("available {jid}")).await;
    device
}

const ROMEO: &str = "romeo@montague.example";
const JULIET: &str = "juliet@capulet.example";

#[tokio::test]
async fn rfc6121_3_and_4_between_two_servers() {
    let zone = Zone::default();
    let (montague, capulet) = (house(&zone, "montague.example").await, house(&zone, "capulet.example").await);
    let mut romeo = device(&montague, "romeo@montague.example/orchard").await;
    let mut juliet = device(&capulet, "juliet@capulet.example/balcony").await;

    // Asked, and approved.
    romeo.presence("subscribe", JULIET).await;
    romeo.until("push juliet@capulet.example none ask").await;
    juliet.until("subscribe romeo@montague.example").await;
    juliet.presence("subscribed", ROMEO).await;
    juliet.until("push romeo@montague.example from").await;
    romeo.until("subscribed juliet@capulet.example").await;
    romeo.until("push juliet@capulet.example to").await;
    romeo.until("available juliet@capulet.example/balcony").await;

    // Asked back while Romeo is away: it waits for him, with his new session's probe answered.
    drop(romeo);
    juliet.presence("subscribe", ROMEO).await;
    juliet.until("push romeo@montague.example from ask").await;
    juliet.send("<presence><status>sighing</status></presence>").await;
    let mut romeo = device(&montague, "romeo@montague.example/garden").await;
    let wanted = ["available juliet@capulet.example/balcony 'sighing'", "subscribe juliet@capulet.example"];
    let mut seen = Vec::new();
    while !wanted.iter().all(|one| seen.contains(&(*one).to_owned())) {
        seen.push(brief(&romeo.next().await));
    }
    romeo.presence("subscribed", JULIET).await;
    juliet.until("subscribed romeo@montague.example").await;
    juliet.until("push romeo@montague.example both").await;
    juliet.until("available romeo@montague.example/garden").await;

    // Presence both ways, to the end of a session.
    juliet.send("<presence><status>smiling</status></presence>").await;
    romeo.until("available juliet@capulet.example/balcony 'smiling'").await;
    drop(romeo);
    juliet.until("unavailable romeo@montague.example/garden").await;
    let mut romeo = device(&montague, "romeo@montague.example/garden").await;
    juliet.until("available romeo@montague.example/garden").await;
    romeo.until("available juliet@capulet.example/balcony 'smiling'").await;

    // Ended by one, and by the other.
    romeo.presence("unsubscribe", JULIET).await;
    juliet.until("unsubscribe romeo@montague.example").await;
    juliet.until("push romeo@montague.example to").await;
    romeo.until("unavailable juliet@capulet.example/balcony").await;
    romeo.presence("unsubscribed", JULIET).await;
    juliet.until("unavailable romeo@montague.example/garden").await;
    juliet.until("unsubscribed romeo@montague.example").await;
    juliet.until("push romeo@montague.example none").await;
    assert_eq!(romeo.roster().await.0, ["juliet@capulet.example none"]);
}

#[tokio::test]
async fn abuse_a054_a_stranger_elsewhere_learns_nothing_by_a_probe() {
    let zone = Zone::default();
    let (montague, capulet) = (house(&zone, "montague.example").await, house(&zone, "capulet.example").await);
    let _juliet = device(&capulet, "juliet@capulet.example/balcony").await;
    let mut romeo = device(&montague, "romeo@montague.example/orchard").await;
    for whose in ["juliet@capulet.example", "nobody@capulet.example"] {
        romeo.presence("subscribe", whose).await;
        for to in [whose.to_owned(), format!("{whose}/balcony")] {
            romeo.presence("probe", &to).await;
        }
        let before = romeo.until(&format!("unsubscribed {whose}")).await;
        assert_eq!(before, [format!("push {whose} none ask")], "{whose}");
        romeo.until(&format!("push {whose} none")).await;
    }
}
