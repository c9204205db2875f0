//! The stream of an external component, both ends (XEP-0114 §3, "accept").
//!
//! It is older than stream features, SASL and binding: a header each way, and one `<handshake/>` that shows knowledge
//! of a secret.

use super::{Header, NegotiationError, STREAM_END, StreamCondition, StreamError, header};
use crate::{
    jid::{BareJid, Jid},
    xml::{Event, Stanza, StreamHeader, Writer, ns},
};
use sha1::{Digest, Sha1};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the component has to send: SHA-1 of the stream's id and the secret, in lower-case hexadecimal (XEP-0114 §3).
///
/// ```
/// # use xmpp_core::stream::component_handshake;
/// assert_eq!(component_handshake("3BF96D32", "secret"), "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136");
/// ```
pub fn component_handshake(stream_id: &str, secret: &str) -> String {
    let digest = Sha1::new().chain_update(stream_id).chain_update(secret).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The components that a server serves, with their secrets.
#[derive(Clone, Default)]
pub struct ComponentSecrets(Arc<[(String, Zeroizing<String>)]>);

impl std::fmt::Debug for ComponentSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(domain, _)| domain)).finish()
    }
}

impl FromIterator<(String, String)> for ComponentSecrets {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(secrets: I) -> Self {
        ComponentSecrets(secrets.into_iter().map(|(domain, secret)| (domain, Zeroizing::new(secret))).collect())
    }
}

impl ComponentSecrets {
    fn find(&self, domain: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == domain).map(|(_, secret)| secret.as_str())
    }
}

/// What the server's driver is to do, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum ComponentTask {
    /// Send these bytes.
    Send(Vec<u8>),
    /// The handshake was wrong: slow whoever it is before going on.
    Failed,
    /// Enter a session for this domain, then call [`ComponentAcceptor::entered`]. It is the last of its list.
    Enter(BareJid),
    /// The session is ready. What was queued before is to be sent first.
    Accepted,
    /// Send what is queued and close the connection. The stream's end tag is among it.
    Close,
}

#[derive(Debug)]
enum Receiving {
    Header,
    Handshake(BareJid),
    /// A question is with the driver.
    Asked,
    Open,
    Closed,
}

/// The server's end of the negotiation.
#[derive(Debug)]
pub struct ComponentAcceptor {
    secrets: ComponentSecrets,
    state: Receiving,
    id: String,
    header_sent: bool,
}

impl ComponentAcceptor {
    /// A negotiation that has not begun. `id` is the stream's: fresh, unguessable, ASCII letters and digits.
    pub fn new(secrets: ComponentSecrets, id: String) -> ComponentAcceptor {
        ComponentAcceptor { secrets, state: Receiving::Header, id, header_sent: false }
    }

    /// Whether the component has said who it is, and has to prove it: the second of two phases.
    pub fn has_header(&self) -> bool {
        !matches!(self.state, Receiving::Header)
    }

    /// What the component sent.
    pub fn event(&mut self, event: Event) -> Vec<ComponentTask> {
        match event {
            Event::Open(header) => self.opened(&header),
            Event::Close => self.close(None),
            Event::Stanza(stanza) => self.element(&stanza),
        }
    }

    /// Ends the stream with an error, at any time.
    pub fn fail(&mut self, error: &StreamError) -> Vec<ComponentTask> {
        self.close(Some(error))
    }

    /// The answer to [`ComponentTask::Enter`].
    pub fn entered(&mut self, entered: Result<(), StreamError>) -> Vec<ComponentTask> {
        match entered {
            Ok(()) => {
                self.state = Receiving::Open;
                vec![ComponentTask::Send(b"<handshake/>".to_vec()), ComponentTask::Accepted]
            }
            Err(error) => self.close(Some(&error)),
        }
    }

