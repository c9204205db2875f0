//! Proposals of a client (XEP-0353): what comes in messages, and who waits for it.

use super::{
    Admission, Application, Invitation, ProposalAnswer, Proposed, Proposing, SessionError, Sessions, Withdrawal,
    desk::Desk, heard::Heard, seat::Seat,
};
use crate::jingle::{
    Ending, Misuse, Reason,
    propose::{JingleMessage, ProposalEvent, Proposals, Reaction, usual},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};
use xmpp_core::{
    client::RequestError,
    jid::{BareJid, FullJid, Jid},
    stanza::{Message, StanzaError, generate_id},
    xml::Stanza,
};

/// Answers that wait for who has proposed: where few are left, devices that ring are not told of.
const ANSWERS: usize = 16;
/// Of these, kept for what counts: that somebody takes it, and that it is over.
const KEPT: usize = 2;
/// What others make us say by itself, at a time; beyond, it is not said.
const REPLIES: usize = 64;
/// Proposals that have come late and wait for what was said since.
const LATE: usize = 16;

/// What is known of proposals, and who waits.
#[derive(Debug)]
pub(super) struct Bell {
    state: Mutex<State>,
    replies: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Proposals>,
    me: Option<FullJid>,
    exclusive: Vec<String>,
    ours: HashMap<String, mpsc::Sender<ProposalAnswer>>,
    theirs: HashMap<String, Theirs>,
    late: HashMap<String, (Jid, JingleMessage)>,
}

/// A proposal of a contact's.
#[derive(Debug)]
struct Theirs {
    from: Jid,
    withdrawn: Option<watch::Sender<Option<Withdrawal>>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Rings,
    /// We have taken it, and wait for the session.
    Taken(oneshot::Sender<Invitation>),
    /// It goes on with another session (§4.2).
    Resumes(String),
}

/// Who waits for a session that was proposed, when it begins.
#[derive(Debug)]
pub(super) enum Waiting {
    One(oneshot::Sender<Invitation>),
    /// The application, since the session goes on with another one.
    Application(String),
}

