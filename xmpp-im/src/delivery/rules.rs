//! The table of RFC 6121 §8.5.4, as a function.

use xmpp_core::stanza::MessageType;

/// How a message is addressed to a local account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// By the bare address.
    Bare,
    /// By a full address whose resource is not connected. One that is connected gets the message, whatever its
    /// priority (§8.5.3.1).
    FullWithoutMatch,
}

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The resources at these places of the list, one or more.
    Deliver(Vec<usize>),
    /// Nobody now: store it for later, or tell the sender `service-unavailable`.
    Store,
    /// Nobody: tell the sender `service-unavailable`.
    Refuse,
    /// Nobody, and the sender is told nothing.
    Ignore,
}

/// Chooses among an account's resources, given as their priorities; `None` is a resource that is connected and not
/// available, and gets nothing (§8.5.2.1).
///
/// Where the table leaves a choice: messages of type normal and chat go to all resources of the highest priority that
/// is not negative, as in RFC 6121 §8.5.2.1.1's "most available"; a full address without a match is treated as bare
/// for chat, and refused for the other types, so that a sender learns that nobody has read it.
pub fn choose(address: Address, kind: MessageType, priorities: &[Option<i8>]) -> Choice {
    let able =
        || priorities.iter().enumerate().filter_map(|(at, priority)| Some((at, (*priority)?))).filter(|(_, p)| *p >= 0);
    match (address, kind) {
        (_, MessageType::Error) => Choice::Ignore,
        (_, MessageType::Groupchat) => Choice::Refuse,
        (Address::FullWithoutMatch, MessageType::Normal) => Choice::Refuse,
        (Address::FullWithoutMatch, MessageType::Headline) => Choice::Ignore,
        (Address::Bare, MessageType::Headline) => {
            let all: Vec<usize> = able().map(|(at, _)| at).collect();
            if all.is_empty() { Choice::Ignore } else { Choice::Deliver(all) }
        }
        (_, MessageType::Chat) | (Address::Bare, MessageType::Normal) => match able().map(|(_, p)| p).max() {
            Some(highest) => Choice::Deliver(able().filter(|(_, p)| *p == highest).map(|(at, _)| at).collect()),
            None => Choice::Store,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Address::*, Choice::*, MessageType::*, *};

    /// Every cell of RFC 6121 §8.5.4, Table 1, that a server chooses in: account exists.
    #[test]
    fn rfc6121_8_5_4_every_cell() {
        let nobody: &[Option<i8>] = &[];
        let connected = &[None];
        let negative = &[Some(-1), None, Some(-128)];
        let one = &[Some(-1), Some(0)];
        let several = &[Some(1), Some(5), None, Some(5), Some(-1)];
        let cells = [
            // No active resource, and only negative ones.
            (Bare, Normal, vec![nobody, connected, negative], Store),
            (Bare, Chat, vec![nobody, connected, negative], Store),
            (Bare, Groupchat, vec![nobody, connected, negative], Refuse),
            (Bare, Headline, vec![nobody, connected, negative], Ignore),
            (FullWithoutMatch, Normal, vec![nobody, connected, negative], Refuse),
            (FullWithoutMatch, Chat, vec![nobody, connected, negative], Store),
            (FullWithoutMatch, Groupchat, vec![nobody, connected, negative], Refuse),
            (FullWithoutMatch, Headline, vec![nobody, connected, negative], Ignore),
            // One that is not negative.
            (Bare, Normal, vec![one], Deliver(vec![1])),
            (Bare, Chat, vec![one], Deliver(vec![1])),
            (Bare, Groupchat, vec![one], Refuse),
            (Bare, Headline, vec![one], Deliver(vec![1])),
            (FullWithoutMatch, Normal, vec![one], Refuse),
            (FullWithoutMatch, Chat, vec![one], Deliver(vec![1])),
            (FullWithoutMatch, Groupchat, vec![one], Refuse),
            (FullWithoutMatch, Headline, vec![one], Ignore),
            // Several.
            (Bare, Normal, vec![several], Deliver(vec![1, 3])),
            (Bare, Chat, vec![several], Deliver(vec![1, 3])),
            (Bare, Groupchat, vec![several], Refuse),
            (Bare, Headline, vec![several], Deliver(vec![0, 1, 3])),
            (FullWithoutMatch, Normal, vec![several], Refuse),
            (FullWithoutMatch, Chat, vec![several], Deliver(vec![1, 3])),
            (FullWithoutMatch, Groupchat, vec![several], Refuse),
            (FullWithoutMatch, Headline, vec![several], Ignore),
        ];
        for (address, kind, lists, expected) in cells {
            for list in lists {
                assert_eq!(choose(address, kind, list), expected, "{address:?} {kind:?} {list:?}");
            }
        }
    }

    #[test]
    fn rfc6121_8_5_errors_are_never_answered_nor_delivered_elsewhere() {
        for address in [Bare, FullWithoutMatch] {
            assert_eq!(choose(address, Error, &[Some(1)]), Ignore);
        }
    }
}
