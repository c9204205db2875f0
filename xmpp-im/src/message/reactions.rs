//! Message reactions (XEP-0444).

use xmpp_core::payload::Payload;

/// `urn:xmpp:reactions:0`.
pub const NS: &str = "urn:xmpp:reactions:0";

/// So many reactions of one person to one message are read; a longer list is cut.
pub const MOST: usize = 32;

/// So many bytes one reaction may have. The longest emoji in use have 35.
pub const LONGEST: usize = 128;

/// All reactions of the sender to a message; they replace those before, so that none takes them all back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "reactions", ns = NS)]
pub struct Reactions {
    /// The message.
    #[xml(attr)]
    pub id: String,
    /// The emoji.
    #[xml(child_text = "reaction")]
    pub reactions: Vec<String>,
}

impl Reactions {
    /// What of them can be shown: each once, without blank or overlong ones, and at most [`MOST`].
    pub fn sensible(self) -> Vec<String> {
        let mut kept: Vec<String> = Vec::new();
        for reaction in self.reactions {
            if kept.len() == MOST {
                break;
            }
            let text = reaction.trim();
            if !text.is_empty() && text.len() <= LONGEST && !kept.iter().any(|known| known == text) {
                kept.push(text.to_owned());
            }
        }
        kept
    }
}
