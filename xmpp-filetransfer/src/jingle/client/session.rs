//! A session in the hands of an application.

use super::seat::Seat;
use crate::jingle::{
    Content, ContentId, Creator, Ending, Event, JingleCondition, Misuse, Phase, Reason, Senders, Sent, Session,
    SessionContent, error,
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::oneshot;
use xmpp_core::{
    client::{Client, RequestError, SendError},
    jid::{FullJid, Jid},
    stanza::{Condition, Iq, StanzaError},
    xml::Stanza,
};

/// What a session is asked for with.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its id; a random one unless given, as where it was proposed before (XEP-0353).
    pub sid: Option<String>,
    /// Its contents, each the initiator's.
    pub contents: Vec<Content>,
    /// What else is to be said, such as how contents belong together (XEP-0338).
    pub others: Vec<Stanza>,
}

impl From<Vec<Content>> for Opening {
    fn from(contents: Vec<Content>) -> Opening {
        Opening { sid: None, contents, others: Vec::new() }
    }
}

/// Why something was not done in a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// It cannot be done.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The peer has refused it, or has not answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no session with the server yet.
    #[error("there is no session with the server")]
    Offline,
}

impl SessionError {
    /// Whom to ask instead, where the peer has said so (§6.3.2). Not to be followed unasked, unless it is another resource of
    /// the same account (§13.5).
    pub fn redirect(&self) -> Option<Jid> {
        match self {
            SessionError::Request(RequestError::Refused(error)) => error::redirect(error),
            _ => None,
        }
    }

    /// Whether the peer has asked for the same at the same time, and that counts (§7.2.16).
    pub fn is_tie_break(&self) -> bool {
        matches!(self, SessionError::Request(RequestError::Refused(error))
            if JingleCondition::of(error) == Some(JingleCondition::TieBreak))
    }
}

/// The answer to a message. It is taken into account also where nobody awaits it.
pub(super) struct Answer(oneshot::Receiver<Result<(), RequestError>>);

impl Future for Answer {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| match answer {
            Ok(answer) => answer.map_err(SessionError::Request),
            Err(_) => Err(RequestError::Disconnected.into()),
        })
    }
}

/// A session. Cheap to clone; when the last one is dropped, it is terminated: declined if it was not accepted, else cancelled.
/// It does not keep the client alive.
///
/// What is done goes out in the order of the calls, when they are first polled, and each returns when the peer has acknowledged
/// it, or refused. Dropped early, it is done nevertheless.
#[derive(Clone, Debug)]
pub struct JingleSession(Arc<Held>);

#[derive(Debug)]
struct Held(Arc<Seat>);

impl Drop for Held {
    fn drop(&mut self) {
        let (open, reason) = {
            let state = self.0.state();
            let declined = state.session.phase() == Phase::Pending && state.session.end() == Creator::Responder;
            (!state.over, if declined { Reason::decline() } else { Reason::cancel() })
        };
        if open {
            self.0.end(reason, None);
        }
    }
}

impl JingleSession {
    pub(super) fn new(seat: Arc<Seat>) -> JingleSession {
        JingleSession(Arc::new(Held(seat)))
    }

    fn seat(&self) -> &Arc<Seat> {
        &self.0.0
    }

    /// Looks at the session.
    fn look<T>(&self, f: impl FnOnce(&Session) -> T) -> T {
        f(&self.seat().state().session)
    }

    /// The other end.
    pub fn peer(&self) -> &FullJid {
        &self.seat().peer
    }

    /// Our address in it.
    pub fn me(&self) -> FullJid {
        self.look(|session| session.me().clone())
    }

    /// Its id.
    pub fn sid(&self) -> &str {
        &self.seat().sid
    }

    /// Which end we are.
    pub fn end(&self) -> Creator {
        self.look(Session::end)
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        let state = self.seat().state();
        if state.over { Phase::Ended } else { state.session.phase() }
    }

