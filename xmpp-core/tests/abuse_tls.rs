//! Hostile clients before, in and after the TLS handshake (RFC 6120 §5).
#![cfg(all(feature = "client", feature = "server", feature = "self-signed"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::{net::SocketAddr, time::Duration};
use support::{FOREVER, HEADER, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event},
    net::{ClientTls, ServerTls, StaticResolver, tls::SelfSigned},
    server::{Limits, Server},
};

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

struct Place {
    server: Server,
    starttls: SocketAddr,
    direct: SocketAddr,
    trust: ClientTls,
}

async fn place() -> Place {
    place_with(Limits::default().phase).await
}

/// With so much time for each phase.
async fn place_with(phase: Duration) -> Place {
    let certificate = SelfSigned::generate(&["localhost"], 1).unwrap();
    let tls = ServerTls::single(certificate.certificate_key).unwrap();
    let trust = ClientTls::builder().only_roots().add_root_pem(certificate.certificate_pem.as_bytes()).unwrap();
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(300);
    limits.phase = phase;
    let server = builder().tls(tls).limits(limits).build().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let (starttls, direct) = (server.listen(any).await.unwrap(), server.listen_tls(any).await.unwrap());
    Place { server, starttls, direct, trust: trust.build().unwrap() }
}

impl Place {
    /// A stream that TLS protects, its header not sent yet.
    async fn secured(&self) -> Raw {
        let mut raw = Raw::tcp(self.starttls).await;
        raw.send(HEADER).await;
        let features = raw.until("</stream:features>").await;
        assert!(features.contains("<required/>") && !features.contains("<mechanisms"), "{features}");
        raw.send(STARTTLS).await;
        raw.until(PROCEED).await;
        Raw::over(raw.transport.upgrade_client(&self.trust, "localhost").await.unwrap())
    }
}

#[tokio::test]
async fn abuse_a026_what_is_injected_behind_starttls_never_reaches_the_secured_stream() {
    let place = place().await;
    for injected in [HEADER.to_owned(), "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>".to_owned()]
    {
        let mut raw = Raw::tcp(place.starttls).await;
        raw.send(HEADER).await;
        raw.until("</stream:features>").await;
        raw.send(&format!("{STARTTLS}{injected}")).await;
        // In the same segment it closes the connection; in a later one it is no TLS, and does so too.
        let text = raw.rest().await;
        assert!(!text.contains("<stream:stream") && !text.contains("<failure"), "{text}");
    }
    let mut raw = Raw::tcp(place.starttls).await;
    raw.send(HEADER).await;
    raw.until("</stream:features>").await;
    raw.send(STARTTLS).await;
    raw.until(PROCEED).await;
    raw.send(HEADER).await;
    assert!(!raw.rest().await.contains("<stream:stream"));
}

#[tokio::test]
async fn abuse_a027_starttls_within_tls_fails_and_closes() {
    let mut raw = place().await.secured().await;
    raw.send(HEADER).await;
    let features = raw.until("</stream:features>").await;
    assert!(!features.contains("<starttls") && features.contains("<mechanism>PLAIN</mechanism>"), "{features}");
    raw.send(STARTTLS).await;
    assert_eq!(raw.rest().await, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>");
}

#[tokio::test]
async fn abuse_a028_a_handshake_that_is_none_closes_and_others_go_on() {
    let place = place().await;
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff], &[0; 600], HEADER.as_bytes()] {
        let mut raw = Raw::tcp(place.direct).await;
        raw.write(noise).await;
        raw.rest().await;
    }
    let foreign = Raw::tcp(place.direct).await.transport.direct_client(&place.trust, "elsewhere").await;
    assert!(foreign.is_err());
    let direct = Raw::tcp(place.direct).await.transport.direct_client(&place.trust, "localhost").await.unwrap();
    let mut raw = Raw::over(direct);
    raw.send(HEADER).await;
    assert!(raw.until("</stream:features>").await.contains("<mechanisms"));
    assert_eq!(place.server.sessions(), 0);
}

#[tokio::test]
async fn abuse_a029_a_handshake_that_is_never_finished_is_cut_off() {
    let place = place_with(Duration::from_secs(3)).await;
    let mut silent = Raw::tcp(place.direct).await;
    let mut upgrading = Raw::tcp(place.starttls).await;
    upgrading.send(HEADER).await;
    upgrading.until("</stream:features>").await;
    upgrading.send(STARTTLS).await;
    upgrading.until(PROCEED).await;
    upgrading.write(&[0x16]).await;
    assert_eq!(silent.rest().await, "");
    upgrading.rest().await;
}

#[tokio::test]
async fn abuse_a099_shutdown_does_not_wait_for_a_handshake() {
    let place = place_with(FOREVER).await;
    let silent = Raw::tcp(place.direct).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    timeout(PATIENCE, place.server.shutdown(FOREVER)).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn abuse_a031_plain_under_tls_takes_no_other_identity() {
    let place = place().await;
    for (message, condition) in [
        (&b"romeo@localhost\0juliet\0r0m30myr0m30"[..], "invalid-authzid"),
        (b"\0juliet\0wrong", "not-authorized"),
        (b"\0nobody\0r0m30myr0m30", "not-authorized"),
        (b"\0\0", "malformed-request"),
        (b"\0faulty\0x", "temporary-auth-failure"),
    ] {
        let mut raw = place.secured().await;
        let message = xmpp_core::sasl::encode_payload(Some(message));
        raw.send(&format!("{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{message}</auth>"))
            .await;
        let text = raw.until("</failure>").await;
        assert!(text.contains(&format!("<{condition}/>")), "{text}");
    }
}

#[tokio::test]
async fn clients_log_in_by_starttls_and_by_direct_tls_with_channel_binding() {
    let place = place().await;
    for address in [place.starttls, place.direct] {
        let builder = Client::builder("juliet@localhost/x".parse().unwrap(), support::PASSWORD);
        let builder = builder.tls(place.trust.clone()).resolver(StaticResolver::new());
        let builder = match address == place.direct {
            true => builder.server_tls("127.0.0.1", address.port()),
            false => builder.server("127.0.0.1", address.port()),
        };
        let floor = xmpp_core::sasl::Mechanism::from_name("SCRAM-SHA-512-PLUS").unwrap();
        let (client, mut events) = builder.floor(floor).no_reconnect().connect().unwrap();
        let event = timeout(support::PATIENCE, events.next()).await.unwrap();
        assert!(matches!(event, Some(Event::Online { .. })), "{event:?}");
        client.close().await;
    }
}

#[tokio::test]
async fn rfc6120_13_7_a_certificate_of_another_ends_the_retrying() {
    let place = place().await;
    let other = SelfSigned::generate(&["localhost"], 1).unwrap();
    let trust = ClientTls::builder().only_roots().add_root_pem(other.certificate_pem.as_bytes()).unwrap();
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), support::PASSWORD);
    let builder = builder.tls(trust.build().unwrap()).resolver(StaticResolver::new());
    let (_client, mut events) = builder.server("127.0.0.1", place.starttls.port()).connect().unwrap();
    let event = timeout(support::PATIENCE, events.next()).await.unwrap();
    assert!(matches!(event, Some(Event::Offline { retry: None, .. })), "{event:?}");
    assert_eq!(place.server.stats().failures, 0, "no credentials were shown");
}
