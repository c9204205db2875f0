//! What messages say of proposals, and who says it.

use crate::jingle::propose::{self, DESCRIPTIONS, JingleMessage};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{Payload, delay::Delay, forward::Forwarded},
    stanza::{Message, MessageType, StanzaError},
    xml::ElementRef,
};

const CARBONS: &str = "urn:xmpp:carbons:2";
const ROOM: &str = "http://jabber.org/protocol/muc#user";

/// What a message says.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something of a proposal.
    Said {
        from: Jid,
        said: JingleMessage,
        /// When it was said, in seconds since 1970, if that is a while ago.
        at: Option<i64>,
    },
    /// A message of ours came back.
    Returned { from: Jid, id: String, error: StanzaError },
}

impl Heard {
    /// Reads a message, or the copy of one that a device of ours has sent or received (XEP-0280): such a copy comes from our own
    /// account, and is of a message of ours.
    pub(super) fn read(own: &BareJid, message: &Message) -> Option<Heard> {
        let from = message.from();
        let copies = |el: &ElementRef<'_>| el.ns() == CARBONS && matches!(el.name(), "sent" | "received");
        let Some(copy) = message.payloads().find(copies) else { return plain(from?, message, None) };
        if from.is_some_and(|from| from.as_str() != own.as_str()) {
            tracing::debug!(?from, "a forged copy of a message");
            return None;
        }
        let forwarded = copy.child(Forwarded::NAME, Forwarded::NS)?;
        let inner = forwarded.children().find(|el| el.name() == "message")?;
        // What is of no interest is not copied.
        inner.children().find(|el| el.ns() == propose::NS)?;
        let inner = Message::from_stanza(inner.to_stanza()).ok()?;
        let is_ours = |jid: Option<&Jid>| jid.is_some_and(|jid| jid.bare_str() == own.as_str());
        let ours = if copy.name() == "sent" { inner.from() } else { inner.to() };
        if !is_ours(ours) || inner.type_() == MessageType::Error {
            return None;
        }
        plain(inner.from()?, &inner, at(message))
    }
}

/// When a message was sent that was held back (XEP-0203). Who sends it may lie: then it is the sender's that does not ring.
fn at(message: &Message) -> Option<i64> {
    let stamps = message.payloads().filter(|el| Delay::matches(*el)).filter_map(|el| Delay::read(el).ok());
    stamps.map(|delay| delay.stamp.unix_seconds()).min()
}

fn plain(from: &Jid, message: &Message, held: Option<i64>) -> Option<Heard> {
    match message.type_() {
        MessageType::Chat => {}
        MessageType::Error => {
            let (id, error) = (message.id()?.into_owned(), message.error()?);
            return Some(Heard::Returned { from: from.clone(), id, error });
        }
        // All messages of proposals are of this type (§3).
        _ => return None,
    }
    let el = message.payloads().find(|el| el.ns() == propose::NS)?;
    // People in a room have its address in common.
    if message.payloads().any(|el| el.ns() == ROOM) || el.children().nth(DESCRIPTIONS).is_some() {
        return None;
    }
    let said = JingleMessage::read(el).ok()?;
    Some(Heard::Said { from: from.clone(), said, at: at(message).or(held) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::{Stanza, XmlLimits, ns};

    fn heard(text: &str) -> Option<Heard> {
        let message = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        Heard::read(&"hatter@tea.example".parse().unwrap(), &Message::from_stanza(message).unwrap())
    }

    fn said(text: &str) -> Option<(String, String, Option<i64>)> {
        match heard(text)? {
            Heard::Said { from, said, at } => Some((from.to_string(), said.id().to_owned(), at)),
            Heard::Returned { .. } => None,
        }
    }

    fn copy(outer: &str, kind: &str, inner: &str) -> String {
        format!(
            "<message {outer}><{kind} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>{inner}</forwarded></{kind}></message>"
        )
    }

    const PROCEED: &str = "<proceed xmlns='urn:xmpp:jingle-message:0' id='a7'/>";

    #[test]
    fn xep0353_3_chat_messages_count() {
        let of = |attributes: &str, more: &str| {
            said(&format!("<message xmlns='jabber:client' {attributes}>{more}{PROCEED}</message>"))
        };
        let from = "from='alice@wonder.example/mirror'";
        let chat = format!("type='chat' {from}");
        assert_eq!(of(&chat, ""), Some(("alice@wonder.example/mirror".into(), "a7".into(), None)));
        let late = "<delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:01:00Z'/>";
        assert_eq!(of(&chat, late).unwrap().2, Some(60));
        for bad in [from.to_owned(), format!("type='groupchat' {from}"), format!("type='headline' {from}")] {
            assert_eq!(of(&bad, ""), None, "{bad}");
        }
        assert_eq!(of("type='chat'", ""), None, "of nobody");
        assert_eq!(of(&chat, "<x xmlns='http://jabber.org/protocol/muc#user'/>"), None, "of somebody in a room");
        let error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        let back = format!("<message xmlns='jabber:client' type='error' id='m' {from}>{PROCEED}{error}</message>");
        assert!(matches!(heard(&back), Some(Heard::Returned { id, .. }) if id == "m"), "what comes back is not said");
    }

    #[test]
    fn xep0280_11_a_copy_is_our_own_accounts() {
        let inner = |from: &str, to: &str| {
            format!("<message xmlns='jabber:client' type='chat' from='{from}' to='{to}'>{PROCEED}</message>")
        };
        let (phone, alice) = ("hatter@tea.example/phone", "alice@wonder.example/mirror");
        let genuine = "xmlns='jabber:client' type='chat' from='hatter@tea.example' to='hatter@tea.example/table'";
        assert_eq!(said(&copy(genuine, "sent", &inner(phone, alice))), Some((phone.into(), "a7".into(), None)));
        assert_eq!(said(&copy(genuine, "received", &inner(alice, phone))), Some((alice.into(), "a7".into(), None)));
        for (outer, kind, from, to) in [
            ("alice@wonder.example/mirror", "sent", phone, alice),
            ("hatter@tea.example/phone", "sent", phone, alice),
            ("tea.example", "sent", phone, alice),
            ("hatter@tea.example", "sent", alice, phone),
            ("hatter@tea.example", "received", phone, alice),
        ] {
            let outer = format!("xmlns='jabber:client' type='chat' from='{outer}'");
            assert_eq!(said(&copy(&outer, kind, &inner(from, to))), None, "{outer} {kind}");
        }
        // A copy in a copy, or beside what it claims to be a copy of.
        let twice = copy("xmlns='jabber:client' type='chat'", "sent", &inner(phone, alice));
        assert_eq!(said(&copy(genuine, "sent", &twice)), None);
        let beside = copy("xmlns='jabber:client' type='chat' from='alice@wonder.example/mirror'", "sent", "")
            .replace("</message>", &format!("{PROCEED}</message>"));
        assert_eq!(said(&beside), None);
    }

    #[test]
    fn abuse_nobody_reads_ten_thousand_descriptions() {
        let of = |n: usize| {
            let many = "<description xmlns='urn:example:tea'/>".repeat(n);
            let propose = format!("<propose xmlns='urn:xmpp:jingle-message:0' id='a'>{many}</propose>");
            said(&format!("<message xmlns='jabber:client' type='chat' from='a@b/c'>{propose}</message>"))
        };
        assert!(of(DESCRIPTIONS).is_some());
        assert!(of(DESCRIPTIONS + 1).is_none() && of(1_000).is_none());
    }
}
