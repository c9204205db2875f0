//! Who gets what comes.

use super::{
    Application, Invitation, JingleSession, JingleSettings, Opening, Proposing, SessionError, SessionEvents,
    bell::{Bell, Waiting},
    seat::Seat,
};
use crate::jingle::{Action, Content, Creator, Ending, Jingle, JingleError, Reason, Session, Winner, tie_break};
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Semaphore;
use xmpp_core::{
    client::{Client, Flow, WeakClient},
    extension::{IqContext, Reply},
    jid::{BareJid, FullJid, Jid},
    stanza::{AnyStanza, Iq, PresenceType, StanzaError},
    xml::Stanza,
};

/// Refusals that are on their way; beyond, they are errors.
const REFUSALS: usize = 64;

/// What the handles share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) settings: JingleSettings,
    applications: Mutex<Vec<Arc<Application>>>,
    /// By the peer's full address, and the session's id.
    seats: Mutex<HashMap<FullJid, HashMap<String, Arc<Seat>>>>,
    /// Our address, in the session that we know of.
    me: Mutex<Option<(FullJid, WeakClient)>>,
    refusals: Arc<Semaphore>,
    pub(super) bell: Bell,
}

/// The end of a client is the end of its sessions.
pub(super) struct Watch(pub(super) Arc<Desk>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.end_all();
        self.0.bell_ends();
    }
}

