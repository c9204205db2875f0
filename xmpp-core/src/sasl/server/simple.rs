//! The mechanisms of one message: PLAIN (RFC 4616), EXTERNAL (RFC 4422 appendix A), ANONYMOUS (RFC 4505).

use zeroize::Zeroizing;

use super::super::{SaslCondition, SaslFailure, prepare_username};
use super::Identity;

/// RFC 4505 §2: the trace is at most 255 characters.
const LONGEST_TRACE: usize = 255;

pub(super) type Plain = (Option<String>, String, Zeroizing<String>);

pub(super) fn plain(payload: &[u8]) -> Result<Plain, SaslFailure> {
    let text = std::str::from_utf8(payload).map_err(|_| SaslCondition::MalformedRequest)?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(username), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslCondition::MalformedRequest.into());
    };
    if password.is_empty() {
        return Err(SaslCondition::MalformedRequest.into());
    }
    let username = prepare_username(username).map_err(|_| SaslCondition::MalformedRequest)?.into_owned();
    let authzid = (!authzid.is_empty()).then(|| authzid.to_owned());
    Ok((authzid, username, Zeroizing::new(password.to_owned())))
}

/// XEP-0178 §2: without an authorization identity there must be one identity in the certificate, with one it must be
/// among them.
pub(super) fn external(payload: &[u8], identities: &[String]) -> Result<Identity, SaslFailure> {
    let authzid = text(payload)?;
    let found = match (authzid, identities) {
        ("", [only]) => Some(only),
        ("", _) => None,
        _ => identities.iter().find(|identity| identity.to_lowercase() == authzid.to_lowercase()),
    };
    match found {
        Some(identity) => Ok(Identity::External(identity.clone())),
        None => Err(SaslCondition::InvalidAuthzid.into()),
    }
}

pub(super) fn anonymous(payload: &[u8]) -> Result<Identity, SaslFailure> {
    let trace = text(payload)?;
    if trace.chars().count() > LONGEST_TRACE || trace.chars().any(char::is_control) {
        return Err(SaslCondition::MalformedRequest.into());
    }
    Ok(Identity::Anonymous { trace: (!trace.is_empty()).then(|| trace.to_owned()) })
}

fn text(payload: &[u8]) -> Result<&str, SaslFailure> {
    match std::str::from_utf8(payload) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(SaslCondition::MalformedRequest.into()),
    }
}
