//! Two ends and what goes between them.

use crate::jingle::{Content, ContentId, Creator, Event, Jingle, Sent, Session, SessionLimits};
use std::collections::VecDeque;
use xmpp_core::{
    jid::FullJid,
    payload::Payload,
    stanza::StanzaError,
    xml::{Stanza, Writer, XmlLimits},
};

pub(super) fn element(xml: &str) -> Stanza {
    Stanza::parse(xml, "", &XmlLimits::authenticated()).unwrap()
}

pub(super) fn jingle(xml: &str) -> Jingle {
    Jingle::read(element(xml).root()).unwrap()
}

pub(super) fn xml(payload: &impl Payload) -> String {
    let mut w = Writer::new("");
    payload.write(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

pub(super) fn error_xml(error: impl Into<StanzaError>) -> String {
    let mut w = Writer::new("jabber:client");
    error.into().write(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

pub(super) fn alice() -> FullJid {
    "alice@wonder.example/mirror".parse().unwrap()
}

pub(super) fn hatter() -> FullJid {
    "hatter@tea.example/table".parse().unwrap()
}

pub(super) fn description() -> Stanza {
    element("<description xmlns='urn:example:tea'/>")
}

pub(super) fn transport(namespace: &str) -> Stanza {
    element(&format!("<transport xmlns='{namespace}'/>"))
}

pub(super) fn offer(creator: Creator, name: &str) -> Content {
    Content::new(creator, name).with_description(description()).with_transport(transport("urn:example:pot"))
}

pub(super) fn id(creator: Creator, name: &str) -> ContentId {
    ContentId { creator, name: name.into() }
}

/// An initiator and a responder, with what is under way between them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) ends: [Session; 2],
    /// To each end, in order.
    pub(super) ways: [VecDeque<Way>; 2],
    pub(super) events: [Vec<Event>; 2],
    pub(super) errors: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Way {
    Message(Sent),
    Answer(crate::jingle::SentId, Result<(), StanzaError>),
}

impl Pair {
    pub(super) fn new(names: &[&str]) -> Pair {
        let contents = names.iter().map(|name| offer(Creator::Initiator, name)).collect();
        let limits = SessionLimits::default();
        let (mut one, sent) = Session::initiate("rabbit", alice(), hatter(), contents, limits).unwrap();
        let other = Session::incoming(&sent.jingle, hatter(), alice(), limits).unwrap();
        one.answered(sent.id, Ok(()));
        Pair { ends: [one, other], ways: Default::default(), events: Default::default(), errors: Vec::new() }
    }

    /// An accepted session.
    pub(super) fn active(names: &[&str]) -> Pair {
        let mut pair = Pair::new(names);
        let offered = pair.ends[1].offered();
        let sent = pair.ends[1].accept(offered).unwrap();
        pair.send(1, sent);
        pair.settle();
        pair.events = Default::default();
        pair
    }

    pub(super) fn send(&mut self, end: usize, sent: Sent) {
        self.ways[1 - end].push_back(Way::Message(sent));
    }

    /// The end takes the next thing that has come to it.
    pub(super) fn step(&mut self, end: usize) -> bool {
        let Some(way) = self.ways[end].pop_front() else { return false };
        let events = match way {
            Way::Message(sent) => {
                // As it is on the wire.
                let read = Jingle::read(element(&xml(&sent.jingle)).root()).unwrap();
                assert_eq!(read, sent.jingle);
                let (answer, events) = match self.ends[end].receive(&read) {
                    Ok(events) => (Ok(()), events),
                    Err(error) => {
                        self.errors.push(format!("{:?}: {error:?}", read.action));
                        (Err(error.into()), Vec::new())
                    }
                };
                self.ways[1 - end].push_back(Way::Answer(sent.id, answer));
                events
            }
            Way::Answer(id, answer) => self.ends[end].answered(id, answer),
        };
        self.events[end].extend(events);
        true
    }

    /// Everything arrives.
    pub(super) fn settle(&mut self) {
        while self.step(0) || self.step(1) {}
    }

    /// What each end thinks of the contents.
    pub(super) fn view(&self, end: usize) -> Vec<String> {
        let mut view: Vec<String> = self.ends[end]
            .contents()
            .map(|content| {
                let definition = content.definition();
                format!(
                    "{:?} {:?} {} {:?} {:?} {:?}",
                    content.id(),
                    content.senders(),
                    content.is_accepted(),
                    definition.transport,
                    definition.description,
                    content.proposed_transport(),
                )
            })
            .collect();
        view.sort();
        view
    }

    pub(super) fn assert_agreed(&self) {
        assert_eq!(self.ends[0].phase(), self.ends[1].phase());
        assert_eq!(self.view(0), self.view(1));
        assert!(!self.ends.iter().any(Session::is_waiting));
    }
}