impl Desk {
    pub(super) fn new(settings: JingleSettings) -> Desk {
        Desk {
            settings,
            applications: Mutex::default(),
            seats: Mutex::default(),
            me: Mutex::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            bell: Bell::new(),
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<FullJid, HashMap<String, Arc<Seat>>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applications(&self) -> MutexGuard<'_, Vec<Arc<Application>>> {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn me(&self) -> MutexGuard<'_, Option<(FullJid, WeakClient)>> {
        self.me.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, application: Application) {
        if application.exclusive {
            self.bell.exclusive(&application.namespace);
        }
        self.applications().push(Arc::new(application));
    }

    /// The first application that one of the contents is for.
    fn application(&self, contents: &[Content]) -> Option<Arc<Application>> {
        let applications = self.applications();
        let of = |content: &Content| applications.iter().find(|it| content.application() == Some(&it.namespace));
        contents.iter().filter(|content| content.is_session()).find_map(of).cloned()
    }

    /// The first application that hears of proposals and that one of the descriptions is for.
    pub(super) fn listener(&self, descriptions: &[Stanza]) -> Option<Arc<Application>> {
        let applications = self.applications();
        let of = |it: &&Stanza| {
            applications
                .iter()
                .find(|application| application.hear.is_some() && it.root().ns() == application.namespace)
        };
        descriptions.iter().find_map(|it| of(&it)).cloned()
    }

    /// Whether any application hears of proposals.
    pub(super) fn listens(&self) -> bool {
        self.applications().iter().any(|it| it.hear.is_some())
    }

    /// A new session with the server: whatever there was in the former one is lost.
    pub(super) fn begin(self: &Arc<Desk>, jid: &FullJid, client: &Client) {
        *self.me() = Some((jid.clone(), client.downgrade()));
        self.end_all();
        self.bell_begins(jid);
    }

    fn end_all(&self) {
        let seats: Vec<Arc<Seat>> = self.seats().drain().flat_map(|(_, seats)| seats.into_values()).collect();
        for seat in seats {
            seat.lose(Ending::Lost);
        }
    }

    /// Takes a place; it is bounded how many there are.
    fn sit(&self, seat: &Arc<Seat>) -> Result<(), JingleError> {
        let mut seats = self.seats();
        let all: usize = seats.values().map(HashMap::len).sum();
        let bare = seat.peer.bare_str();
        let theirs: usize =
            seats.iter().filter(|(peer, _)| peer.bare_str() == bare).map(|(_, seats)| seats.len()).sum();
        if all >= self.settings.sessions || theirs >= self.settings.sessions_per_peer {
            return Err(JingleError::TooMany);
        }
        seats.entry(seat.peer.clone()).or_default().insert(seat.sid.clone(), Arc::clone(seat));
        drop(seats);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(Arc::clone(seat).keep(self.settings.clone()));
        }
        Ok(())
    }

    pub(super) fn forget(&self, seat: &Seat) {
        let mut seats = self.seats();
        if let Some(theirs) = seats.get_mut(&seat.peer) {
            if theirs.get(&seat.sid).is_some_and(|there| std::ptr::eq(&**there, seat)) {
                theirs.remove(&seat.sid);
            }
            if theirs.is_empty() {
                seats.remove(&seat.peer);
            }
        }
    }

    fn find(&self, peer: &FullJid, sid: &str) -> Option<Arc<Seat>> {
        self.seats().get(peer)?.get(sid).cloned()
    }

    /// The session of this id with any device of an account.
    pub(super) fn find_of_account(&self, account: &Jid, sid: &str) -> Option<Arc<Seat>> {
        let seats = self.seats();
        let theirs = seats.iter().filter(|(peer, _)| peer.bare_str() == account.bare_str());
        theirs.filter_map(|(_, seats)| seats.get(sid)).next().cloned()
    }

    /// Answers a message of a peer.
    pub(super) fn take(self: &Arc<Desk>, cx: &IqContext, jingle: &Jingle) -> Result<Reply, StanzaError> {
        let peer = cx.from.clone().and_then(|from| from.into_full().ok());
        let Some(peer) = peer else { return Err(JingleError::Unavailable.into()) };
        match (self.find(&peer, &jingle.sid), jingle.action) {
            (Some(seat), Action::SessionInitiate) => self.same_id(&seat, peer, jingle),
            (Some(seat), _) => {
                let events = seat.receive(jingle, &self.settings)?;
                // The answer goes out before anything that the application says to it.
                Ok(Reply::empty().then(move || seat.tell(events)))
            }
            (None, Action::SessionInitiate) => self.invited(peer, jingle),
            (None, _) => Err(JingleError::UnknownSession.into()),
        }
    }

    /// A session is asked for whose id is in use. Both ends may have thought of it.
    fn same_id(self: &Arc<Desk>, seat: &Arc<Seat>, peer: FullJid, jingle: &Jingle) -> Result<Reply, StanzaError> {
        let (opening, me) = {
            let state = seat.state();
            (state.opening, state.session.me().clone())
        };
        if !opening {
            return Err(JingleError::OutOfOrder.into());
        }
        if tie_break((&jingle.sid, &me), (&jingle.sid, &peer)) == Winner::Ours {
            return Err(JingleError::TieBreak.into());
        }
        seat.lose(Ending::TieBreak);
        self.invited(peer, jingle)
    }

    /// Somebody asks for a session (§6.3).
    fn invited(self: &Arc<Desk>, peer: FullJid, jingle: &Jingle) -> Result<Reply, StanzaError> {
        let Some((me, client)) = self.me().clone() else { return Err(JingleError::Unavailable.into()) };
        let mut session = Session::incoming(jingle, me.clone(), peer.clone(), self.settings.session)?;
        let Some(application) = self.application(&jingle.contents) else {
            return self.refuse(session, client, Reason::unsupported_applications());
        };
        let goes = |content: &Content| application.transports.iter().any(|it| content.transport_ns() == Some(it));
        if !application.transports.is_empty() && !jingle.contents.iter().any(goes) {
            return self.refuse(session, client, Reason::unsupported_transports());
        }
        // What was proposed and taken has been judged.
        let proposed = self.bell.waits(&jingle.sid, &peer);
        if let Some(admit) = application.admit.as_ref().filter(|_| !proposed) {
            admit(&peer, &jingle.contents)?;
        }
        if application.exclusive
            && !proposed
            && let Some(ours) = self.asks(&peer, &application.namespace)
            && tie_break((&ours, &me), (&jingle.sid, &peer)) == Winner::Ours
        {
            return Err(JingleError::TieBreak.into());
        }
        application.infos.iter().for_each(|info| session.understand(info));
        let seat = Seat::new(self, session, client);
        self.sit(&seat)?;
        let events = SessionEvents::new(Arc::clone(&seat));
        let session = JingleSession::new(seat);
        let mut invitation = Invitation { session, events, others: jingle.others.clone(), resumes: None };
        let waiting = self.bell.begins(&jingle.sid, &peer);
        Ok(Reply::empty().then(move || {
            match waiting {
                // Who waits no longer has declined it.
                Some(Waiting::One(waiting)) => return drop(waiting.send(invitation)),
                Some(Waiting::Application(old)) => invitation.resumes = Some(old),
                None => {}
            }
            // Its panic is no reason to lose the connection; the session is declined.
            let taken = catch_unwind(AssertUnwindSafe(|| (application.take)(invitation)));
            if taken.is_err() {
                tracing::error!(application = %application.namespace, "what takes sessions panicked");
            }
        }))
    }

    /// The session by which we ask this peer for the same, if it has not answered.
    fn asks(&self, peer: &FullJid, application: &str) -> Option<String> {
        let seats = self.seats();
        let is_it = |seat: &&Arc<Seat>| {
            let state = seat.state();
            let alike = state.session.contents().any(|it| it.definition().application() == Some(application));
            state.opening && state.session.end() == Creator::Initiator && alike
        };
        seats.get(peer)?.values().find(is_it).map(|seat| seat.sid.clone())
    }

    /// Acknowledges the request, and terminates the session at once (§6.3.1).
    fn refuse(&self, mut session: Session, client: WeakClient, reason: Reason) -> Result<Reply, StanzaError> {
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return Err(JingleError::TooMany.into());
        };
        let Ok(sent) = session.terminate(reason) else { return Err(JingleError::Unavailable.into()) };
        let iq = Iq::set(session.peer().clone()).payload(&sent.jingle);
        Ok(Reply::empty().then(move || {
            if let (Ok(runtime), Some(client)) = (tokio::runtime::Handle::try_current(), client.upgrade()) {
                runtime.spawn(async move {
                    let _ = client.send(iq).await;
                    drop(place);
                });
            }
        }))
    }

