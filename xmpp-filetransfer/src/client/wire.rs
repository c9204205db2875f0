//! A session of Jingle that moves one file, as either end sees it: what is told in it, and the roads that are made by it.

use super::{
    FilesSettings, Road, TransferError, element,
    jingle::FAREWELL,
    way::{Way, blocks, expect, in_band, read},
};
use crate::{
    ByteStream,
    file::{self, Checksum, Description, ERRORS, File, Range, Received, Verdict},
    ibb,
    jingle::{
        Content, ContentId, Creator, Ending, Event, Misuse, Phase, Reason, ReasonCondition, Sent, Session,
        client::{JingleSession, SessionError, SessionEvents},
    },
    socks5,
};
use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use xmpp_core::{
    client::{Client, RequestError},
    payload::hash::Hash,
    stanza::{Condition, StanzaError},
    xml::Stanza,
};

/// What waits for the transfer to look at it.
const NEWS: usize = 16;
/// Hashes that are heeded.
const HASHES: usize = 16;
/// What waits of candidates.
const INFOS: usize = 32;

/// What the peer has told so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    over: Option<Ending>,
    hashes: Vec<Hash>,
    received: bool,
}

#[derive(Debug)]
enum News {
    Accepted(Content),
    Proposed(Content),
    TransportAccepted(Content),
    TransportRejected,
}

/// The file that a content is about.
pub(super) fn file_of(content: &Content) -> Option<File> {
    read::<Description>(content.description.as_ref()).map(|description| description.file)
}

/// How much the other side says it has.
fn offset_of(content: &Content) -> Option<u64> {
    file_of(content)?.range.map(|range| range.offset)
}

fn with_offset(content: &mut Content, offset: Option<u64>) {
    let Some(offset) = offset else { return };
    let file = File { range: Some(Range { offset, ..Range::default() }), ..File::default() };
    content.description = Some(element(&Description { file }));
}

/// The session, and who listens to it.
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) session: JingleSession,
    pub(super) id: ContentId,
    pub(super) settings: FilesSettings,
    /// Whether another road may be within stanzas.
    in_band: bool,
    told: watch::Receiver<Told>,
    news: mpsc::Receiver<News>,
    infos: mpsc::Receiver<socks5::Transport>,
    attendant: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.attendant.abort();
    }
}

impl Wire {
    pub(super) fn new(
        client: Client,
        session: JingleSession,
        events: SessionEvents,
        id: ContentId,
        in_band: bool,
        settings: FilesSettings,
    ) -> Wire {
        let (tell, told) = watch::channel(Told::default());
        let (give, news) = mpsc::channel(NEWS);
        let (inform, infos) = mpsc::channel(INFOS);
        let attendant = Attendant { session: session.clone(), id: id.clone(), tell, give, inform };
        let attendant = tokio::spawn(attendant.listen(events));
        Wire { client, session, id, settings, in_band, told, news, infos, attendant }
    }

    fn is_initiator(&self) -> bool {
        self.session.end() == Creator::Initiator
    }

