//! TLS as the receiver: certificates by domain, reloadable.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use tokio_rustls::LazyConfigAcceptor;

use super::certificate::{Certificate, end_point};
use super::verify::AskForCertificate;
use super::{BUFFER_LIMIT, TLS13, TlsError, provider};
use crate::net::transport::{Raw, SecureServer, Transport};
use crate::net::{Service, ascii_domain};

/// A certificate, the chain up to its authority, and the private key that belongs to it.
#[derive(Debug)]
pub struct CertificateKey {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for CertificateKey {
    fn clone(&self) -> CertificateKey {
        CertificateKey { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl CertificateKey {
    /// From PEM texts: the chain, own certificate first, and the key (PKCS #8, PKCS #1 or SEC 1). Both may be the same.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<CertificateKey, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(TlsError::configuration)?;
        if chain.is_empty() {
            return Err(TlsError::Configuration("no certificate in the PEM text of the chain".to_owned()));
        }
        Ok(CertificateKey { chain, key: PrivateKeyDer::from_pem_slice(key).map_err(TlsError::configuration)? })
    }

    /// From PEM files, as [`from_pem`](CertificateKey::from_pem).
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<CertificateKey, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|e| TlsError::Configuration(format!("cannot read {}: {e}", path.display())))
        };
        CertificateKey::from_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// From DER: the chain, own certificate first, and the key.
    pub fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> CertificateKey {
        CertificateKey { chain, key }
    }

    /// The SHA-256 hash of the own certificate (DER): the fingerprint that clients show to people, and what
    /// [`ClientTlsBuilder::pin_sha256`](super::ClientTlsBuilder::pin_sha256) takes. `None` for an empty chain.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.chain.first().map(|own| Sha256::digest(own).into())
    }

    /// The domains that the certificate names, by DNS-ID (wildcards as they are), SRV-ID or XmppAddr, as A-labels.
    pub fn domains(&self) -> Vec<String> {
        let Some(names) = self.chain.first().and_then(|own| Certificate::parse(own)).map(|own| own.names()) else {
            return Vec::new();
        };
        let of_srv = |id: &&str| id.split_once('.').and_then(|(_, name)| ascii_domain(name));
        let mut domains: Vec<String> = names.dns.iter().map(|name| name.to_ascii_lowercase()).collect();
        domains.extend(names.srv.iter().filter_map(of_srv));
        domains.extend(names.address.iter().filter_map(|address| ascii_domain(address)));
        domains.sort();
        domains.dedup();
        domains
    }

    /// Whether the certificate names `domain`, itself or by a wildcard for its first label.
    pub fn names(&self, domain: &str) -> bool {
        let Some(name) = ascii_domain(domain) else { return false };
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let named = self.domains();
        named.contains(&name) || wildcard.is_some_and(|wildcard| named.contains(&wildcard))
    }
}

/// How a receiver does TLS: with which certificate for which domain. Cheap to clone; all clones see a
/// [`reload`](ServerTls::reload).
///
/// TLS 1.2 (with the extended master secret) and 1.3, no early data, no session tickets: an idle connection keeps
/// nothing that it doesn't need.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<RwLock<Arc<Certificates>>>);

#[derive(Debug)]
struct Certificates {
    by_domain: HashMap<String, Arc<Served>>,
    default: Arc<Served>,
}

/// One certificate, with what a handshake with it takes.
#[derive(Debug)]
struct Served {
    starttls: Arc<ServerConfig>,
    /// As `starttls`, but other servers are always asked for their certificate.
    starttls_server: Arc<ServerConfig>,
    #[cfg(feature = "http")]
    http: Arc<ServerConfig>,
    direct_client: Arc<ServerConfig>,
    direct_server: Arc<ServerConfig>,
    end_point: Option<Arc<[u8]>>,
    #[cfg(feature = "http")]
    fingerprint: Fingerprint,
    /// For connections that we begin ourselves.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    identity: Arc<SingleCertAndKey>,
}

