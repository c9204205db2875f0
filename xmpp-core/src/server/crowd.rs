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