    /// Whether the peer still knows the session.
    pub(super) fn alive(
        &self,
    ) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync + 'static {
        let session = self.session.clone();
        move || {
            let session = session.clone();
            Box::pin(async move {
                match session.session_info(None).await {
                    Ok(()) => true,
                    // There is somebody who does not know what that is.
                    Err(SessionError::Request(RequestError::Refused(error))) => {
                        matches!(error.condition, Condition::FeatureNotImplemented | Condition::BadRequest)
                    }
                    Err(_) => false,
                }
            })
        }
    }

    /// Resolves when the session ends in another way than it should.
    pub(super) fn failing(&self) -> impl Future<Output = TransferError> + Send + 'static {
        let mut told = self.told.clone();
        async move {
            let is_bad = |told: &Told| told.over.as_ref().is_some_and(|over| !is_success(over));
            let over = told.wait_for(is_bad).await.ok().and_then(|told| told.over.clone());
            match over {
                Some(over) => ended(&over),
                // It has ended well, or we have ended it.
                None => std::future::pending().await,
            }
        }
    }

    /// Ends the session as the transfer has ended, and says how that was.
    pub(super) async fn conclude<T>(&mut self, result: Result<T, TransferError>) -> Result<T, TransferError> {
        let error = match result {
            Ok(done) => {
                self.end(Reason::success()).await;
                return Ok(done);
            }
            Err(error) => error,
        };
        // What failed may be what the peer has done by ending the session.
        if self.session.phase() == Phase::Ended {
            let _ = timeout(Duration::from_secs(1), self.over()).await;
        }
        let over = self.told.borrow().over.as_ref().filter(|over| !is_success(over)).map(ended);
        self.end(reason_of(&error)).await;
        Err(match (error, over) {
            (error @ (TransferError::Cancelled | TransferError::HashMismatch { .. }), _) => error,
            (_, Some(over)) => over,
            (error, None) => error,
        })
    }

    /// Ends the session.
    pub(super) async fn end(&self, reason: Reason) {
        // It is said; who does not answer that is not waited for.
        if let Ok(Err(error)) = timeout(FAREWELL, self.session.terminate(reason)).await {
            tracing::debug!(%error, "the session of a file has ended already");
        }
    }

    /// Waits until the peer has accepted.
    pub(super) async fn accepted(&mut self) -> Result<Content, TransferError> {
        loop {
            match self.news.recv().await {
                Some(News::Accepted(content)) => return Ok(content),
                Some(_) => {}
                None => return self.fate().await,
            }
        }
    }

    /// The peer says nothing more.
    async fn fate<T>(&mut self) -> Result<T, TransferError> {
        let over = self.told.borrow().over.as_ref().map(ended);
        Err(over.unwrap_or(TransferError::Offline))
    }

    /// Waits until the peer proposes another transport. Cancel-safe.
    pub(super) async fn proposal(&mut self) -> Content {
        loop {
            match self.news.recv().await {
                Some(News::Proposed(content)) => return content,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Goes the way that was agreed on.
    pub(super) async fn connect(&mut self, way: Way, theirs: &Content) -> Result<(ByteStream, Road), TransferError> {
        match way {
            Way::Sockets(gathered) => {
                let transport = read::<socks5::Transport>(theirs.transport.as_ref()).ok_or(TransferError::NoRoad)?;
                self.meet(gathered, transport).await
            }
            Way::InBand(_, Some(expected)) => match timeout(self.settings.connecting, expected.stream()).await {
                Ok(Ok(stream)) => Ok((Box::new(stream), Road::InBand)),
                _ => Err(TransferError::NoRoad),
            },
            Way::InBand(ours, None) => {
                let transport = blocks(theirs.transport.as_ref()).ok_or(TransferError::NoRoad)?;
                let opening = ibb::Opening::default().exactly(transport.block_size.min(ours.block_size));
                let peer = self.session.peer().clone();
                let stream = ibb::open(&self.client, peer, &ours.sid, opening.carrier(ours.carrier)).await;
                let stream = stream.map_err(|error| TransferError::Stream(std::io::Error::other(error)))?;
                Ok((Box::new(stream), Road::InBand))
            }
        }
    }

    /// Negotiates candidates (XEP-0260 §2).
    async fn meet(
        &mut self,
        gathered: socks5::Gathered,
        theirs: socks5::Transport,
    ) -> Result<(ByteStream, Road), TransferError> {
        let (tell, mut to_tell) = mpsc::channel::<socks5::Transport>(INFOS);
        let (pass, mut told) = mpsc::channel(INFOS);
        // Whoever's relay it is tells that it relays.
        let relayed = AtomicBool::new(false);
        let (session, id, infos) = (&self.session, &self.id, &mut self.infos);
        let say = async |transport: socks5::Transport| {
            if transport.activated.is_some() {
                relayed.store(true, Ordering::Relaxed);
            }
            if let Err(error) = session.transport_info(id.clone(), element(&transport)).await {
                tracing::debug!(%error, "news of candidates are not taken");
            }
        };
        let sid = theirs.sid.clone();
        let passing = async {
            loop {
                tokio::select! {
                    Some(ours) = to_tell.recv() => say(ours).await,
                    Some(info) = infos.recv() => {
                        if info.activated.is_some() {
                            relayed.store(true, Ordering::Relaxed);
                        }
                        if info.sid == sid {
                            let _ = pass.send(info).await;
                        }
                    }
                    else => return,
                }
            }
        };
        let negotiated = tokio::select! {
            negotiated = gathered.negotiate(&theirs, &mut told, &tell) => negotiated,
            () = passing => Err(socks5::Socks5Error::Ended),
        };
        while let Ok(last) = to_tell.try_recv() {
            say(last).await;
        }
        match negotiated {
            Ok(stream) => Ok((stream, if relayed.into_inner() { Road::Proxy } else { Road::Direct })),
            Err(error) => {
                tracing::debug!(%error, "there is no connection for a file");
                Err(TransferError::NoRoad)
            }
        }
    }

    /// Another road when one has failed (XEP-0260 §3), or was never there: within stanzas. The receiver says how much it has
    /// (`have`), and returns nothing; the sender returns how much the receiver has, if that was said. `proposed` is what
    /// the peer has proposed already.
    pub(super) async fn fall_back(
        &mut self,
        have: Option<u64>,
        proposed: Option<Content>,
    ) -> Result<(ByteStream, Road, Option<u64>), TransferError> {
        if !self.in_band {
            return Err(TransferError::NoRoad);
        }
        // There is one such way.
        self.in_band = false;
        if let Some(content) = proposed.or_else(|| self.proposed()) {
            return self.follow(content, have).await;
        }
        // Two proposals at a time are none: the initiator begins.
        if !self.is_initiator()
            && let Ok(content) = timeout(self.settings.grace, self.proposal()).await
        {
            return self.follow(content, have).await;
        }
        self.propose(have).await
    }

    /// What the peer has proposed meanwhile.
    fn proposed(&mut self) -> Option<Content> {
        let mut proposed = None;
        while let Ok(news) = self.news.try_recv() {
            if let News::Proposed(content) = news {
                proposed = Some(content);
            }
        }
        proposed
    }

    async fn propose(&mut self, have: Option<u64>) -> Result<(ByteStream, Road, Option<u64>), TransferError> {
        let way = match self.is_initiator() {
            true => Way::InBand(in_band(&self.settings), None),
            false => expect(&self.client, self.session.peer(), in_band(&self.settings), &self.settings)?,
        };
        let (id, transport) = (self.id.clone(), way.transport());
        let verb = move |session: &mut Session| session.replace_transport(vec![(id, transport)]);
        match self.session.act(saying(have, verb)).await {
            Ok(()) => {}
            Err(error) if is_tie_break(&error) => {
                let proposal = timeout(self.settings.connecting, self.proposal()).await;
                return self.follow(proposal.map_err(|_| TransferError::NoRoad)?, have).await;
            }
            Err(error) => return Err(self.failed(error)),
        }
        let answer = async {
            loop {
                match self.news.recv().await {
                    Some(News::TransportAccepted(content)) => return Ok(content),
                    Some(News::TransportRejected) | None => return Err(TransferError::NoRoad),
                    // The initiator's proposal counts (XEP-0166 §7.2.16).
                    Some(News::Proposed(content)) => return Ok(content),
                    Some(News::Accepted(_)) => {}
                }
            }
        };
        let content = timeout(self.settings.connecting, answer).await.map_err(|_| TransferError::NoRoad)??;
        let offset = offset_of(&content);
        let (stream, road) = self.connect(way, &content).await?;
        Ok((stream, road, offset))
    }

    async fn follow(
        &mut self,
        content: Content,
        have: Option<u64>,
    ) -> Result<(ByteStream, Road, Option<u64>), TransferError> {
        let Some(transport) = blocks(content.transport.as_ref()) else {
            let reason = Some(Reason::unsupported_transports());
            self.session.reject_transport(self.id.clone(), reason).await.map_err(|error| self.failed(error))?;
            return Err(TransferError::NoRoad);
        };
        let way = match self.is_initiator() {
            true => {
                let block_size = transport.block_size.min(self.settings.block_size);
                Way::InBand(ibb::Transport { block_size, ..transport }, None)
            }
            false => expect(&self.client, self.session.peer(), transport, &self.settings)?,
        };
        let (id, transport) = (self.id.clone(), way.transport());
        let verb = move |session: &mut Session| session.accept_transport(vec![(id, transport)]);
        self.session.act(saying(have, verb)).await.map_err(|error| self.failed(error))?;
        let offset = offset_of(&content);
        let (stream, road) = self.connect(way, &content).await?;
        Ok((stream, road, offset))
    }

    /// What a failure in the session means for the file.
    pub(super) fn failed(&self, error: SessionError) -> TransferError {
        if let Some(over) = &self.told.borrow().over {
            return ended(over);
        }
        session_failed(error)
    }

    /// Tells the hash (XEP-0234 §8.2). Whether it was taken.
    pub(super) async fn tell_hash(&self, hash: Hash) -> bool {
        let checksum = Checksum::of(&self.id, vec![hash]);
        let told = timeout(FAREWELL, self.session.session_info(Some(element(&checksum)))).await;
        if let Ok(Err(error)) = &told {
            tracing::debug!(%error, "the hash of a file is not taken");
        }
        matches!(told, Ok(Ok(())))
    }

    /// Tells that the file is there (XEP-0234 §8.1).
    pub(super) async fn tell_received(&self) {
        let told = self.session.session_info(Some(element(&Received::of(&self.id))));
        if let Ok(Err(error)) = timeout(FAREWELL, told).await {
            tracing::debug!(%error, "that a file is received is not heard");
        }
    }

    /// Hashes that were told, once one can be held against this, or the session is over.
    pub(super) async fn hashes(&self, computed: &Hash) -> Vec<Hash> {
        let mut told = self.told.clone();
        let known = |told: &Told| Verdict::of(computed, &told.hashes) != Verdict::Unknown;
        let _ = told.wait_for(|told| told.over.is_some() || known(told)).await;
        self.told.borrow().hashes.clone()
    }

    /// Whether the session has come to a good end.
    pub(super) fn has_succeeded(&self) -> bool {
        self.told.borrow().over.as_ref().is_some_and(is_success)
    }

    /// Resolves when the peer has the file.
    pub(super) fn received(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut told = self.told.clone();
        async move {
            let done = |told: &Told| told.received || told.over.as_ref().is_some_and(is_success);
            if told.wait_for(done).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Resolves when the session is over.
    pub(super) async fn over(&self) {
        let _ = self.told.clone().wait_for(|told| told.over.is_some()).await;
    }
}

/// A message that also says how much we have.
fn saying(
    have: Option<u64>,
    verb: impl FnOnce(&mut Session) -> Result<Sent, Misuse>,
) -> impl FnOnce(&mut Session) -> Result<Sent, Misuse> {
    move |session| {
        let mut sent = verb(session)?;
        sent.jingle.contents.iter_mut().for_each(|content| with_offset(content, have));
        Ok(sent)
    }
}

/// Hears what the peer says, as it comes.
struct Attendant {
    session: JingleSession,
    id: ContentId,
    tell: watch::Sender<Told>,
    give: mpsc::Sender<News>,
    inform: mpsc::Sender<socks5::Transport>,
}

impl Attendant {
    async fn listen(self, mut events: SessionEvents) {
        while let Some(event) = events.next().await {
            self.hear(event);
        }
    }

    fn ours(&self, contents: Vec<Content>) -> Option<Content> {
        contents.into_iter().find(|content| content.id == self.id)
    }

    fn hear(&self, event: Event) {
        let news = match event {
            Event::Accepted { contents, .. } => self.ours(contents).map(News::Accepted),
            Event::TransportProposed { contents, .. } => self.ours(contents).map(News::Proposed),
            Event::TransportAccepted(contents) => self.ours(contents).map(News::TransportAccepted),
            Event::TransportRejected { .. } => Some(News::TransportRejected),
            Event::TransportInfo(contents) => {
                let info = self.ours(contents).and_then(|it| read(it.transport.as_ref()));
                // Who says more than anybody has to say of candidates is not heard.
                if let Some(info) = info {
                    let _ = self.inform.try_send(info);
                }
                None
            }
            Event::Info(info) => {
                self.told(&info);
                None
            }
            Event::ContentAdded { contents, .. } => {
                // One file at a time.
                let (session, ids) = (self.session.clone(), contents.into_iter().map(|content| content.id).collect());
                tokio::spawn(async move { session.reject_content(ids, Some(Reason::decline())).await });
                None
            }
            Event::Void { reason } => {
                self.over(Ending::Terminated(Some(reason.unwrap_or_else(Reason::cancel))));
                None
            }
            Event::Ended(ending) => {
                self.over(ending);
                None
            }
            _ => None,
        };
        if let Some(news) = news {
            let _ = self.give.try_send(news);
        }
    }

    fn over(&self, ending: Ending) {
        self.tell.send_modify(|told| {
            told.over.get_or_insert(ending);
        });
    }

    fn told(&self, info: &Stanza) {
        if let Some(checksum) = read::<Checksum>(Some(info)).filter(|it| it.is_about(&self.id)) {
            // Two that differ are not to be true one after the other.
            let hashes = checksum.file.hashes.into_iter().filter(|hash| !hash.value.0.is_empty());
            self.tell.send_modify(|told| told.hashes.extend(hashes.take(HASHES.saturating_sub(told.hashes.len()))));
        } else if read::<Received>(Some(info)).is_some_and(|it| it.is_about(&self.id)) {
            self.tell.send_modify(|told| told.received = true);
        }
    }
}

fn is_success(ending: &Ending) -> bool {
    matches!(ending, Ending::Terminated(Some(Reason { condition: ReasonCondition::Success, .. })))
}

/// What the end of a session means for a file.
pub(super) fn ended(ending: &Ending) -> TransferError {
    match ending {
        Ending::Terminated(Some(reason)) => terminated(reason),
        Ending::Terminated(None) => TransferError::EndedByPeer("no reason".to_owned()),
        Ending::Refused(error) | Ending::Unreachable(error) => refused(error.clone()),
        Ending::Unanswered => TransferError::TimedOut,
        Ending::Lost => TransferError::Offline,
        _ => TransferError::PeerGone,
    }
}

fn terminated(reason: &Reason) -> TransferError {
    let text = reason.text.clone();
    match &reason.condition {
        ReasonCondition::Decline => TransferError::Declined { text },
        ReasonCondition::Busy => TransferError::Declined { text: Some(text.unwrap_or_else(|| "busy".to_owned())) },
        ReasonCondition::Gone => TransferError::PeerGone,
        ReasonCondition::Timeout | ReasonCondition::Expired => TransferError::TimedOut,
        ReasonCondition::ConnectivityError
        | ReasonCondition::FailedTransport
        | ReasonCondition::UnsupportedTransports => TransferError::NoRoad,
        _ if reason.has_application("file-too-large", ERRORS) => TransferError::TooLarge { limit: None },
        _ if reason.has_application("file-not-available", ERRORS) => TransferError::NotAvailable,
        ReasonCondition::MediaError => TransferError::SpoiltThere { text },
        condition => TransferError::EndedByPeer(text.unwrap_or_else(|| condition.as_str().to_owned())),
    }
}

pub(super) fn refused(error: StanzaError) -> TransferError {
    match error.condition {
        Condition::ServiceUnavailable
        | Condition::RecipientUnavailable
        | Condition::RemoteServerNotFound
        | Condition::RemoteServerTimeout
        | Condition::Gone(_) => TransferError::PeerGone,
        _ => TransferError::Refused(error),
    }
}

pub(super) fn session_failed(error: SessionError) -> TransferError {
    match error {
        SessionError::Misuse(Misuse::TooMany) => TransferError::TooMany,
        SessionError::Request(RequestError::Refused(error)) if error.condition == Condition::ResourceConstraint => {
            TransferError::TooMany
        }
        SessionError::Request(RequestError::Refused(error)) => refused(error),
        SessionError::Request(error) => error.into(),
        _ => TransferError::Offline,
    }
}

/// Whether the peer proposes something at the same time, and that counts (XEP-0166 §7.2.16), or has proposed it already though
/// we have not heard of it yet.
fn is_tie_break(error: &SessionError) -> bool {
    matches!(error, SessionError::Misuse(Misuse::Waiting)) || error.is_tie_break()
}

/// What the peer is told of a failure.
fn reason_of(error: &TransferError) -> Reason {
    match error {
        TransferError::Cancelled => Reason::cancel(),
        TransferError::Declined { .. } => Reason::decline(),
        TransferError::HashMismatch { .. } => Reason::media_error().with_text("the hash is another one"),
        TransferError::WrongSize { .. } => Reason::media_error().with_text("the length is another one"),
        TransferError::TooLarge { .. } => file::too_large(),
        TransferError::NotAvailable => file::not_available(),
        TransferError::NoRoad => Reason::connectivity_error(),
        TransferError::Stream(_) => Reason::failed_transport(),
        TransferError::TimedOut => Reason::timeout(),
        TransferError::DiskFull => Reason::failed_application().with_text("no room for the file"),
        // What our disk is called is nobody's business.
        _ => Reason::failed_application(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dino as the responder proposes another transport as soon as both have said `candidate-error`, before we do.
    #[test]
    fn xep0260_3_a_proposal_that_has_come_meanwhile_is_followed() {
        assert!(is_tie_break(&Misuse::Waiting.into()));
        assert!(!is_tie_break(&Misuse::NotNow.into()));
    }
}
