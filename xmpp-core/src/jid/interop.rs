//! From and to the addresses of the `jid` crate, which prepares by RFC 6122: what the one accepts the other may not,
//! so every direction can fail.
use super::{BareJid, FullJid, Jid, JidError};

impl TryFrom<&::jid::Jid> for Jid {
    type Error = JidError;
    fn try_from(jid: &::jid::Jid) -> Result<Self, JidError> {
        Jid::lenient(jid.as_str())
    }
}

impl TryFrom<&::jid::BareJid> for BareJid {
    type Error = JidError;
    fn try_from(jid: &::jid::BareJid) -> Result<Self, JidError> {
        Jid::lenient(jid.as_str())?.try_into()
    }
}

impl TryFrom<&::jid::FullJid> for FullJid {
    type Error = JidError;
    fn try_from(jid: &::jid::FullJid) -> Result<Self, JidError> {
        Jid::lenient(jid.as_str())?.try_into()
    }
}

impl TryFrom<&Jid> for ::jid::Jid {
    type Error = ::jid::Error;
    fn try_from(jid: &Jid) -> Result<Self, ::jid::Error> {
        ::jid::Jid::new(jid.as_str())
    }
}

impl TryFrom<&BareJid> for ::jid::BareJid {
    type Error = ::jid::Error;
    fn try_from(jid: &BareJid) -> Result<Self, ::jid::Error> {
        ::jid::BareJid::new(jid.as_str())
    }
}

impl TryFrom<&FullJid> for ::jid::FullJid {
    type Error = ::jid::Error;
    fn try_from(jid: &FullJid) -> Result<Self, ::jid::Error> {
        ::jid::FullJid::new(jid.as_str())
    }
}
