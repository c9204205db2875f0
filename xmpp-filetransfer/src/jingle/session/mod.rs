//! One end of a session as a machine without I/O (XEP-0166 §5, §6).
//!
//! Both ends change the same contents, and what they say can cross. So that they always agree, there is one order that
//! counts: that in which things happen at the responder. It applies what it does itself when it sends it, and what the
//! initiator does when it comes; the initiator applies its own doings when the responder has acknowledged them, which is
//! where they stand in that order. Where both do the same to a content at a time, the initiator's counts (§7.2.16), and the
//! responder takes its own back.

mod answer;
mod apply;
mod content;
mod event;
mod receive;
mod verbs;

pub use content::SessionContent;
pub use event::{Ending, Event, Misuse};

use super::{Action, Content, ContentId, Creator, Jingle, JingleError};
use apply::Op;
use std::collections::HashSet;
use xmpp_core::jid::FullJid;

/// What bounds a session.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SessionLimits {
    /// Contents at a time.
    pub contents: usize,
    /// Bytes of all definitions of contents together.
    pub bytes: usize,
    /// Bytes of the session's id, and of each content's name.
    pub name_bytes: usize,
    /// Of our own messages, how many may be unanswered.
    pub unanswered: usize,
}

impl Default for SessionLimits {
    /// 32 contents, 256 KiB, names of 1,023 bytes, 64 unanswered.
    fn default() -> SessionLimits {
        SessionLimits { contents: 32, bytes: 256 * 1024, name_bytes: 1_023, unanswered: 64 }
    }
}

/// How far a session has come (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Asked for, not accepted.
    Pending,
    /// Accepted.
    Active,
    /// Over.
    Ended,
}

/// Which of our messages an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SentId(u64);

/// A message to send to the peer in an iq of type `set`. Messages go out in the order in which they were made, and what
/// answers each is told by [`Session::answered`].
#[derive(Clone, Debug)]
#[must_use = "the session counts on its being sent"]
pub struct Sent {
    /// What it goes by.
    pub id: SentId,
    /// The payload.
    pub jingle: Jingle,
}

/// One of our messages that has no answer yet.
#[derive(Clone, Debug)]
struct Unanswered {
    id: SentId,
    action: Action,
    contents: Vec<ContentId>,
    /// What it does: at the initiator, when it is acknowledged.
    op: Option<Op>,
    /// The contents as they were before, at the responder.
    before: Vec<SessionContent>,
}

impl Unanswered {
    fn is_about(&self, id: &ContentId) -> bool {
        self.contents.contains(id)
    }
}

/// One end of a session.
#[derive(Clone, Debug)]
pub struct Session {
    sid: String,
    me: FullJid,
    peer: FullJid,
    end: Creator,
    phase: Phase,
    contents: Vec<SessionContent>,
    unanswered: Vec<Unanswered>,
    next: u64,
    understood: HashSet<String>,
    limits: SessionLimits,
}

impl Session {
    /// Asks for a session (§6.2). `sid` is to be random; each content is the initiator's and has an application and a
    /// transport, and at least one is about the session proper.
    ///
    /// # Errors
    /// [`Misuse`] where that is not so.
    pub fn initiate(
        sid: impl Into<String>,
        me: FullJid,
        peer: FullJid,
        contents: Vec<Content>,
        limits: SessionLimits,
    ) -> Result<(Session, Sent), Misuse> {
        let mut session = Session::new(sid.into(), me, peer, Creator::Initiator, limits);
        let mut jingle = Jingle::new(Action::SessionInitiate, session.sid.clone());
        jingle.initiator = Some(session.me.clone().into());
        jingle.contents = contents;
        session.begin(&jingle).map_err(|error| match error {
            JingleError::TooMany => Misuse::TooMany,
            _ => Misuse::Incomplete,
        })?;
        let ids = jingle.contents.iter().map(|content| content.id.clone()).collect();
        let sent = session.note(jingle, ids, None, Vec::new());
        Ok((session, sent))
    }

    /// A session that `peer` asks `me` for. The peer is who has sent it: what the message says of its initiator counts for
    /// nothing (§7.1, §13.5).
    ///
    /// # Errors
    /// What to answer: [`JingleError::Malformed`] if it breaks the rules for that, [`JingleError::TooMany`],
    /// [`JingleError::UnknownSession`] if it does not ask for a session.
    pub fn incoming(
        jingle: &Jingle,
        me: FullJid,
        peer: FullJid,
        limits: SessionLimits,
    ) -> Result<Session, JingleError> {
        if jingle.action != Action::SessionInitiate {
            return Err(JingleError::UnknownSession);
        }
        let mut session = Session::new(jingle.sid.clone(), me, peer, Creator::Responder, limits);
        session.begin(jingle)?;
        Ok(session)
    }

