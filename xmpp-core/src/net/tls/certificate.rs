//! What of an X.509 certificate (RFC 5280) matters to XMPP and rustls doesn't tell: the XMPP identifiers among its
//! subject alternative names (RFC 6120 §13.7.1.2), its signature's hash (RFC 5929 §4.1) and its key.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// `id-on-xmppAddr`, 1.3.6.1.5.5.7.8.5 (RFC 6120 §13.7.1.4).
pub(crate) const XMPP_ADDR: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 5];
/// `id-on-dnsSRV`, 1.3.6.1.5.5.7.8.7 (RFC 4985).
pub(crate) const DNS_SRV: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 7];
/// `id-ce-subjectAltName`, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
/// `id-ce-nameConstraints`, 2.5.29.30.
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;

/// Entries read of one list inside a certificate: extensions, names.
const MAX_ENTRIES: usize = 256;

/// A reader over consecutive DER values. Every read is checked against what is there; nothing recurses.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

/// One value: its tag, its content, and all of its octets.
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<Value<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=3).contains(&count) {
                return None;
            }
            let (octets, rest) = rest.split_at_checked(count)?;
            (octets.iter().fold(0, |sum, &o| (sum << 8) | usize::from(o)), rest)
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some(Value { tag, content, whole })
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|v| v.tag == tag).map(|v| v.content)
    }

    /// The next value if it has this tag; otherwise nothing is consumed.
    fn take_optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.take(tag)?;
        *self = ahead;
        Some(content)
    }

    fn values(mut self) -> impl Iterator<Item = Value<'a>> {
        std::iter::from_fn(move || self.next()).take(MAX_ENTRIES)
    }
}

/// A certificate, taken apart as far as needed.
pub(crate) struct Certificate<'a> {
    /// The content of the issuer's name.
    pub(crate) issuer: &'a [u8],
    /// The `SubjectPublicKeyInfo`, all octets.
    pub(crate) public_key: &'a [u8],
    extensions: &'a [u8],
    signature_algorithm: &'a [u8],
}

/// The identifiers of RFC 6120 §13.7.1.2.1.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    /// DNS-IDs, which may be wildcards.
    pub(crate) dns: Vec<&'a str>,
    /// SRV-IDs, such as `_xmpp-client.example.org`.
    pub(crate) srv: Vec<&'a str>,
    /// XmppAddrs: addresses in their native form.
    pub(crate) address: Vec<&'a str>,
}

impl<'a> Certificate<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut certificate = Der(Der(der).take(SEQUENCE)?);
        let mut tbs = Der(certificate.take(SEQUENCE)?);
        let signature_algorithm = certificate.take(SEQUENCE)?;
        tbs.take_optional(0xa0);
        tbs.take(INTEGER)?;
        tbs.take(SEQUENCE)?;
        let issuer = tbs.take(SEQUENCE)?;
        tbs.take(SEQUENCE)?; // validity
        tbs.take(SEQUENCE)?; // subject
        let public_key = tbs.next().filter(|v| v.tag == SEQUENCE)?.whole;
        let extensions = tbs.values().find(|v| v.tag == 0xa3);
        let extensions = extensions.and_then(|v| Der(v.content).take(SEQUENCE)).unwrap_or_default();
        Some(Certificate { issuer, public_key, extensions, signature_algorithm })
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        Der(self.extensions).values().find_map(|extension| {
            let mut fields = Der(extension.content);
            let found = fields.take(OID)? == oid;
            fields.take_optional(BOOLEAN);
            fields.take(OCTET_STRING).filter(|_| found)
        })
    }

    /// Whether a CA limited what this certificate, itself a CA's, may issue for.
    pub(crate) fn has_name_constraints(&self) -> bool {
        self.extension(NAME_CONSTRAINTS).is_some()
    }

    pub(crate) fn names(&self) -> Names<'a> {
        let mut names = Names::default();
        let general_names = self.extension(SUBJECT_ALT_NAME).and_then(|san| Der(san).take(SEQUENCE));
        for name in Der(general_names.unwrap_or_default()).values() {
            if name.tag == 0x82 {
                names.dns.extend(std::str::from_utf8(name.content).ok().filter(|n| n.is_ascii()));
            }
            if name.tag != 0xa0 {
                continue;
            }
            let mut other_name = Der(name.content);
            let Some(oid) = other_name.take(OID) else { continue };
            let Some(value) = other_name.take(0xa0).and_then(|explicit| Der(explicit).next()) else { continue };
            let Ok(text) = std::str::from_utf8(value.content) else { continue };
            match (oid, value.tag) {
                (DNS_SRV, IA5_STRING) if text.is_ascii() => names.srv.push(text),
                (XMPP_ADDR, UTF8_STRING) => names.address.push(text),
                _ => {}
            }
        }
        names
    }

    /// The data of `tls-server-end-point`: the certificate hashed as its signature was, but never with MD5 or SHA-1
    /// (RFC 5929 §4.1). Undefined, so `None`, for signatures with no hash of their own or several, such as Ed25519.
    fn end_point(&self, der: &[u8]) -> Option<Vec<u8>> {
        match signature_hash(self.signature_algorithm)? {
            Hash::Sha256 => Some(Sha256::digest(der).to_vec()),
            Hash::Sha384 => Some(Sha384::digest(der).to_vec()),
            Hash::Sha512 => Some(Sha512::digest(der).to_vec()),
        }
    }
}

