//! Which messages are copied (XEP-0280 §6.1).

use super::NS;
use xmpp_core::{
    jid::Jid,
    payload::{Payload, hints::Hint},
    xml::{ElementRef, ns},
};

const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const CONFERENCE: &str = "jabber:x:conference";

/// Which way a message goes, seen from the account whose other resources may get a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was sent by one of them.
    Sent,
    /// It was sent to one of them, or to all.
    Received,
}

/// Whether a message is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// It is.
    Copied,
    /// It is not.
    NotCopied,
    /// It is if it answers one that was.
    AsAnswered,
}

/// Judges a message from `from` by its type and content. A `<no-copy/>` of XEP-0334 alone is as good as `<private/>`.
pub fn eligibility(message: ElementRef<'_>, from: &Jid, direction: Direction) -> Eligibility {
    let kind = message.attr("type");
    let kind = kind.as_deref().unwrap_or("normal");
    match kind {
        // XEP-0334 §5: what an error brings back is not meant by it.
        "error" => return Eligibility::AsAnswered,
        "groupchat" => return Eligibility::NotCopied,
        _ => {}
    }
    let (mut instant, mut invitation, mut from_room, mut body) = (false, false, false, false);
    for child in message.children() {
        match (child.ns(), child.name()) {
            // Wrappers too: what a client makes itself is no copy.
            (NS, _) | (<Hint as Payload>::NS, "no-copy") => return Eligibility::NotCopied,
            (MUC_USER, "x") => {
                from_room = true;
                invitation |= child.children().any(|one| one.is("invite", MUC_USER));
            }
            (CONFERENCE, "x") => invitation = true,
            (ns::CLIENT, "body") => body = true,
            ("urn:xmpp:receipts" | "http://jabber.org/protocol/chatstates" | "urn:xmpp:chat-markers:0", _) => {
                instant = true;
            }
            _ => {}
        }
    }
    let private = from_room && direction == Direction::Received && from.resource().is_some();
    let copied = match kind {
        _ if invitation => true,
        // The room has sent it to all of the user's resources that are there.
        _ if private => false,
        "chat" => true,
        "headline" => instant,
        _ => body || instant,
    };
    if copied { Eligibility::Copied } else { Eligibility::NotCopied }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Direction::*, Eligibility::*, *};
    use xmpp_core::xml::{Stanza, XmlLimits};

    fn judged(kind: &str, content: &str, direction: Direction) -> Eligibility {
        let kind = if kind.is_empty() { String::new() } else { format!(" type='{kind}'") };
        let text = format!("<message{kind}>{content}</message>");
        let stanza = Stanza::parse(&text, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        eligibility(stanza.root(), &"room@muc.example/nick".parse().unwrap(), direction)
    }

    #[test]
    fn xep0280_6_1_by_type_and_content() {
        for direction in [Sent, Received] {
            let judged = |kind: &str, content: &str| judged(kind, content, direction);
            assert_eq!(judged("chat", "<body>hi</body>"), Copied);
            assert_eq!(judged("chat", "<x xmlns='urn:example:x'/>"), Copied);
            for normal in ["", "normal", "urn:example:odd"] {
                assert_eq!(judged(normal, "<body>hi</body>"), Copied);
                assert_eq!(judged(normal, "<x xmlns='urn:example:x'/>"), NotCopied);
                assert_eq!(judged(normal, "<received xmlns='urn:xmpp:receipts' id='1'/>"), Copied);
                assert_eq!(judged(normal, "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"), Copied);
                assert_eq!(judged(normal, "<composing xmlns='http://jabber.org/protocol/chatstates'/>"), Copied);
            }
            assert_eq!(judged("groupchat", "<body>hi</body>"), NotCopied);
            assert_eq!(judged("headline", "<body>hi</body>"), NotCopied);
            assert_eq!(judged("error", "<body>hi</body><private xmlns='urn:xmpp:carbons:2'/>"), AsAnswered);
        }
    }

    #[test]
    fn abuse_a060_private_rooms_and_hints_are_not_copied() {
        let muc = "<body>hi</body><x xmlns='http://jabber.org/protocol/muc#user'/>";
        for direction in [Sent, Received] {
            let judged = |content: &str| judged("chat", content, direction);
            assert_eq!(judged("<body>hi</body><private xmlns='urn:xmpp:carbons:2'/>"), NotCopied);
            assert_eq!(judged("<body>hi</body><no-copy xmlns='urn:xmpp:hints'/>"), NotCopied);
            assert_eq!(judged("<sent xmlns='urn:xmpp:carbons:2'/>"), NotCopied);
            let invitation = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x>";
            assert_eq!(judged(invitation), Copied);
        }
        assert_eq!(judged("chat", muc, Sent), Copied);
        assert_eq!(judged("chat", muc, Received), NotCopied);
        for direction in [Sent, Received] {
            let direct = "<x xmlns='jabber:x:conference' jid='room@muc.example'/>";
            assert_eq!(judged("", direct, direction), Copied);
            let mediated = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x>";
            assert_eq!(judged("normal", mediated, direction), Copied);
        }
    }
}
