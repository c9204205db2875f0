#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::certificate::subject_alt_name;
use super::*;
use crate::net::{Service, Transport};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca_with(limit: Option<&str>) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Each its own name: another's key under the same name is a bad signature rather than an unknown issuer.
    let key = KeyPair::generate().unwrap();
    let name = format!("Authority {:x}", Sha256::digest(key.public_key_raw()));
    params.distinguished_name.push(DnType::CommonName, name);
    params.name_constraints = limit.map(|domain| NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
        excluded_subtrees: Vec::new(),
    });
    CertifiedIssuer::self_signed(params, key).unwrap()
}

fn ca() -> Ca {
    ca_with(None)
}

#[derive(Default)]
struct Names<'a> {
    dns: &'a [&'a str],
    srv: &'a [&'a str],
    address: &'a [&'a str],
    common: Option<&'a str>,
}

fn params(names: &Names<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(common) = names.common {
        params.distinguished_name.push(DnType::CommonName, common);
    }
    if names.dns.len() + names.srv.len() + names.address.len() > 0 {
        let san = subject_alt_name(names.dns, names.srv, names.address);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], san));
    }
    params
}

fn sign(params: CertificateParams, ca: &Ca) -> CertificateKey {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertificateKey::from_der(vec![certificate.der().clone()], der)
}

fn dns(name: &str, ca: &Ca) -> CertificateKey {
    sign(params(&Names { dns: &[name], ..Names::default() }), ca)
}

fn trusting(ca: &Ca) -> ClientTlsBuilder {
    ClientTls::builder().only_roots().add_root_pem(ca.pem().as_bytes()).unwrap()
}

/// Both ends' view of a handshake after STARTTLS.
async fn starttls(
    client: &ClientTls,
    server: &ServerTls,
    domain: &str,
) -> (Result<Transport, TlsError>, Result<Transport, TlsError>) {
    let (a, b) = Transport::pair(4096);
    tokio::join!(a.upgrade_client(client, domain), b.upgrade_server(server))
}

/// Why the client refuses a server that shows `certificate` for `domain`.
async fn refusal(client: &ClientTls, certificate: CertificateKey, domain: &str) -> CertificateProblem {
    let server = ServerTls::single(certificate).unwrap();
    match starttls(client, &server, domain).await.0 {
        Err(TlsError::Certificate(problem)) => problem,
        other => panic!("expected a refused certificate, got {other:?}"),
    }
}

async fn accepts(client: &ClientTls, certificate: CertificateKey, domain: &str) -> bool {
    let server = ServerTls::single(certificate).unwrap();
    starttls(client, &server, domain).await.0.is_ok()
}

#[tokio::test]
async fn rfc6120_5_4_3_data_flows_both_ways_after_the_upgrade() {
    let ca = ca();
    let server = ServerTls::single(dns("example.org", &ca)).unwrap();
    let (client, server) = starttls(&trusting(&ca).build().unwrap(), &server, "example.org").await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert!(client.is_secure() && server.is_secure());
    assert_eq!(server.server_name(), Some("example.org"));
    assert_eq!(client.alpn(), None, "ALPN is for direct TLS only");
    let mut buffer = [0; 4];
    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut buffer).await.unwrap();
    server.write_all(&buffer).await.unwrap();
    server.shutdown().await.unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"ping");
}

#[tokio::test]
async fn rfc9266_and_rfc5929_bindings_are_the_same_at_both_ends_and_differ_between_connections() {
    let ca = ca();
    let certificate = dns("example.org", &ca);
    let hash = Sha256::digest(&certificate.chain[0]).to_vec();
    let server = ServerTls::single(certificate).unwrap();
    for (client, version) in [(trusting(&ca).only_tls12(), "TLS 1.2 "), (trusting(&ca).only_tls13(), "TLS 1.3 ")] {
        let client = client.build().unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (a, b) = starttls(&client, &server, "example.org").await;
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!(a.tls_summary().unwrap().starts_with(version), "{:?}", a.tls_summary());
            assert_eq!(a.bindings().end_point.as_ref(), Some(&hash), "signed with ECDSA and SHA-256");
            assert!(a.bindings().exporter.is_some());
            assert!(a.bindings() == b.bindings());
            assert!(!format!("{:?}", a.bindings()).contains(|c: char| c.is_ascii_digit()), "a secret in a log");
            seen.push(a.bindings().exporter);
        }
        assert_ne!(seen[0], seen[1]);
    }
    let (plain, _) = Transport::pair(64);
    assert!(plain.bindings() == ChannelBindings::default());
}