    fn new(sid: String, me: FullJid, peer: FullJid, end: Creator, limits: SessionLimits) -> Session {
        Session {
            sid,
            me,
            peer,
            end,
            phase: Phase::Pending,
            contents: Vec::new(),
            unanswered: Vec::new(),
            next: 0,
            understood: HashSet::new(),
            limits,
        }
    }

    fn begin(&mut self, jingle: &Jingle) -> Result<(), JingleError> {
        if self.sid.is_empty() || self.sid.len() > self.limits.name_bytes {
            return Err(JingleError::Malformed("the session's id is empty or too long"));
        }
        receive::check_whole(&jingle.contents)?;
        if jingle.contents.iter().any(|content| content.id.creator != Creator::Initiator) {
            return Err(JingleError::Malformed("who begins a session has made its contents"));
        }
        if !jingle.contents.iter().any(Content::is_session) {
            return Err(JingleError::Malformed("no content has the disposition session"));
        }
        self.check_room(&jingle.contents)?;
        let first = |content: &Content| SessionContent::offered(content.clone(), Creator::Initiator, true);
        self.contents = jingle.contents.iter().map(first).collect();
        Ok(())
    }

    /// Takes information of this namespace from now on ([`Event::Info`]); all other is refused (§6.8).
    pub fn understand(&mut self, namespace: impl Into<String>) {
        self.understood.insert(namespace.into());
    }

    /// The session's id, which means something between the two ends alone.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Our address.
    pub fn me(&self) -> &FullJid {
        &self.me
    }

    /// The other end's address: where everything is sent to, and comes from.
    pub fn peer(&self) -> &FullJid {
        &self.peer
    }

    /// Which end we are.
    pub fn end(&self) -> Creator {
        self.end
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it was accepted and is not over.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// The contents as both ends know them, in the order in which they came.
    pub fn contents(&self) -> impl Iterator<Item = &SessionContent> {
        self.contents.iter()
    }

    /// A content.
    pub fn content(&self, id: &ContentId) -> Option<&SessionContent> {
        self.contents.iter().find(|content| content.id() == id)
    }

    fn content_mut(&mut self, id: &ContentId) -> Option<&mut SessionContent> {
        self.contents.iter_mut().find(|content| content.id() == id)
    }

    /// What the peer offers and nobody has answered: to be accepted as a whole, as it stands or changed.
    pub fn offered(&self) -> Vec<Content> {
        let open = |content: &&SessionContent| !content.is_accepted() && content.offered_by() != self.end;
        self.contents.iter().filter(open).map(|content| content.definition().clone()).collect()
    }

    /// Whether an answer to what we have sent is still to come.
    pub fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    fn is_initiator(&self) -> bool {
        self.end == Creator::Initiator
    }

    /// An unanswered message of ours that does this to the content.
    fn doing(&self, action: Action, id: &ContentId) -> Option<&Unanswered> {
        self.unanswered.iter().find(|sent| sent.action == action && sent.is_about(id))
    }

    fn check_room(&self, more: &[Content]) -> Result<(), JingleError> {
        let coming = self.unanswered.iter().filter(|sent| sent.action == Action::ContentAdd && self.is_initiator());
        let number = self.contents.len() + coming.map(|sent| sent.contents.len()).sum::<usize>() + more.len();
        let bytes = self.contents.iter().map(|content| content.bytes()).sum::<usize>()
            + more.iter().map(content::bytes).sum::<usize>();
        if more.iter().any(|content| content.id.name.len() > self.limits.name_bytes) {
            return Err(JingleError::Malformed("a content's name is too long"));
        }
        if number > self.limits.contents || bytes > self.limits.bytes {
            return Err(JingleError::TooMany);
        }
        Ok(())
    }

    /// Whether there is room for what an answer says in place of what was said before.
    fn check_answer(&self, answers: &[Content]) -> Result<(), JingleError> {
        let bytes = self.contents.iter().map(|content| content.bytes()).sum::<usize>()
            + answers.iter().map(content::bytes).sum::<usize>();
        if bytes > self.limits.bytes { Err(JingleError::TooMany) } else { Ok(()) }
    }
}

/// Whose request for a session counts, where both asked at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Winner {
    /// Ours; the peer's is refused with [`JingleError::TieBreak`].
    Ours,
    /// The peer's; ours will be refused.
    Theirs,
}

/// Both ends ask each other for a session to the same purpose, before either has seen the other's request: the one with the
/// lower id counts, and between equal ids that of the lower address (§7.2.16).
pub fn tie_break(ours: (&str, &FullJid), theirs: (&str, &FullJid)) -> Winner {
    let key = |(sid, jid): (&str, &FullJid)| (sid.as_bytes().to_vec(), jid.as_str().as_bytes().to_vec());
    if key(ours) < key(theirs) { Winner::Ours } else { Winner::Theirs }
}
