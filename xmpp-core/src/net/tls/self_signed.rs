//! A certificate of one's own making, for a first run before a real one is there.

use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::subject_alt_name;
use super::{CertificateKey, TlsError};
use crate::net::{Service, ascii_domain};

/// A self-signed certificate with a fresh ECDSA P-256 key. Peers accept it only if they pin it or take it as a root.
#[derive(Debug)]
pub struct SelfSigned {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PKCS #8 PEM.
    pub key_pem: String,
    /// Both, for a [`ServerTls`](super::ServerTls).
    pub certificate_key: CertificateKey,
}

impl SelfSigned {
    /// Makes one for `domains`, each as DNS-ID, as SRV-ID of both services and as XmppAddr (RFC 6120 §13.7.1.2.1).
    /// `days` is how long it is valid from now.
    pub fn generate(domains: &[&str], days: u32) -> Result<SelfSigned, TlsError> {
        let mut dns = Vec::new();
        for domain in domains {
            dns.push(ascii_domain(domain).ok_or_else(|| TlsError::InvalidDomain((*domain).to_owned()))?);
        }
        let srv: Vec<String> = [Service::Client, Service::Server]
            .iter()
            .flat_map(|service| dns.iter().map(move |domain| format!("_{}.{domain}", service.name())))
            .collect();
        fn borrowed(list: &[String]) -> Vec<&str> {
            list.iter().map(String::as_str).collect()
        }
        let mut params = CertificateParams::default();
        if let Some(first) = domains.first() {
            params.distinguished_name.push(DnType::CommonName, *first);
        }
        let names = subject_alt_name(&borrowed(&dns), &borrowed(&srv), domains);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = std::time::SystemTime::now();
        // An hour of grace for peers whose clock is behind.
        params.not_before = (now - std::time::Duration::from_secs(3600)).into();
        params.not_after = (now + std::time::Duration::from_secs(86_400 * u64::from(days))).into();
        let key = KeyPair::generate().map_err(TlsError::configuration)?;
        let certificate = params.self_signed(&key).map_err(TlsError::configuration)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(SelfSigned {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate_key: CertificateKey::from_der(vec![certificate.der().clone()], der),
        })
    }
}