    /// The presence of a peer says whether it is there, and messages tell of proposals.
    pub(super) fn see(self: &Arc<Desk>, stanza: &AnyStanza) -> Flow {
        if let AnyStanza::Message(message) = stanza {
            self.hear(message);
        }
        if let AnyStanza::Presence(presence) = stanza
            && let available @ (PresenceType::Available | PresenceType::Unavailable) = presence.type_()
            && let Some(from) = presence.from()
        {
            let seats: Vec<Arc<Seat>> =
                self.seats().get(from.as_str()).into_iter().flat_map(|it| it.values().cloned()).collect();
            for seat in seats {
                seat.seen(available == PresenceType::Available);
            }
        }
        Flow::Continue
    }
}

/// A client's sessions. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(super) client: Client,
    pub(super) desk: Arc<Desk>,
}

impl Sessions {
    /// Asks a peer for a session, and waits until that is acknowledged. It is accepted later, which
    /// [`Accepted`](crate::jingle::Event::Accepted) tells.
    ///
    /// Dropped early, it takes the request back.
    ///
    /// # Errors
    /// [`SessionError::Offline`] before there was a session with the server; [`SessionError::Misuse`], also where there are too
    /// many; [`SessionError::Request`] if the peer has refused or does not answer, such as for a
    /// [tie](SessionError::is_tie_break), or to [redirect](SessionError::redirect) us.
    pub async fn initiate(
        &self,
        peer: FullJid,
        opening: impl Into<Opening>,
    ) -> Result<(JingleSession, SessionEvents), SessionError> {
        let (session, events, answer) = self.open(peer, opening.into()).await?;
        answer.await?;
        Ok((session, events))
    }

    async fn open(
        &self,
        peer: FullJid,
        opening: Opening,
    ) -> Result<(JingleSession, SessionEvents, super::session::Answer), SessionError> {
        let (me, client) = self.desk.me().clone().ok_or(SessionError::Offline)?;
        let infos = self.desk.application(&opening.contents).map(|it| it.infos.clone()).unwrap_or_default();
        let sid = opening.sid.unwrap_or_else(new_sid);
        if self.desk.find(&peer, &sid).is_some() {
            return Err(crate::jingle::Misuse::NameTaken.into());
        }
        let (mut session, mut sent) = Session::initiate(sid, me, peer, opening.contents, self.desk.settings.session)?;
        sent.jingle.others = opening.others;
        infos.into_iter().for_each(|info| session.understand(info));
        let seat = Seat::new(&self.desk, session, client);
        self.desk.sit(&seat).map_err(|_| crate::jingle::Misuse::TooMany)?;
        let events = SessionEvents::new(Arc::clone(&seat));
        let session = JingleSession::new(seat);
        let answer = session.send(&self.client, |_| Ok(sent)).await?;
        Ok((session, events, answer))
    }

    /// Proposes a session to an account, for one of its devices to take (XEP-0353): by messages, so that devices are reached of
    /// whom no presence is seen. `descriptions` say what for, one for each medium, as short as they can be. All of our account's
    /// devices see who takes it, and archives what has become of it.
    ///
    /// Who does not see our presence learns our address by this; to be told when the contact goes offline, send it
    /// presence (§3.1).
    ///
    /// # Errors
    /// [`SessionError::Offline`] before there was a session with the server; [`SessionError::Misuse`] without descriptions, or where
    /// there are too many; [`SessionError::Request`] if it cannot be sent.
    pub async fn propose(&self, to: &BareJid, descriptions: Vec<Stanza>) -> Result<Proposing, SessionError> {
        self.desk.proposes(self, to, descriptions).await
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.desk.seats().values().map(HashMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An id that nobody guesses.
fn new_sid() -> String {
    xmpp_core::stanza::generate_id()
}
