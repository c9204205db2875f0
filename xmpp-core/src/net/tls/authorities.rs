//! Client certificates that stand for accounts (RFC 6120 §13.7.1.4, XEP-0178 §2).

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::Certificate;
use super::verify::constrained;
use super::{TlsError, provider};
use crate::jid::BareJid;

/// So many accounts of one certificate are looked at.
const MAX_ACCOUNTS: usize = 8;

/// The authorities that vouch for a server's users, and nobody else's: whoever can get a certificate from one of them
/// can be the user it names.
#[derive(Clone)]
pub struct ClientAuthorities {
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthorities").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

impl ClientAuthorities {
    /// From the authorities' certificates as PEM.
    ///
    /// # Errors
    /// If there is none, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<ClientAuthorities, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.add(root.map_err(TlsError::configuration)?).map_err(TlsError::configuration)?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
        Ok(ClientAuthorities { verifier: verifier.build().map_err(TlsError::configuration)?, roots })
    }

    /// The accounts that a client's certificate names by XmppAddr, if one of these authorities vouches for it.
    pub fn accounts(&self, chain: &[CertificateDer<'_>]) -> Vec<BareJid> {
        let Some((own, intermediates)) = chain.split_first() else { return Vec::new() };
        if let Err(error) = self.verifier.verify_client_cert(own, intermediates, UnixTime::now()) {
            tracing::debug!(%error, "a client's certificate");
            return Vec::new();
        }
        let Some(own) = Certificate::parse(own) else { return Vec::new() };
        // webpki does not apply constraints to these names.
        if constrained(&own, intermediates, &self.roots) {
            return Vec::new();
        }
        let addresses = own.names().address.into_iter().take(MAX_ACCOUNTS);
        addresses.filter_map(|address| BareJid::new(address).ok()).filter(|account| account.local().is_some()).collect()
    }
}
