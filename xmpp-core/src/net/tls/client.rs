//! TLS as the initiator.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::verify::{DomainVerifier, JudgedLater, Trust};
use super::{BUFFER_LIMIT, CertificateKey, CertificateProblem, ServerTls, TLS13, TlsError, problem, provider};
use crate::net::transport::{Raw, SecureClient, Transport};
use crate::net::{Service, ascii_domain};

/// Sessions that can be resumed with an abbreviated handshake.
const RESUMABLE_SESSIONS: usize = 32;

/// How an initiator does TLS: whom it trusts and, if need be, as whom it appears. Cheap to clone.
///
/// The peer must prove to be the domain that was asked for (RFC 6120 §13.7.2), by DNS-ID, SRV-ID or XmppAddr; never the
/// host that the DNS led to, never by common name. TLS 1.2 (with the extended master secret) and 1.3 only, no early data.
/// There is no setting that accepts every certificate: a closed network adds its own root, or pins keys.
///
/// ```no_run
/// # use xmpp_core::net::{ClientTls, TlsError};
/// # fn main() -> Result<(), TlsError> {
/// let public = ClientTls::new()?;
/// let private = ClientTls::builder().only_roots().add_root_pem(b"-----BEGIN CERTIFICATE-----...")?.build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientTls {
    connector: Connector,
    pub(super) verifier: Arc<DomainVerifier>,
}

#[derive(Clone)]
struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

/// Settings for a [`ClientTls`].
#[derive(Clone, Debug)]
pub struct ClientTlsBuilder {
    roots: RootCertStore,
    platform_roots: bool,
    pins: Vec<[u8; 32]>,
    service: Service,
    identity: Option<CertificateKey>,
    versions: &'static [&'static SupportedProtocolVersion],
    judged_later: bool,
}

impl ClientTls {
    /// A client's TLS with the platform's trusted authorities.
    pub fn new() -> Result<ClientTls, TlsError> {
        ClientTls::builder().build()
    }

    /// Starts with the platform's trusted authorities, for [`Service::Client`].
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder {
            roots: RootCertStore::empty(),
            platform_roots: true,
            pins: Vec::new(),
            service: Service::Client,
            identity: None,
            versions: rustls::ALL_VERSIONS,
            judged_later: false,
        }
    }

    /// The same, but showing the certificate that `own` serves for `domain`. Nothing is resumed: a session belongs to who
    /// began it.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn shown_as(&self, own: &ServerTls, domain: &str) -> ClientTls {
        let mut config = self.connector.0.config().as_ref().clone();
        config.client_auth_cert_resolver = own.identity(domain);
        config.resumption = Resumption::disabled();
        ClientTls { connector: Connector(TlsConnector::from(Arc::new(config))), verifier: self.verifier.clone() }
    }

    /// The service that this is for.
    pub fn service(&self) -> Service {
        self.verifier.service
    }

    pub(crate) async fn connect(&self, raw: Raw, domain: &str, direct: bool) -> Result<Transport, TlsError> {
        let alpn = if direct { vec![self.service().name().as_bytes().to_vec()] } else { Vec::new() };
        self.shake_hands(raw, domain, alpn).await
    }

    /// For HTTPS: ALPN is `http/1.1`.
    #[cfg(feature = "https")]
    pub(crate) async fn connect_http(&self, raw: Raw, host: &str) -> Result<Transport, TlsError> {
        self.shake_hands(raw, host, vec![b"http/1.1".to_vec()]).await
    }

    async fn shake_hands(&self, raw: Raw, domain: &str, alpn: Vec<Vec<u8>>) -> Result<Transport, TlsError> {
        let name = server_name(domain)?;
        let limit = |connection: &mut rustls::ClientConnection| connection.set_buffer_limit(Some(BUFFER_LIMIT));
        let connecting = match alpn.is_empty() {
            false => self.connector.0.with_alpn(alpn).connect_with(name, raw, limit).await,
            true => self.connector.0.connect_with(name, raw, limit).await,
        };
        let stream = connecting.map_err(TlsError::from_io)?;
        Ok(Transport::ClientTls(Box::new(SecureClient { stream })))
    }

    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>], domain: &str) -> Result<(), TlsError> {
        let (own, intermediates) = chain.split_first().ok_or(CertificateProblem::Missing)?;
        match self.verifier.verify(own, intermediates, &server_name(domain)?, UnixTime::now()) {
            Ok(()) => Ok(()),
            Err(rustls::Error::InvalidCertificate(reason)) => Err(problem(&reason).into()),
            Err(other) => Err(CertificateProblem::Other(other.to_string()).into()),
        }
    }
}