impl Bell {
    pub(super) fn new() -> Bell {
        Bell { state: Mutex::default(), replies: Arc::new(Semaphore::new(REPLIES)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions of this application stand for each other.
    pub(super) fn exclusive(&self, namespace: &str) {
        self.state().exclusive.push(namespace.to_owned());
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Proposals) -> Option<T>) -> Option<T> {
        self.state().known.as_mut().and_then(f)
    }

    pub(super) fn begun(&self, id: &str) {
        self.with(|known| {
            known.begun(id);
            Some(())
        });
    }

    pub(super) fn proceed(&self, id: &str, begin: oneshot::Sender<Invitation>) -> Option<(Jid, JingleMessage)> {
        let mut state = self.state();
        let said = state.known.as_mut()?.proceed(id)?;
        if let Some(theirs) = state.theirs.get_mut(id) {
            theirs.stage = Stage::Taken(begin);
        }
        Some(said)
    }

    pub(super) fn reject(&self, id: &str, reason: Reason) -> Option<(Jid, JingleMessage)> {
        let mut state = self.state();
        state.theirs.remove(id);
        state.known.as_mut()?.reject(id, reason)
    }

    /// Who waits for this session: it was proposed by this device, and taken here.
    pub(super) fn waits(&self, id: &str, peer: &FullJid) -> bool {
        self.state().theirs.get(id).is_some_and(|it| it.is_awaited_from(peer))
    }

    /// The session has begun.
    pub(super) fn begins(&self, id: &str, peer: &FullJid) -> Option<Waiting> {
        let mut state = self.state();
        state.theirs.get(id).filter(|it| it.is_awaited_from(peer))?;
        let theirs = state.theirs.remove(id)?;
        if let Some(known) = &mut state.known {
            known.begun(id);
        }
        match theirs.stage {
            Stage::Rings => None,
            Stage::Taken(begin) => Some(Waiting::One(begin)),
            Stage::Resumes(old) => Some(Waiting::Application(old)),
        }
    }
}

impl Theirs {
    fn is_awaited_from(&self, peer: &FullJid) -> bool {
        // Who has proposed without a device may begin on any.
        let is_it = match self.from.resource() {
            Some(_) => self.from.as_str() == peer.as_str(),
            None => self.from.as_str() == peer.bare_str(),
        };
        is_it && !matches!(self.stage, Stage::Rings)
    }

    fn withdraw(self, why: Withdrawal) {
        if let Some(withdrawn) = self.withdrawn {
            withdrawn.send_replace(Some(why));
        }
    }
}

impl State {
    /// Tells who has proposed.
    fn tell(&mut self, id: &str, answer: ProposalAnswer) {
        let Some(sender) = self.ours.get(id) else { return };
        match answer {
            ProposalAnswer::Ringing { .. } if sender.capacity() <= KEPT => {}
            ProposalAnswer::Ringing { .. } | ProposalAnswer::Proceeded { .. } => drop(sender.try_send(answer)),
            _ => {
                let _ = sender.try_send(answer);
                self.ours.remove(id);
            }
        }
    }

    fn withdraw(&mut self, id: &str, why: Withdrawal) {
        if let Some(theirs) = self.theirs.remove(id) {
            theirs.withdraw(why);
        }
    }
}

/// What is done when nothing is locked any more.
enum Deed {
    Give(Arc<Application>, Proposed),
    /// The session with this id is over, by a word of the contact's or because it goes on otherwise.
    End(String, Reason, Ending),
}

impl Desk {
    /// A session with the server begins. Whom something was proposed to knows our former address.
    pub(super) fn bell_begins(self: &Arc<Desk>, me: &FullJid) {
        let mut said = Vec::new();
        let mut state = self.bell.state();
        let state = &mut *state;
        let moved = state.me.replace(me.clone()).is_some_and(|former| former != *me);
        let exclusive = &state.exclusive;
        let known = state.known.get_or_insert_with(|| Proposals::new(me.clone()));
        known.set_me(me.clone());
        exclusive.iter().for_each(|namespace| known.exclusive(namespace));
        if moved {
            for (id, sender) in state.ours.drain() {
                said.extend(known.retract(&id, Reason::cancel()));
                said.extend(known.finish(&id, Reason::connectivity_error()));
                let _ = sender.try_send(ProposalAnswer::Lost);
            }
            let taken = state.theirs.extract_if(|_, it| !matches!(it.stage, Stage::Rings));
            for (id, theirs) in taken {
                said.extend(known.finish(&id, Reason::connectivity_error()));
                theirs.withdraw(Withdrawal::Lost);
            }
        }
        self.say_soon(said, false);
    }

    /// The client has ended.
    pub(super) fn bell_ends(&self) {
        let mut state = self.bell.state();
        state.ours.clear();
        state.theirs.clear();
        state.late.clear();
    }

    /// Proposes a session.
    pub(super) async fn proposes(
        self: &Arc<Desk>,
        sessions: &Sessions,
        to: &BareJid,
        descriptions: Vec<Stanza>,
    ) -> Result<Proposing, SessionError> {
        if descriptions.is_empty() {
            return Err(Misuse::Incomplete.into());
        }
        let id = uuid();
        let (sender, answers) = mpsc::channel(ANSWERS);
        let said = {
            let mut state = self.bell.state();
            let known = state.known.as_mut().ok_or(SessionError::Offline)?;
            let said = known.propose(id.clone(), to, descriptions, now()).ok_or(Misuse::TooMany)?;
            state.ours.insert(id.clone(), sender);
            said
        };
        let deadline = Instant::now() + self.settings.ringing;
        let sessions = sessions.clone();
        let proposing = Proposing { sessions, id, contact: to.clone(), answers, deadline, device: None, over: false };
        self.say(Some(said)).await?;
        Ok(proposing)
    }

    /// Sends a message of a proposal.
    pub(super) async fn say(&self, said: Option<(Jid, JingleMessage)>) -> Result<(), SessionError> {
        let Some((to, said)) = said else { return Ok(()) };
        let client = self.me().as_ref().and_then(|(_, client)| client.upgrade()).ok_or(SessionError::Offline)?;
        let sent = client.send(said.to_message(to).id(message_id(&said))).await;
        sent.map_err(|error| RequestError::Send(error).into())
    }

    /// Sends messages in order. Of those that others make us send no more are under way than there is room for.
    fn say_soon(self: &Arc<Desk>, said: Vec<(Jid, JingleMessage)>, asked_for: bool) {
        if said.is_empty() {
            return;
        }
        let place = match asked_for {
            true => match Arc::clone(&self.bell.replies).try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return,
            },
            false => None,
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let desk = Arc::clone(self);
        runtime.spawn(async move {
            for one in said {
                if let Err(error) = desk.say(Some(one)).await {
                    tracing::debug!(%error, "nobody hears of a proposal");
                }
            }
            drop(place);
        });
    }

    /// Takes a proposal of ours back, or ends what was taken and has not begun.
    pub(super) fn withdraw(self: &Arc<Desk>, id: &str, reason: Reason) {
        let mut state = self.bell.state();
        state.ours.remove(id);
        let Some(known) = state.known.as_mut() else { return };
        let said = known.retract(id, reason.clone()).or_else(|| known.finish(id, usual(Some(&reason))));
        drop(state);
        self.say_soon(said.into_iter().collect(), false);
    }

    /// A proposal of somebody else's is of no interest any more, unless its session has begun.
    pub(super) fn put_down(self: &Arc<Desk>, id: &str) {
        let mut state = self.bell.state();
        let Some(theirs) = state.theirs.remove(id) else { return };
        let Some(known) = state.known.as_mut() else { return };
        let said = match theirs.stage {
            Stage::Rings => {
                known.ignore(id);
                None
            }
            _ => known.finish(id, Reason::expired()),
        };
        drop(state);
        self.say_soon(said.into_iter().collect(), false);
    }

    /// A session is over. Where it was proposed, that is said (§3.7).
    pub(super) fn over(self: &Arc<Desk>, seat: &Seat, reason: Option<&Reason>) {
        let mut state = self.bell.state();
        let Some(known) = state.known.as_mut().filter(|known| known.is_of(&seat.sid, &seat.peer)) else { return };
        let said = known.finish(&seat.sid, usual(reason));
        state.ours.remove(&seat.sid);
        drop(state);
        self.say_soon(said.into_iter().collect(), false);
    }

    /// Takes what a message says of proposals.
    pub(super) fn hear(self: &Arc<Desk>, message: &Message) {
        let own = self.bell.state().me.as_ref().map(|me| me.to_bare());
        match own.and_then(|own| Heard::read(&own, message)) {
            Some(Heard::Said { from, said, at }) => self.said(from, said, at),
            Some(Heard::Returned { from, id, error }) => self.returned(&from, &id, error),
            None => {}
        }
    }

    /// A proposal of ours came back from the contact's server.
    fn returned(&self, from: &Jid, id: &str, error: StanzaError) {
        let mut state = self.bell.state();
        let is_ours = state.ours.contains_key(id);
        let Some(known) = state.known.as_mut().filter(|known| is_ours && known.is_proposed_to(id, from)) else {
            return;
        };
        known.ignore(id);
        state.tell(id, ProposalAnswer::Undelivered(error));
    }

    fn said(self: &Arc<Desk>, from: Jid, said: JingleMessage, at: Option<i64>) {
        let JingleMessage::Propose { id, .. } = &said else {
            let mut state = self.bell.state();
            let own = state.me.as_ref().is_some_and(|me| me.bare_str() == from.bare_str());
            let answers = |(late, _): &(Jid, JingleMessage)| own || late.bare_str() == from.bare_str();
            if state.late.get(said.id()).is_some_and(answers) {
                state.late.remove(said.id());
            }
            drop(state);
            return self.hears(from, said);
        };
        let Some(at) = at else { return self.hears(from, said) };
        // What has come late may be over, which is then said soon (§5).
        let id = id.clone();
        let age = i64::try_from(unix_now()).unwrap_or(i64::MAX).saturating_sub(at);
        let is_old = u64::try_from(age).is_ok_and(|age| age > self.settings.ringing.as_secs());
        let mut state = self.bell.state();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if is_old || state.late.len() >= LATE || state.late.contains_key(&id) {
            tracing::debug!(%from, "a proposal of long ago");
            return;
        }
        state.late.insert(id.clone(), (from, said));
        drop(state);
        let (desk, settling) = (Arc::downgrade(self), self.settings.settling);
        runtime.spawn(async move {
            tokio::time::sleep(settling).await;
            if let Some(desk) = desk.upgrade() {
                let late = desk.bell.state().late.remove(&id);
                if let Some((from, said)) = late {
                    desk.hears(from, said);
                }
            }
        });
    }

    fn hears(self: &Arc<Desk>, from: Jid, said: JingleMessage) {
        let mut listener = None;
        let mut admission = Admission::Quiet;
        if let JingleMessage::Propose { descriptions, .. } = &said {
            let Some(application) = self.listener(descriptions) else { return };
            admission = application.admits(&from, descriptions);
            if admission == Admission::Ignore {
                return;
            }
            listener = Some(application);
        }
        let mut deeds = Vec::new();
        let mut state = self.bell.state();
        let Some(known) = state.known.as_mut() else { return };
        let Reaction { events, mut replies } = known.receive(&from, &said, admission == Admission::Ring, now());
        for event in events {
            let deed = self.happens(&mut state, event, (&listener, admission), &mut replies);
            deeds.extend(deed);
        }
        drop(state);
        self.say_soon(replies, true);
        for deed in deeds {
            match deed {
                Deed::Give(application, proposed) => application.hears(proposed),
                Deed::End(id, reason, ending) => {
                    if let Some(seat) = self.find_of_account(&from, &id) {
                        seat.end(reason, Some(ending));
                    }
                }
            }
        }
    }

    /// The contact has to begin in good time what goes on with another session.
    fn await_soon(self: &Arc<Desk>, id: String) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (desk, patience) = (Arc::downgrade(self), self.settings.patience);
        runtime.spawn(async move {
            tokio::time::sleep(patience).await;
            if let Some(desk) = desk.upgrade() {
                desk.put_down(&id);
            }
        });
    }

    fn happens(
        self: &Arc<Desk>,
        state: &mut State,
        event: ProposalEvent,
        (listener, admission): (&Option<Arc<Application>>, Admission),
        replies: &mut Vec<(Jid, JingleMessage)>,
    ) -> Option<Deed> {
        match event {
            ProposalEvent::Proposed { id, from, resumes: Some(old), .. } => {
                let stage = Stage::Resumes(old.clone());
                state.theirs.insert(id.clone(), Theirs { from, withdrawn: None, stage });
                self.await_soon(id.clone());
                return Some(Deed::End(old, Reason::expired(), Ending::Migrated { to: id }));
            }
            ProposalEvent::Proposed { id, from, descriptions, resumes: None } => {
                let (sender, withdrawn) = watch::channel(None);
                let theirs = Theirs { from: from.clone(), withdrawn: Some(sender), stage: Stage::Rings };
                state.theirs.insert(id.clone(), theirs);
                if admission == Admission::Ring {
                    replies.extend(state.known.as_ref().and_then(|known| known.ring(&id)));
                }
                let deadline = Instant::now() + self.settings.ringing;
                let desk = Arc::clone(self);
                let proposed = Proposed { desk, id, from, descriptions, admission, withdrawn, deadline, done: false };
                return listener.clone().map(|listener| Deed::Give(listener, proposed));
            }
            ProposalEvent::Ringing { id, device } => state.tell(&id, ProposalAnswer::Ringing { device }),
            ProposalEvent::Proceed { id, device } => state.tell(&id, ProposalAnswer::Proceeded { device }),
            ProposalEvent::Rejected { id, reason, tie_break } => {
                state.tell(&id, ProposalAnswer::Rejected { reason, tie_break });
            }
            ProposalEvent::Retracted { id, reason } => state.withdraw(&id, Withdrawal::Retracted(reason)),
            ProposalEvent::TakenElsewhere { id } => state.withdraw(&id, Withdrawal::TakenElsewhere),
            ProposalEvent::RejectedElsewhere { id } => state.withdraw(&id, Withdrawal::RejectedElsewhere),
            ProposalEvent::Finished { id, reason, migrated } => {
                state.tell(&id, ProposalAnswer::Finished { reason: reason.clone() });
                state.withdraw(&id, Withdrawal::Finished(reason.clone()));
                let ending = match migrated {
                    Some(to) => Ending::Migrated { to },
                    None => Ending::Terminated(reason.clone()),
                };
                return Some(Deed::End(id, usual(reason.as_ref()), ending));
            }
        }
        None
    }
}

/// Proposals have an id by which the server can say that they have not arrived.
fn message_id(said: &JingleMessage) -> String {
    match said {
        JingleMessage::Propose { id, .. } => id.clone(),
        _ => generate_id(),
    }
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An id for all devices and archives, of the fourth kind (RFC 9562).
fn uuid() -> String {
    let mut bytes = [0u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return generate_id();
    }
    let random = u128::from_be_bytes(bytes);
    let versioned = random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{versioned:032x}");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    #[test]
    fn xep0353_5_an_id_is_a_uuid() {
        let (one, other) = (super::uuid(), super::uuid());
        assert_ne!(one, other);
        for id in [one, other] {
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id.chars().all(|it| it == '-' || it.is_ascii_hexdigit()));
            assert_eq!(id.chars().nth(14), Some('4'));
            assert!(id.chars().nth(19).is_some_and(|it| "89ab".contains(it)));
        }
    }
}
