//! The elements `<jingle/>` and `<content/>` (XEP-0166 §7.1, §7.3).

use super::{NS, Reason};
use xmpp_core::{
    jid::Jid,
    payload::{Payload, PayloadError, TextValue, support},
    xml::{ElementRef, Stanza, Writer},
};

/// What a `<jingle/>` is for (§7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TextValue)]
pub enum Action {
    /// Accepts contents that were added.
    #[xml(value = "content-accept")]
    ContentAccept,
    /// Adds contents.
    #[xml(value = "content-add")]
    ContentAdd,
    /// Changes who sends.
    #[xml(value = "content-modify")]
    ContentModify,
    /// Refuses contents that were added.
    #[xml(value = "content-reject")]
    ContentReject,
    /// Takes contents away.
    #[xml(value = "content-remove")]
    ContentRemove,
    /// Tells of an application's parameters.
    #[xml(value = "description-info")]
    DescriptionInfo,
    /// Tells of a security precondition.
    #[xml(value = "security-info")]
    SecurityInfo,
    /// Accepts the session.
    #[xml(value = "session-accept")]
    SessionAccept,
    /// Tells of the session; empty it asks for a sign of life.
    #[xml(value = "session-info")]
    SessionInfo,
    /// Asks for a session.
    #[xml(value = "session-initiate")]
    SessionInitiate,
    /// Ends the session.
    #[xml(value = "session-terminate")]
    SessionTerminate,
    /// Accepts another transport.
    #[xml(value = "transport-accept")]
    TransportAccept,
    /// Tells of candidates of a transport.
    #[xml(value = "transport-info")]
    TransportInfo,
    /// Refuses another transport.
    #[xml(value = "transport-reject")]
    TransportReject,
    /// Proposes another transport.
    #[xml(value = "transport-replace")]
    TransportReplace,
}

/// One of the two ends of a session (§7.3): who made a content, or which end we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, TextValue)]
pub enum Creator {
    /// Who has asked for the session.
    #[default]
    #[xml(value = "initiator")]
    Initiator,
    /// Who was asked.
    #[xml(value = "responder")]
    Responder,
}

impl Creator {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Creator {
        match self {
            Creator::Initiator => Creator::Responder,
            Creator::Responder => Creator::Initiator,
        }
    }
}

/// Which ends send (§7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TextValue)]
pub enum Senders {
    /// Both.
    #[default]
    #[xml(value = "both")]
    Both,
    /// The initiator.
    #[xml(value = "initiator")]
    Initiator,
    /// Nobody.
    #[xml(value = "none")]
    None,
    /// The responder.
    #[xml(value = "responder")]
    Responder,
}

impl Senders {
    /// Whether this end sends.
    pub fn includes(self, end: Creator) -> bool {
        matches!(
            (self, end),
            (Senders::Both, _) | (Senders::Initiator, Creator::Initiator) | (Senders::Responder, Creator::Responder)
        )
    }
}

/// What a content goes by in a session: there is one of each (§7.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId {
    /// Who made it.
    pub creator: Creator,
    /// The creator's name for it.
    pub name: String,
}

/// One `<content/>`: an application and a transport, or what is said of them.
#[derive(Clone, Debug)]
pub struct Content {
    /// What it goes by.
    pub id: ContentId,
    /// How it is meant (RFC 2183); `session` unless said.
    pub disposition: Option<String>,
    /// Who sends; both unless said.
    pub senders: Option<Senders>,
    /// The application: an element `description` of its own namespace.
    pub description: Option<Stanza>,
    /// The transport: an element `transport` of its own namespace.
    pub transport: Option<Stanza>,
    /// The security precondition: an element `security` of its own namespace (§9).
    pub security: Option<Stanza>,
}

/// By what stands on the wire.
impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        let text = |element: &Option<Stanza>| element.as_ref().map(|it| it.as_str().to_owned());
        self.id == other.id
            && self.disposition == other.disposition
            && self.senders == other.senders
            && text(&self.description) == text(&other.description)
            && text(&self.transport) == text(&other.transport)
            && text(&self.security) == text(&other.security)
    }
}

impl Content {
    /// One of this creator and name, and nothing said of it.
    pub fn new(creator: Creator, name: impl Into<String>) -> Content {
        Content::of(ContentId { creator, name: name.into() })
    }

    /// One with which the initiator begins a session.
    pub fn initial(name: impl Into<String>) -> Content {
        Content::new(Creator::Initiator, name)
    }

    /// One that is known by this.
    pub fn of(id: ContentId) -> Content {
        Content { id, disposition: None, senders: None, description: None, transport: None, security: None }
    }

    /// With who sends.
    #[must_use]
    pub fn with_senders(mut self, senders: Senders) -> Content {
        self.senders = Some(senders);
        self
    }

    /// With its application.
    #[must_use]
    pub fn with_description(mut self, description: Stanza) -> Content {
        self.description = Some(description);
        self
    }

    /// With its transport.
    #[must_use]
    pub fn with_transport(mut self, transport: Stanza) -> Content {
        self.transport = Some(transport);
        self
    }

    /// With a security precondition.
    #[must_use]
    pub fn with_security(mut self, security: Stanza) -> Content {
        self.security = Some(security);
        self
    }

    /// Whether it belongs to the session proper, which [`Action::SessionAccept`] is about (§7.2.8).
    pub fn is_session(&self) -> bool {
        self.disposition.as_deref().is_none_or(|disposition| disposition == "session")
    }