pub(super) fn server_name(domain: &str) -> Result<ServerName<'static>, TlsError> {
    let invalid = || TlsError::InvalidDomain(domain.to_owned());
    ServerName::try_from(ascii_domain(domain).ok_or_else(invalid)?).map_err(|_| invalid())
}

impl ClientTlsBuilder {
    /// The service to ask for: it decides the ALPN identifier and the SRV-ID that count.
    #[must_use]
    pub fn service(mut self, service: Service) -> ClientTlsBuilder {
        self.service = service;
        self
    }

    /// Trusts these authorities (PEM, one or more certificates) beside the platform's.
    pub fn add_root_pem(mut self, pem: &[u8]) -> Result<ClientTlsBuilder, TlsError> {
        let before = self.roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(TlsError::configuration)?;
            self.roots.add(certificate).map_err(TlsError::configuration)?;
        }
        if self.roots.len() == before {
            return Err(TlsError::Configuration("no certificate in the PEM text of the root".to_owned()));
        }
        Ok(self)
    }

    /// Trusts only the authorities that were added, not the platform's.
    #[must_use]
    pub fn only_roots(mut self) -> ClientTlsBuilder {
        self.platform_roots = false;
        self
    }

    /// Accepts this key or certificate, given as the SHA-256 hash of its `SubjectPublicKeyInfo` or of all of it (DER),
    /// whatever it says about its name, time and issuer. With a pin, the pinned ones are the only ones accepted. For
    /// closed networks.
    #[must_use]
    pub fn pin_sha256(mut self, hash: [u8; 32]) -> ClientTlsBuilder {
        self.pins.push(hash);
        self
    }

    /// Shows this certificate to a peer that asks for one: a server to another server, or SASL EXTERNAL (XEP-0178).
    #[must_use]
    pub fn identity(mut self, identity: CertificateKey) -> ClientTlsBuilder {
        self.identity = Some(identity);
        self
    }

    /// Lets a handshake succeed whatever the certificate says; [`verify`](ClientTls::verify) judges it all the same. For
    /// servers that may prove themselves by dialback instead, and for nothing else.
    #[cfg(feature = "server")]
    pub(crate) fn judged_later(mut self) -> ClientTlsBuilder {
        self.judged_later = true;
        self
    }

    /// Refuses TLS 1.2.
    #[must_use]
    pub fn only_tls13(mut self) -> ClientTlsBuilder {
        self.versions = TLS13;
        self
    }

    #[cfg(test)]
    pub(super) fn only_tls12(mut self) -> ClientTlsBuilder {
        static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
        self.versions = &TLS12;
        self
    }

    /// Reads the platform's authorities, if they count, and fixes the settings. Reads files: call it once.
    pub fn build(self) -> Result<ClientTls, TlsError> {
        let provider = provider();
        let trust = if self.pins.is_empty() {
            let mut roots = self.roots;
            if self.platform_roots {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            // Who is judged later is judged by nobody then, and left with dialback.
            if roots.is_empty() && !self.judged_later {
                return Err(TlsError::Configuration(
                    "no trusted authorities: the platform has none, and none were added".to_owned(),
                ));
            }
            Trust::Authorities(roots)
        } else {
            Trust::Pins(self.pins)
        };
        let algorithms = provider.signature_verification_algorithms;
        let verifier = Arc::new(DomainVerifier { trust, service: self.service, algorithms });
        let at_handshake: Arc<dyn ServerCertVerifier> = match self.judged_later {
            true => Arc::new(JudgedLater(algorithms)),
            false => verifier.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .map_err(TlsError::configuration)?
            .dangerous()
            .with_custom_certificate_verifier(at_handshake);
        let mut config = match self.identity {
            Some(CertificateKey { chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(TlsError::configuration)?
            }
            None => builder.with_no_client_auth(),
        };
        // Without it, keying material exported from TLS 1.2 doesn't identify the connection (RFC 9266 §3).
        config.require_ems = true;
        config.resumption = Resumption::in_memory_sessions(RESUMABLE_SESSIONS);
        Ok(ClientTls { connector: Connector(TlsConnector::from(Arc::new(config))), verifier })
    }
}
