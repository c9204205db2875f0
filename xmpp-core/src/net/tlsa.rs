//! What DNSSEC adds to answers of the DNS: whether they can be trusted, and the records that bind a service to its
//! certificate (RFC 4033, RFC 6698).

/// An answer of the DNS, and whether DNSSEC vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated<T> {
    /// What was asked for.
    pub records: T,
    /// Whether a chain of signatures leads from a trust anchor to every record, aliases on the way included (RFC 4033
    /// §5, "secure"). An answer that ought to be signed and is not is none at all but
    /// [`ResolveError::Failed`](super::ResolveError::Failed).
    pub secure: bool,
}

impl<T> Validated<T> {
    /// An answer that DNSSEC vouches for.
    pub fn secure(records: T) -> Validated<T> {
        Validated { records, secure: true }
    }

    /// An answer that anybody on the way may have made up.
    pub fn insecure(records: T) -> Validated<T> {
        Validated { records, secure: false }
    }
}

/// One TLSA record (RFC 6698 §2): which certificate, or whose, a service shows. Numbers that are not registered make it
/// unusable, and are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsaRecord {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE (§2.1.1, RFC 7218).
    pub usage: u8,
    /// 0 the whole certificate, 1 its public key (§2.1.2).
    pub selector: u8,
    /// 0 as it is, 1 its SHA-256 hash, 2 its SHA-512 hash (§2.1.3).
    pub matching: u8,
    /// What it has to be equal to.
    pub data: Vec<u8>,
}

impl TlsaRecord {
    /// A record from its fields, in the order of a zone file.
    pub fn new(usage: u8, selector: u8, matching: u8, data: impl Into<Vec<u8>>) -> TlsaRecord {
        TlsaRecord { usage, selector, matching, data: data.into() }
    }

    /// Whether this is a record that can be made something of (RFC 6698 §4.1): all others are as if they were not there.
    #[cfg(feature = "server")]
    pub(crate) fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        length && self.usage <= 3 && self.selector <= 1
    }
}
