//! What proves that a certificate is a domain's where no authority does: the prooftypes beside PKIX (RFC 7712 §5).
//!
//! It is gathered by the stream's own task, before the machine that decides about the stream asks for it: after the
//! handshake where we are the initiator, and once the peer has said who it is where we are not.

use super::{Federator, dane::Dane};
use crate::{
    jid::Jid,
    net::{Target, Transport},
    stanza::StanzaError,
    stream::s2s::Pair,
};
use rustls::pki_types::CertificateDer;
use std::sync::{Arc, Mutex, MutexGuard};

/// Domains that one stream's certificate was looked up for.
const MAX_DOMAINS: usize = 8;

/// What was found of the peer's certificate on one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(Arc<Mutex<Vec<(String, bool)>>>);

impl Evidence {
    /// Whether it is this domain's, if that was found out.
    pub(super) fn of(&self, domain: &str) -> bool {
        self.lock().iter().any(|(one, proved)| *proved && one == domain)
    }

    /// Whether another look-up is due for a domain.
    fn begin(&self, domain: &str) -> bool {
        let mut found = self.lock();
        let begin = found.len() < MAX_DOMAINS && found.iter().all(|(one, _)| one != domain);
        if begin {
            found.push((domain.to_owned(), false));
        }
        begin
    }

    fn prove(&self, domain: &str) {
        self.lock().iter_mut().filter(|(one, _)| one == domain).for_each(|(_, proved)| *proved = true);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, bool)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Federator {
    /// Gathers what there is on a stream that we opened to this target.
    ///
    /// # Errors
    /// Where the domain's DNS says that the certificate is not its own, nothing else is asked: what senders are told.
    pub(super) async fn gather_outgoing(
        &self,
        evidence: &Evidence,
        transport: &Transport,
        pair: &Pair,
        target: Option<&Target>,
    ) -> Result<(), StanzaError> {
        let chain = transport.peer_certificates();
        if let (true, Some(target)) = (self.dane, target) {
            let limit = self.connect.resolve_timeout;
            let judged =
                super::dane::judge(self.resolver.as_ref(), &self.tls, chain, &pair.remote, target, limit).await;
            tracing::debug!(remote = pair.remote, %target, ?judged, "DANE");
            match judged {
                Dane::Silent => {}
                Dane::Proved => {
                    evidence.begin(&pair.remote);
                    evidence.prove(&pair.remote);
                    return Ok(());
                }
                Dane::Disproved => {
                    return Err(untrusted("the DNS says that the remote server's certificate is not its own"));
                }
                Dane::Unknown(error) => {
                    tracing::info!(remote = pair.remote, %error, "the DNS cannot tell of a certificate");
                    return Err(untrusted("the DNS cannot tell whether the remote server's certificate is its own"));
                }
            }
        }
        self.gather(evidence, chain, &pair.remote, true).await;
        Ok(())
    }

    /// Gathers what there is for a domain that a peer claims to be.
    pub(super) async fn gather_incoming(&self, evidence: &Evidence, transport: &Transport, claimed: &str) {
        let Some(domain) = domain(claimed).filter(|domain| !(self.s2s.hosts)(domain)) else { return };
        self.gather(evidence, transport.peer_certificates(), &domain, false).await;
    }

    #[cfg(feature = "posh")]
    async fn gather(&self, evidence: &Evidence, chain: &[CertificateDer<'_>], domain: &str, opened: bool) {
        let (Some(posh), Some(own)) = (&self.posh, chain.first()) else { return };
        if self.s2s.policies.of(domain).block || self.tls.verify(chain, domain).is_ok() || !evidence.begin(domain) {
            return;
        }
        if posh.names(domain, own, opened).await {
            tracing::debug!(domain, "a POSH document names the certificate");
            evidence.prove(domain);
        }
    }

    #[cfg(not(feature = "posh"))]
    async fn gather(&self, _: &Evidence, _: &[CertificateDer<'_>], _: &str, _: bool) {}
}

fn untrusted(text: &str) -> StanzaError {
    StanzaError::remote_server_timeout().with_text(text.to_owned())
}

/// A domain in canonical form.
fn domain(text: &str) -> Option<String> {
    let jid = Jid::new(text).ok()?;
    (jid.local().is_none() && jid.resource().is_none()).then(|| jid.as_str().to_owned())
}
