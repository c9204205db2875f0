//! Logging in by a client certificate (SASL EXTERNAL, XEP-0178 §2), with an authority made for the test.
#![cfg(all(feature = "client", feature = "server", feature = "self-signed"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, OtherNameValue,
    SanType, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::{HEADER, PATIENCE, Raw, builder};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event},
    net::{
        ClientTls, ServerTls,
        tls::{CertificateKey, ClientAuthorities, SelfSigned},
    },
    sasl::Mechanism,
    server::Server,
};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(addresses: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = addresses
        .iter()
        .map(|address| {
            let value = OtherNameValue::Utf8String((*address).to_owned());
            SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], value))
        })
        .collect();
    params
}

fn sign(params: CertificateParams, ca: &Ca) -> CertificateKey {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertificateKey::from_der(vec![certificate.der().clone()], der)
}

struct Place {
    server: Server,
    own: SelfSigned,
    ca: Ca,
}

fn place() -> Place {
    let (own, ca) = (SelfSigned::generate(&["localhost"], 1).unwrap(), ca());
    let tls = ServerTls::builder().certificate(own.certificate_key.clone()).request_peer_certificate().build().unwrap();
    let authorities = ClientAuthorities::from_pem(ca.pem().as_bytes()).unwrap();
    let server = builder().tls(tls).client_certificates(authorities).build().unwrap();
    Place { server, own, ca }
}

impl Place {
    fn trust(&self, identity: Option<CertificateKey>) -> ClientTls {
        let builder = ClientTls::builder().only_roots().add_root_pem(self.own.certificate_pem.as_bytes()).unwrap();
        match identity {
            Some(identity) => builder.identity(identity).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }

    /// A stream under TLS with the features it offers.
    async fn greet(&self, identity: Option<CertificateKey>) -> (Raw, String) {
        let address = self.server.listen_tls("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let plain = Raw::tcp(address).await;
        let transport = plain.transport.direct_client(&self.trust(identity), "localhost").await.unwrap();
        let mut raw = Raw::over(transport);
        raw.send(HEADER).await;
        let features = raw.until("</stream:features>").await;
        (raw, features)
    }
}

const EXTERNAL: &str = "<mechanism>EXTERNAL</mechanism>";

fn auth(payload: &[u8]) -> String {
    let payload = xmpp_core::sasl::encode_payload(Some(payload));
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{payload}</auth>")
}

#[tokio::test]
async fn xep0178_2_a_client_logs_in_by_its_certificate() {
    let place = place();
    let address = place.server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let identity = sign(params(&["juliet@localhost"]), &place.ca);
    let builder = Client::builder("juliet@localhost/balcony".parse().unwrap(), "").external();
    let builder = builder.server("127.0.0.1", address.port()).tls(place.trust(Some(identity)));
    let (client, mut events) = builder.no_reconnect().connect().unwrap();
    match timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
        Event::Online { jid, mechanism, .. } => {
            assert_eq!((jid.as_str(), mechanism), ("juliet@localhost/balcony", Some(Mechanism::External)));
        }
        other => panic!("{other:?}"),
    }
    assert!(client.close().await);
}

#[tokio::test]
async fn abuse_a035_external_is_not_offered_for_any_other_certificate() {
    let place = place();
    let by = |params| Some(sign(params, &place.ca));
    let mut named = params(&[]);
    named.distinguished_name.push(rcgen::DnType::CommonName, "juliet@localhost");
    named.subject_alt_names = vec![SanType::Rfc822Name("juliet@localhost".try_into().unwrap())];
    let mut expired = params(&["juliet@localhost"]);
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
    let mut server = params(&["juliet@localhost"]);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (what, identity) in [
        ("none at all", None),
        ("another authority", Some(sign(params(&["juliet@localhost"]), &ca()))),
        ("other kinds of names", by(named)),
        ("expired", by(expired)),
        ("a server's", by(server)),
        ("another domain", by(params(&["juliet@example.org"]))),
        ("a domain", by(params(&["localhost"]))),
        ("a full address", by(params(&["juliet@localhost/balcony"]))),
        ("no address", by(params(&["@", "a b@localhost", ""]))),
        ("an account that does not exist", by(params(&["nobody@localhost"]))),
    ] {
        let (mut raw, features) = place.greet(identity).await;
        assert!(!features.contains("EXTERNAL") && features.contains("SCRAM-SHA-256"), "{what}: {features}");
        raw.send(&auth(b"juliet@localhost")).await;
        let answer = raw.until("</failure>").await;
        assert!(answer.contains("invalid-mechanism"), "{what}: {answer}");
    }
}

#[tokio::test]
async fn xep0178_2_a_certificate_with_two_accounts_needs_a_choice() {
    let place = place();
    let identity = || Some(sign(params(&["Juliet@LOCALHOST", "romeo@localhost", "tybalt@example.org"]), &place.ca));
    for (authzid, condition) in
        [("", "invalid-authzid"), ("tybalt@example.org", "invalid-authzid"), ("x", "invalid-authzid")]
    {
        let (mut raw, features) = place.greet(identity()).await;
        assert!(features.contains(EXTERNAL), "{features}");
        raw.send(&auth(authzid.as_bytes())).await;
        let answer = raw.until("</failure>").await;
        assert!(answer.contains(condition), "{authzid}: {answer}");
    }
    for account in ["juliet@localhost", "romeo@localhost"] {
        let (mut raw, _) = place.greet(identity()).await;
        raw.send(&auth(account.as_bytes())).await;
        raw.until("<success").await;
        raw.until("/>").await;
        raw.send(HEADER).await;
        raw.until("</stream:features>").await;
        raw.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
        let bound = raw.until("</iq>").await;
        assert!(bound.contains(&format!("<jid>{account}/")), "{bound}");
    }
}
