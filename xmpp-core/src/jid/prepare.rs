//! Preparing one part of an address (RFC 7622 §3).
use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{JidError, MAX_PART, ascii, precis};

/// Longest part that is looked at. Letters become shorter by three to one at most (fullwidth ones, Greek ones with
/// marks), so nothing written in earnest is lost.
const MAX_RAW: usize = 4 * MAX_PART;

/// ASCII that no host name holds: all but letters, digits, hyphen, dot and underscore. Underscores are not of host
/// names (RFC 952), yet containers and test networks have them, and resolvers look them up.
const DENY: AsciiDenyList = AsciiDenyList::new(true, " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// What RFC 7622 §3.3.1 takes out of the IdentifierClass.
pub(super) const fn forbidden_in_local(c: char) -> bool {
    matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@')
}

fn fits(raw: &str) -> Result<(), JidError> {
    if raw.len() > MAX_RAW { Err(JidError::TooLong) } else { Ok(()) }
}

fn part(text: Cow<'_, str>) -> Result<Cow<'_, str>, JidError> {
    if text.len() > MAX_PART { Err(JidError::TooLong) } else { Ok(text) }
}

/// The part before the `@` (§3.3): UsernameCaseMapped.
pub(super) fn local(raw: &str) -> Result<Cow<'_, str>, JidError> {
    fits(raw)?;
    if raw.is_empty() {
        return Err(JidError::EmptyLocal);
    }
    let text = if raw.bytes().all(|b| b.is_ascii_graphic()) {
        if raw.bytes().any(|b| b.is_ascii_uppercase()) { raw.to_ascii_lowercase().into() } else { Cow::Borrowed(raw) }
    } else {
        precis::username_case_mapped(raw).ok_or(JidError::BadLocal)?.into()
    };
    if text.contains(forbidden_in_local) {
        return Err(JidError::BadLocal);
    }
    part(text)
}

/// The part after the `/` (§3.4): OpaqueString.
pub(super) fn resource(raw: &str) -> Result<Cow<'_, str>, JidError> {
    fits(raw)?;
    if raw.is_empty() {
        return Err(JidError::EmptyResource);
    }
    if raw.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return part(raw.into());
    }
    part(precis::opaque_string(raw).ok_or(JidError::BadResource)?.into())
}

/// A resource that somebody else chose: as it is, if XML can carry it and it has no control characters.
pub(super) fn foreign_resource(raw: &str) -> Result<&str, JidError> {
    if raw.is_empty() {
        return Err(JidError::EmptyResource);
    }
    if raw.len() > MAX_PART {
        return Err(JidError::TooLong);
    }
    if raw.contains(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        return Err(JidError::BadResource);
    }
    Ok(raw)
}

/// The domain (§3.2): a host name with its Punycode undone, or an IP address.
pub(super) fn domain(raw: &str) -> Result<Cow<'_, str>, JidError> {
    fits(raw)?;
    if raw.is_empty() {
        return Err(JidError::NoDomain);
    }
    if let Some(inner) = raw.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| JidError::BadDomain)?;
        return Ok(format!("[{address}]").into());
    }
    // UTS #46 takes the other three full stops for dots as well.
    let name = raw.strip_suffix(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']).unwrap_or(raw);
    match ascii::host_name(name) {
        Some(false) => Ok(name.into()),
        Some(true) => Ok(name.to_ascii_lowercase().into()),
        None => part(international(name).ok_or(JidError::BadDomain)?.into()),
    }
}

fn international(name: &str) -> Option<String> {
    let text = to_unicode(name)?;
    if text.is_ascii() {
        return matches!(ascii::host_name(&text), Some(false)).then_some(text);
    }
    // UTS #46 lets symbols through that IDNA2008 does not know; the IdentifierClass is what IDNA2008 allows.
    let known = text.split('.').all(|label| label.is_ascii() || precis::in_class(label, precis::Class::Identifier));
    let dns = Uts46::new().to_ascii(text.as_bytes(), DENY, Hyphens::CheckFirstLast, DnsLength::Verify);
    (known && dns.is_ok() && to_unicode(&text)? == text).then_some(text)
}

fn to_unicode(name: &str) -> Option<String> {
    let (text, verdict) = Uts46::new().to_unicode(name.as_bytes(), DENY, Hyphens::CheckFirstLast);
    verdict.ok().map(|()| text.into_owned())
}
