//! Sessions without a connection (XEP-0198 §5): how they come to be, how they are resumed, and how they end.

use super::{
    Observed, Server,
    session::{Aside, Burden, Left, Role, Session},
    unsent::Unsent,
};
use crate::{
    jid::{BareJid, Jid},
    payload::{DateTime, Payload, delay::Delay},
    stanza::Condition,
    stream::ResumeError,
    xml::{Stanza, ns},
};
use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The sessions that hibernate.
#[derive(Default)]
pub(crate) struct Hibernating {
    /// By the address of their memory.
    sessions: Mutex<HashMap<usize, Arc<Session>>>,
    /// What they hold together.
    burden: Arc<AtomicUsize>,
    /// Some of them are being ended because they hold too much.
    relieving: AtomicBool,
}

impl Hibernating {
    fn table(&self) -> MutexGuard<'_, HashMap<usize, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What they hold together, in bytes.
    fn burden(&self) -> usize {
        self.burden.load(Ordering::Relaxed)
    }

    fn add(&self, session: &Arc<Session>) -> usize {
        let mut table = self.table();
        table.insert(Arc::as_ptr(session).addr(), Arc::clone(session));
        table.len()
    }

    fn remove(&self, session: &Arc<Session>) {
        self.table().remove(&Arc::as_ptr(session).addr());
    }

    pub(crate) fn count(&self) -> usize {
        self.table().len()
    }

    /// All of them, without a lock held.
    fn all(&self) -> Vec<Arc<Session>> {
        self.table().values().cloned().collect()
    }
}

impl Server {
    /// The connection of a session is over, with the last `written` bytes out of `writing`. When it was `lost`, the
    /// session hibernates if it may; else it ends.
    pub(super) fn disconnected(&self, session: &Arc<Session>, lost: bool, writing: &[u8], written: usize) {
        let lost = lost && !self.inner().stop.is_cancelled();
        let burden = || Burden::new(&self.inner().hibernating.burden);
        match session.leave(lost.then(|| (self.tick(), burden()))) {
            None => self.hibernate(session),
            Some(left) => self.finish(session, left, writing, written),
        }
    }

    fn hibernate(&self, session: &Arc<Session>) {
        let (inner, limits) = (self.inner(), self.limits());
        tracing::debug!(jid = %session.jid(), "a session hibernates");
        inner.stats.observe(|| Observed::SessionHibernated(session.jid().clone()));
        if inner.hibernating.add(session) > limits.hibernated {
            self.reap(session);
            return;
        }
        let mut others: Vec<_> = inner.directory.sessions(session.jid().bare_str());
        others.retain(|one| one.wakes_at().is_some());
        if others.len() > limits.hibernated_per_account
            && let Some(oldest) = others.iter().min_by_key(|one| one.wakes_at())
        {
            self.reap(oldest);
        }
        self.relieve();
    }

    /// Ends some of those that hibernate, if together they hold too much.
    pub(super) fn relieve(&self) {
        let (sleepers, most) = (&self.inner().hibernating, self.limits().hibernated_bytes);
        if sleepers.burden() <= most - most / 8 || sleepers.relieving.swap(true, Ordering::Relaxed) {
            return;
        }
        // Apart: there is much to hand on, and some of it may come to another of them.
        let server = self.clone();
        self.inner().tasks.spawn(async move {
            server.end_greediest(most - most / 4).await;
            server.inner().hibernating.relieving.store(false, Ordering::Relaxed);
        });
    }

    /// Ends those that hold the most, and among equals those that have waited longest, until all together hold no more
    /// than `enough`.
    async fn end_greediest(&self, enough: usize) {
        let sleepers = &self.inner().hibernating;
        let mut all: Vec<_> =
            sleepers.all().into_iter().filter_map(|one| Some((one.burden()?, one.wakes_at()?, one))).collect();
        all.sort_unstable_by_key(|(burden, wakes_at, _)| (std::cmp::Reverse(*burden), *wakes_at));
        for (burden, _, session) in all {
            if sleepers.burden() <= enough {
                break;
            }
            tracing::debug!(jid = %session.jid(), burden, "a session that hibernates ends early: it holds too much");
            self.reap(&session);
            tokio::task::yield_now().await;
        }
    }

