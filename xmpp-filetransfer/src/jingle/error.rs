//! Errors of sessions, as they are answered (XEP-0166 §10).

use super::ERRORS;
use xmpp_core::{
    jid::Jid,
    stanza::{Condition, ErrorType, StanzaError},
};

/// What is wrong with what came, or why it is not done. Becomes the [`StanzaError`] that answers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JingleError {
    /// Malformed, or against the rules of the elements (§6.3.2, §7.2); which.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Not at this point of the session, or about a content that is not there.
    #[error("not at this point of the session")]
    OutOfOrder,
    /// The same was asked for from here at the same time, and that counts (§7.2.16).
    #[error("the same was asked for at the same time")]
    TieBreak,
    /// There is no such session (any more).
    #[error("there is no such session")]
    UnknownSession,
    /// What it tells is not understood (§6.8).
    #[error("what it tells is not understood")]
    UnsupportedInfo,
    /// It belongs into the encrypted channel (§9).
    #[error("it belongs into the encrypted channel")]
    SecurityRequired,
    /// Too many sessions, contents or questions already (§6.3.2).
    #[error("too many sessions or contents")]
    TooMany,
    /// Nothing is taken from this peer (§6.3.2).
    #[error("nothing is taken from this peer")]
    Unavailable,
    /// Somebody else is to be asked instead; an address (§6.3.2).
    #[error("somebody else is to be asked: {0}")]
    Redirect(Jid),
}

/// The conditions that Jingle adds to those of stanza errors (§10, §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JingleCondition {
    /// Not at this point of the session.
    OutOfOrder,
    /// Both ends asked for the same.
    TieBreak,
    /// No such session.
    UnknownSession,
    /// Information that is not understood.
    UnsupportedInfo,
    /// Information that belongs into the encrypted channel.
    SecurityRequired,
}

impl JingleCondition {
    const ALL: [JingleCondition; 5] = [
        JingleCondition::OutOfOrder,
        JingleCondition::TieBreak,
        JingleCondition::UnknownSession,
        JingleCondition::UnsupportedInfo,
        JingleCondition::SecurityRequired,
    ];

    /// The element's name.
    pub fn as_str(self) -> &'static str {
        match self {
            JingleCondition::OutOfOrder => "out-of-order",
            JingleCondition::TieBreak => "tie-break",
            JingleCondition::UnknownSession => "unknown-session",
            JingleCondition::UnsupportedInfo => "unsupported-info",
            JingleCondition::SecurityRequired => "security-required",
        }
    }

    /// What an error says beside its condition.
    pub fn of(error: &StanzaError) -> Option<JingleCondition> {
        JingleCondition::ALL.into_iter().find(|condition| error.has_application(condition.as_str(), ERRORS))
    }
}

impl From<JingleError> for StanzaError {
    fn from(error: JingleError) -> StanzaError {
        let jingle =
            |error: StanzaError, condition: JingleCondition| error.with_application_element(condition.as_str(), ERRORS);
        match error {
            JingleError::Malformed(what) => {
                StanzaError::bad_request().with_type(ErrorType::Cancel).with_text(what.to_owned())
            }
            JingleError::OutOfOrder => jingle(StanzaError::unexpected_request(), JingleCondition::OutOfOrder),
            JingleError::TieBreak => jingle(StanzaError::conflict(), JingleCondition::TieBreak),
            JingleError::UnknownSession => jingle(StanzaError::item_not_found(), JingleCondition::UnknownSession),
            JingleError::UnsupportedInfo => {
                let error = StanzaError::feature_not_implemented().with_type(ErrorType::Modify);
                jingle(error, JingleCondition::UnsupportedInfo)
            }
            JingleError::SecurityRequired => {
                let error = StanzaError::not_acceptable().with_type(ErrorType::Cancel);
                jingle(error, JingleCondition::SecurityRequired)
            }
            JingleError::TooMany => StanzaError::resource_constraint(),
            JingleError::Unavailable => StanzaError::service_unavailable(),
            JingleError::Redirect(to) => StanzaError::redirect(Some(format!("xmpp:{}", escape(to.as_str())))),
        }
    }
}

/// Whom to ask instead, if that is what an error says (§6.3.2). Whether to do so is for the user to say, unless it is another
/// resource of the same account (§13.5).
pub(super) fn redirect(error: &StanzaError) -> Option<Jid> {
    let Condition::Redirect(Some(iri)) = &error.condition else { return None };
    let rest = iri.trim_ascii().strip_prefix("xmpp:")?;
    // An authority is whom to log in as (RFC 5122 §2.3), which is ours to choose.
    let rest = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/')?.1,
        None => rest,
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    Jid::lenient(&unescape(rest.get(..end)?)?).ok()
}

/// What an address cannot have in an IRI as it is (RFC 5122 §2.7.2).
fn escape(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for char in address.chars() {
        match char {
            '%' | '?' | '#' | '[' | ']' | '\\' | '^' | '`' | '{' | '|' | '}' | '"' | '<' | '>' | ' ' => {
                out.push_str(&format!("%{:02X}", u32::from(char)));
            }
            _ => out.push(char),
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok()
}
