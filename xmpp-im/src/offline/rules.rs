//! Which messages are worth keeping.

use xmpp_core::{
    payload::{Payload as _, chat_state::ChatState, hints::Hint},
    stanza::MessageType,
    xml::{ElementRef, ns},
};

/// What is done with a message that nobody can take now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It is kept.
    Keep,
    /// It is of no use later, and nobody has to know that it is gone.
    Forget,
    /// It is not kept, and its sender is told.
    Bounce,
}

/// Whether a message is kept, by its type and content (XEP-0160 §3, XEP-0334 §4).
pub fn keeping(message: ElementRef<'_>) -> Keeping {
    let kind = MessageType::read(message.attr("type").as_deref());
    if !matches!(kind, MessageType::Normal | MessageType::Chat) {
        return Keeping::Bounce;
    }
    let (mut state, mut content, mut store) = (false, false, None);
    for child in message.children() {
        match child.ns() {
            <ChatState as xmpp_core::payload::Payload>::NS => state = true,
            <Hint as xmpp_core::payload::Payload>::NS => match Hint::read(child) {
                Ok(Hint::NoStore) => store = Some(false),
                Ok(Hint::Store) => store = store.or(Some(true)),
                _ => {}
            },
            // What identifies a message says nothing.
            "urn:xmpp:sid:0" | "urn:xmpp:delay" => {}
            ns::CLIENT if child.name() == "thread" => {}
            _ => content = true,
        }
    }
    match store {
        Some(false) if content => Keeping::Bounce,
        Some(true) => Keeping::Keep,
        _ if content => Keeping::Keep,
        _ if state || store.is_some() => Keeping::Forget,
        _ => Keeping::Keep,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Keeping::*, *};
    use xmpp_core::xml::{Stanza, XmlLimits};

    fn judged(kind: &str, content: &str) -> Keeping {
        let text = format!("<message from='a@b/c' to='d@e'{kind}>{content}</message>");
        keeping(Stanza::parse(&text, ns::CLIENT, &XmlLimits::authenticated()).unwrap().root())
    }

    #[test]
    fn xep0160_3_by_type() {
        for (kind, expected) in [
            ("", Keep),
            (" type='normal'", Keep),
            (" type='chat'", Keep),
            // RFC 6121 §5.2.2: a type that is not known is as if there were none.
            (" type='urn:example:odd'", Keep),
            (" type='groupchat'", Bounce),
            (" type='headline'", Bounce),
            (" type='error'", Bounce),
        ] {
            assert_eq!(judged(kind, "<body>hi</body>"), expected, "{kind}");
        }
    }

    #[test]
    fn xep0160_3_chat_states_alone_are_not_kept() {
        let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let chat = |content: &str| judged(" type='chat'", content);
        assert_eq!(chat(composing), Forget);
        assert_eq!(chat(&format!("{composing}<thread>t</thread><origin-id xmlns='urn:xmpp:sid:0' id='1'/>")), Forget);
        assert_eq!(chat(&format!("{composing}<no-store xmlns='urn:xmpp:hints'/>")), Forget);
        assert_eq!(chat(&format!("{composing}<body>hi</body>")), Keep);
        assert_eq!(chat(&format!("{composing}<received xmlns='urn:xmpp:receipts' id='1'/>")), Keep);
    }

    #[test]
    fn xep0334_4_hints() {
        for (hint, expected) in [("no-store", Bounce), ("no-permanent-store", Keep), ("no-copy", Keep), ("store", Keep)]
        {
            assert_eq!(judged("", &format!("<body>hi</body><{hint} xmlns='urn:xmpp:hints'/>")), expected, "{hint}");
        }
        let both = "<body>hi</body><no-store xmlns='urn:xmpp:hints'/><store xmlns='urn:xmpp:hints'/>";
        assert_eq!(judged("", both), Bounce);
        let state = "<active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>";
        assert_eq!(judged("", state), Keep, "the sender insists");
    }
}
