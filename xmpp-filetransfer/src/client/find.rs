//! Who takes a file.

use super::{TransferError, Ways};
use crate::{file, ibb, si, socks5};
use std::collections::HashMap;
use xmpp_core::{
    client::{Client, RequestError},
    jid::{FullJid, Jid},
    payload::disco::{DiscoInfo, DiscoInfoQuery},
    stanza::{Iq, Presence, PresenceType},
};

/// What presence in a room has (XEP-0045).
const IN_ROOM: &str = "http://jabber.org/protocol/muc#user";
/// Clients of an account that are asked at most.
const ASKED: usize = 8;

/// Whose presence we see, with its priority.
#[derive(Debug, Default)]
pub(super) struct Present(HashMap<FullJid, i8>);

impl Present {
    pub(super) fn see(&mut self, presence: &Presence, most: usize) {
        let Some(from) = presence.from().and_then(|from| from.clone().into_full().ok()) else { return };
        // An occupant of a room is no client of the room's.
        if presence.payloads().any(|payload| payload.is("x", IN_ROOM)) {
            self.0.remove(&from);
            return;
        }
        match presence.type_() {
            PresenceType::Available if self.0.len() < most || self.0.contains_key(&from) => {
                self.0.insert(from, presence.priority());
            }
            PresenceType::Unavailable | PresenceType::Error => {
                self.0.remove(&from);
            }
            _ => {}
        }
    }

    /// Whether this is a client of somebody whom we see, and not of a room.
    pub(super) fn knows(&self, client: &FullJid) -> bool {
        self.0.contains_key(client)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Clients of an account, that of the highest priority first.
    pub(super) fn of(&self, account: &Jid) -> Vec<FullJid> {
        let there = self.0.iter().filter(|(jid, _)| jid.bare_str() == account.bare_str());
        let mut there: Vec<_> = there.map(|(jid, priority)| (std::cmp::Reverse(*priority), jid.clone())).collect();
        there.sort();
        there.truncate(ASKED);
        there.into_iter().map(|(_, jid)| jid).collect()
    }
}

/// A client that takes files.
#[derive(Clone, Debug)]
pub(super) struct Taker {
    pub(super) jid: FullJid,
    /// By which ways of Jingle, if any.
    pub(super) jingle: Option<Ways>,
    /// By which kinds of bytestreams, if it takes offers without Jingle.
    pub(super) initiation: Option<Ways>,
}

impl Taker {
    /// What a client says of itself, and what we want of that.
    fn of(jid: FullJid, info: &DiscoInfo, ours: Ways) -> Option<Taker> {
        let ways = |sockets: &str, in_band: &str| {
            let ways = Ways {
                jingle: ours.jingle,
                sockets: ours.sockets && info.has_feature(sockets),
                in_band: ours.in_band && info.has_feature(in_band),
                initiation: ours.initiation,
                http: ours.http,
                proposals: ours.proposals,
            };
            (ways.sockets || ways.in_band).then_some(ways)
        };
        let jingle = ways(socks5::JINGLE_NS, ibb::JINGLE_NS).filter(|_| ours.jingle && info.has_feature(file::NS));
        let takes = ours.initiation && info.has_feature(si::FILE_TRANSFER);
        let initiation = ways(socks5::NS, ibb::NS).filter(|_| takes);
        (jingle.is_some() || initiation.is_some()).then_some(Taker { jid, jingle, initiation })
    }
}

/// Asks those who are meant what they take.
pub(super) async fn taker(client: &Client, to: &Jid, there: Vec<FullJid>, ours: Ways) -> Result<Taker, TransferError> {
    let asked = match to.clone().into_full() {
        Ok(full) => vec![full],
        Err(_) => there.into_iter().filter(|jid| client.jid().as_ref() != Some(jid)).collect(),
    };
    let mut error = TransferError::NobodyThere;
    for jid in asked {
        let query = DiscoInfoQuery { node: None, others: Vec::new() };
        match client.query::<DiscoInfo>(Iq::get(jid.clone()).payload(&query)).await {
            Ok(info) => {
                if let Some(taker) = Taker::of(jid, &info, ours) {
                    return Ok(taker);
                }
            }
            Err(RequestError::Send(_) | RequestError::Disconnected) => return Err(TransferError::Offline),
            Err(_) => error = TransferError::PeerGone,
        }
    }
    Err(error)
}
