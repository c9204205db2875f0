//! The mechanisms by name and strength.

use super::BindingType;
use std::fmt;

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-1 (RFC 5802).
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// All, the strongest first.
    pub const ALL: [Hash; 3] = [Hash::Sha512, Hash::Sha256, Hash::Sha1];

    /// The name in those of mechanisms: `SHA-256`.
    pub const fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "SHA-1",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512 => "SHA-512",
        }
    }

    /// The length of a digest in bytes.
    pub const fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }
}

/// A SASL mechanism that is built in. The order is by strength, the weakest first: any mechanism with channel binding is
/// above all SCRAM without it, because only binding stops somebody in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mechanism {
    /// ANONYMOUS (RFC 4505).
    Anonymous,
    /// PLAIN (RFC 4616).
    Plain,
    /// SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
    /// HT-SHA-256-NONE: a token (XEP-0484).
    HtSha256None,
    /// HT-SHA-512-NONE: a token.
    HtSha512None,
    /// SCRAM-SHA-1 with channel binding.
    ScramSha1Plus,
    /// SCRAM-SHA-256 with channel binding.
    ScramSha256Plus,
    /// SCRAM-SHA-512 with channel binding.
    ScramSha512Plus,
    /// HT-SHA-256-ENDP: a token, bound to the server's certificate.
    HtSha256EndPoint,
    /// HT-SHA-512-ENDP: a token, bound to the server's certificate.
    HtSha512EndPoint,
    /// HT-SHA-256-EXPR: a token, bound to the connection.
    HtSha256Exporter,
    /// HT-SHA-512-EXPR: a token, bound to the connection.
    HtSha512Exporter,
    /// EXTERNAL (RFC 4422 appendix A): the TLS certificate.
    External,
}

impl Mechanism {
    /// All but those of tokens, the strongest first, which is the order in which a server lists them (RFC 6120 §6.3.4:
    /// EXTERNAL first).
    pub const ALL: [Mechanism; 9] = [
        Mechanism::External,
        Mechanism::ScramSha512Plus,
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha512,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::Plain,
        Mechanism::Anonymous,
    ];

    /// The mechanisms of tokens (XEP-0484), the strongest first. They are offered apart from the others. Those with
    /// `tls-unique` are missing, as is that binding ([`BindingType`]).
    pub const TOKEN: [Mechanism; 6] = [
        Mechanism::HtSha512Exporter,
        Mechanism::HtSha256Exporter,
        Mechanism::HtSha512EndPoint,
        Mechanism::HtSha256EndPoint,
        Mechanism::HtSha512None,
        Mechanism::HtSha256None,
    ];

    /// The name registered with IANA, or for tokens that of the draft.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Anonymous => "ANONYMOUS",
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha512Plus => "SCRAM-SHA-512-PLUS",
            Mechanism::External => "EXTERNAL",
            Mechanism::HtSha256None => "HT-SHA-256-NONE",
            Mechanism::HtSha512None => "HT-SHA-512-NONE",
            Mechanism::HtSha256EndPoint => "HT-SHA-256-ENDP",
            Mechanism::HtSha512EndPoint => "HT-SHA-512-ENDP",
            Mechanism::HtSha256Exporter => "HT-SHA-256-EXPR",
            Mechanism::HtSha512Exporter => "HT-SHA-512-EXPR",
        }
    }

    /// The mechanism of that name. Names are upper case (RFC 4422 §3.1).
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Self::ALL.into_iter().chain(Self::TOKEN).find(|mechanism| mechanism.name() == name)
    }

    /// The SCRAM mechanism with this hash.
    pub const fn scram(hash: Hash, plus: bool) -> Mechanism {
        match (hash, plus) {
            (Hash::Sha1, false) => Mechanism::ScramSha1,
            (Hash::Sha256, false) => Mechanism::ScramSha256,
            (Hash::Sha512, false) => Mechanism::ScramSha512,
            (Hash::Sha1, true) => Mechanism::ScramSha1Plus,
            (Hash::Sha256, true) => Mechanism::ScramSha256Plus,
            (Hash::Sha512, true) => Mechanism::ScramSha512Plus,
        }
    }

    /// The hash, if this is SCRAM.
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => Some(Hash::Sha1),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => Some(Hash::Sha256),
            Mechanism::ScramSha512 | Mechanism::ScramSha512Plus => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// Whether who logs in by it has shown to know the password.
    pub(crate) const fn proves_password(self) -> bool {
        matches!(self, Mechanism::Plain) || self.hash().is_some()
    }

    /// The hash, if this is a mechanism of tokens.
    pub const fn token_hash(self) -> Option<Hash> {
        match self {
            Mechanism::HtSha256None | Mechanism::HtSha256EndPoint | Mechanism::HtSha256Exporter => Some(Hash::Sha256),
            Mechanism::HtSha512None | Mechanism::HtSha512EndPoint | Mechanism::HtSha512Exporter => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// What a token is bound to, if this is a mechanism of tokens with a binding.
    pub const fn token_binding(self) -> Option<BindingType> {
        match self {
            Mechanism::HtSha256EndPoint | Mechanism::HtSha512EndPoint => Some(BindingType::TlsServerEndPoint),
            Mechanism::HtSha256Exporter | Mechanism::HtSha512Exporter => Some(BindingType::TlsExporter),
            _ => None,
        }
    }

    /// Whether it is SCRAM that binds to the channel.
    pub const fn is_plus(self) -> bool {
        matches!(self, Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus | Mechanism::ScramSha512Plus)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
