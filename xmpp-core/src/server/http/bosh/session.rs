//! The task of one session: carries out what the [`BoshSession`] says.

use super::reply::Unread;
use super::{BoshSession, Bytes, Delivery, Parcel, Place, Server, Transport};
use crate::jid::Jid;
use crate::server::buffers;
use crate::stream::bosh::Effect;
use crate::xml::Stanza;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Bytes for the stream beyond which no more requests are looked at.
const BACKLOG: usize = 64 * 1024;

pub(super) struct Task {
    server: Server,
    sid: String,
    session: BoshSession,
    began: Instant,
    /// The other end of the stream's transport.
    stream: Transport,
    /// What goes there, and how much of it is written.
    upstream: Vec<u8>,
    written: usize,
    closing: Closing,
    /// Nothing more comes from the stream.
    ended: bool,
    parcels: mpsc::Receiver<Parcel>,
    replies: BTreeMap<u64, oneshot::Sender<Delivery>>,
    tickets: u64,
    lost: mpsc::UnboundedReceiver<Unread>,
    /// Given along with each answer.
    told: mpsc::UnboundedSender<Unread>,
    authenticated: Arc<AtomicBool>,
    over: bool,
    _place: Place,
}

/// How far the end of our direction has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    Asked,
    Done,
}

/// What there is to react to.
enum Happening {
    Request(Parcel),
    /// Nobody waits for this answer any more.
    Gone(u64),
    /// An answer did not get through.
    Unread(u64, Bytes),
    Read(Box<[u8]>, usize),
    StreamEnded,
}

impl Task {
    pub(super) fn new(
        server: Server,
        sid: String,
        session: BoshSession,
        stream: Transport,
        parcels: mpsc::Receiver<Parcel>,
        authenticated: Arc<AtomicBool>,
        place: Place,
    ) -> Task {
        let (told, lost) = mpsc::unbounded_channel();
        Task {
            server,
            sid,
            session,
            began: Instant::now(),
            stream,
            upstream: Vec::new(),
            written: 0,
            closing: Closing::No,
            ended: false,
            parcels,
            replies: BTreeMap::new(),
            tickets: 1,
            lost,
            told,
            authenticated,
            over: false,
            _place: place,
        }
    }

    /// Runs the session, from what its first request led to.
    pub(super) async fn run(mut self, first: oneshot::Sender<Delivery>, effects: Vec<Effect>) {
        self.replies.insert(0, first);
        self.perform(effects);
        let stop = self.server.inner().stop.clone();
        while !self.over {
            let deadline = self.session.deadline();
            let until = self.began + deadline.unwrap_or_default();
            let happening = tokio::select! {
                happening = poll_fn(|cx| self.poll_happening(cx)) => Some(happening),
                () = sleep_until(until), if deadline.is_some() => None,
                () = stop.cancelled() => break,
            };
            let now = self.began.elapsed();
            let effects = match happening {
                Some(happening) => self.react(happening, now),
                None => self.session.timeout(now),
            };
            self.perform(effects);
            let strays = self.session.strays();
            if !strays.is_empty() {
                self.bounce(strays);
            }
        }
        if !self.over {
            let effects = self.session.shut_down(self.began.elapsed());
            self.perform(effects);
        }
        self.finish().await;
    }

