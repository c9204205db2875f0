//! Preparation of names and passwords: SASLprep (RFC 4013), which RFC 5802 §5.1 and RFC 4616 §4 ask for.
//!
//! SASLprep is frozen at Unicode 3.2 and refuses every later character, emoji among them. People have such passwords,
//! and other implementations hash them as they are; so where SASLprep refuses, the text is taken as its bytes. What
//! SASLprep accepts is prepared exactly as it says, so accounts work with any other implementation.

use std::borrow::Cow;

/// Why a text is no name or password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// Nothing is left of it.
    #[error("the name is empty")]
    Empty,
    /// A control character, a private-use or non-character.
    #[error("the name holds a character that is not allowed")]
    Prohibited,
}

/// A password as it is hashed. Never fails.
pub fn prepare_password(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        // Preparing to nothing would make a password of soft hyphens equal to the empty one.
        Ok(prepared) if !prepared.is_empty() => prepared,
        _ => Cow::Borrowed(password),
    }
}

/// A user name as it is looked up and sent. Characters that Unicode 3.2 doesn't know pass, control characters don't.
pub fn prepare_username(username: &str) -> Result<Cow<'_, str>, PrepareError> {
    let prepared = match stringprep::saslprep(username) {
        Ok(prepared) => prepared,
        Err(_) if username.chars().any(|c| c.is_control() || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fffd}')) => {
            return Err(PrepareError::Prohibited);
        }
        Err(_) => Cow::Borrowed(username),
    };
    if prepared.is_empty() { Err(PrepareError::Empty) } else { Ok(prepared) }
}
