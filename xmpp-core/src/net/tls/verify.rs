//! Is this certificate the domain's? RFC 6120 §13.7.2 and RFC 6125 §6, on top of webpki's path validation.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use super::CertificateProblem;
use super::certificate::{Certificate, Names};
use crate::net::{Service, ascii_domain};

/// What makes a certificate trustworthy.
#[derive(Debug)]
pub(super) enum Trust {
    /// An authority vouches for it, and it names the domain.
    Authorities(RootCertStore),
    /// It, or its key, is one of these SHA-256 hashes. Nothing else about it is asked.
    Pins(Vec<[u8; 32]>),
}

/// Verifies the certificate of whoever claims to be a domain.
#[derive(Debug)]
pub(super) struct DomainVerifier {
    pub(super) trust: Trust,
    pub(super) service: Service,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

fn refused(problem: CertificateProblem) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(problem))).into()
}

impl DomainVerifier {
    /// The same, but these authorities are trusted, and no others.
    #[cfg(feature = "server")]
    pub(super) fn trusting(&self, roots: RootCertStore) -> DomainVerifier {
        DomainVerifier { trust: Trust::Authorities(roots), service: self.service, algorithms: self.algorithms }
    }

    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        domain: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let roots = match &self.trust {
            Trust::Pins(pins) => {
                let key = Certificate::parse(certificate).map(|c| Sha256::digest(c.public_key));
                let hashes = [Some(Sha256::digest(certificate)), key];
                let pinned = hashes.iter().flatten().any(|hash| pins.iter().any(|pin| pin[..] == hash[..]));
                return if pinned { Ok(()) } else { Err(refused(CertificateProblem::PinMismatch)) };
            }
            Trust::Authorities(roots) => roots,
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)?;
        let Err(mismatch) = verify_server_name(&parsed, domain) else { return Ok(()) };
        let Some(own) = Certificate::parse(certificate) else { return Err(mismatch) };
        let names = own.names();
        let expected = domain.to_str();
        if matches!(domain, ServerName::DnsName(_))
            && self.names_domain(&names, &expected)
            && !constrained(&own, intermediates, roots)
        {
            return Ok(());
        }
        let presented = [names.dns, names.srv, names.address].concat();
        Err(refused(CertificateProblem::WrongName {
            expected: expected.into_owned(),
            presented: presented.into_iter().map(str::to_owned).collect(),
        }))
    }

    /// Whether an SRV-ID or XmppAddr is for the domain (RFC 6120 §13.7.1.2). Neither may hold a wildcard.
    fn names_domain(&self, names: &Names<'_>, domain: &str) -> bool {
        let of_service = |id: &&str| {
            let service = id.strip_prefix('_').and_then(|rest| rest.split_once('.'));
            service.is_some_and(|(service, name)| {
                service.eq_ignore_ascii_case(self.service.name()) && name.eq_ignore_ascii_case(domain)
            })
        };
        let of_domain = |address: &&str| {
            !address.contains(['@', '/', '*']) && ascii_domain(address).is_some_and(|a| a.eq_ignore_ascii_case(domain))
        };
        names.srv.iter().any(of_service) || names.address.iter().any(of_domain)
    }
}

/// Whether an authority that may be in the path is limited to certain names. webpki enforces such limits on DNS-IDs
/// only, so a limited authority could otherwise vouch for any domain by SRV-ID.
pub(super) fn constrained(own: &Certificate<'_>, intermediates: &[CertificateDer<'_>], roots: &RootCertStore) -> bool {
    let mut issuers = vec![own.issuer];
    for intermediate in intermediates {
        match Certificate::parse(intermediate) {
            Some(ca) if !ca.has_name_constraints() => issuers.push(ca.issuer),
            _ => return true,
        }
    }
    roots.roots.iter().any(|root| root.name_constraints.is_some() && issuers.contains(&root.subject.as_ref()))
}

impl ServerCertVerifier for DomainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Asks an initiator for its certificate and has it prove that it holds the key, but judges nothing: which domain it
/// claims to be is only known once its stream has begun.
#[derive(Debug)]
pub(super) struct AskForCertificate(pub(super) WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AskForCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Has a receiver prove that it holds its certificate's key, but judges nothing else: whether the certificate counts is
/// asked once the stream says what it is needed for.
#[derive(Debug)]
pub(super) struct JudgedLater(pub(super) WebPkiSupportedAlgorithms);

impl ServerCertVerifier for JudgedLater {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