    fn react(&mut self, happening: Happening, now: Duration) -> Vec<Effect> {
        match happening {
            Happening::Request(Parcel { body, reply }) => {
                let ticket = self.tickets;
                self.tickets += 1;
                self.replies.insert(ticket, reply);
                match body {
                    Ok(body) => self.session.request(body, ticket, now),
                    Err(condition) => self.session.refuse(condition, ticket, now),
                }
            }
            Happening::Gone(ticket) => {
                self.replies.remove(&ticket);
                self.session.lost(ticket, now)
            }
            Happening::Unread(ticket, content) => self.session.unread(ticket, &content, now),
            Happening::Read(buffer, count) => {
                let effects = self.session.received(buffer.get(..count).unwrap_or_default(), now);
                buffers::give_read(buffer);
                if self.session.is_authenticated() {
                    self.authenticated.store(true, Ordering::Relaxed);
                }
                effects
            }
            Happening::StreamEnded => self.session.stream_ended(now),
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Respond(ticket, reply) => {
                    if let Some(waiting) = self.replies.remove(&ticket) {
                        // One who has gone meanwhile drops it, which is heard.
                        let _ = waiting.send(Delivery::tracked(reply, ticket, self.told.clone()));
                    }
                }
                Effect::Write(bytes) if self.upstream.is_empty() => self.upstream = bytes,
                Effect::Write(bytes) => self.upstream.extend_from_slice(&bytes),
                Effect::Close => self.closing = Closing::Asked,
                Effect::Over => self.over = true,
            }
        }
    }

    fn poll_happening(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        if let Poll::Ready(Some((ticket, content))) = self.lost.poll_recv(cx) {
            return Poll::Ready(Happening::Unread(ticket, content));
        }
        let gone =
            self.replies.iter_mut().find_map(|(ticket, reply)| reply.poll_closed(cx).is_ready().then_some(*ticket));
        if let Some(ticket) = gone {
            return Poll::Ready(Happening::Gone(ticket));
        }
        let _ = self.poll_write(cx);
        // What has come from the stream goes first: it may be the answer to a request that is held.
        if !self.ended
            && self.session.has_room()
            && let Poll::Ready(happening) = self.poll_read(cx)
        {
            return Poll::Ready(happening);
        }
        if self.upstream.len() - self.written < BACKLOG
            && let Poll::Ready(Some(parcel)) = self.parcels.poll_recv(cx)
        {
            return Poll::Ready(Happening::Request(parcel));
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let mut buffer = buffers::take_read();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        let count = read.filled().len();
        match polled {
            Poll::Ready(Ok(())) if count > 0 => Poll::Ready(Happening::Read(buffer, count)),
            Poll::Ready(_) => {
                buffers::give_read(buffer);
                self.ended = true;
                Poll::Ready(Happening::StreamEnded)
            }
            Poll::Pending => {
                buffers::give_read(buffer);
                Poll::Pending
            }
        }
    }

    /// Writes what there is, and then closes if that is asked for. Ready when nothing is left to do.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = self.upstream.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(count)) if count > 0 => self.written += count,
                // Nobody reads: the stream has ended, as reading tells.
                Poll::Ready(_) => self.written = self.upstream.len(),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.upstream = Vec::new();
        self.written = 0;
        if self.closing == Closing::Asked && Pin::new(&mut self.stream).poll_shutdown(cx).is_ready() {
            self.closing = Closing::Done;
        }
        Poll::Ready(())
    }

    /// What never reached the client finds another way, and the stream ends.
    async fn finish(mut self) {
        self.server.inner().bosh.forget(&self.sid);
        self.replies.clear();
        // Whoever knocks now is told that nobody lives here.
        self.parcels.close();
        let closing = self.server.limits().closing;
        let rest = poll_fn(|cx| {
            // Answers that are on their way have done what they could.
            while let Poll::Ready(Some((ticket, content))) = self.lost.poll_recv(cx) {
                self.session.unread(ticket, &content, self.began.elapsed());
            }
            while !self.ended
                && let Poll::Ready(happening) = self.poll_read(cx)
            {
                self.react(happening, self.began.elapsed());
            }
            self.poll_write(cx)
        });
        if tokio::time::timeout(closing, rest).await.is_err() {
            tracing::debug!("the stream behind a BOSH session takes nothing");
        }
        let leftovers = self.session.leftovers();
        self.bounce(leftovers);
    }

    fn bounce(&self, stanzas: Vec<Stanza>) {
        let Some(jid) = self.session.jid().and_then(|jid| Jid::lenient(jid).ok()) else { return };
        for stanza in stanzas {
            self.server.undelivered(&jid, stanza);
        }
    }
}
