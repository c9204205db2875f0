//! What was sent and may not have arrived, and sessions that are kept for later.

use crate::{
    jid::FullJid,
    payload::{DateTime, Payload, delay::Delay},
    sasl::{Mechanism, ScramKeys},
    stanza::WriteStanza,
    stream::FastToken,
    xml::{Stanza, Writer, XmlLimits, ns},
};
use std::time::SystemTime;

/// A stanza that was taken over to be sent, and of which the server has not said that it has it.
///
/// Sending it ([`Client::send`](super::Client::send)) adds the time at which it was first sent (XEP-0198 §4,
/// XEP-0203), unless it is an iq or tells a time already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unacknowledged {
    /// The stanza, as it was written or was to be written.
    pub stanza: Stanza,
    /// When it was taken over.
    pub since: SystemTime,
    /// Whether it may have arrived nevertheless. If not, it certainly has not.
    pub doubtful: bool,
}

impl WriteStanza for Unacknowledged {
    fn write_to(&self, w: &mut Writer) {
        let root = self.stanza.root();
        if root.name() == "iq" || root.children().any(Delay::matches) {
            return self.stanza.write_to(w);
        }
        let delay = Delay { from: None, stamp: DateTime::from(self.since).to_millis(), reason: None };
        let stamp = |w: &mut Writer| delay.write(w);
        let mut stamped = Vec::new();
        self.stanza.rewrite(ns::CLIENT).append(&stamp).write(&mut stamped);
        parse(&stamped).as_ref().unwrap_or(&self.stanza).write_to(w);
    }
}

/// A stanza of ours, of whatever size.
pub(super) fn parse(bytes: &[u8]) -> Option<Stanza> {
    Stanza::parse(std::str::from_utf8(bytes).ok()?, ns::CLIENT, &XmlLimits::unbounded()).ok()
}

/// A session to be resumed later (XEP-0198 §5), perhaps by another process: from
/// [`Client::session`](super::Client::session) or [`Client::suspend`](super::Client::suspend), for
/// [`ClientBuilder::session`](super::ClientBuilder::session). It holds what was said in confidence, and with `keys`
/// what logs in: store it with the same care as a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSession {
    /// The id that the server gave it.
    pub id: String,
    /// Our address in it.
    pub jid: FullJid,
    /// How many of the server's stanzas were handled, modulo 2³².
    pub handled: u32,
    /// How many of ours the server has acknowledged, modulo 2³².
    pub acknowledged: u32,
    /// Those that it has not, in order.
    pub stanzas: Vec<SavedStanza>,
    /// How many of `stanzas` may have arrived: the first ones.
    pub doubtful: usize,
    /// Where the server would like us to come back.
    pub location: Option<String>,
    /// For how many seconds after the connection is lost the server keeps it, if it said so.
    pub max: Option<u32>,
    /// What logs in without the password.
    pub keys: Option<ScramKeys>,
    /// What does so in one message (XEP-0484).
    pub token: Option<FastToken>,
    /// The weakest mechanism to accept.
    pub floor: Option<Mechanism>,
}

/// A stanza of a [`SavedSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedStanza {
    /// As it goes over the wire.
    pub xml: String,
    /// When it was taken over.
    pub since: SystemTime,
    /// Whether it came from [`Client::send`](super::Client::send): then it is reported when it is lost. Requests and
    /// the client's own answers are not.
    pub sent: bool,
}
