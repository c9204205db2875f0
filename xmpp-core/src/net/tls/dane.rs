//! Does a certificate match TLSA records (RFC 6698 §2.1, RFC 7671)?

use super::certificate::Certificate;
use super::client::{ClientTls, server_name};
use crate::net::TlsaRecord;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256, Sha512};

/// Certificates of a peer's chain that are looked at.
const MAX_CHAIN: usize = 16;

/// What TLSA records say of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsaVerdict {
    /// Nothing: none can be made anything of.
    Unusable,
    /// One of them is for this certificate.
    Matched,
    /// They are for others.
    Mismatched,
}

/// Whether a record is for this certificate, or its key (RFC 6698 §2.1.2, §2.1.3).
fn is_for(record: &TlsaRecord, certificate: &[u8]) -> bool {
    let selected = match record.selector {
        0 => Some(certificate),
        1 => Certificate::parse(certificate).map(|certificate| certificate.public_key),
        _ => None,
    };
    selected.is_some_and(|selected| match record.matching {
        0 => selected == record.data,
        1 => Sha256::digest(selected)[..] == record.data[..],
        2 => Sha512::digest(selected)[..] == record.data[..],
        _ => false,
    })
}

impl ClientTls {
    /// Judges the chain that a peer showed. `names` are those that it may be for: the domain, and the host that the DNS
    /// securely delegates it to (RFC 7673 §4.2).
    pub(crate) fn match_tlsa(
        &self,
        records: &[TlsaRecord],
        chain: &[CertificateDer<'_>],
        names: &[&str],
    ) -> TlsaVerdict {
        let mut verdict = TlsaVerdict::Unusable;
        for record in records.iter().filter(|record| record.is_usable()) {
            if self.fulfils(record, chain, names) {
                return TlsaVerdict::Matched;
            }
            verdict = TlsaVerdict::Mismatched;
        }
        verdict
    }

    fn fulfils(&self, record: &TlsaRecord, chain: &[CertificateDer<'_>], names: &[&str]) -> bool {
        let Some(own) = chain.first() else { return false };
        let valid = || names.iter().any(|name| self.verify(chain, name).is_ok());
        match record.usage {
            0 => valid() && self.leads_to(record, chain, names),
            1 => is_for(record, own) && valid(),
            2 => self.leads_to(record, chain, names),
            // RFC 7671 §5.1: neither its names nor its dates count.
            3 => is_for(record, own),
            _ => false,
        }
    }

    /// Whether the chain is one of an authority that the record is for. A certificate that merely lies in the chain, and
    /// has vouched for nothing, is none.
    fn leads_to(&self, record: &TlsaRecord, chain: &[CertificateDer<'_>], names: &[&str]) -> bool {
        let Some((own, intermediates)) = chain.split_first() else { return false };
        let published = (record.selector == 0 && record.matching == 0).then(|| CertificateDer::from(&record.data[..]));
        let shown = intermediates.iter().take(MAX_CHAIN).filter(|one| is_for(record, one));
        let mut anchors = RootCertStore::empty();
        anchors.add_parsable_certificates(shown.cloned().chain(published).map(CertificateDer::into_owned));
        if anchors.is_empty() {
            return false;
        }
        let verifier = self.verifier.trusting(anchors);
        let now = UnixTime::now();
        let intermediates = intermediates.get(..MAX_CHAIN).unwrap_or(intermediates);
        let mut names = names.iter().filter_map(|name| server_name(name).ok());
        names.any(|name| verifier.verify(own, intermediates, &name, now).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(name: &str, ca: &Ca) -> CertificateDer<'static> {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        params.signed_by(&KeyPair::generate().unwrap(), ca).unwrap().der().clone()
    }

    fn trusting(ca: &Ca) -> ClientTls {
        let builder = ClientTls::builder().only_roots().service(crate::net::Service::Server);
        builder.add_root_pem(ca.pem().as_bytes()).unwrap().build().unwrap()
    }

    fn sha256(data: &[u8]) -> Vec<u8> {
        Sha256::digest(data).to_vec()
    }

    const NAMES: [&str; 2] = ["capulet.example", "host.example"];

    #[test]
    fn rfc6698_2_1_every_selector_and_matching_type_of_an_end_entity() {
        let (known, other) = (authority("known"), authority("other"));
        let (tls, own) = (trusting(&known), leaf("whoever.example", &other));
        let key = Certificate::parse(&own).unwrap().public_key.to_vec();
        let good = [
            (0, 0, own.to_vec()),
            (0, 1, sha256(&own)),
            (0, 2, Sha512::digest(&own).to_vec()),
            (1, 0, key.clone()),
            (1, 1, sha256(&key)),
            (1, 2, Sha512::digest(&key).to_vec()),
        ];
        for (selector, matching, data) in good {
            let judge = |usage, data: &[u8]| {
                let record = TlsaRecord::new(usage, selector, matching, data);
                tls.match_tlsa(&[record], std::slice::from_ref(&own), &NAMES)
            };
            assert_eq!(judge(3, &data), TlsaVerdict::Matched, "{selector} {matching}");
            // PKIX-EE asks for an authority that is trusted as well, and for the name.
            assert_eq!(judge(1, &data), TlsaVerdict::Mismatched, "{selector} {matching}");
            let mut wrong = data;
            wrong[0] ^= 1;
            assert_eq!(judge(3, &wrong), TlsaVerdict::Mismatched, "{selector} {matching}");
        }
    }

    #[test]
    fn rfc7673_4_2_pkix_usages_take_the_domain_or_the_host() {
        let ca = authority("known");
        let tls = trusting(&ca);
        for (name, expected) in [
            ("capulet.example", TlsaVerdict::Matched),
            ("host.example", TlsaVerdict::Matched),
            ("evil.example", TlsaVerdict::Mismatched),
        ] {
            let chain = [leaf(name, &ca), ca.der().clone()];
            let end_entity = TlsaRecord::new(1, 0, 1, sha256(&chain[0]));
            assert_eq!(tls.match_tlsa(&[end_entity], &chain, &NAMES), expected, "{name}");
            for usage in [0, 2] {
                let anchor = TlsaRecord::new(usage, 0, 1, sha256(&chain[1]));
                assert_eq!(tls.match_tlsa(&[anchor], &chain, &NAMES), expected, "{name} {usage}");
            }
        }
    }

    #[test]
    fn rfc6698_2_1_1_an_authority_of_the_domains_own() {
        let (known, own_ca) = (authority("known"), authority("own"));
        let tls = trusting(&known);
        let chain = [leaf("capulet.example", &own_ca), own_ca.der().clone()];
        let record = |usage, data: Vec<u8>, matching| TlsaRecord::new(usage, 0, matching, data);
        let hash = sha256(own_ca.der());
        assert_eq!(tls.match_tlsa(&[record(2, hash.clone(), 1)], &chain, &NAMES), TlsaVerdict::Matched);
        assert_eq!(tls.match_tlsa(&[record(0, hash.clone(), 1)], &chain, &NAMES), TlsaVerdict::Mismatched);
        // Only a hash of what was not shown is nothing to build on; the certificate itself is.
        assert_eq!(tls.match_tlsa(&[record(2, hash, 1)], &chain[..1], &NAMES), TlsaVerdict::Mismatched);
        let whole = record(2, own_ca.der().to_vec(), 0);
        assert_eq!(tls.match_tlsa(&[whole], &chain[..1], &NAMES), TlsaVerdict::Matched);
    }

    #[test]
    fn abuse_a086_an_authority_that_only_lies_in_the_chain_vouches_for_nothing() {
        let (known, bound) = (authority("known"), authority("bound"));
        let tls = trusting(&known);
        let chain = [leaf("capulet.example", &known), known.der().clone(), bound.der().clone()];
        for usage in [0, 2] {
            let record = TlsaRecord::new(usage, 0, 1, sha256(bound.der()));
            assert_eq!(tls.match_tlsa(&[record], &chain, &NAMES), TlsaVerdict::Mismatched, "{usage}");
        }
    }

    #[test]
    fn rfc6698_4_1_records_of_unknown_kinds_do_not_count() {
        let ca = authority("known");
        let (tls, own) = (trusting(&ca), leaf("capulet.example", &ca));
        let unusable = [
            TlsaRecord::new(4, 0, 1, sha256(&own)),
            TlsaRecord::new(3, 2, 1, sha256(&own)),
            TlsaRecord::new(3, 0, 3, sha256(&own)),
            TlsaRecord::new(3, 0, 1, &b"short"[..]),
            TlsaRecord::new(3, 0, 0, &b""[..]),
        ];
        assert_eq!(tls.match_tlsa(&unusable, std::slice::from_ref(&own), &NAMES), TlsaVerdict::Unusable);
        assert_eq!(tls.match_tlsa(&[], std::slice::from_ref(&own), &NAMES), TlsaVerdict::Unusable);
        assert_eq!(tls.match_tlsa(&[TlsaRecord::new(3, 0, 1, sha256(&own))], &[], &NAMES), TlsaVerdict::Mismatched);
        let several =
            [unusable[0].clone(), TlsaRecord::new(3, 0, 1, sha256(b"x")), TlsaRecord::new(3, 0, 1, sha256(&own))];
        assert_eq!(tls.match_tlsa(&several, std::slice::from_ref(&own), &NAMES), TlsaVerdict::Matched);
    }
}