    /// Ends a session if it hibernates.
    pub(super) fn reap(&self, session: &Arc<Session>) {
        if let Some(left) = session.end_hibernation() {
            self.inner().hibernating.remove(session);
            self.finish(session, left, &[], 0);
        }
    }

    /// For the keeper: ends those that have hibernated long enough, or have been sent more than they can hold.
    pub(super) fn end_hibernations(&self, tick: u32) {
        for session in self.inner().hibernating.all() {
            match session.wakes_at() {
                None => self.inner().hibernating.remove(&session),
                Some(until) if until <= tick || !session.is_open() => {
                    // Apart: there may be much to hand on.
                    let server = self.clone();
                    self.inner().tasks.spawn(async move { server.reap(&session) });
                }
                Some(_) => {}
            }
        }
    }

    /// Gives a former session of `user` to a new connection, with the number of stanzas it has handled. Only sessions
    /// of this account are looked at, so an id of another's says nothing. A connection that still has it must leave
    /// first, and the stanza that it routes must arrive: else it would come twice.
    ///
    /// Cancel-safe: until it is ready, the session is not taken.
    pub(super) async fn resume(
        &self,
        user: &BareJid,
        id: &str,
        handled: u32,
    ) -> Result<(Arc<Session>, u32), ResumeError> {
        let sessions = self.inner().directory.sessions(user.as_str());
        let Some(session) = sessions.into_iter().find(|session| session.resumes_as(id)) else {
            return Err(ResumeError::NotFound(None));
        };
        let patience = self.limits().handler.min(self.limits().phase / 2);
        let claim = poll_fn(|cx| session.poll_resume(cx, handled, self.tick()));
        let count = match tokio::time::timeout(patience, claim).await {
            Ok(claimed) => claimed?,
            Err(_) => return Err(ResumeError::Other(Condition::ResourceConstraint)),
        };
        let inner = self.inner();
        inner.hibernating.remove(&session);
        inner.stats.resumed.fetch_add(1, Ordering::Relaxed);
        inner.stats.observe(|| Observed::SessionResumed(session.jid().clone()));
        Ok((session, count))
    }

    /// A session has ended: it leaves the directory, and what its client did not get finds another way, in order.
    fn finish(&self, session: &Arc<Session>, left: Left, writing: &[u8], written: usize) {
        self.session_ended(session);
        let Left { queued, managed, aside } = left;
        let mut unsent = Unsent::new(session.content_ns());
        let undelivered = |stanzas: Vec<Stanza>| {
            stanzas.into_iter().for_each(|stanza| match session.role() {
                Role::Client => self.undelivered(session.jid(), stanza),
                Role::Component | Role::Server => self.bounce(stanza),
            });
        };
        if managed.as_ref().is_none_or(|managed| !managed.is_announced()) {
            // With management, only what stands before <enabled/>: the rest is among the unacknowledged.
            let until_enabled = managed.is_some();
            let (mut stanzas, reached) = unsent.read(writing, written, until_enabled);
            // Once <enabled/> is taken, what was queued later is remembered too, whether or not all that was taken is
            // through.
            if !reached && managed.as_ref().is_none_or(|managed| managed.is_queued()) {
                stanzas.extend(unsent.read(&queued, 0, until_enabled).0);
            }
            undelivered(stanzas);
        }
        let (held, asleep) = match aside.map(|aside| *aside) {
            Some(Aside::Inactive(held)) => (Some(held), None),
            Some(Aside::Asleep(asleep)) => (None, Some(asleep.into_stanzas())),
            None => (None, None),
        };
        let unacked = managed.into_iter().flat_map(|managed| managed.into_unacked());
        for sent in unacked.chain(asleep.into_iter().flatten()) {
            let stanzas = unsent.read(&sent.bytes, 0, false).0;
            undelivered(stanzas.into_iter().map(|stanza| delayed(stanza, session.jid(), sent.at)).collect());
        }
        for bytes in held.into_iter().flat_map(|mut held| held.take()) {
            undelivered(unsent.read(&bytes, 0, false).0);
        }
    }
}

