//! What the driver of a client stream is asked to do.

use super::BindRequest;
use crate::{
    jid::{BareJid, FullJid},
    sasl::{Hash, Mechanism, ScramCredentials},
    stanza::Condition,
    stream::management::HandledCountTooHigh,
    stream::sasl2::UserAgent,
    stream::tokens::ClientTokens,
    xml::Stanza,
};
use zeroize::Zeroizing;

/// What the driver is to do, in order. A task that asks for something is the last of its list, and no event may be
/// fed before it is answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum Task {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Expect a new stream header from the peer.
    Restart,
    /// Send what is queued, make the TLS handshake, then call [`Acceptor::secured`](super::Acceptor::secured). If the peer has sent anything
    /// behind `<starttls/>`, it must not survive (RFC 6120 §5.4.3.3): close the connection instead.
    StartTls,
    /// Look up how often the account's password has been changed, as the store of tokens counts it, then call
    /// [`Acceptor::generation`](super::Acceptor::generation). What is looked up by the next task is no older.
    Generation(BareJid),
    /// Look the credentials up, then call [`Acceptor::credentials`](super::Acceptor::credentials).
    Credentials(BareJid, Hash),
    /// Check the password, then call [`Acceptor::password`](super::Acceptor::password).
    CheckPassword(BareJid, Zeroizing<String>),
    /// Answer a request of a client that has not logged in, in a stream of this domain, then call
    /// [`Acceptor::newcomer_answered`](super::Acceptor::newcomer_answered). Its payload is of one of
    /// [`NewcomerOffer::payloads`](super::NewcomerOffer::payloads); nothing else of it has been judged.
    Newcomer {
        /// The domain.
        domain: String,
        /// The request.
        request: Stanza,
    },
    /// Look up whether this account, which is authenticated by now, may log in, then call
    /// [`Acceptor::admitted`](super::Acceptor::admitted).
    Admit(BareJid),
    /// A login has failed, as this user if one was named: slow whoever it is before going on.
    Failed(Option<String>),
    /// Enter a session for this account, by the resource asked for or one of the server's making, then call
    /// [`Acceptor::bound`](super::Acceptor::bound).
    Bind(BareJid, Option<String>),
    /// Enter a session as Bind 2 has it, with its features, then call [`Acceptor::bound2`](super::Acceptor::bound2).
    Bind2(Box<BindRequest>),
    /// Look up the tokens of the account's client with this id, then call [`Acceptor::tokens`](super::Acceptor::tokens).
    Tokens(BareJid, String),
    /// Store these tokens over those that were looked up, unless others have been stored meanwhile; then call
    /// [`Acceptor::tokens_stored`](super::Acceptor::tokens_stored).
    StoreTokens {
        /// The account.
        user: BareJid,
        /// The client's id.
        client: String,
        /// Its tokens, with the revision that was looked up.
        tokens: ClientTokens,
    },
    /// Store credentials for another hash beside what is there, then call [`Acceptor::credentials_stored`](super::Acceptor::credentials_stored).
    StoreCredentials(BareJid, Box<ScramCredentials>),
    /// Give this connection to a former session of the account (XEP-0198 §5), then call [`Acceptor::resumed`](super::Acceptor::resumed).
    Resume {
        /// The account.
        user: BareJid,
        /// Which one: the id it was given when it enabled stream management. Not to be believed before it is found to
        /// belong to the account.
        previous: String,
        /// How many of the server's stanzas the client has handled.
        handled: u32,
    },
    /// The session is ready: hand it over. What was queued before is to be sent first.
    Accepted(Box<Accepted>),
    /// Send what is queued and close the connection. The stream's end tag is among it.
    Close,
}

/// Who has logged in, before there is a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Login {
    /// The mechanism it was authenticated by.
    pub mechanism: Mechanism,
    /// What the client has said of itself. Not for others' eyes (XEP-0388 §2.3).
    pub user_agent: Option<UserAgent>,
    /// The answer to [`Task::Generation`]: which password it has shown to know, if any, and if that was asked.
    pub generation: Option<u64>,
}

/// A session, ready for stanzas.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// Its full address.
    pub jid: FullJid,
    /// The mechanism it was authenticated by.
    pub mechanism: Mechanism,
    /// Whether TLS protects it.
    pub secured: bool,
    /// What the client has said of itself. Not for others' eyes (XEP-0388 §2.3).
    pub user_agent: Option<UserAgent>,
    /// Whether this is a former session that goes on (XEP-0198 §5).
    pub resumed: bool,
}

/// A former session that goes on in this stream (XEP-0198 §5).
#[derive(Clone, Debug)]
pub struct Resumed {
    /// Its full address.
    pub jid: FullJid,
    /// How many of the client's stanzas the server has handled.
    pub handled: u32,
}

/// Why a former session does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeError {
    /// The account has none by that id, or no longer; then with the number of stanzas handled, if that is still known.
    NotFound(Option<u32>),
    /// The client has handled more than it was sent.
    TooHigh(HandledCountTooHigh),
    /// Something else, such as `internal-server-error`.
    Other(Condition),
}

/// How far the negotiation has come: each phase has its own time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Until the first features are sent, and until STARTTLS is asked for or authentication begins.
    Open,
    /// The TLS handshake.
    Tls,
    /// Requests before the login, such as a registration: from the first of them until authentication begins.
    Register,
    /// Authentication.
    Sasl,
    /// Resource binding.
    Bind,
}