    /// Its contents, as both ends know them.
    pub fn contents(&self) -> Vec<SessionContent> {
        self.look(|session| session.contents().cloned().collect())
    }

    /// What the peer offers and nobody has answered.
    pub fn offered(&self) -> Vec<Content> {
        self.look(Session::offered)
    }

    /// Something of the peer's has come by another way, such as bytes: it is not gone, whatever its presence says (§6.7).
    pub fn heard(&self) {
        self.seat().seen(true);
    }

    /// Sends what `verb` makes; it is in line when this returns. The answer is awaited in a task, so that the session knows it
    /// in any case.
    pub(super) async fn send(
        &self,
        client: &Client,
        verb: impl FnOnce(&mut Session) -> Result<Sent, Misuse>,
    ) -> Result<Answer, SessionError> {
        let seat = self.seat();
        let mut verb = Some(verb);
        let (id, mut request, first) = poll_fn(|cx| {
            let Some(verb) = verb.take() else { return Poll::Pending };
            let mut state = seat.state();
            if state.over {
                return Poll::Ready(Err(Misuse::Ended));
            }
            let Sent { id, jingle } = match verb(&mut state.session) {
                Ok(sent) => sent,
                Err(misuse) => return Poll::Ready(Err(misuse)),
            };
            let iq = Iq::set(seat.peer.clone()).payload(&jingle);
            let client = client.clone();
            let mut request = Box::pin(async move { client.request(iq).await.map(drop) });
            // Polled while nobody else can: so things are sent in the order in which the session has them.
            let first = request.as_mut().poll(cx);
            Poll::Ready(Ok((id, request, first)))
        })
        .await?;
        let (tell, answer) = oneshot::channel();
        let seat = Arc::clone(seat);
        tokio::spawn(async move {
            let result = match first {
                Poll::Ready(result) => result,
                Poll::Pending => request.as_mut().await,
            };
            match &result {
                Ok(()) => seat.answered(id, Ok(())),
                // With the session to the server, all that is in it is lost.
                Err(RequestError::Disconnected | RequestError::Send(SendError::Closed)) => seat.lose(Ending::Lost),
                Err(error) => seat.answered(id, Err(as_stanza_error(error))),
            }
            let _ = tell.send(result);
        });
        Ok(Answer(answer))
    }

    /// Does whatever `verb` makes of the session: for what has no function here, and for adding to a message.
    ///
    /// # Errors
    /// [`SessionError::Misuse`] if it cannot be done, [`SessionError::Request`] if the peer refuses it or does not answer.
    pub async fn act(&self, verb: impl FnOnce(&mut Session) -> Result<Sent, Misuse>) -> Result<(), SessionError> {
        let client = self.seat().client.upgrade().ok_or(RequestError::Send(SendError::Closed))?;
        let answer = self.send(&client, verb).await?;
        drop(client);
        answer.await
    }

