//! SASL failures (RFC 6120 §6.5).

use std::fmt;
use std::str::FromStr;

/// A defined condition of `<failure/>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaslCondition {
    /// The initiating entity sent `<abort/>` (§6.5.1).
    Aborted,
    /// The account is temporarily disabled (§6.5.2).
    AccountDisabled,
    /// The credentials have expired (§6.5.3).
    CredentialsExpired,
    /// The mechanism needs TLS (§6.5.4).
    EncryptionRequired,
    /// The payload is not base64 (§6.5.5).
    IncorrectEncoding,
    /// The authorization identity is malformed or not permitted (§6.5.6).
    InvalidAuthzid,
    /// No mechanism was named, or one that is not offered (§6.5.7).
    InvalidMechanism,
    /// The data breaks the mechanism's syntax (§6.5.8).
    MalformedRequest,
    /// Policy forbids so weak a mechanism for this account (§6.5.9).
    MechanismTooWeak,
    /// Wrong credentials or an unknown user, which look the same (§6.5.10).
    NotAuthorized,
    /// Try later (§6.5.11).
    TemporaryAuthFailure,
}

impl SaslCondition {
    /// All, in the order of RFC 6120 §6.5.
    pub const ALL: [SaslCondition; 11] = [
        SaslCondition::Aborted,
        SaslCondition::AccountDisabled,
        SaslCondition::CredentialsExpired,
        SaslCondition::EncryptionRequired,
        SaslCondition::IncorrectEncoding,
        SaslCondition::InvalidAuthzid,
        SaslCondition::InvalidMechanism,
        SaslCondition::MalformedRequest,
        SaslCondition::MechanismTooWeak,
        SaslCondition::NotAuthorized,
        SaslCondition::TemporaryAuthFailure,
    ];

    /// The name of the XML element.
    pub const fn as_str(self) -> &'static str {
        match self {
            SaslCondition::Aborted => "aborted",
            SaslCondition::AccountDisabled => "account-disabled",
            SaslCondition::CredentialsExpired => "credentials-expired",
            SaslCondition::EncryptionRequired => "encryption-required",
            SaslCondition::IncorrectEncoding => "incorrect-encoding",
            SaslCondition::InvalidAuthzid => "invalid-authzid",
            SaslCondition::InvalidMechanism => "invalid-mechanism",
            SaslCondition::MalformedRequest => "malformed-request",
            SaslCondition::MechanismTooWeak => "mechanism-too-weak",
            SaslCondition::NotAuthorized => "not-authorized",
            SaslCondition::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// The condition of that name; an unknown one is a generic failure, as §6.5 asks.
    pub fn from_name(name: &str) -> SaslCondition {
        Self::ALL.into_iter().find(|condition| condition.as_str() == name).unwrap_or(SaslCondition::NotAuthorized)
    }
}

impl FromStr for SaslCondition {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_name(name))
    }
}

impl fmt::Display for SaslCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What goes into `<failure/>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed: {condition}{}", text.as_deref().map(|text| format!(" ({})", crate::printable::Printable(text))).unwrap_or_default())]
pub struct SaslFailure {
    /// The defined condition.
    pub condition: SaslCondition,
    /// The text, which is for people and says nothing about whether the account exists.
    pub text: Option<String>,
}

impl SaslFailure {
    /// A failure with a text.
    pub fn new(condition: SaslCondition, text: impl Into<String>) -> SaslFailure {
        SaslFailure { condition, text: Some(text.into()) }
    }
}

impl From<SaslCondition> for SaslFailure {
    fn from(condition: SaslCondition) -> SaslFailure {
        SaslFailure { condition, text: None }
    }
}