    /// The namespace of the application.
    pub fn application(&self) -> Option<&str> {
        self.description.as_ref().map(|it| it.root().ns())
    }

    /// The namespace of the transport.
    pub fn transport_ns(&self) -> Option<&str> {
        self.transport.as_ref().map(|it| it.root().ns())
    }
}

impl Payload for Content {
    const NAME: &'static str = "content";
    const NS: &'static str = NS;

    fn read(el: ElementRef<'_>) -> Result<Content, PayloadError> {
        if !Self::matches(el) {
            return Err(PayloadError::other_element(Self::NAME));
        }
        let creator = support::attr(el, Self::NAME, "creator")?.unwrap_or_default();
        let name: Option<String> = support::attr(el, Self::NAME, "name")?;
        let name = support::required(name, Self::NAME, "name")?;
        let mut content = Content::new(creator, name);
        content.disposition = support::attr(el, Self::NAME, "disposition")?;
        content.senders = support::attr(el, Self::NAME, "senders")?;
        for child in el.children().filter(|child| child.ns() != NS) {
            let (slot, field) = match child.name() {
                "description" => (&mut content.description, "description"),
                "transport" => (&mut content.transport, "transport"),
                "security" => (&mut content.security, "security"),
                _ => continue,
            };
            support::fill(slot, child.to_stanza(), Self::NAME, field)?;
        }
        Ok(content)
    }

    fn write(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        w.attr("creator", &self.id.creator.to_text());
        w.attr_opt("disposition", self.disposition.as_deref());
        w.attr("name", &self.id.name);
        w.attr_opt("senders", self.senders.as_ref().map(TextValue::to_text).as_deref());
        for child in [&self.description, &self.transport, &self.security].into_iter().flatten() {
            w.element(child.root());
        }
        w.close();
    }
}

/// One `<jingle/>`: what one end says of a session.
#[derive(Clone, Debug)]
pub struct Jingle {
    /// What it is for.
    pub action: Action,
    /// The session. Random, made by the initiator.
    pub sid: String,
    /// Who claims to have asked for the session; only its sender vouches for it (§7.1, §13.5).
    pub initiator: Option<Jid>,
    /// Who claims to have accepted the session; only its sender vouches for it.
    pub responder: Option<Jid>,
    /// The contents that it is about.
    pub contents: Vec<Content>,
    /// Why.
    pub reason: Option<Reason>,
    /// Everything else in it, of other namespaces: what an [`Action::SessionInfo`] tells, and groups of contents.
    pub others: Vec<Stanza>,
}

impl PartialEq for Jingle {
    fn eq(&self, other: &Jingle) -> bool {
        self.action == other.action
            && self.sid == other.sid
            && self.initiator == other.initiator
            && self.responder == other.responder
            && self.contents == other.contents
            && self.reason == other.reason
            && self.others.iter().map(Stanza::as_str).eq(other.others.iter().map(Stanza::as_str))
    }
}

impl Jingle {
    /// One with nothing in it.
    pub fn new(action: Action, sid: impl Into<String>) -> Jingle {
        Jingle {
            action,
            sid: sid.into(),
            initiator: None,
            responder: None,
            contents: Vec::new(),
            reason: None,
            others: Vec::new(),
        }
    }

    /// About what it takes in memory.
    #[cfg(feature = "client")]
    pub(super) fn bytes(&self) -> usize {
        let parts = self.contents.iter().flat_map(|it| [&it.description, &it.transport, &it.security]).flatten();
        let elements = parts.chain(&self.others).map(|element| ELEMENT + element.as_str().len());
        let names = self.contents.iter().map(|content| ELEMENT + content.id.name.len());
        elements.chain(names).sum()
    }
}

/// What any element takes beside its text.
#[cfg(feature = "client")]
const ELEMENT: usize = 128;

impl Payload for Jingle {
    const NAME: &'static str = "jingle";
    const NS: &'static str = NS;

    fn read(el: ElementRef<'_>) -> Result<Jingle, PayloadError> {
        if !Self::matches(el) {
            return Err(PayloadError::other_element(Self::NAME));
        }
        let action = support::required(support::attr(el, Self::NAME, "action")?, Self::NAME, "action")?;
        let sid: Option<String> = support::attr(el, Self::NAME, "sid")?;
        let sid = sid.filter(|sid| !sid.is_empty());
        let mut jingle = Jingle::new(action, support::required(sid, Self::NAME, "sid")?);
        // What is to be ignored is not refused either (§7.1).
        let address = |name| el.attr(name).and_then(|it| Jid::from_text(&it).ok());
        (jingle.initiator, jingle.responder) = (address("initiator"), address("responder"));
        for child in el.children() {
            if Content::matches(child) {
                jingle.contents.push(Content::read(child)?);
            } else if Reason::matches(child) {
                support::fill(&mut jingle.reason, Reason::read(child)?, Self::NAME, "reason")?;
            } else if child.ns() != NS {
                jingle.others.push(child.to_stanza());
            }
        }
        Ok(jingle)
    }

    fn write(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        w.attr("action", &self.action.to_text());
        w.attr_opt("initiator", self.initiator.as_ref().map(Jid::as_str));
        w.attr_opt("responder", self.responder.as_ref().map(Jid::as_str));
        w.attr("sid", &self.sid);
        for content in &self.contents {
            content.write(w);
        }
        if let Some(reason) = &self.reason {
            reason.write(w);
        }
        for other in &self.others {
            w.element(other.root());
        }
        w.close();
    }
}
