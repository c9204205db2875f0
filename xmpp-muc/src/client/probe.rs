//! What a client knows of a room, for the fuzz target alone.
#![allow(clippy::panic, clippy::unwrap_used)]

use super::{
    Invitation, MucClientSettings,
    feed::{Read, Reader},
    state::{Asked, Said, Standing, State},
};
use std::time::Duration;
use tokio::{sync::oneshot, time::Instant};
use xmpp_core::{
    jid::BareJid,
    stanza::{AnyStanza, Message},
    xml::Stanza,
};

/// A client on its way into a room, and in it.
#[derive(Debug)]
pub struct Probe {
    state: State,
    events: Option<Reader<super::RoomEvent>>,
    now: Instant,
    number: u32,
}

/// The bounds that are tried.
const OCCUPANTS: usize = 8;
const OCCUPANT_BYTES: usize = 8_000;
const EVENTS: usize = 16;
const EVENT_BYTES: usize = 8_000;

impl Probe {
    /// On its way into `coven@rooms.lit` as `witch`.
    pub fn new() -> Option<Probe> {
        let settings = MucClientSettings {
            occupants: OCCUPANTS,
            occupant_bytes: OCCUPANT_BYTES,
            events: EVENTS,
            event_bytes: EVENT_BYTES,
            remembered: 8,
            ..MucClientSettings::default()
        };
        let now = Instant::now();
        let mut state = State::new(BareJid::new("coven@rooms.lit").ok()?, settings, now);
        state.features.insert("urn:xmpp:sid:0".to_owned());
        let events = state.subscribe();
        let mut probe = Probe { state, events, now, number: 0 };
        probe.enter();
        Some(probe)
    }

    /// What the application does, by a letter.
    pub fn does(&mut self, what: char) {
        self.number += 1;
        match what {
            'e' => self.enter(),
            's' if self.state.is_inside() => {
                let (answer, _) = oneshot::channel();
                let subject = self.number.is_multiple_of(2).then(|| "s".to_owned());
                self.state.said.insert(self.number.to_string(), Said { subject, answer });
            }
            'n' if self.state.is_inside() => {
                let (answer, _) = oneshot::channel();
                self.state.renaming = Some(Asked { id: "nick".to_owned(), nick: "hag".to_owned(), answer });
            }
            'l' if self.state.is_inside() => self.state.leaving = Some(oneshot::channel().0),
            'b' => self.state.session_begins(self.now),
            'r' => self.state.session_resumes(self.now),
            't' => self.now += Duration::from_secs(60),
            'x' => while self.events.as_ref().and_then(Reader::take).is_some() {},
            _ => {}
        }
        self.check();
    }

    fn enter(&mut self) {
        let (answer, _) = oneshot::channel();
        self.state.enter("join", "witch", answer);
    }

    /// A stanza from the room or from one of its occupants, as the client passes it on.
    pub fn hears(&mut self, stanza: Stanza) {
        let Ok(stanza) = AnyStanza::from_stanza(stanza) else { return };
        if stanza.from().is_none_or(|from| from.bare_str() != "coven@rooms.lit") {
            return;
        }
        match &stanza {
            AnyStanza::Presence(presence) => _ = self.state.presence(presence, self.now, 0.5),
            AnyStanza::Message(message) => {
                let _ = Invitation::read(message);
                self.state.message(message, self.now);
                self.archived(message);
            }
            AnyStanza::Iq(_) => {}
        }
        self.check();
    }

    fn archived(&mut self, message: &Message) {
        let id = message.id().unwrap_or_default().into_owned();
        if let Some(read) = self.state.archived(&id, message, None) {
            assert!(self.state.archived(&id, message, None).is_none(), "{read:?} is told twice");
        }
    }

    fn check(&self) {
        let (state, all) = (&self.state, self.state.occupants.all());
        // Who is in the room knows itself, and nobody is known in a room that one is not in.
        assert!(!state.is_inside() || state.occupants.get(&state.nick).is_some(), "we are not there: {state:?}");
        assert!(matches!(state.standing, Standing::Entering | Standing::Inside) || all.is_empty(), "{state:?}");
        assert!(all.iter().all(|one| state.occupants.get(&one.nick) == Some(one)));
        // Ourselves beyond the bounds, by the least that is known.
        assert!(all.len() <= OCCUPANTS + 1 && state.occupants.bytes() <= OCCUPANT_BYTES + 4_096);
        assert!(state.events.as_ref().is_some_and(|events| events.bytes() <= EVENT_BYTES));
        let mut waiting = 0;
        let reader = self.state.subscribe();
        while let Some(Read::One(_) | Read::Lost(_)) = reader.as_ref().and_then(Reader::take) {
            waiting += 1;
        }
        assert_eq!(waiting, 0, "a new reader hears what is new");
        let _ = state.duty(self.now);
    }
}
