//! Which messages are archived, and which ids in them are believed.

use std::borrow::Cow;
use xmpp_core::{
    jid::Jid,
    payload::stanza_id,
    stanza::MessageType,
    xml::{ElementRef, Stanza, ns},
};

const HINTS: &str = "urn:xmpp:hints";

/// What says something although there is no body: receipts, markers, reactions, retractions, encrypted content,
/// invitations to rooms.
const CONTENT: &[(&str, &str)] = &[
    ("received", "urn:xmpp:receipts"),
    ("received", "urn:xmpp:chat-markers:0"),
    ("displayed", "urn:xmpp:chat-markers:0"),
    ("acknowledged", "urn:xmpp:chat-markers:0"),
    ("reactions", "urn:xmpp:reactions:0"),
    ("retract", "urn:xmpp:message-retract:1"),
    ("encryption", "urn:xmpp:eme:0"),
    ("encrypted", "eu.siacs.conversations.axolotl"),
    ("encrypted", "urn:xmpp:omemo:2"),
    ("openpgp", "urn:xmpp:openpgp:0"),
    ("x", "jabber:x:encrypted"),
    ("x", "jabber:x:conference"),
];

/// Whether a message belongs in the archives of its sender and its recipient (XEP-0313 §6.1.1, XEP-0334 §4).
///
/// Those of type `normal` and `chat` that have a body, or else something that people will want to see again: receipts,
/// markers, reactions, retractions, encrypted content, invitations. A `no-store` or `no-permanent-store` keeps a message
/// out; a `store` lets one in that has none of these, or is a headline. Errors never are archived, nor messages of rooms:
/// those have archives of their own. Chat states, typing and the like are not worth it.
pub fn is_worth_archiving(message: ElementRef<'_>) -> bool {
    let kind = MessageType::read(message.attr("type").as_deref());
    if matches!(kind, MessageType::Error | MessageType::Groupchat) {
        return false;
    }
    let (mut content, mut store) = (false, false);
    for child in message.children() {
        match (child.name(), child.ns()) {
            ("no-store" | "no-permanent-store", HINTS) => return false,
            ("store", HINTS) => store = true,
            ("body", own) if own == message.ns() => content = true,
            (name, other) if !content => content = CONTENT.contains(&(name, other)),
            _ => {}
        }
    }
    store || (content && kind != MessageType::Headline)
}

/// Takes the ids out of a message that claim to be given by `by`, a bare address (XEP-0359 §3, rules 2 and 4). `None` if
/// there are none: the message is as it should be.
pub fn strip_ids(message: &Stanza, by: &str) -> Option<Stanza> {
    let forged = |child: ElementRef<'_>| claims(child, by);
    let found = message.root().children().any(forged);
    found.then(|| message.rewrite(ns::CLIENT).without(&forged).to_stanza())
}

/// Whether an element is an id given by this address. One without a `by`, or without an id, is nobody's.
pub(super) fn claims(child: ElementRef<'_>, by: &str) -> bool {
    child.is("stanza-id", stanza_id::NS) && child.attr("by").is_some_and(|claimed| is_address(&claimed, by))
}

/// Whether an address as it was written is this one, in canonical form.
pub(super) fn is_address(written: &str, canonical: &str) -> bool {
    let same = |jid: Result<Jid, _>| jid.is_ok_and(|jid: Jid| jid.as_str() == canonical);
    let trimmed: Cow<'_, str> = written.trim_ascii().into();
    trimmed == canonical || (!is_plain(&trimmed) && same(Jid::new(&trimmed)))
}

/// Whether a bare address is in its canonical form as far as one sees at a glance: what is left out is prepared to be
/// compared.
fn is_plain(written: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'@' | b'-' | b'_' | b'.');
    written.bytes().all(plain) && !written.ends_with('.') && !written.contains("xn--")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::XmlLimits;

    fn parse(text: &str) -> Stanza {
        Stanza::parse(text, ns::CLIENT, &XmlLimits::default()).unwrap()
    }

    #[test]
    fn xep0313_6_1_1_conversations_are_archived_and_states_are_not() {
        let body = "<body>Hail to thee</body>";
        for (message, expected) in [
            (format!("<message>{body}</message>"), true),
            (format!("<message type='chat'>{body}</message>"), true),
            ("<message type='normal'><body/></message>".into(), true),
            (format!("<message type='odd'>{body}</message>"), true),
            (format!("<message type='groupchat'>{body}</message>"), false),
            (format!("<message type='headline'>{body}</message>"), false),
            (format!("<message type='error'>{body}</message>"), false),
            ("<message type='chat'/>".into(), false),
            ("<message type='chat'><subject>s</subject></message>".into(), false),
            ("<message type='chat'><body xmlns='urn:other'>x</body></message>".into(), false),
            ("<message type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>".into(), false),
            ("<message><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>".into(), false),
            ("<message type='chat'><request xmlns='urn:xmpp:receipts'/></message>".into(), false),
            ("<message type='chat'><markable xmlns='urn:xmpp:chat-markers:0'/></message>".into(), false),
            ("<message><received xmlns='urn:xmpp:receipts' id='a'/></message>".into(), true),
            ("<message type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='a'/></message>".into(), true),
            ("<message type='chat'><received xmlns='urn:xmpp:carbons:2'/></message>".into(), false),
        ] {
            assert_eq!(is_worth_archiving(parse(&message).root()), expected, "{message}");
        }
    }

    #[test]
    fn xep0334_4_hints_keep_messages_out_or_let_them_in() {
        let hint = |type_: &str, hint: &str, content: &str| {
            let text = format!("<message type='{type_}'>{content}<{hint} xmlns='urn:xmpp:hints'/></message>");
            is_worth_archiving(parse(&text).root())
        };
        let body = "<body>x</body>";
        assert!(!hint("chat", "no-store", body) && !hint("chat", "no-permanent-store", body));
        assert!(hint("chat", "no-copy", body) && !hint("chat", "no-copy", ""));
        assert!(hint("chat", "store", "") && hint("headline", "store", body));
        assert!(!hint("error", "store", body) && !hint("groupchat", "store", body));
        assert!(!hint("chat", "store", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>"), "who wants no record wins");
    }

    #[test]
    fn xep0359_3_ids_in_the_name_of_an_address_go_and_all_others_stay() {
        let id = |by: &str, id: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='{id}'/>");
        let others = id("room@rooms.example", "r") + "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>";
        let juliet = "juliet@capulet.example";
        let own = id(juliet, "1") + &id("Juliet@CAPULET.example", "2") + &id(" juliet@capulet.example ", "3");
        let stripped = strip_ids(&parse(&format!("<message><body>x</body>{own}{others}</message>")), juliet).unwrap();
        assert_eq!(stripped.as_str(), format!("<message><body>x</body>{others}</message>"));
        assert!(strip_ids(&stripped, juliet).is_none());
        assert!(strip_ids(&parse("<message><stanza-id xmlns='urn:xmpp:sid:0' id='1'/></message>"), juliet).is_none());
    }
}