/// XEP-0198 §4: with the time of the delivery that failed, on a message that has none.
fn delayed(stanza: Stanza, recipient: &Jid, at: SystemTime) -> Stanza {
    let root = stanza.root();
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = i64::try_from(since.as_secs()).ok().and_then(|secs| DateTime::from_unix(secs, since.subsec_nanos()));
    let (true, Some(stamp)) = (root.name() == "message" && root.child("delay", Delay::NS).is_none(), stamp) else {
        return stanza;
    };
    let from = Jid::from_parts(None, recipient.domain(), None).ok();
    let delay = Delay { from, stamp: stamp.to_millis(), reason: None };
    stanza.rewrite(ns::CLIENT).append(&|w| delay.write(w)).to_stanza()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        server::{
            Envelope, Kinds, MemoryAccounts, ServerRegistrar, Stage, Station, Verdict, client_state::Idle,
            session::Outgoing,
        },
        stream::{StreamCondition, StreamError, management::Enable},
    };
    use std::task::{Context, Poll, Waker};

    type Log = Arc<Mutex<Vec<String>>>;

    /// A server that notes what could not be delivered, and a session of it.
    fn scene() -> (Server, Arc<Session>, Log) {
        let log = Log::default();
        let lost = Arc::clone(&log);
        let extension = move |r: &mut ServerRegistrar| {
            let note = move |envelope: &mut Envelope, _: &Server| {
                lost.lock().unwrap().push(envelope.stanza().root().attr("id").unwrap().into_owned());
                Verdict::Handled
            };
            r.station(Station::new("test:log", Stage::Undelivered, Kinds::ALL, note));
        };
        let server = Server::builder("localhost").accounts(MemoryAccounts::new()).with(extension).build().unwrap();
        let session = Arc::new(Session::new(Jid::new("juliet@localhost/x").unwrap(), Role::Client, 0));
        server.session_started(&session).unwrap();
        (server, session, log)
    }

    fn stanza(id: u32) -> Vec<u8> {
        format!("<presence id='{id}' from='romeo@localhost/{id}' to='juliet@localhost/x'/>").into_bytes()
    }

    #[tokio::test]
    async fn what_is_held_is_handed_on_behind_an_end_tag_that_was_never_written() {
        let (server, session, log) = scene();
        session.push(server.limits(), |out| out.extend(stanza(0)));
        session.set_inactive(true, server.limits());
        for (id, from) in [(1, "romeo@localhost/1"), (2, "romeo@localhost/2")] {
            session.push_idle(server.limits(), from, || Some(Idle::Presence), |out| out.extend(stanza(id)));
        }
        session.close(Some(&StreamError::new(StreamCondition::Conflict)));
        server.disconnected(&session, true, &[], 0);
        assert_eq!(*log.lock().unwrap(), ["0", "1", "2"]);
    }

    #[tokio::test]
    async fn xep0198_3_nothing_is_handed_on_twice_while_enabled_is_not_flushed() {
        let (server, session, log) = scene();
        session.push(server.limits(), |out| out.extend(stanza(0)));
        session.enable(&Enable { resume: true, max: None }, server.limits(), true).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Outgoing::Bytes(bytes)) = session.poll_outgoing(&mut cx, 0) else { unreachable!() };
        session.push(server.limits(), |out| out.extend(stanza(1)));
        // TLS has taken all of it, and the connection ends before it is through.
        server.disconnected(&session, true, &bytes, bytes.len());
        assert_eq!(*log.lock().unwrap(), ["1"]);
    }
}