/// The hashes of a certificate (DER).
#[cfg(feature = "http")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) sha256: [u8; 32],
    pub(crate) sha512: [u8; 64],
}

/// Settings for a [`ServerTls`].
#[derive(Debug)]
pub struct ServerTlsBuilder {
    certificates: Vec<(Vec<String>, CertificateKey)>,
    ask_peer: bool,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl ServerTls {
    /// Starts without a certificate; at least one is needed.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder { certificates: Vec::new(), ask_peer: false, versions: rustls::ALL_VERSIONS }
    }

    /// One certificate for all domains.
    pub fn single(certificate: CertificateKey) -> Result<ServerTls, TlsError> {
        ServerTls::builder().certificate(certificate).build()
    }

    /// Takes new settings for the handshakes to come, as after a certificate was renewed. On an error the old ones
    /// remain.
    pub fn reload(&self, builder: ServerTlsBuilder) -> Result<(), TlsError> {
        let new = Arc::new(builder.certificates()?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn choose(&self, server_name: Option<&str>) -> Arc<Served> {
        let certificates = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let name = server_name.unwrap_or_default().to_ascii_lowercase();
        let wildcard = || name.split_once('.').and_then(|(_, rest)| certificates.by_domain.get(&format!("*.{rest}")));
        certificates.by_domain.get(&name).or_else(wildcard).unwrap_or(&certificates.default).clone()
    }

    /// The fingerprints of the certificates that are shown to who asks for `domain`, and to who does not say what for.
    #[cfg(feature = "http")]
    pub(crate) fn fingerprints(&self, domain: &str) -> Vec<Fingerprint> {
        let mut fingerprints = vec![self.choose(ascii_domain(domain).as_deref()).fingerprint.clone()];
        fingerprints.push(self.choose(None).fingerprint.clone());
        fingerprints.dedup();
        fingerprints
    }

    /// What to show as the initiator in the name of `domain`.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(super) fn identity(&self, domain: &str) -> Arc<SingleCertAndKey> {
        self.choose(ascii_domain(domain).as_deref()).identity.clone()
    }

    pub(crate) async fn accept(&self, raw: Raw, service: Service, direct: bool) -> Result<Transport, TlsError> {
        let choose = |served: &Served| match (service, direct) {
            (Service::Client, false) => served.starttls.clone(),
            (Service::Server, false) => served.starttls_server.clone(),
            (Service::Client, true) => served.direct_client.clone(),
            (Service::Server, true) => served.direct_server.clone(),
        };
        self.shake_hands(raw, choose).await
    }

    /// For HTTPS: ALPN is `http/1.1`.
    #[cfg(feature = "http")]
    pub(crate) async fn accept_http(&self, raw: Raw) -> Result<Transport, TlsError> {
        self.shake_hands(raw, |served| served.http.clone()).await
    }

    async fn shake_hands(
        &self,
        raw: Raw,
        choose: impl FnOnce(&Served) -> Arc<ServerConfig>,
    ) -> Result<Transport, TlsError> {
        // The certificate is chosen here rather than by a resolver inside rustls, because rustls doesn't tell afterwards
        // which one it was, and `tls-server-end-point` needs just that.
        let start = LazyConfigAcceptor::new(Acceptor::default(), raw).await.map_err(TlsError::from_io)?;
        let served = self.choose(start.client_hello().server_name());
        let stream = start
            .into_stream_with(choose(&served), |connection| connection.set_buffer_limit(Some(BUFFER_LIMIT)))
            .await
            .map_err(TlsError::from_io)?;
        Ok(Transport::ServerTls(Box::new(SecureServer { stream, end_point: served.end_point.clone() })))
    }
}

impl ServerTlsBuilder {
    /// Serves this certificate to who asks for one of the domains that it names. The first certificate is also the one
    /// for who asks for an unknown domain or for none.
    #[must_use]
    pub fn certificate(mut self, certificate: CertificateKey) -> ServerTlsBuilder {
        self.certificates.push((certificate.domains(), certificate));
        self
    }