    /// Accepts the session: see [`Session::accept`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn accept(&self, contents: Vec<Content>) -> Result<(), SessionError> {
        self.act(|session| session.accept(contents)).await
    }

    /// Offers further contents: see [`Session::add_content`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn add_content(&self, contents: Vec<Content>) -> Result<(), SessionError> {
        self.act(|session| session.add_content(contents)).await
    }

    /// Accepts contents that the peer has added: see [`Session::accept_content`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn accept_content(&self, contents: Vec<Content>) -> Result<(), SessionError> {
        self.act(|session| session.accept_content(contents)).await
    }

    /// Rejects contents that the peer has offered: see [`Session::reject_content`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn reject_content(&self, ids: Vec<ContentId>, reason: Option<Reason>) -> Result<(), SessionError> {
        self.act(|session| session.reject_content(ids, reason)).await
    }

    /// Takes contents away: see [`Session::remove_content`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn remove_content(&self, ids: Vec<ContentId>, reason: Option<Reason>) -> Result<(), SessionError> {
        self.act(|session| session.remove_content(ids, reason)).await
    }

    /// Changes who sends: see [`Session::modify_content`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn modify_content(&self, changes: Vec<(ContentId, Senders)>) -> Result<(), SessionError> {
        self.act(|session| session.modify_content(changes)).await
    }

    /// Proposes another transport: see [`Session::replace_transport`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn replace_transport(&self, id: ContentId, transport: Stanza) -> Result<(), SessionError> {
        self.act(|session| session.replace_transport(vec![(id, transport)])).await
    }

    /// Accepts the transport that the peer proposes: see [`Session::accept_transport`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn accept_transport(&self, id: ContentId, transport: Stanza) -> Result<(), SessionError> {
        self.act(|session| session.accept_transport(vec![(id, transport)])).await
    }

    /// Rejects the transport that the peer proposes: see [`Session::reject_transport`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn reject_transport(&self, id: ContentId, reason: Option<Reason>) -> Result<(), SessionError> {
        self.act(|session| session.reject_transport(vec![id], reason)).await
    }

    /// Tells of a transport: see [`Session::transport_info`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn transport_info(&self, id: ContentId, info: Stanza) -> Result<(), SessionError> {
        self.act(|session| session.transport_info(vec![(id, info)])).await
    }

    /// Tells of an application: see [`Session::description_info`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn description_info(&self, id: ContentId, info: Stanza) -> Result<(), SessionError> {
        self.act(|session| session.description_info(vec![(id, info)])).await
    }

    /// Tells of a security precondition: see [`Session::security_info`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn security_info(&self, id: ContentId, info: Stanza) -> Result<(), SessionError> {
        self.act(|session| session.security_info(vec![(id, info)])).await
    }

    /// Tells of the session; `None` asks the peer for a sign of life: see [`Session::session_info`].
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub async fn session_info(&self, info: Option<Stanza>) -> Result<(), SessionError> {
        self.act(|session| session.session_info(info)).await
    }

    /// Ends the session; the events end too. Returns when the peer has acknowledged it. What it answers is of no interest, as the
    /// session is over either way (§6.7).
    ///
    /// # Errors
    /// [`Misuse::Ended`] if it is over already.
    pub async fn terminate(&self, reason: Reason) -> Result<(), SessionError> {
        let Some(client) = self.seat().client.upgrade() else {
            self.seat().lose(Ending::Lost);
            return Ok(());
        };
        let closing = reason.clone();
        let answer = self.send(&client, |session| session.terminate(reason)).await?;
        drop(client);
        {
            let mut state = self.seat().state();
            state.over = true;
            state.closing.get_or_insert(closing);
        }
        self.seat().leave();
        let _ = answer.await;
        Ok(())
    }
}

/// A request that had no good answer, as the session takes it.
fn as_stanza_error(error: &RequestError) -> StanzaError {
    match error {
        RequestError::Refused(error) => error.clone(),
        RequestError::TimedOut => StanzaError::new(Condition::RemoteServerTimeout),
        other => StanzaError::undefined_condition().with_text(other.to_string()),
    }
}

/// What becomes of a session, in order. When it is dropped, nothing of it is kept any more.
#[derive(Debug)]
pub struct SessionEvents {
    seat: Arc<Seat>,
}

impl SessionEvents {
    pub(super) fn new(seat: Arc<Seat>) -> SessionEvents {
        SessionEvents { seat }
    }

    /// The next event; `None` when the session is over. Unless we have ended it, [`Event::Ended`] is the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut state = self.seat.state();
                if let Some(event) = state.events.pop_front() {
                    if state.events.is_empty() {
                        state.event_bytes = 0;
                    }
                    return Some(event);
                }
                if state.over {
                    return None;
                }
            }
            self.seat.news.notified().await;
        }
    }
}

impl Drop for SessionEvents {
    fn drop(&mut self) {
        let mut state = self.seat.state();
        state.deaf = true;
        state.events.clear();
    }
}