    fn opened(&mut self, header: &StreamHeader) -> Vec<ComponentTask> {
        if !matches!(self.state, Receiving::Header) {
            return self
                .close(Some(&StreamError::new(StreamCondition::BadFormat).with_text("a stream within a stream")));
        }
        if let Err(condition) = header::judge_names(header, ns::COMPONENT) {
            return self.close(Some(&condition.into()));
        }
        let Some(to) = header.to.as_deref() else {
            let error = StreamError::new(StreamCondition::ImproperAddressing);
            return self.close(Some(&error.with_text("the stream header needs the component's domain as its to")));
        };
        let domain = BareJid::new(to).ok().filter(|domain| self.secrets.find(domain.as_str()).is_some());
        let Some(domain) = domain else {
            return self.close(Some(&StreamError::new(StreamCondition::HostUnknown)));
        };
        let mut out = Vec::with_capacity(192);
        self.write_header(Some(domain.as_str()), &mut out);
        self.state = Receiving::Handshake(domain);
        vec![ComponentTask::Send(out)]
    }

    /// Without a version: there is nothing to negotiate that a version stands for.
    fn write_header(&mut self, from: Option<&str>, out: &mut Vec<u8>) {
        let header = Header { content_ns: ns::COMPONENT, from, id: Some(&self.id), ..Header::default() };
        header.write_unversioned(out);
        self.header_sent = true;
    }

    fn element(&mut self, stanza: &Stanza) -> Vec<ComponentTask> {
        let root = stanza.root();
        if root.is("error", ns::STREAMS) {
            return self.close(None);
        }
        let Receiving::Handshake(domain) = &self.state else {
            return self.close(Some(&StreamError::new(StreamCondition::NotAuthorized)));
        };
        if !root.is("handshake", ns::COMPONENT) {
            let stanza = matches!(root.name(), "message" | "presence" | "iq");
            let condition = match (stanza, root.ns() == ns::COMPONENT) {
                (true, true) => StreamCondition::NotAuthorized,
                (true, false) => StreamCondition::InvalidNamespace,
                _ => StreamCondition::UnsupportedStanzaType,
            };
            return self.close(Some(&condition.into()));
        }
        let expected = self.secrets.find(domain.as_str()).map(|secret| component_handshake(&self.id, secret));
        let right = expected.is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(root.text().as_bytes())));
        if !right {
            let mut tasks = vec![ComponentTask::Failed];
            tasks.extend(self.close(Some(&StreamError::new(StreamCondition::NotAuthorized))));
            return tasks;
        }
        let domain = domain.clone();
        self.state = Receiving::Asked;
        vec![ComponentTask::Enter(domain)]
    }

    fn close(&mut self, error: Option<&StreamError>) -> Vec<ComponentTask> {
        if matches!(self.state, Receiving::Closed) {
            return Vec::new();
        }
        let mut out = Vec::new();
        if !self.header_sent {
            // RFC 6120 §4.9.1.2: an error needs a stream to be in.
            self.write_header(None, &mut out);
        }
        if let Some(error) = error {
            let mut writer = Writer::with_buffer(ns::COMPONENT, out);
            error.write(&mut writer);
            out = writer.finish();
        }
        out.extend_from_slice(STREAM_END.as_bytes());
        self.state = Receiving::Closed;
        vec![ComponentTask::Send(out), ComponentTask::Close]
    }
}

/// What the component's driver is to do next.
#[derive(Debug)]
#[non_exhaustive]
pub enum ComponentStep {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Nothing: wait for the next event.
    Wait,
    /// The session is ready; this is the stream's id.
    Established(String),
}

/// The component's end of the negotiation.
#[derive(Debug)]
pub struct ComponentInitiator {
    domain: Jid,
    secret: Zeroizing<String>,
    id: Option<String>,
}

impl ComponentInitiator {
    /// A negotiation that has not begun, of the component that serves `domain`.
    pub fn new(domain: Jid, secret: Zeroizing<String>) -> ComponentInitiator {
        ComponentInitiator { domain, secret, id: None }
    }

    /// The header to send.
    pub fn start(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        let header = Header { content_ns: ns::COMPONENT, to: Some(self.domain.as_str()), ..Header::default() };
        header.write_unversioned(&mut out);
        out
    }

