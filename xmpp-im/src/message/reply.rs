//! Message replies (XEP-0461), with the quotation for those who don't know of them (§3.1).

use super::fallback::{Fallback, FallbackBody};
use std::ops::Range;
use xmpp_core::{jid::Jid, payload::Payload};

/// `urn:xmpp:reply:0`.
pub const NS: &str = "urn:xmpp:reply:0";

/// The message replies to another.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "reply", ns = NS)]
pub struct Reply {
    /// Who wrote that one.
    #[xml(attr)]
    pub to: Option<Jid>,
    /// Its id; in rooms the one that the room gave.
    #[xml(attr)]
    pub id: String,
}

/// `answer` behind a quotation of `quoted`, each line of which begins with `> `, and where the quotation stands, in
/// characters (XEP-0426).
///
/// ```
/// use xmpp_im::message::reply::quote;
/// assert_eq!(quote("We should bake\na cake", "Great idea!"), ("> We should bake\n> a cake\nGreat idea!".into(), 0..26));
/// ```
pub fn quote(quoted: &str, answer: &str) -> (String, Range<u32>) {
    let mut text = String::with_capacity(quoted.len() + answer.len() + 8);
    for line in quoted.lines() {
        text.push_str("> ");
        text.push_str(line);
        text.push('\n');
    }
    let end = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    text.push_str(answer);
    (text, 0..end)
}

/// Says that the `range` of the body is there only for those who don't know of replies.
pub fn fallback(range: Range<u32>) -> Fallback {
    let body = FallbackBody { start: Some(range.start), end: Some(range.end) };
    Fallback { for_: Some(NS.to_owned()), bodies: vec![body], ..Fallback::default() }
}