/// The `tls-server-end-point` data for a server certificate in DER.
pub(crate) fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    Certificate::parse(der)?.end_point(der)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn signature_hash(algorithm: &[u8]) -> Option<Hash> {
    /// 1.2.840.113549.1.1
    const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    /// 1.2.840.10045.4
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4];
    /// 1.2.840.10040.4.3 and 2.16.840.1.101.3.4.3.2: DSA with SHA-1 and SHA-256.
    const DSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3];
    const DSA_SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2];
    let mut fields = Der(algorithm);
    let oid = fields.take(OID)?;
    if let Some(rest) = oid.strip_prefix(PKCS1) {
        return match rest {
            // MD5 and SHA-1 are replaced by SHA-256.
            [4] | [5] | [11] => Some(Hash::Sha256),
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            [10] => pss_hash(fields.take(SEQUENCE)?),
            _ => None,
        };
    }
    if let Some(rest) = oid.strip_prefix(ECDSA) {
        return match rest {
            [1] | [3, 2] => Some(Hash::Sha256),
            [3, 3] => Some(Hash::Sha384),
            [3, 4] => Some(Hash::Sha512),
            _ => None,
        };
    }
    (oid == DSA_SHA1 || oid == DSA_SHA256).then_some(Hash::Sha256)
}

/// The `hashAlgorithm` of `RSASSA-PSS-params` (RFC 4055 §3.1), SHA-1 when absent.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    /// 2.16.840.1.101.3.4.2
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
    const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
    let Some(explicit) = Der(parameters).take_optional(0xa0) else { return Some(Hash::Sha256) };
    let oid = Der(Der(explicit).take(SEQUENCE)?).take(OID)?;
    match oid.strip_prefix(SHA2) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        _ => (oid == SHA1).then_some(Hash::Sha256),
    }
}

/// A subject alternative name extension's value with the identifiers of RFC 6120 §13.7.1.2.1 for `domains`.
#[cfg(any(test, feature = "self-signed"))]
pub(crate) fn subject_alt_name(dns: &[&str], srv: &[&str], address: &[&str]) -> Vec<u8> {
    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut der = vec![tag];
        match content.len() {
            n @ 0..0x80 => der.push(n as u8),
            n @ 0x80..0x100 => der.extend([0x81, n as u8]),
            n => der.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        der.extend(content);
        der
    }
    let other = |oid: &[u8], tag: u8, text: &str| {
        value(0xa0, &[&value(OID, &[oid]), &value(0xa0, &[&value(tag, &[text.as_bytes()])])])
    };
    let mut names: Vec<Vec<u8>> = dns.iter().map(|name| value(0x82, &[name.as_bytes()])).collect();
    names.extend(srv.iter().map(|name| other(DNS_SRV, IA5_STRING, name)));
    names.extend(address.iter().map(|name| other(XMPP_ADDR, UTF8_STRING, name)));
    value(SEQUENCE, &names.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        let san = subject_alt_name(&[], &["_xmpp-client.example.org"], &["bücher.example"]);
        params.subject_alt_names.clear();
        params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], san));
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn rfc6120_13_7_1_2_names_are_found() {
        let der = sample();
        let names = Certificate::parse(&der).unwrap().names();
        assert_eq!(names.srv, ["_xmpp-client.example.org"]);
        assert_eq!(names.address, ["bücher.example"]);
    }

    #[test]
    fn rfc5929_4_1_hash_follows_the_signature() {
        let hash = |oid: &[u8], rest: &[u8]| {
            let mut algorithm = vec![OID, oid.len() as u8];
            algorithm.extend(oid);
            algorithm.extend(rest);
            signature_hash(&algorithm)
        };
        let rsa = |n| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, n];
        assert_eq!(hash(&rsa(4), &[5, 0]), Some(Hash::Sha256), "MD5 becomes SHA-256");
        assert_eq!(hash(&rsa(5), &[5, 0]), Some(Hash::Sha256), "SHA-1 becomes SHA-256");
        assert_eq!(hash(&rsa(12), &[5, 0]), Some(Hash::Sha384));
        assert_eq!(hash(&rsa(13), &[5, 0]), Some(Hash::Sha512));
        assert_eq!(hash(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &[]), Some(Hash::Sha384));
        assert_eq!(hash(&[0x2b, 0x65, 0x70], &[]), None, "Ed25519 names no hash");
        let sha512 = [0x30, 15, 0xa0, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
        assert_eq!(hash(&rsa(10), &sha512), Some(Hash::Sha512), "RSASSA-PSS names it in its parameters");
        assert_eq!(hash(&rsa(10), &[0x30, 0]), Some(Hash::Sha256), "whose default is SHA-1");
    }

    proptest! {
        #[test]
        fn broken_certificates_never_panic(cut in 0usize..2000, at in 0usize..2000, with in any::<u8>()) {
            let mut der = sample();
            let at = at % der.len();
            der[at] = with;
            der.truncate(der.len().saturating_sub(cut % 600));
            if let Some(certificate) = Certificate::parse(&der) {
                let _ = (certificate.names(), certificate.end_point(&der), certificate.has_name_constraints());
            }
        }
    }
}