#[tokio::test]
async fn rfc6120_13_7_2_identities_that_count() {
    let ca = ca();
    let client = trusting(&ca).build().unwrap();
    let yes: [(Names<'_>, &str); 7] = [
        (Names { dns: &["example.org"], ..Names::default() }, "example.org"),
        (Names { dns: &["example.org"], ..Names::default() }, "Example.ORG"),
        (Names { dns: &["*.example.org"], ..Names::default() }, "im.example.org"),
        (Names { dns: &["xn--bcher-kva.example"], ..Names::default() }, "bücher.example"),
        (Names { srv: &["_xmpp-client.example.org"], ..Names::default() }, "example.org"),
        (Names { address: &["example.org"], ..Names::default() }, "example.org"),
        (Names { dns: &["other.example"], address: &["bücher.example"], ..Names::default() }, "bücher.example"),
    ];
    for (names, domain) in yes {
        assert!(accepts(&client, sign(params(&names), &ca), domain).await, "{:?} {domain}", names.dns);
    }
}

#[tokio::test]
async fn rfc6125_6_4_identities_that_do_not_count() {
    let ca = ca();
    let client = trusting(&ca).build().unwrap();
    let no: [(Names<'_>, &str); 10] = [
        (Names { dns: &["xmpp.example.org"], ..Names::default() }, "example.org"),
        (Names { dns: &["*.example.org"], ..Names::default() }, "example.org"),
        (Names { dns: &["*.example.org"], ..Names::default() }, "a.b.example.org"),
        (Names { common: Some("example.org"), ..Names::default() }, "example.org"),
        (Names { dns: &["other.example"], common: Some("example.org"), ..Names::default() }, "example.org"),
        (Names { srv: &["_xmpp-server.example.org"], ..Names::default() }, "example.org"),
        (Names { srv: &["_imap.example.org"], ..Names::default() }, "example.org"),
        (Names { srv: &["_xmpp-client.*.org"], ..Names::default() }, "example.org"),
        (Names { address: &["me@example.org"], ..Names::default() }, "example.org"),
        (Names { address: &["*.example.org"], ..Names::default() }, "im.example.org"),
    ];
    for (names, domain) in no {
        let problem = refusal(&client, sign(params(&names), &ca), domain).await;
        assert!(matches!(problem, CertificateProblem::WrongName { .. }), "{domain}: {problem:?}");
    }
    let problem = refusal(&client, dns("evil.example", &ca), "example.org").await;
    let presented = vec!["evil.example".to_owned()];
    assert_eq!(problem, CertificateProblem::WrongName { expected: "example.org".into(), presented });
}

#[tokio::test]
async fn rfc5280_4_2_1_10_a_limited_authority_cannot_vouch_by_srv_id() {
    let ca = ca_with(Some("allowed.example"));
    let client = trusting(&ca).build().unwrap();
    assert!(accepts(&client, dns("allowed.example", &ca), "allowed.example").await);
    let names = Names { srv: &["_xmpp-client.example.org"], ..Names::default() };
    let problem = refusal(&client, sign(params(&names), &ca), "example.org").await;
    assert!(matches!(problem, CertificateProblem::WrongName { .. }), "{problem:?}");
}

#[tokio::test]
async fn rfc6120_13_7_2_time_and_issuer_are_typed_reasons() {
    let ca = ca();
    let client = trusting(&ca).build().unwrap();
    let names = Names { dns: &["example.org"], ..Names::default() };
    let mut old = params(&names);
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    assert_eq!(refusal(&client, sign(old, &ca), "example.org").await, CertificateProblem::Expired);
    let mut early = params(&names);
    (early.not_before, early.not_after) = (date_time_ymd(2999, 1, 1), date_time_ymd(3000, 1, 1));
    assert_eq!(refusal(&client, sign(early, &ca), "example.org").await, CertificateProblem::NotYetValid);
    let stranger = ca_with(None);
    assert_eq!(refusal(&client, dns("example.org", &stranger), "example.org").await, CertificateProblem::UnknownIssuer);
    let key = KeyPair::generate().unwrap();
    let own = params(&names).self_signed(&key).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let own = CertificateKey::from_der(vec![own.der().clone()], der);
    assert_eq!(refusal(&client, own, "example.org").await, CertificateProblem::UnknownIssuer);
}

#[tokio::test]
async fn pins_are_the_only_ones_accepted_whatever_they_say() {
    let (ca, stranger) = (ca(), ca());
    let certificate = dns("whatever.example", &stranger);
    let whole: [u8; 32] = Sha256::digest(&certificate.chain[0]).into();
    let key = certificate::Certificate::parse(&certificate.chain[0]).unwrap().public_key;
    let key: [u8; 32] = Sha256::digest(key).into();
    for pin in [whole, key] {
        let client = trusting(&ca).pin_sha256(pin).build().unwrap();
        assert!(accepts(&client, certificate.clone(), "example.org").await);
        let trusted = dns("example.org", &ca);
        assert_eq!(refusal(&client, trusted, "example.org").await, CertificateProblem::PinMismatch);
    }
}

#[tokio::test]
async fn rfc7301_3_2_alpn_of_another_protocol_is_refused_none_is_served() {
    let ca = ca();
    let server = ServerTls::single(dns("example.org", &ca)).unwrap();
    let client = trusting(&ca).build().unwrap();
    let for_servers = trusting(&ca).service(Service::Server).build().unwrap();

    let (a, b) = Transport::pair(4096);
    let (a, b) = tokio::join!(a.direct_client(&client, "example.org"), b.direct_server(&server, Service::Client));
    assert_eq!(a.unwrap().alpn(), Some(&b"xmpp-client"[..]));
    assert_eq!(b.unwrap().alpn(), Some(&b"xmpp-client"[..]));

    let (a, b) = Transport::pair(4096);
    let (a, b) = tokio::join!(a.direct_client(&for_servers, "example.org"), b.direct_server(&server, Service::Client));
    assert!(matches!(a, Err(TlsError::NoCommonProtocol)), "{a:?}");
    assert!(matches!(b, Err(TlsError::NoCommonProtocol)), "{b:?}");

    let (a, b) = Transport::pair(4096);
    let (a, b) = tokio::join!(a.upgrade_client(&client, "example.org"), b.direct_server(&server, Service::Client));
    assert!(a.is_ok() && b.is_ok(), "no ALPN at all is served");
}

#[tokio::test]
async fn abuse_a028_sni_chooses_the_certificate_and_unknown_ones_get_the_first() {
    let ca = ca();
    let server = ServerTls::builder()
        .certificate(dns("one.example", &ca))
        .certificate(dns("*.two.example", &ca))
        .certificate_for("three.example", dns("three.example", &ca))
        .build()
        .unwrap();
    let client = trusting(&ca).build().unwrap();
    for domain in ["one.example", "im.two.example", "three.example"] {
        let (a, b) = starttls(&client, &server, domain).await;
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(b.server_name(), Some(domain));
        assert!(a.bindings() == b.bindings(), "the end point is that of the chosen certificate");
    }
    let Err(TlsError::Certificate(CertificateProblem::WrongName { presented, .. })) =
        starttls(&client, &server, "four.example").await.0
    else {
        panic!("an unknown domain is served with the first certificate, which is not its own");
    };
    assert_eq!(presented, ["one.example"]);
}

#[tokio::test]
async fn reload_serves_the_new_certificate_and_keeps_the_old_on_error() {
    let ca = ca();
    let server = ServerTls::single(dns("old.example", &ca)).unwrap();
    let client = trusting(&ca).build().unwrap();
    let (_, before) = starttls(&client, &server, "old.example").await;
    let before = before.unwrap();
    let bound = before.bindings();
    assert!(server.reload(ServerTls::builder()).is_err());
    assert!(starttls(&client, &server, "old.example").await.0.is_ok());
    server.reload(ServerTls::builder().certificate(dns("new.example", &ca))).unwrap();
    assert!(starttls(&client, &server, "new.example").await.0.is_ok());
    assert!(starttls(&client, &server, "old.example").await.0.is_err());
    assert!(before.bindings() == bound, "a connection keeps the certificate that it began with");
}

#[tokio::test]
async fn abuse_a028_garbage_and_broken_handshakes_end_with_an_error() {
    let server = ServerTls::single(dns("example.org", &ca())).unwrap();
    for garbage in [&b"<stream:stream to='example.org'>"[..], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[], &[0xff; 3000]] {
        let (mut a, b) = Transport::pair(8192);
        a.write_all(garbage).await.unwrap();
        a.shutdown().await.unwrap();
        let (result, _) = tokio::join!(b.upgrade_server(&server), async {
            let mut rest = Vec::new();
            a.read_to_end(&mut rest).await
        });
        assert!(matches!(result, Err(TlsError::Io(_) | TlsError::Handshake(_))), "{result:?}");
    }
}

#[tokio::test]
async fn abuse_a028_fragmented_client_hello_is_served() {
    let ca = ca();
    let server = ServerTls::single(dns("example.org", &ca)).unwrap();
    let client = trusting(&ca).build().unwrap();
    let ((a, mut near), (mut far, b)) = (Transport::pair(4096), Transport::pair(4096));
    let relay = async {
        let (mut from_client, mut to_client) = tokio::io::split(&mut near);
        let (mut from_server, mut to_server) = tokio::io::split(&mut far);
        let octet_by_octet = async {
            while let Ok(octet) = from_client.read_u8().await {
                to_server.write_u8(octet).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(octet_by_octet, tokio::io::copy(&mut from_server, &mut to_client))
    };
    let handshakes = async { tokio::join!(a.upgrade_client(&client, "example.org"), b.upgrade_server(&server)) };
    tokio::select! {
        (a, b) = handshakes => assert!(a.is_ok() && b.is_ok()),
        _ = relay => panic!("the relay ended first"),
        () = tokio::time::sleep(std::time::Duration::from_secs(20)) => panic!("the handshake hangs"),
    }
}

#[tokio::test]
async fn abuse_a027_tls_is_never_stacked() {
    let ca = ca();
    let server = ServerTls::single(dns("example.org", &ca)).unwrap();
    let client = trusting(&ca).build().unwrap();
    let (a, b) = starttls(&client, &server, "example.org").await;
    assert!(matches!(a.unwrap().upgrade_client(&client, "example.org").await, Err(TlsError::AlreadySecure)));
    assert!(matches!(b.unwrap().upgrade_server(&server).await, Err(TlsError::AlreadySecure)));
}

#[tokio::test]
async fn xep0178_3_a_server_proves_its_domain_to_another() {
    let ca = ca();
    let receiver = ServerTls::builder().certificate(dns("to.example", &ca)).request_peer_certificate().build().unwrap();
    let judge = trusting(&ca).service(Service::Server).build().unwrap();
    let named = Names { srv: &["_xmpp-server.from.example"], ..Names::default() };
    let initiator = trusting(&ca).service(Service::Server).identity(sign(params(&named), &ca)).build().unwrap();
    let (_, accepted) = starttls(&initiator, &receiver, "to.example").await;
    let accepted = accepted.unwrap();
    assert!(accepted.verify_peer(&judge, "from.example").is_ok());
    let wrong = accepted.verify_peer(&judge, "victim.example");
    assert!(matches!(wrong, Err(TlsError::Certificate(CertificateProblem::WrongName { .. }))), "{wrong:?}");
    let (_, anonymous) = starttls(&judge, &receiver, "to.example").await;
    let none = anonymous.unwrap().verify_peer(&judge, "from.example");
    assert!(matches!(none, Err(TlsError::Certificate(CertificateProblem::Missing))), "{none:?}");
}

#[test]
fn configuration_errors_say_what_is_missing() {
    let message = |error: TlsError| error.to_string();
    assert!(message(ServerTls::builder().build().unwrap_err()).contains("needs a certificate"));
    assert!(message(ClientTls::builder().only_roots().build().unwrap_err()).contains("no trusted authorities"));
    assert!(message(ClientTls::builder().add_root_pem(b"nothing").unwrap_err()).contains("PEM"));
    let ca = ca();
    let (one, two) = (dns("one.example", &ca), dns("two.example", &ca));
    assert!(ServerTls::single(CertificateKey::from_der(one.chain, two.key)).is_err(), "a key of another certificate");
}

#[tokio::test]
async fn rfc6120_13_7_1_an_invalid_domain_is_refused_before_anything_is_sent() {
    let client = trusting(&ca()).build().unwrap();
    let (a, _b) = Transport::pair(64);
    assert!(matches!(a.upgrade_client(&client, "not a domain").await, Err(TlsError::InvalidDomain(_))));
}

#[cfg(feature = "self-signed")]
#[tokio::test]
async fn self_signed_names_each_domain_in_every_form_and_works_as_a_root() {
    let made = SelfSigned::generate(&["bücher.example", "im.example"], 30).unwrap();
    let key = CertificateKey::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
    assert_eq!(key.domains(), ["im.example", "xn--bcher-kva.example"]);
    let own = key.chain[0].to_vec();
    let names = certificate::Certificate::parse(&own).unwrap().names();
    assert_eq!(names.srv.len(), 4);
    assert_eq!(names.address, ["bücher.example", "im.example"]);
    let root = ClientTls::builder().only_roots().add_root_pem(made.certificate_pem.as_bytes()).unwrap();
    let pinned = ClientTls::builder().pin_sha256(Sha256::digest(&own).into()).build().unwrap();
    assert!(accepts(&pinned, key.clone(), "im.example").await);
    assert!(accepts(&root.build().unwrap(), made.certificate_key, "bücher.example").await);
}
