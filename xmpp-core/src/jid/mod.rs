//! Addresses (RFC 7622).
//!
//! An address is kept in its one canonical form: the local part by the UsernameCaseMapped profile, the domain with its
//! Punycode undone and without the trailing dot, the resource by OpaqueString (RFC 8264, RFC 8265). Two addresses are
//! equal if and only if their texts are. Preparing a prepared address changes nothing.
//!
//! Where the documents leave room:
//! - A resource may begin or end with a space: RFC 7622 §3.5 lists one such as an error, the profile allows it.
//! - A host name may hold underscores, and hyphens in the third and fourth place; symbols such as emoji are refused,
//!   as in IDNA2008.
//! - Lowercase is taken letter by letter: a Σ is always σ, at the end of a word too.
//! - Text that XEP-0106 escapes is compared as it is written; nothing here unescapes it but
//!   [`escape`].

mod ascii;
mod borrowed;
pub mod escape;
#[cfg(feature = "jid")]
mod interop;
mod kinds;
pub mod nickname;
mod precis;
mod prepare;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

pub use borrowed::JidRef;
pub use kinds::{BareJid, FullJid};

/// Longest part, in bytes of UTF-8.
const MAX_PART: usize = 1023;
/// Longest address: three parts and their separators.
const MAX_TEXT: usize = 3 * MAX_PART + 2;

/// Why a string is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JidError {
    /// The domain is missing or empty.
    #[error("the address has no domain")]
    NoDomain,
    /// `@example.org`.
    #[error("the part before the @ is empty")]
    EmptyLocal,
    /// `example.org/`.
    #[error("the part after the / is empty")]
    EmptyResource,
    /// A part is longer than 1,023 bytes.
    #[error("a part of the address is longer than 1023 bytes")]
    TooLong,
    /// A character that RFC 7622 §3.3 does not allow before the @.
    #[error("the part before the @ holds a character that is not allowed")]
    BadLocal,
    /// Not a domain name or an IP address.
    #[error("the domain is not valid")]
    BadDomain,
    /// A character that no resource may hold.
    #[error("the resource holds a character that is not allowed")]
    BadResource,
    /// A resource where a bare address is wanted.
    #[error("the address has a resource")]
    NotBare,
    /// No resource where a full address is wanted.
    #[error("the address has no resource")]
    NotFull,
}

/// An address, bare or full, in its one canonical form. Cheap to clone.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Where the `@` is; 0 without a local part, which is never empty.
    at: u16,
    /// Where the first `/` is; the length without a resource.
    slash: u16,
}

impl Jid {
    /// Splits, prepares and checks; the strict rules of RFC 7622, for what we create, and for the resources of
    /// addresses that are ours.
    ///
    /// # Errors
    /// [`JidError`], by the first part that is not valid.
    pub fn new(s: &str) -> Result<Jid, JidError> {
        if let Some(jid) = Self::from_ascii(s) {
            return Ok(jid);
        }
        let (local, domain, resource) = split(s);
        Self::from_parts(local, domain, resource)
    }

    /// As [`new`](Self::new), but any resource of UTF-8 without control characters passes as it is: for addresses
    /// that a peer sent. Such an address may differ from what [`new`](Self::new) makes of the same text; to find a
    /// session of ours by it, prepare it with [`new`](Self::new) first.
    ///
    /// # Errors
    /// [`JidError`], by the first part that is not valid.
    pub fn lenient(s: &str) -> Result<Jid, JidError> {
        if let Some(jid) = Self::from_ascii(s) {
            return Ok(jid);
        }
        let (local, domain, resource) = split(s);
        let local = local.map(prepare::local).transpose()?;
        let domain = prepare::domain(domain)?;
        let resource = resource.map(prepare::foreign_resource).transpose()?;
        join(local.as_deref(), &domain, resource)
    }

    /// From parts, each prepared.
    ///
    /// # Errors
    /// [`JidError`], by the first part that is not valid; an empty part is not the same as none.
    pub fn from_parts(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid, JidError> {
        let local = local.map(prepare::local).transpose()?;
        let domain = prepare::domain(domain)?;
        let resource = resource.map(prepare::resource).transpose()?;
        join(local.as_deref(), &domain, resource.as_deref())
    }

    fn from_ascii(s: &str) -> Option<Jid> {
        let split = ascii::scan(s)?;
        let mut text: Arc<str> = s.into();
        if split.fold {
            // Nobody else has it yet.
            Arc::get_mut(&mut text)?.get_mut(..usize::from(split.slash))?.make_ascii_lowercase();
        }
        Some(Jid { text, at: split.at, slash: split.slash })
    }

    /// The same address, borrowed.
    pub fn as_jid_ref(&self) -> JidRef<'_> {
        JidRef::from_valid(&self.text, self.at, self.slash)
    }