    /// What the server sent.
    ///
    /// # Errors
    /// The server's stream error, [`NegotiationError::Protocol`] with what it is to be told, or
    /// [`NegotiationError::Closed`].
    pub fn event(&mut self, event: Event) -> Result<ComponentStep, NegotiationError> {
        match event {
            Event::Open(header) if self.id.is_none() => self.opened(header),
            Event::Open(_) => Err(NegotiationError::Protocol(StreamCondition::BadFormat.into())),
            Event::Close => Err(NegotiationError::Closed),
            Event::Stanza(stanza) if StreamError::matches(stanza.root()) => {
                Err(NegotiationError::Stream(StreamError::read(stanza.root())))
            }
            Event::Stanza(stanza) if stanza.root().is("handshake", ns::COMPONENT) => {
                Ok(ComponentStep::Established(self.id.clone().unwrap_or_default()))
            }
            // A peer that announces version 1.0 may send these, though nothing in them is for us.
            Event::Stanza(stanza) if stanza.root().is("features", ns::STREAMS) => Ok(ComponentStep::Wait),
            Event::Stanza(_) => Err(NegotiationError::Protocol(StreamCondition::UnsupportedStanzaType.into())),
        }
    }

    fn opened(&mut self, header: StreamHeader) -> Result<ComponentStep, NegotiationError> {
        let judged = header::judge_names(&header, ns::COMPONENT);
        judged.map_err(|condition| NegotiationError::Protocol(condition.into()))?;
        let Some(id) = header.id else {
            // What precedes an error has none at some servers: the error is worth more than the complaint.
            self.id = Some(String::new());
            return Ok(ComponentStep::Wait);
        };
        let mut out = Writer::new(ns::COMPONENT);
        out.text_element("handshake", ns::COMPONENT, &component_handshake(&id, &self.secret));
        self.id = Some(id);
        Ok(ComponentStep::Send(out.finish()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::xml::{Scanner, XmlLimits};

    const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
                          xmlns:stream='http://etherx.jabber.org/streams' to='plays.shakespeare.lit'>";

    fn acceptor() -> ComponentAcceptor {
        let secrets = [("plays.shakespeare.lit".to_owned(), "secret".to_owned())];
        ComponentAcceptor::new(secrets.into_iter().collect(), "3BF96D32".into())
    }

    /// Feeds text; everything sent, and what else was asked for, as words.
    fn feed(acceptor: &mut ComponentAcceptor, text: &str) -> String {
        let mut scanner = Scanner::new(XmlLimits::unauthenticated());
        let mut rest = text.as_bytes();
        let mut said = String::new();
        while let Some(event) = scanner.scan(&mut rest).unwrap() {
            let mut tasks = std::collections::VecDeque::from(acceptor.event(event));
            while let Some(task) = tasks.pop_front() {
                match task {
                    ComponentTask::Send(bytes) => said += std::str::from_utf8(&bytes).unwrap(),
                    ComponentTask::Failed => said += "[failed]",
                    ComponentTask::Enter(domain) => {
                        said += &format!("[enter {domain}]");
                        tasks.extend(acceptor.entered(Ok(())));
                    }
                    ComponentTask::Accepted => said += "[accepted]",
                    ComponentTask::Close => said += "[close]",
                }
            }
        }
        said
    }

    const ANSWER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                          xmlns:stream='http://etherx.jabber.org/streams' from='plays.shakespeare.lit' id='3BF96D32'>";
    const ANONYMOUS: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                             xmlns:stream='http://etherx.jabber.org/streams' id='3BF96D32'>";

    fn error(condition: &str) -> String {
        format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")
    }

    #[test]
    fn xep0114_3_the_flow_of_the_document() {
        let text = format!("{HEADER}<handshake>b09ea9b3b7f586be8a08d0a3dd7466f110aeb136</handshake>");
        let said = feed(&mut acceptor(), &text);
        assert_eq!(said, format!("{ANSWER}[enter plays.shakespeare.lit]<handshake/>[accepted]"));
    }

    #[test]
    fn xep0114_3_refused_headers_are_answered_within_a_stream() {
        for (from, to, condition) in [
            ("plays.shakespeare.lit", "poems.shakespeare.lit", "host-unknown"),
            ("plays.shakespeare.lit", "", "host-unknown"),
            (" to='plays.shakespeare.lit'", "", "improper-addressing"),
            ("jabber:component:accept", "jabber:client", "invalid-namespace"),
            ("jabber:component:accept", "jabber:component:connect", "invalid-namespace"),
            ("etherx.jabber.org", "example.org", "invalid-namespace"),
        ] {
            let said = feed(&mut acceptor(), &HEADER.replace(from, to));
            assert!(said.starts_with(&format!("{ANONYMOUS}{}", error(condition))), "{said}");
            assert!(said.ends_with("</stream:error></stream:stream>[close]"), "{said}");
        }
    }

    #[test]
    fn abuse_a085_a_wrong_handshake_is_not_authorized() {
        let right = component_handshake("3BF96D32", "secret");
        for wrong in [
            component_handshake("3BF96D32", ""),
            component_handshake("3BF96D33", "secret"),
            right.to_uppercase(),
            right[..39].to_owned(),
            format!("{right}0"),
            String::new(),
        ] {
            let said = feed(&mut acceptor(), &format!("{HEADER}<handshake>{wrong}</handshake>"));
            let end = format!("{}</stream:error></stream:stream>[close]", error("not-authorized"));
            assert_eq!(said, format!("{ANSWER}[failed]{end}"), "{wrong}");
        }
    }

    #[test]
    fn abuse_a085_nothing_else_comes_before_the_handshake() {
        for (element, condition) in [
            ("<message from='a@plays.shakespeare.lit' to='b@c'/>", "not-authorized"),
            ("<iq xmlns='jabber:client'/>", "invalid-namespace"),
            ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "unsupported-stanza-type"),
            ("<handshake xmlns='jabber:client'/>", "unsupported-stanza-type"),
        ] {
            let said = feed(&mut acceptor(), &format!("{HEADER}{element}"));
            assert!(said.starts_with(&format!("{ANSWER}{}", error(condition))), "{element}: {said}");
        }
    }

    #[test]
    fn abuse_a085_a_second_header_is_a_bad_format() {
        let mut acceptor = acceptor();
        feed(&mut acceptor, HEADER);
        assert!(feed(&mut acceptor, HEADER).starts_with(&error("bad-format")));
        assert_eq!(feed(&mut acceptor, HEADER), "", "once");
    }

    #[test]
    fn xep0114_3_both_ends_agree() {
        let mut initiator =
            ComponentInitiator::new("plays.shakespeare.lit".parse().unwrap(), "secret".to_owned().into());
        let mut acceptor = acceptor();
        let mut server = Scanner::new(XmlLimits::unauthenticated());
        let mut client = Scanner::new(XmlLimits::unauthenticated());
        let mut sent = initiator.start();
        for _ in 0..2 {
            let event = server.scan(&mut sent.as_slice()).unwrap().unwrap();
            let tasks = acceptor.event(event);
            let tasks = match tasks.first() {
                Some(ComponentTask::Enter(_)) => acceptor.entered(Ok(())),
                _ => tasks,
            };
            let Some(ComponentTask::Send(bytes)) = tasks.into_iter().next() else { unreachable!() };
            let event = client.scan(&mut bytes.as_slice()).unwrap().unwrap();
            match initiator.event(event).unwrap() {
                ComponentStep::Send(bytes) => sent = bytes,
                ComponentStep::Established(id) => return assert_eq!(id, "3BF96D32"),
                ComponentStep::Wait => unreachable!(),
            }
        }
        unreachable!("two rounds are enough");
    }

    #[test]
    fn xep0114_3_the_servers_error_is_told() {
        let mut initiator =
            ComponentInitiator::new("plays.shakespeare.lit".parse().unwrap(), "secret".to_owned().into());
        let mut scanner = Scanner::new(XmlLimits::unauthenticated());
        let text = format!("{}{}</stream:error>", ANONYMOUS.replace(" id='3BF96D32'", ""), error("host-unknown"));
        let mut rest = text.as_bytes();
        let header = scanner.scan(&mut rest).unwrap().unwrap();
        assert!(matches!(initiator.event(header).unwrap(), ComponentStep::Wait));
        let told = initiator.event(scanner.scan(&mut rest).unwrap().unwrap()).unwrap_err();
        assert!(matches!(told, NegotiationError::Stream(StreamError { condition: StreamCondition::HostUnknown, .. })));
    }
}
