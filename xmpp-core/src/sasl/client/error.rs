//! Why a client doesn't log in, other than that the server says so.

use super::super::Mechanism;
use super::super::scram::message::SyntaxError;

/// No mechanism could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// Nothing on offer goes with the credentials.
    #[error("the server offers no mechanism that these credentials serve (it offers: {})", offered.join(", "))]
    NoCommonMechanism {
        /// The server's list.
        offered: Vec<String>,
    },
    /// Only PLAIN would do, and the stream isn't secured or the policy forbids it.
    #[error("the server wants the password in plain, which needs TLS and the user's consent")]
    PlainRefused,
    /// The best on offer is weaker than the policy's floor.
    #[error("the server offers {best} at best, but {floor} was used before: somebody may be in between")]
    Downgrade {
        /// The policy's floor.
        floor: Mechanism,
        /// The best on offer.
        best: Mechanism,
    },
    /// Channel-binding types and mechanisms contradict each other, as when somebody in the middle has removed some
    /// (XEP-0440 §3).
    #[error("the server's channel-binding types and mechanisms contradict each other: somebody may be in between")]
    ContradictoryBindings,
}

/// The exchange went wrong on the server's side, or was tampered with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// A message that isn't SCRAM.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A message of more than [`MAX_MESSAGE`](super::super::MAX_MESSAGE) bytes.
    #[error("the server's message is too long")]
    TooLong,
    /// A message, or a call, that doesn't belong here.
    #[error("a SASL message came out of order")]
    OutOfOrder,
    /// The server's nonce doesn't begin with ours, or adds nothing.
    #[error("the server's nonce doesn't extend ours")]
    Nonce,
    /// The iterations are outside the policy's bounds.
    #[error("the server asks for {0} iterations, which is outside of what the policy allows")]
    Iterations(u32),
    /// What the server announced isn't what arrived (XEP-0474).
    #[error("the list of mechanisms was changed on its way: somebody is in between")]
    Tampered,
    /// The server speaks another version of TLS than we do (XEP-0515).
    #[error("the server sees another version of TLS: somebody is in between")]
    OtherTls,
    /// No channel-binding type is shared, and the server doesn't vouch for its list (XEP-0474 §7).
    #[error("no channel-binding type is shared, and the server doesn't vouch for its list")]
    Unvouched,
    /// Success without the server's signature.
    #[error("the server has not proved that it knows the password")]
    NoSignature,
    /// The server's signature is wrong.
    #[error("the server's proof is wrong: it doesn't know the password")]
    BadSignature,
    /// The server's `e=` (RFC 5802 §7).
    #[error("the server refused: {0}")]
    Refused(String),
    /// The keys are for another salt or other iterations, and there is no password.
    #[error("the cached keys no longer fit; the password is needed")]
    StaleKeys,
    /// The keys aren't the result of the job.
    #[error("these keys are not what was asked for")]
    WrongKeys,
    /// The name or password holds a NUL.
    #[error("the name or the password holds a character that cannot be sent")]
    Credentials,
    /// A custom mechanism's own error.
    #[error("the mechanism failed: {0}")]
    Custom(#[source] Box<dyn std::error::Error + Send + Sync>),
}
