//! Streams between servers as state machines without I/O: negotiation in both roles (RFC 6120 §4 to §6, XEP-0178),
//! server dialback (XEP-0220, XEP-0185) and streams that carry stanzas both ways (XEP-0288).
//!
//! [`Incoming`] is the receiving end of a connection, [`Outgoing`] the initiating one. Unlike those of clients they stay
//! in charge once the stream is negotiated: further pairs of domains are authorised on it at any time, and every stanza is
//! checked against the pairs that are. A driver feeds them what it read and carries out the [`S2sTask`]s.
//!
//! ```
//! use std::sync::Arc;
//! use xmpp_core::{stream::s2s::{DialbackSecret, Incoming, S2sConfig, S2sTask}, xml::{Scanner, XmlLimits}};
//!
//! let config = S2sConfig::new(DialbackSecret::new(b"s3cr3tf0rd14lb4ck"), Arc::new(|domain| domain == "montague.example"));
//! let mut stream = Incoming::new(config, || "D60000229F".to_owned());
//! let mut scanner = Scanner::new(XmlLimits::unauthenticated());
//! let mut wire: &[u8] = b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
//!     to='verona.example' version='1.0'>";
//! let event = scanner.scan(&mut wire).unwrap().unwrap();
//! let tasks = stream.event(event);
//! let S2sTask::Send(bytes) = &tasks[0] else { panic!("{tasks:?}") };
//! assert!(String::from_utf8_lossy(bytes).contains("<host-unknown"));
//! ```

mod config;
mod dialback;
mod exchange;
mod incoming;
mod key;
mod outgoing;
mod policy;
mod side;
#[cfg(test)]
mod tests;

pub use config::{Hosts, S2sConfig, S2sLimits};
pub use dialback::{Answer, Verification};
pub use incoming::Incoming;
pub use key::DialbackSecret;
pub use outgoing::{Outgoing, Refusal};
pub use policy::{Policies, Policy};

use crate::{jid::Jid, stream::StreamError, xml::Stanza};

/// Namespace of dialback elements (XEP-0220 §2).
pub(crate) const DIALBACK: &str = "jabber:server:dialback";
/// The stream feature of dialback (XEP-0220 §2.4).
pub(crate) const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// The stream feature of streams that go both ways (XEP-0288 §2.1).
pub(crate) const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// What switches a stream to both ways (XEP-0288 §2.2).
pub(crate) const BIDI: &str = "urn:xmpp:bidi";

/// A domain here and a domain there: what a stream between servers is authorised for, one direction at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The domain served here.
    pub local: String,
    /// The domain of the peer.
    pub remote: String,
}

impl Pair {
    /// A pair of domains, each in the canonical form that [`Jid`] gives it.
    pub fn new(local: impl Into<String>, remote: impl Into<String>) -> Pair {
        Pair { local: local.into(), remote: remote.into() }
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} and {}", self.local, self.remote)
    }
}

/// How a domain proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Its certificate, by SASL EXTERNAL (XEP-0178).
    External,
    /// Its certificate, by dialback without dialling back (XEP-0344 §3).
    Certificate,
    /// A dialback key (XEP-0220).
    Dialback,
}

impl Proof {
    /// A word for logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Proof::External => "external",
            Proof::Certificate => "certificate",
            Proof::Dialback => "dialback",
        }
    }
}

/// What the driver of a stream between servers is to do, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum S2sTask {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Expect a new stream header from the peer.
    Restart,
    /// Send what is queued, make the TLS handshake, then call `secured`. It is the last task of its list. What the peer sent
    /// behind `<starttls/>` or `<proceed/>` must not survive (RFC 6120 §5.4.3.3): close the connection instead.
    StartTls,
    /// Ask the authoritative server of the peer's domain about a key, over another stream, then call `verified`.
    Verify(Verification),
    /// The peer's domain may send to ours from now on.
    Admitted(Pair, Proof),
    /// Our domain may send to the peer's from now on.
    Authorized(Pair, Proof),
    /// What was asked for a pair of ours is refused; nothing may be sent for it on this stream.
    Refused(Pair, Refusal),
    /// The negotiation of an [`Outgoing`] stream has come so far that dialback elements can be sent.
    Negotiated,
    /// The answer to what [`Outgoing::verify`] asked.
    Answered(Verification, Answer),
    /// A stanza, in `jabber:server`, from and to domains that are authorised.
    Stanza(Arrived),
    /// Send what is queued and close the connection. The stream's end tag is among it, and the error, if there is one.
    Close(Option<StreamError>),
}

/// A stanza that came over a stream between servers.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// As it came.
    pub stanza: Stanza,
    /// The sender, whose domain the stream is authorised for.
    pub from: Jid,
    /// The recipient, at a domain of ours.
    pub to: Jid,
}
