//! What a session's routes wait for: stanzas one behind the other, none of which passes those before it.
//!
//! Most stations that wait let nothing else of their sender be routed meanwhile ([`Decision::Wait`]). Some take up more
//! messages while earlier ones are with them ([`Decision::InOrder`]): a store that commits many writes together is then
//! given all that a sender has to be written, not one message a commit.
//!
//! [`Decision::Wait`]: super::Decision::Wait
//! [`Decision::InOrder`]: super::Decision::InOrder

use super::{
    Server,
    route::{Envelope, Verdict},
};
use crate::{
    BoxFuture,
    stanza::StanzaError,
    stream::StreamError,
    xml::{Event, XmlError},
};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, ready},
};

/// Messages of a session that wait at a time.
const LONGEST: usize = 16;

/// Bytes of theirs; the last may go beyond.
const LARGEST: usize = 64 * 1024;

/// What was scanned: an event, or what is wrong.
pub(super) type Scanned = Result<Event, XmlError>;

/// Where a stanza waits, for those behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The station, by its number on the route.
    pub(super) station: usize,
    /// Whether that takes up others meanwhile.
    pub(super) in_order: bool,
}

impl Place {
    /// Whether one behind may be taken up by the station with this number.
    pub(super) fn admits(self, station: usize) -> bool {
        station < self.station || (station == self.station && self.in_order)
    }
}

/// A route that waits.
pub(crate) struct Pending {
    pub(super) envelope: Envelope,
    /// The station that comes next.
    pub(super) position: usize,
    pub(super) place: Place,
    pub(super) verdict: Awaited,
    /// What has to be certain before the stanza is handed over.
    pub(super) meanwhile: Option<BoxFuture<'static, Verdict>>,
}

/// A verdict that is waited for.
pub(super) enum Awaited {
    Later(BoxFuture<'static, Verdict>),
    /// It is there, and is carried out as soon as nobody stands in the way.
    Now(Verdict),
}

impl Pending {
    pub(super) fn waits(
        envelope: Envelope,
        position: usize,
        place: Place,
        verdict: BoxFuture<'static, Verdict>,
        meanwhile: Option<BoxFuture<'static, Verdict>>,
    ) -> Pending {
        Pending { envelope, position, place, verdict: Awaited::Later(verdict), meanwhile }
    }

    /// Goes on as far as it can; ready when the route has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, server: &Server) -> Poll<()> {
        self.poll_behind(cx, server, None)
    }

    /// The same, not further than whoever is ahead.
    fn poll_behind(&mut self, cx: &mut Context<'_>, server: &Server, ahead: Option<Place>) -> Poll<()> {
        loop {
            if let Awaited::Later(verdict) = &mut self.verdict {
                let polled = catch_unwind(AssertUnwindSafe(|| verdict.as_mut().poll(cx)));
                self.verdict = Awaited::Now(match polled {
                    Ok(polled) => ready!(polled),
                    Err(_) => panicked(),
                });
            }
            if ahead.is_some_and(|ahead| !ahead.admits(self.position)) {
                return Poll::Pending;
            }
            if let Awaited::Now(verdict) = &mut self.verdict
                && server.settle(std::mem::replace(verdict, Verdict::Continue), &mut self.envelope)
            {
                return Poll::Ready(());
            }
            match server.run_behind(self.envelope.clone(), self.position, self.meanwhile.take(), ahead) {
                None => return Poll::Ready(()),
                Some(next) => *self = *next,
            }
        }
    }
}

pub(super) fn panicked() -> Verdict {
    tracing::error!("a handler panicked; its stanza is answered with internal-server-error");
    Verdict::Reject(StanzaError::internal_server_error())
}

/// A stanza in the line.
struct Waiting {
    bytes: usize,
    /// `None` has ended before one that came earlier.
    route: Option<Box<Pending>>,
}

/// The stanzas of a session whose routes have not ended, in the order in which they came.
#[derive(Default)]
pub(super) struct Line {
    routes: VecDeque<Waiting>,
    /// Of all of them.
    bytes: usize,
    /// What came after them and has to wait until they have ended.
    pub(super) held: Option<Scanned>,
}

impl Line {
    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.held.is_none()
    }

    /// How many are not counted as handled yet.
    pub(super) fn count(&self) -> usize {
        self.routes.len()
    }

    /// Whether nothing more is to be read for now.
    pub(super) fn is_full(&self) -> bool {
        let alone = |pending: &Pending| !pending.place.in_order;
        !self.routes.is_empty()
            && (self.held.is_some()
                || self.routes.len() >= LONGEST
                || self.bytes >= LARGEST
                || self.pending().any(alone))
    }

    /// Whether this may be routed before the others have ended. Only messages may: the routes of other stanzas change what
    /// the server knows, or answer what depends on it.
    pub(super) fn takes(&self, next: &Scanned) -> bool {
        self.routes.is_empty()
            || matches!(next, Ok(Event::Stanza(stanza)) if !self.is_full()
                && stanza.root().name() == "message" && !StreamError::matches(stanza.root()))
    }

    /// Where the last one waits.
    pub(super) fn place(&self) -> Option<Place> {
        self.pending().next_back().map(|pending| pending.place)
    }

    fn pending(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.routes.iter().filter_map(|waiting| waiting.route.as_deref())
    }

    /// Puts a route at the end; `None` is one that has ended already.
    pub(super) fn push(&mut self, route: Option<Box<Pending>>) {
        let bytes = route.as_ref().map_or(0, |pending| pending.envelope.stanza().as_str().len());
        self.bytes += bytes;
        self.routes.push_back(Waiting { bytes, route });
    }

    /// Lets all go on as far as they can. How many of the first have ended: so many stanzas have been handled.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, server: &Server) -> usize {
        let mut ahead = None;
        for waiting in &mut self.routes {
            let Some(pending) = &mut waiting.route else { continue };
            if pending.poll_behind(cx, server, ahead).is_ready() {
                waiting.route = None;
            } else {
                ahead = Some(pending.place);
            }
        }
        let mut ended = 0;
        while let Some(Waiting { bytes, route: None }) = self.routes.front() {
            self.bytes = self.bytes.saturating_sub(*bytes);
            self.routes.pop_front();
            ended += 1;
        }
        ended
    }
}
