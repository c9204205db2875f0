//! Addresses of which it is known whether they have a resource.
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use super::{Jid, JidError};

/// An address without a resource.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BareJid(pub(super) Jid);

/// An address with a resource.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullJid(pub(super) Jid);

impl BareJid {
    /// As [`Jid::new`], and there must be no resource.
    ///
    /// # Errors
    /// [`JidError::NotBare`] for a full address, otherwise as [`Jid::new`].
    pub fn new(s: &str) -> Result<BareJid, JidError> {
        Jid::new(s)?.try_into()
    }

    /// From parts, each prepared.
    ///
    /// # Errors
    /// As [`Jid::from_parts`].
    pub fn from_parts(local: Option<&str>, domain: &str) -> Result<BareJid, JidError> {
        Jid::from_parts(local, domain, None).map(BareJid)
    }
}

impl FullJid {
    /// As [`Jid::new`], and there must be a resource.
    ///
    /// # Errors
    /// [`JidError::NotFull`] for a bare address, otherwise as [`Jid::new`].
    pub fn new(s: &str) -> Result<FullJid, JidError> {
        Jid::new(s)?.try_into()
    }

    /// After the first `/`.
    pub fn resource(&self) -> &str {
        // There always is one.
        self.0.resource().unwrap_or_default()
    }
}

impl TryFrom<Jid> for BareJid {
    type Error = JidError;
    fn try_from(jid: Jid) -> Result<Self, JidError> {
        jid.into_bare().map_err(|_| JidError::NotBare)
    }
}

impl TryFrom<Jid> for FullJid {
    type Error = JidError;
    fn try_from(jid: Jid) -> Result<Self, JidError> {
        jid.into_full().map_err(|_| JidError::NotFull)
    }
}

impl From<FullJid> for BareJid {
    fn from(jid: FullJid) -> Self {
        jid.to_bare()
    }
}

/// What both kinds have in common.
macro_rules! kind {
    ($kind:ident) => {
        impl Deref for $kind {
            type Target = Jid;
            fn deref(&self) -> &Jid {
                &self.0
            }
        }

        impl From<$kind> for Jid {
            fn from(jid: $kind) -> Jid {
                jid.0
            }
        }

        impl From<&$kind> for Jid {
            fn from(jid: &$kind) -> Jid {
                jid.0.clone()
            }
        }

        impl AsRef<Jid> for $kind {
            fn as_ref(&self) -> &Jid {
                &self.0
            }
        }

        impl AsRef<str> for $kind {
            fn as_ref(&self) -> &str {
                self.0.as_str()
            }
        }

        impl Borrow<Jid> for $kind {
            fn borrow(&self) -> &Jid {
                &self.0
            }
        }

        impl Borrow<str> for $kind {
            fn borrow(&self) -> &str {
                self.0.as_str()
            }
        }

        impl PartialEq<Jid> for $kind {
            fn eq(&self, other: &Jid) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<$kind> for Jid {
            fn eq(&self, other: &$kind) -> bool {
                *self == other.0
            }
        }

        impl PartialEq<str> for $kind {
            fn eq(&self, other: &str) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<&str> for $kind {
            fn eq(&self, other: &&str) -> bool {
                self.0 == **other
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($kind)).field(&self.0.as_str()).finish()
            }
        }

        impl FromStr for $kind {
            type Err = JidError;
            fn from_str(s: &str) -> Result<Self, JidError> {
                $kind::new(s)
            }
        }

        impl TryFrom<&str> for $kind {
            type Error = JidError;
            fn try_from(s: &str) -> Result<Self, JidError> {
                $kind::new(s)
            }
        }

        impl TryFrom<String> for $kind {
            type Error = JidError;
            fn try_from(s: String) -> Result<Self, JidError> {
                $kind::new(&s)
            }
        }
    };
}

kind!(BareJid);
kind!(FullJid);