    /// Serves this certificate to who asks for `domain`, whatever it names.
    #[must_use]
    pub fn certificate_for(mut self, domain: &str, certificate: CertificateKey) -> ServerTlsBuilder {
        self.certificates.push((ascii_domain(domain).into_iter().collect(), certificate));
        self
    }

    /// Asks initiators for a certificate, but doesn't insist nor judge: see
    /// [`Transport::verify_peer`](crate::net::Transport::verify_peer). Other servers are asked in any case.
    #[must_use]
    pub fn request_peer_certificate(mut self) -> ServerTlsBuilder {
        self.ask_peer = true;
        self
    }

    /// Refuses TLS 1.2.
    #[must_use]
    pub fn only_tls13(mut self) -> ServerTlsBuilder {
        self.versions = TLS13;
        self
    }

    /// Fixes the settings; fails without a certificate, or with a key that is not a certificate's.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        Ok(ServerTls(Arc::new(RwLock::new(Arc::new(self.certificates()?)))))
    }

    fn certificates(self) -> Result<Certificates, TlsError> {
        let mut by_domain = HashMap::new();
        let mut default = None;
        for (domains, certificate) in self.certificates {
            let served = Arc::new(Served::new(certificate, self.ask_peer, self.versions)?);
            for domain in domains {
                by_domain.entry(domain).or_insert_with(|| served.clone());
            }
            default.get_or_insert(served);
        }
        let default = default.ok_or_else(|| TlsError::Configuration("a server needs a certificate".to_owned()))?;
        Ok(Certificates { by_domain, default })
    }
}

impl Served {
    fn new(
        certificate: CertificateKey,
        ask_peer: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Served, TlsError> {
        let provider = provider();
        let own = certificate.chain.first().ok_or_else(|| TlsError::Configuration("an empty chain".to_owned()))?;
        let end_point = end_point(own).map(Arc::from);
        #[cfg(feature = "http")]
        let fingerprint = Fingerprint { sha256: Sha256::digest(own).into(), sha512: sha2::Sha512::digest(own).into() };
        let certified =
            CertifiedKey::from_der(certificate.chain, certificate.key, &provider).map_err(TlsError::configuration)?;
        let identity = Arc::new(SingleCertAndKey::from(certified));
        let config = |ask: bool| -> Result<ServerConfig, TlsError> {
            let algorithms = provider.signature_verification_algorithms;
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions)
                .map_err(TlsError::configuration)?;
            let builder = if ask {
                builder.with_client_cert_verifier(Arc::new(AskForCertificate(algorithms)))
            } else {
                builder.with_no_client_auth()
            };
            let mut config = builder.with_cert_resolver(identity.clone());
            config.require_ems = true;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(config)
        };
        let (clients, servers) = (config(ask_peer)?, config(true)?);
        let with_alpn = |config: &ServerConfig, protocol: &str| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            Arc::new(config)
        };
        Ok(Served {
            direct_client: with_alpn(&clients, Service::Client.name()),
            direct_server: with_alpn(&servers, Service::Server.name()),
            #[cfg(feature = "http")]
            http: with_alpn(&clients, "http/1.1"),
            starttls: Arc::new(clients),
            starttls_server: Arc::new(servers),
            end_point,
            #[cfg(feature = "http")]
            fingerprint,
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rfc6125_6_4_3_a_wildcard_names_one_label() {
        let names = ["*.example.org".to_owned(), "xn--bcher-kva.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = CertificateKey::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
        let key = key.unwrap();
        assert!(key.names("chat.example.org") && key.names("bücher.example"));
        assert!(!key.names("a.chat.example.org") && !key.names("example.org") && !key.names(""));
    }
}
