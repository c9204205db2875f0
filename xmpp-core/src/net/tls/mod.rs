//! TLS for both roles (RFC 7590, RFC 6120 §13.7): settings that cannot be turned into accepting everything, typed
//! reasons for what is refused, and the channel bindings that SASL needs.

use crate::sasl::ChannelBindings;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

#[cfg(feature = "server")]
mod authorities;
mod certificate;
mod client;
#[cfg(feature = "server")]
mod dane;
#[cfg(feature = "self-signed")]
mod self_signed;
mod server;
#[cfg(test)]
mod tests;
mod verify;

#[cfg(feature = "server")]
pub use authorities::ClientAuthorities;
pub use client::{ClientTls, ClientTlsBuilder};
#[cfg(feature = "server")]
pub(crate) use dane::TlsaVerdict;
#[cfg(feature = "self-signed")]
pub use self_signed::SelfSigned;
pub use server::{CertificateKey, ServerTls, ServerTlsBuilder};

/// Octets of plaintext that rustls holds for a peer that doesn't read, before a write waits.
const BUFFER_LIMIT: usize = 16 * 1024;

static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The cryptography, named explicitly so that no process-wide default is needed or disturbed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Why a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// No authority that is trusted here vouches for it; also for self-signed ones.
    #[error("the certificate is not issued by a trusted authority")]
    UnknownIssuer,
    /// It is somebody else's.
    #[error("the certificate is not for {expected} but for: {}", presented.join(", "))]
    WrongName {
        /// The domain that was asked for, as A-labels.
        expected: String,
        /// The names that the certificate has.
        presented: Vec<String>,
    },
    /// Its authority took it back.
    #[error("the certificate was revoked")]
    Revoked,
    /// The peer showed none.
    #[error("the peer has no certificate")]
    Missing,
    /// It is none of those that were pinned.
    #[error("the certificate is not a pinned one")]
    PinMismatch,
    /// Its purpose, its encoding or its signature is wrong.
    #[error("the certificate is unusable: {0}")]
    Other(String),
}

/// Why TLS was not established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer's certificate was refused.
    #[error(transparent)]
    Certificate(#[from] CertificateProblem),
    /// The initiator offered only ALPN identifiers of other protocols (RFC 7301 §3.2).
    #[error("the peers have no application protocol in common")]
    NoCommonProtocol,
    /// The peer broke the protocol, or shares no version or cipher suite, or refused us with an alert.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The connection broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Io(#[source] io::Error),
    /// The domain cannot be a certificate's name.
    #[error("{0:?} is not a domain name")]
    InvalidDomain(String),
    /// TLS is in place already; it is never stacked.
    #[error("the connection is already protected by TLS")]
    AlreadySecure,
    /// Keys or certificates could not be used.
    #[error("the TLS configuration is unusable: {0}")]
    Configuration(String),
}

impl TlsError {
    /// Whether trying again is pointless until somebody changes a setting or a certificate.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, TlsError::Io(_) | TlsError::Handshake(_))
    }

    fn configuration(error: impl fmt::Display) -> TlsError {
        TlsError::Configuration(error.to_string())
    }

    fn from_io(error: io::Error) -> TlsError {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return TlsError::Io(error);
        };
        match tls {
            rustls::Error::InvalidCertificate(reason) => TlsError::Certificate(problem(reason)),
            rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
                TlsError::NoCommonProtocol
            }
            other => TlsError::Handshake(other.to_string()),
        }
    }
}

fn problem(reason: &rustls::CertificateError) -> CertificateProblem {
    use rustls::CertificateError as E;
    match reason {
        E::Expired | E::ExpiredContext { .. } => CertificateProblem::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
        E::UnknownIssuer => CertificateProblem::UnknownIssuer,
        E::Revoked => CertificateProblem::Revoked,
        E::Other(other) => match other.0.downcast_ref::<CertificateProblem>() {
            Some(own) => own.clone(),
            None => CertificateProblem::Other(other.to_string()),
        },
        other => CertificateProblem::Other(other.to_string()),
    }
}

/// What the initiator can bind to; the handshake must be complete.
pub(super) fn client_bindings(connection: &rustls::ClientConnection) -> ChannelBindings {
    let server = connection.peer_certificates().and_then(<[_]>::first);
    let end_point = server.and_then(|c| certificate::end_point(c));
    ChannelBindings { exporter: exporter(connection), end_point, tls_version: version(connection) }
}

/// What the receiver can bind to, with the `tls-server-end-point` data of the certificate that it showed.
pub(super) fn server_bindings(connection: &rustls::ServerConnection, end_point: Option<Vec<u8>>) -> ChannelBindings {
    ChannelBindings { exporter: exporter(connection), end_point, tls_version: version(connection) }
}

fn version<Data>(connection: &rustls::ConnectionCommon<Data>) -> Option<u16> {
    connection.protocol_version().map(u16::from)
}

/// RFC 9266 §4.1 asks for an empty context. In TLS 1.2 that differs from none at all (RFC 5705 §4), and is only sound
/// with the extended master secret, which both roles here require.
fn exporter<Data>(connection: &rustls::ConnectionCommon<Data>) -> Option<[u8; 32]> {
    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).ok()
}
