//! One stanza for many recipients: what a room tells its occupants. Whatever is the same for all of them is done once.

use super::{
    Server,
    line::{Pending, Place, panicked},
    route::{Decision, Envelope, Station, Verdict},
    router::stanza_kind,
};
use crate::{
    jid::Jid,
    stanza::StanzaKind,
    xml::{Stanza, ns, quoted},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// A stanza for many, as clients get it but for the address.
#[derive(Debug)]
pub(crate) struct Crowd {
    stanza: Stanza,
    written: Vec<u8>,
    /// Where the name ends, and the address belongs.
    name: usize,
}

impl Crowd {
    fn new(stanza: &Stanza, from: &Jid) -> Crowd {
        let mut written = Vec::new();
        stanza.rewrite(ns::CLIENT).from(Some(from.as_str())).to(None).write(&mut written);
        Crowd { stanza: stanza.clone(), written, name: 1 + stanza.root().name().len() }
    }

    /// Whether this is what is written here: on its way another may have taken its place.
    pub(super) fn is_of(&self, stanza: &Stanza) -> bool {
        self.stanza.is_same(stanza)
    }

    /// Appends it as `to` gets it.
    pub(super) fn write(&self, to: &str, out: &mut Vec<u8>) {
        let (start, rest) = self.written.split_at_checked(self.name).unwrap_or_default();
        out.reserve(self.written.len() + to.len() + 16);
        out.extend_from_slice(start);
        quoted(out, "to", to);
        out.extend_from_slice(rest);
    }
}

impl Server {
    /// Sends a stanza, which has no `to`, to each of these addresses: what a room tells its occupants. It is written once
    /// a recipient, into its queue, and takes the same way as by [`send`](Self::send), but past stations that
    /// [let it pass](Station::passing).
    pub fn send_to_each<'a>(&self, from: &Jid, to: impl IntoIterator<Item = &'a Jid>, stanza: &Stanza) {
        let Ok(kind) = stanza_kind(stanza.root(), ns::CLIENT) else { return };
        let mut to = to.into_iter();
        let Some(first) = to.next() else { return };
        let (stanza, from) = (stanza.clone(), from.clone());
        let mut envelope =
            Envelope { stanza, kind, from, to: Some(first.clone()), sender: None, unaddressed: true, crowd: None };
        let Some(second) = to.next() else {
            return self.run_detached(envelope, self.inner().outgoing);
        };
        let crowd = Arc::new(Crowd::new(&envelope.stanza, &envelope.from));
        envelope.crowd = Some(Arc::clone(&crowd));
        let way = self.way(&envelope);
        let mut last: Option<(&str, bool)> = None;
        for to in [first, second].into_iter().chain(to) {
            let is_here = match last {
                Some((domain, is_here)) if domain == to.domain() => is_here,
                _ => self.hosts(to.domain()) && !self.delegates(to.domain()),
            };
            last = Some((to.domain(), is_here));
            envelope.to = Some(to.clone());
            self.pass(&mut envelope, &crowd, &way, is_here);
        }
    }

    /// The stations that a stanza for many has to pass.
    fn way(&self, envelope: &Envelope) -> Vec<(usize, &Station)> {
        let stations = self.inner().route.iter().enumerate().skip(self.inner().outgoing);
        let passes = |station: &Station| {
            // One that panics will do so in its place.
            catch_unwind(AssertUnwindSafe(|| station.lets_pass(envelope, self))).unwrap_or(false)
        };
        stations.filter(|(_, station)| station.sees(envelope.kind) && !passes(station)).collect()
    }

    /// Lets a stanza pass its way for one recipient, as far as nobody does anything with it. Then its route goes on as
    /// that of any other.
    fn pass(&self, envelope: &mut Envelope, crowd: &Crowd, way: &[(usize, &Station)], is_here: bool) {
        if self.inner().detached.has_waiting() {
            return self.run_detached(envelope.clone(), self.inner().outgoing);
        }
        for (at, station) in way {
            if is_here && station.is_for_elsewhere() {
                continue;
            }
            let decided = catch_unwind(AssertUnwindSafe(|| (station.interceptor)(envelope, self)));
            let changed = !crowd.is_of(&envelope.stanza);
            match decided.unwrap_or_else(|_| Decision::Ready(panicked())) {
                Decision::Ready(Verdict::Continue) if !changed => {}
                Decision::Ready(Verdict::Handled) if !changed => return,
                decision => {
                    let this = envelope.clone();
                    envelope.stanza = crowd.stanza.clone();
                    return self.go_on(this, *at, decision);
                }
            }
        }
        self.undeliverable(envelope);
    }

    /// Goes on where the station with this number has decided something.
    #[cold]
    fn go_on(&self, mut envelope: Envelope, at: usize, decision: Decision) {
        let waits = |envelope: Envelope, verdict, in_order| {
            let place = Place { station: at, in_order };
            Some(Box::new(Pending::waits(envelope, at + 1, place, self.in_time(verdict), None)))
        };
        let pending = match decision {
            Decision::Ready(verdict) => {
                if !self.settle(verdict, &mut envelope) {
                    self.run_detached(envelope, at + 1);
                }
                return;
            }
            Decision::Meanwhile(verdict) => {
                let verdict = self.in_time(verdict);
                self.run_behind(envelope, at + 1, Some(verdict), None)
            }
            Decision::Wait(verdict) => waits(envelope, verdict, false),
            Decision::InOrder(verdict) => {
                let is_message = envelope.kind == StanzaKind::Message;
                waits(envelope, verdict, is_message)
            }
        };
        if let Some(pending) = pending {
            self.follow_later(pending);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        server::{
            Kinds, MemoryAccounts, ServerRegistrar, Stage,
            session::{Outgoing, Role, Session},
        },
        xml::XmlLimits,
    };
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Poll, Waker},
    };

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn server(extension: impl FnOnce(&mut ServerRegistrar) + 'static) -> Server {
        Server::builder("localhost").accounts(MemoryAccounts::new()).with(extension).build().unwrap()
    }

    fn session(server: &Server, name: &str) -> Arc<Session> {
        let session = Arc::new(Session::new(jid(&format!("{name}@localhost/x")), Role::Client, 0));
        server.session_started(&session).unwrap();
        session
    }

    fn say(server: &Server, to: &[&Arc<Session>]) {
        let text = "<message type='groupchat' from='r@rooms/&apos;' xml:lang='en'><body>hi</body></message>";
        let stanza = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let to: Vec<Jid> = to.iter().map(|session| session.jid().clone()).collect();
        server.send_to_each(&jid("r@rooms/'"), &to, &stanza);
    }

    fn heard(session: &Session) -> Option<String> {
        match session.poll_outgoing(&mut Context::from_waker(Waker::noop()), 0) {
            Poll::Ready(Outgoing::Bytes(bytes)) => Some(String::from_utf8(bytes).unwrap()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn each_gets_it_under_the_own_address() {
        let server = server(|_| ());
        let sessions = [session(&server, "a"), session(&server, "b"), session(&server, "d")];
        say(&server, &[&sessions[0], &sessions[1], &sessions[2]]);
        for session in &sessions {
            let heard = heard(session).unwrap();
            let stanza = Stanza::parse(&heard, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
            let root = stanza.root();
            assert_eq!(root.attr("to").unwrap(), session.jid().as_str(), "{heard}");
            assert_eq!(root.attr("from").unwrap(), "r@rooms/'", "{heard}");
            assert_eq!(heard.matches("<body>hi</body>").count(), 1);
        }
    }

    #[tokio::test]
    async fn a_station_that_lets_it_pass_is_asked_once() {
        let (asked, met) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&asked), Arc::clone(&met));
        let server = server(move |r| {
            let (asked, met) = counts;
            let meet = move |_: &mut Envelope, _: &Server| {
                met.fetch_add(1, Ordering::Relaxed);
                Verdict::Continue
            };
            let station = Station::new("test:one", Stage::Incoming, Kinds::ALL, meet.clone());
            r.station(
                station.passing(move |envelope, _| asked.fetch_add(1, Ordering::Relaxed) < 9 && !envelope.is_error()),
            );
            r.station(Station::new("test:two", Stage::Incoming, Kinds::ALL, meet));
        });
        let sessions = [session(&server, "a"), session(&server, "b"), session(&server, "c")];
        say(&server, &[&sessions[0], &sessions[1], &sessions[2]]);
        assert_eq!((asked.load(Ordering::Relaxed), met.load(Ordering::Relaxed)), (1, 3));
        // One recipient is no crowd, and everybody is asked.
        say(&server, &[&sessions[0]]);
        assert_eq!((asked.load(Ordering::Relaxed), met.load(Ordering::Relaxed)), (1, 5));
    }

    #[tokio::test]
    async fn what_is_decided_for_one_does_not_concern_the_others() {
        let server = server(|r| {
            let decide = |envelope: &mut Envelope, _: &Server| -> Decision {
                let other = envelope.stanza().rewrite(ns::CLIENT).id(Some("other")).to_stanza();
                match envelope.to().and_then(|to| to.local()) {
                    Some("a") => Verdict::Drop("a test").into(),
                    Some("b") => Verdict::ContinueWith(other).into(),
                    Some("c") => {
                        envelope.replace(other);
                        Verdict::Continue.into()
                    }
                    Some("d") => Decision::Wait(Box::pin(async { Verdict::Continue })),
                    _ => Verdict::Continue.into(),
                }
            };
            r.station(Station::new("test:decide", Stage::Incoming, Kinds::ALL, decide));
            // It would let the stanza pass as it came, and has to see what became of it.
            let mark = |envelope: &mut Envelope, _: &Server| {
                let is_other = envelope.stanza().root().attr("id").is_some();
                let marked = || envelope.stanza().rewrite(ns::CLIENT).type_(Some("chat")).to_stanza();
                if is_other { Verdict::ContinueWith(marked()) } else { Verdict::Continue }
            };
            let station = Station::new("test:mark", Stage::Incoming, Kinds::ALL, mark).after("test:decide");
            r.station(station.passing(|envelope, _| envelope.stanza().root().attr("id").is_none()));
        });
        let names = ["a", "b", "c", "d", "e"];
        let sessions: Vec<_> = names.iter().map(|name| session(&server, name)).collect();
        say(&server, &sessions.iter().collect::<Vec<_>>());
        while server.inner().detached.has_waiting() {
            tokio::task::yield_now().await;
        }
        let heard: Vec<Option<String>> = sessions.iter().map(|session| heard(session)).collect();
        assert_eq!(heard[0], None);
        for (number, heard) in heard.iter().enumerate().skip(1) {
            let heard = heard.as_ref().unwrap();
            let changed = matches!(number, 1 | 2);
            assert_eq!(heard.contains("id='other'"), changed, "{heard}");
            assert_eq!(heard.contains("type='chat'"), changed, "{heard}");
            assert!(heard.contains(&format!("to='{}'", sessions[number].jid())), "{heard}");
        }
    }

    #[tokio::test]
    async fn rfc6120_10_1_a_room_with_many_in_it_says_all_in_order_to_who_still_waits() {
        const OTHERS: usize = 1_200;
        let (loaded, asked) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (load, count) = (Arc::clone(&loaded), Arc::clone(&asked));
        let server = server(move |r| {
            // As a station that has to load a list for each recipient first.
            let load = move |envelope: &mut Envelope, _: &Server| -> Decision {
                if envelope.to().and_then(|to| to.local()) == Some("a") && count.fetch_add(1, Ordering::SeqCst) == 0 {
                    let load = Arc::clone(&load);
                    return Decision::Wait(Box::pin(async move {
                        load.notified().await;
                        Verdict::Continue
                    }));
                }
                Verdict::Continue.into()
            };
            r.station(Station::new("test:load", Stage::Incoming, Kinds::ALL, load));
        });
        let sessions = [session(&server, "a"), session(&server, "b")];
        let both: Vec<Jid> = sessions.iter().map(|session| session.jid().clone()).collect();
        for number in 0..OTHERS {
            let text = format!("<presence from='r@rooms/{number}' id='{number}.'/>");
            let stanza = Stanza::parse(&text, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
            // All who are there are told to who comes, and the last of them, that it is there itself, to others too.
            let to = if number + 1 < OTHERS { &both[..1] } else { &both[..] };
            server.send_to_each(&jid(&format!("r@rooms/{number}")), to, &stanza);
        }
        assert!(heard(&sessions[0]).is_none() && heard(&sessions[1]).is_some());
        loaded.notify_one();
        while server.inner().detached.has_waiting() {
            tokio::task::yield_now().await;
        }
        let mut all = String::new();
        while let Some(heard) = heard(&sessions[0]) {
            all.push_str(&heard);
        }
        let ids: Vec<usize> =
            all.split("id='").skip(1).filter_map(|rest| rest.split_once('.')?.0.parse().ok()).collect();
        assert_eq!(ids, (0..OTHERS).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_is_of_one_recipient() {
        let server = server(|r| {
            let fault = |envelope: &mut Envelope, _: &Server| {
                if envelope.to().and_then(|to| to.local()) == Some("a") {
                    std::panic::resume_unwind(Box::new("a fault"));
                }
                Verdict::Continue
            };
            r.station(Station::new("test:fault", Stage::Incoming, Kinds::ALL, fault));
        });
        let sessions = [session(&server, "a"), session(&server, "b")];
        say(&server, &[&sessions[0], &sessions[1]]);
        assert!(heard(&sessions[0]).is_none() && heard(&sessions[1]).is_some());
    }
}