    /// Before the `@`.
    pub fn local(&self) -> Option<&str> {
        self.as_jid_ref().local()
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        self.as_jid_ref().domain()
    }

    /// After the first `/`.
    pub fn resource(&self) -> Option<&str> {
        self.as_jid_ref().resource()
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without the resource, as text.
    pub fn bare_str(&self) -> &str {
        self.as_jid_ref().bare_str()
    }

    /// Without the resource. Shares memory when there is none.
    pub fn to_bare(&self) -> BareJid {
        if self.is_bare() {
            return BareJid(self.clone());
        }
        BareJid(Jid { text: self.bare_str().into(), at: self.at, slash: self.slash })
    }

    /// Whether there is no resource.
    pub fn is_bare(&self) -> bool {
        usize::from(self.slash) == self.text.len()
    }

    /// With this resource, prepared, instead of the one that is there.
    ///
    /// # Errors
    /// [`JidError::EmptyResource`], [`JidError::BadResource`], [`JidError::TooLong`].
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource = prepare::resource(resource)?;
        let text = [self.bare_str(), "/", &resource].concat();
        Ok(FullJid(Jid { text: text.into(), at: self.at, slash: self.slash }))
    }

    /// As a full address, if it has a resource.
    ///
    /// # Errors
    /// The address itself, when it is bare.
    pub fn into_full(self) -> Result<FullJid, Jid> {
        if self.is_bare() { Err(self) } else { Ok(FullJid(self)) }
    }

    /// As a bare address, if it has no resource.
    ///
    /// # Errors
    /// The address itself, when it is full.
    pub fn into_bare(self) -> Result<BareJid, Jid> {
        if self.is_bare() { Ok(BareJid(self)) } else { Err(self) }
    }
}

/// Local part, domain and resource, before any mapping (RFC 7622 §3.2): at the first `/`, then at the first `@` before
/// it.
fn split(s: &str) -> (Option<&str>, &str, Option<&str>) {
    let (bare, resource) = s.split_once('/').map_or((s, None), |(bare, resource)| (bare, Some(resource)));
    let (local, domain) = bare.split_once('@').map_or((None, bare), |(local, domain)| (Some(local), domain));
    (local, domain, resource)
}

/// Puts prepared parts together.
fn join(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid, JidError> {
    let at = local.map_or(0, str::len);
    let slash = domain.len() + if local.is_some() { at + 1 } else { 0 };
    let mut text = String::with_capacity(slash + resource.map_or(0, |r| r.len() + 1));
    if let Some(local) = local {
        text.push_str(local);
        text.push('@');
    }
    text.push_str(domain);
    if let Some(resource) = resource {
        text.push('/');
        text.push_str(resource);
    }
    let short = |n| u16::try_from(n).map_err(|_| JidError::TooLong);
    Ok(Jid { text: text.into(), at: short(at)?, slash: short(slash)? })
}

// By text, not derived: `Borrow<str>` promises that a text and its address hash alike.
impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jid {}

impl Hash for Jid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jid {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialEq<str> for Jid {
    fn eq(&self, other: &str) -> bool {
        &*self.text == other
    }
}

impl PartialEq<&str> for Jid {
    fn eq(&self, other: &&str) -> bool {
        &*self.text == *other
    }
}

impl AsRef<str> for Jid {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Borrow<str> for Jid {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jid").field(&self.text).finish()
    }
}

impl FromStr for Jid {
    type Err = JidError;
    fn from_str(s: &str) -> Result<Self, JidError> {
        Jid::new(s)
    }
}

impl TryFrom<&str> for Jid {
    type Error = JidError;
    fn try_from(s: &str) -> Result<Self, JidError> {
        Jid::new(s)
    }
}

impl TryFrom<String> for Jid {
    type Error = JidError;
    fn try_from(s: String) -> Result<Self, JidError> {
        Jid::new(&s)
    }
}
